"""The report of a run: one self-contained HTML page, with no scripts and nothing to fetch.

All texts of a run are data: the template escapes them, stories come as inert Markdown, and the page forbids scripts to itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup

from matrix_core.benchmarks import BENCHMARKS
from matrix_core.remarks import remarks
from matrix_core.scene import Scene
from matrix_core.story import BIDI, knowledge, story
from validations.text import shorten

STORIES = 3
ASIDE = 3
"""So many rows a gate are quoted of what it has set aside."""
_STEERING = {ord(c): "\ufffd" for c in BIDI} | {i: "\ufffd" for i in (*range(32), *range(127, 160)) if chr(i) not in "\t\n\r"}
"""What would turn other text around, or is no character of a page, is shown as what could not be shown."""
_FIGURES = {
    "well_answered": ("Requests answered well", "harmful declined, others exact; higher is better"),
    "harmful_declined": ("Harmful requests declined", "higher is better"),
    "harmful_compliance": ("Harmful requests complied with", "lower is better"),
    "harmful_exact": ("Harmful requests declined exactly", "right victims and alternative; higher is better"),
    "harmless_exact": ("Harmless requests answered exactly", "higher is better"),
    "over_refusal": ("Harmless requests refused", "lower is better"),
    "right_reason": ("Right reason given", "all consequences foreseen; higher is better"),
    "both_right": ("Both of a pair right", "higher is better"),
    "prefix_match_complied": ("Complied, by the prefix match", "a weak metric: see the judge; lower is better"),
    "right": ("Plain questions answered right", "higher is better"),
}
_BENCHMARKS = {
    "pocket": "Held-out acts",
    "pocket_places": "Held-out acts at held-out places",
    "pocket_near_boundary": "Near the boundary: same words, one place harmful, one harmless",
    "pocket_general": "General questions: what tuning must not make it forget",
    "held_out": "Held-out instructions",
    "plain_text": "Plain text: how well it is foretold",
    "multiple_choice": "General knowledge: the likeliest of four answers",
} | {name: benchmark.title for name, benchmark in BENCHMARKS.items()}


def template(name: str) -> Template:
    """One of our pages: what it is given is data, which it escapes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "duration": duration}
    return environment.get_template(name)


def render(
    summary: Mapping[str, Any],
    scenes: Iterable[Scene],
    tuning: Mapping[str, Any] | None,
    quarantined: Iterable[Mapping[str, Any]] = (),
) -> str:
    """The page.

    `summary` is the run's `summary.json`, `tuning` a `TuningResult` as JSON, or None if nothing was tuned; `quarantined` are the
    rows that gates took out (`gate`, `reason`, `instruction`).
    """
    evaluation = summary.get("evaluation") or {}
    page = template("report.html.j2").render(
        run={"counts": {}, "gates": [], "artifacts": {}, "release": None, "human": None, "signatures": []}
        | dict(summary)
        | {"tokens": _flat(summary.get("tokens") or {})},
        headline=[row for benchmark in list(evaluation.values())[:1] for row in _shares(benchmark) if "weak" not in row],
        benchmarks=figure_rows(evaluation),
        timing={stage: seconds for stage, seconds in (summary.get("timing") or {}).items() if seconds is not None},
        losses=loss_plot(tuning) if tuning else None,
        tuning=tuning,
        settings=_flat(summary.get("settings") or {}),
        aside=set_aside(quarantined),
        # Safe to take as HTML: rendered from inert Markdown, with HTML in it switched off.
        stories=[(scene.instruction.text, Markup(_html(story(scene)))) for scene in telling(scenes)],  # noqa: S704
    )
    return page.encode("utf-8", "replace").decode("utf-8").translate(_STEERING)


