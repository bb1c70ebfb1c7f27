"""What a run shows in the Prefect UI: artifacts, the lineage of what it made, and log lines.

Keys of artifacts stay the same from run to run, so that the UI shows their history. All that comes from data is escaped for
Markdown, in table cells as well: the UI renders these too. Nothing here can fail a run: what can't be shown is left out, with a
warning.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.tasks import MaterializingTask

from matrix_core.scene import Scene
from matrix_core.story import inert, story
from tasks.reporting import figure_rows, percent, telling
from validations.text import shorten

_BAR = 16
"""Characters of a bar that stands for all of something."""


def note(text: str, level: int = logging.INFO) -> None:
    """One line in the run's log."""
    try:
        get_run_logger().log(level, text)
    except MissingContextError:
        logging.getLogger("matrix_align").log(level, text)


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    return f"{type(error).__name__}: {shorten(' '.join(str(error).split()), 300)}"


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Whatever goes wrong while something is shown is a warning."""
    try:
        yield
    except Exception as error:
        note(f"{what} can't be shown in the UI: {reason(error)}", logging.WARNING)


def gates(stage: str, noted: Sequence[Mapping[str, Any]]) -> None:
    """A table with a row a gate: how many it looked at, what it took out, what failed and for which rows."""
    with harmless("the table of gates"):
        create_table_artifact(
            key=f"gates-{stage}",
            table=gate_rows(noted),
            description=f"What stood between the steps of {stage}, and what it took out; the rows are in quarantine.jsonl.",
        )


def gate_failed(noted: Mapping[str, Any]) -> None:
    """The table of the gate that ends a stage, and the reason at length."""
    running = FlowRunContext.get()
    gates(running.flow.name if running and running.flow else "run", [noted])
    with harmless("the gate that failed"):
        problems = "\n".join(f"- {inert(problem)}" for problem in noted["problems"])
        failed = "\n".join(
            f"- **{inert(found['name'])}** ({found['unexpected_percent']} % of what it looked at)"
            + "".join(f"\n  - {inert(row)}" for row in found["sample"])
            for found in noted["expectations"]
            if not found["success"]
        )
        text = f"# Gate {inert(noted['name'])} did not pass\n\n{problems}\n\n## Expectations that failed\n\n{failed or 'none'}\n"
        create_markdown_artifact(key="gate-failed", markdown=text, description="Why this stage ended, with sample rows.")


def gate_rows(noted: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a gate, over all shards and waves."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for gate in noted:
        by_name.setdefault(gate["name"], []).append(gate)
    rows = []
    for name, some in by_name.items():
        checked, taken = (sum(gate[key] for gate in some) for key in ("evaluated", "quarantined"))
        rows.append(
            {
                "gate": name,
                "verdict": "passed" if all(gate["passed"] for gate in some) else "failed",
                "checked": checked,
                "quarantined": taken,
                "success %": round(100 * (1 - taken / checked), 2) if checked else 0.0,
                "what failed": _failures(some),
            }
        )
    return rows


def _failures(some: Sequence[Mapping[str, Any]]) -> str:
    """Each expectation that failed, with its largest share and some rows."""
    shares: dict[str, list[float]] = {}
    samples: dict[str, list[str]] = {}
    for gate in some:
        for found in gate["expectations"]:
            if not found["success"]:
                name = found["name"] + (" (warning)" if found["severity"] == "warning" else "")
                shares.setdefault(name, []).append(found["unexpected_percent"])
                samples.setdefault(name, []).extend(found["sample"])
    told = [
        f"{name}, up to {max(share):g} %" + (f", such as {'; '.join(samples[name][:2])}" if samples[name] else "")
        for name, share in shares.items()
    ]
    told += [problem for gate in some if not gate["expectations"] for problem in gate["problems"]]
    return inert(" / ".join(told))


def stories(scenes: Iterable[Scene]) -> None:
    """The scenes that show the most, to read."""
    for number, scene in enumerate(telling(scenes), 1):
        with harmless("a scene"):
            create_markdown_artifact(key=f"scene-{number}", markdown=story(scene), description=inert(scene.instruction.text)[:500])


def evaluation(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Base against tuned, a table a benchmark."""
    if figures:
        with harmless("the evaluation"):
            create_markdown_artifact(key="evaluation", markdown=evaluation_text(figures), description="Base against tuned.")


def overview(summary: Mapping[str, Any]) -> None:
    """What a whole run came to (its `summary.json`): counts, figures, gates, and where everything lies."""
    with harmless("the overview"):
        counts, run = summary["counts"], inert(summary["run_id"])
        parts = [
            f"# {run}",
            f"{counts['scenes']} scenes from {counts['instructions']} instructions, {counts['examples']} training examples; "
            f"{counts['quarantined']} rows set aside. {summary['tokens']['calls']} calls to {inert(summary['model'])}, "
            f"{summary['tokens']['cached_calls']} more answered from the cache.",
            evaluation_text(summary["evaluation"]).strip(),
            "## Gates",
            "\n".join(
                ["| | Checked | Set aside |", "| --- | ---: | ---: |"]
                + [f"| {inert(gate['name'])} | {gate['evaluated']} | {gate['quarantined']} |" for gate in summary["gates"]]
            ),
            "## Where it lies",
            "\n".join(f"- {name}: {inert(artifact['uri'])}" for name, artifact in summary["artifacts"].items()),
        ]
        create_markdown_artifact(
            key="overview", markdown="\n\n".join(part for part in parts if part), description=f"What {run} came to."
        )


def evaluation_text(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as Markdown: win, tie and lose with a bar each; shares before and after, with 95 % intervals."""
    parts = []
    for benchmark in figure_rows(figures):
        parts.append(f"## {inert(benchmark['name'])}" + (f" ({benchmark['n']})" if benchmark["n"] else ""))
        judged = benchmark["judged"]
        if judged:
            lines = ["| Tuned against base | | Share | |", "| --- | ---: | ---: | --- |"]
            for name in ("win", "tie", "lose"):
                share = judged[name] / judged["n"]
                lines.append(f"| {name} | {judged[name]} | {percent(share)} | {_bar(share)} |")
            parts.append("\n".join(lines))
            told = [f"Win rate {percent(judged['win_rate'])}{_interval(judged['ci95'])}."] if "win_rate" in judged else []
            told += [f"Judge: {inert(str(judged['judge']))}."] if judged["judge"] else []
            parts += [" ".join(told)] if told else []
        parts += [inert(remark) for remark in benchmark["remarks"]]
        if benchmark["shares"]:
            lines = ["| | Before | After | |", "| --- | ---: | ---: | --- |"]
            for row in benchmark["shares"]:
                after = f"{percent(row['after'])}{_interval(row['ci95'])}"
                label = inert(row["label"]) + (f" ({row['better']})" if row["better"] else "")
                lines.append(f"| {label} | {percent(row['before'])} | {after} | {_bar(row['after'])} |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _interval(ci95: Sequence[float] | None) -> str:
    return f" ({percent(ci95[0])} to {percent(ci95[1])})" if ci95 else ""


def _bar(share: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (_BAR - full)


def links(where: Mapping[str, str]) -> None:
    """A link each: name (of lower-case letters and dashes) -> URI or path."""
    for key, place in where.items():
        with harmless(f"the link to {key}"):
            link = quote(as_uri(place), safe="/:@%")  # brackets and spaces would end a link in Markdown
            create_link_artifact(key=key, link=link, link_text=inert(place), description=key.replace("-", " ").capitalize())


def as_uri(place: str) -> str:
    """A store's URI or path as a URI."""
    return place if "://" in place else Path(place).absolute().as_uri()


def made(what: str, place: str, of: Iterable[str], **told: Any) -> None:
    """Tell Prefect that the run made an asset from others, and what there is to tell about it. Places are URIs or paths."""
    with harmless(f"the lineage of {what}"):
        asset = Asset(key=_key(place), properties=AssetProperties(name=what, url=as_uri(place)))

        def publish() -> None:
            add_asset_metadata(asset, told)

        name = f"publish {what}"
        sources: list[str | Asset] = [_key(one) for one in of]
        MaterializingTask(fn=publish, assets=[asset], asset_deps=sources, name=name, task_run_name=name)()


def _key(place: str) -> str:
    """A URI as Prefect takes it for an asset: spaces, signs of percent and the like are not allowed there, not even encoded."""
    return re.sub(r"[^\w/:.~@+=,-]", "_", unquote(as_uri(place)), flags=re.ASCII)