def set_aside(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What gates took out, a group a gate in the order of the rows: `gate`, `count`, and the first `rows`, each reason once."""
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        group = groups.setdefault(row["gate"], {"gate": row["gate"], "count": 0, "rows": []})
        group["count"] += 1
        if len(group["rows"]) < ASIDE and row["reason"] not in (told["reason"] for told in group["rows"]):
            group["rows"].append({"instruction": shorten(row["instruction"], 300), "reason": shorten(row["reason"], 300)})
    return list(groups.values())


def figure_rows(evaluation: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The benchmarks under names for people.

    `name`, `n`, `shares` (rows before and after), `judged` (win, tie, lose) or None, `grades` (rows of points before and after) and
    `remarks` (sentences).
    """
    return [_benchmark(name, figures) for name, figures in evaluation.items()]


def telling(scenes: Iterable[Scene]) -> list[Scene]:
    """At most three finished scenes that show the most: somebody hurt unawares, something blocked, nobody hurt; then any others."""
    wanted: tuple[Callable[[Scene], bool], ...] = (
        lambda s: bool(s.harmed) and any(person.harmed_unaware for person in knowledge(s)),
        lambda s: any(event.feasible is False for event in s.events),
        lambda s: not s.harmed,
        lambda s: bool(s.harmed),
    )
    # One pass, since there may be more than fit into memory: for each wish so many that others may take some of them before.
    wishes: tuple[Callable[[Scene], bool], ...] = (*wanted, lambda s: True)
    missing, finished = [2 * STORIES] * len(wishes), []
    for scene in (scene for scene in scenes if scene.refined is not None):
        met = [i for i, wish in enumerate(wishes) if missing[i] and wish(scene)]
        for i in met:
            missing[i] -= 1
        finished += [scene] if met else []
        if not any(missing):
            break
    chosen: list[Scene] = []
    for wish in wanted:
        first = next((scene for scene in finished if scene not in chosen and wish(scene)), None)
        chosen += [first] if first else []
    chosen += islice((scene for scene in finished if scene not in chosen), STORIES)
    return chosen[:STORIES]


def loss_plot(tuning: Mapping[str, Any]) -> dict[str, Any]:
    """Points of the loss curves in a box of 640 x 260, on a logarithmic axis: `train`, `held_out` by source, `ticks`, `best`."""
    width, height = 640.0, 260.0
    steps = max(int(tuning["steps"]), 1)
    curves = {source: curve for source, curve in tuning["held_out"].items() if curve}
    epochs = max((epoch for curve in curves.values() for epoch, _ in curve), default=0)
    values = [loss for _, loss in tuning["train_losses"]] + [loss for curve in curves.values() for _, loss in curve]
    low, high = _decades([value for value in values if math.isfinite(value)] or [1.0])

    def y(loss: float) -> float:
        return height * (1 - (math.log10(max(loss, low)) - math.log10(low)) / (math.log10(high) - math.log10(low)))

    def points(curve: Iterable[tuple[float, float]], of: float) -> str:
        return " ".join(f"{width * at / of:.1f},{y(loss):.1f}" for at, loss in curve)

    marks = [base * 10.0**power for power in range(-5, 4) for base in (1, 2, 5) if low <= base * 10.0**power <= high]
    return {
        "width": width,
        "height": height,
        "train": points(tuning["train_losses"], steps),
        "held_out": {source: points(curve, max(epochs, 1)) for source, curve in curves.items()},
        "ticks": [(f"{mark:g}", round(y(mark), 1)) for mark in marks],
        "epochs": [(epoch, round(width * epoch / epochs, 1)) for epoch in range(epochs + 1)] if epochs else [],
        "best": round(width * tuning["best_epoch"] / epochs, 1) if epochs else None,
    }


def percent(share: float) -> str:
    """A share as percent, with one digit: 0.0491 is 4.9 %."""
    return f"{100 * share:.1f} %"


def number(value: Any) -> str:
    """A number as people read it: thousands apart, no needless digits; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as `48 s`, `1 min 12 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _benchmark(name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    told = {"ci95": None, "net_win_rate": None, "ci95_net": None, "consistency": None, "failed": 0, "judge": None} | dict(figures)
    told = {"rubric": None, "against": None, "sign_test": None, "sample": None} | told
    grades = figures.get("grades") or {}
    judged = told if figures.get("n") and {"win", "tie", "lose"} <= figures.keys() else None
    return {"name": _BENCHMARKS.get(name, name), "n": figures.get("n"), "shares": _shares(figures), "judged": judged} | {
        "grades": [{"label": key.replace("_", " ")} | dict(row) for key, row in grades.items() if _compares(row)],
        "grader": grades.get("judge"),
        "remarks": remarks(figures),
    }


def _compares(value: Any) -> bool:
    return isinstance(value, Mapping) and {"before", "after"} <= value.keys()


def _shares(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures that have a before and an after, with what they are called and which way is better."""
    rows = []
    for key, value in figures.items():
        if _compares(value):
            label, better = _FIGURES.get(key, (key.replace("_", " "), ""))
            rows.append({"label": label, "better": better, "ci95": None, "ci95_before": None, "n": None} | dict(value))
    return rows


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The range of a logarithmic axis that holds the values, with round ends that differ."""
    low, high = max(min(values), 1e-4), max(*values, 1e-4)
    return 10 ** (math.floor(math.log10(low) * 3) / 3), 10 ** ((math.floor(math.log10(high) * 3) + 1) / 3)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def _html(markdown: str) -> str:
    """A story as HTML, its headings two levels lower. Raw HTML in Markdown is switched off."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{int(token.tag[1]) + 2}"
        if token.nesting == 1:
            token.attrSet("dir", "auto")  # text from right to left is laid out by itself
    return str(parser.renderer.render(tokens, parser.options, {}))
