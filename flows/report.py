"""The last stage: every number of a run in `summary.json`, its lineage in `manifest.json`, and one page to look at."""

import json
import platform
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import flow

from flows.options import RunOptions
from matrix_core import release
from tasks import cards, data_docs, exhibits
from tasks.reporting import render
from tasks.runs import RATED, Evaluated, Simulated, Tuned, each_scene, each_set_aside, recall
from tasks.signatures import Signed, sign
from tasks.spending import spent
from tasks.store import MissingError, Reference, Store

VERSIONS = ("torch", "transformers", "peft", "trl", "datasets", "prefect", "great-expectations", "llguidance")


@flow(name="report", flow_run_name="report {options.run}")
def report(options: RunOptions) -> str:
    """Write summary, manifest and page from what the stages have left. Returns the URI of the run."""
    options = options.continuing()
    store = options.prepare()
    simulated = recall(store, options.run, "simulate", Simulated)
    tuned = recall(store, options.run, "tune", Tuned)
    evaluated = recall(store, options.run, "evaluate", Evaluated).whole
    signed = sign(store, options.run, options.settings.style, simulated, tuned, evaluated)
    site = data_docs.publish(store, options.run, [*gates_of(simulated, tuned, evaluated), signed.gate])
    summary = summarise(options, store, simulated, tuned, evaluated, signed)
    if site is not None:
        exhibits.documented(options.uri)
        summary["artifacts"]["data_docs"] = {"uri": f"{options.uri}/data_docs/index.html", "sha256": site.sha256}
    page = render(summary, each_scene(store, simulated.shards), tuned.result, each_set_aside(store, quarantines(simulated, tuned)))
    reference = store.put(page.encode(), ".html")
    store.write(options.run, "report.html", page.encode())
    summary["artifacts"]["report"] = {"uri": options.uri + "/report.html", "sha256": reference.sha256}
    store.write(options.run, "summary.json", as_json(summary))
    publish_cards(options, store, tuned, summary)
    store.write(options.run, "manifest.json", as_json(manifest(options, simulated, tuned, summary)))
    exhibits.reported(options.uri, tuned.adapter is not None, signed.gate)
    return options.uri


def gates_of(simulated: Simulated, tuned: Tuned, evaluated: Evaluated) -> list[dict[str, Any]]:
    """What all gates of a run said."""
    return [record.gate for record, _ in simulated.records if record.gate] + tuned.gates + evaluated.gates


def quarantines(simulated: Simulated, tuned: Tuned) -> list[Reference]:
    """Where the rows lie that gates took out."""
    return [*simulated.quarantines, *([tuned.quarantine] if tuned.quarantine else [])]


def as_json(value: Any) -> bytes:
    """Indented JSON with a final line end."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def summarise(
    options: RunOptions, store: Store, simulated: Simulated, tuned: Tuned, evaluated: Evaluated, signed: Signed
) -> dict[str, Any]:
    """All numbers of a run."""
    records = [record for record, _ in simulated.records]
    asked = [record for record, cached in simulated.records if not cached]
    gates = merged([*gates_of(simulated, tuned, evaluated), signed.gate])
    quarantined = store.read(options.run, "quarantine.jsonl").count(b"\n")
    artifacts: dict[str, Any] = {
        "scenes": where(options, simulated.scenes, "scenes.jsonl"),
        "examples": {"uri": store.locate(tuned.examples), "sha256": tuned.examples.sha256},
    }
    if tuned.adapter is not None:
        weights = json.loads(store.get(tuned.adapter))["adapter_model.safetensors"]
        artifacts["adapter"] = {"uri": options.uri + "/adapter", "sha256": weights["sha256"]}
    counts = {
        "instructions": simulated.instructions,
        "duplicates": simulated.duplicates,
        "scenes": simulated.count,
        "quarantined": quarantined,
        "examples": tuned.count,
        "re_asked": sum(record.re_asked for record in records),
    }
    used = spent(store, options.run)
    cost = options.budget.cost(used.prompt_tokens, used.completion_tokens)
    tokens: dict[str, Any] = {
        "prompt": sum(r.prompt_tokens for r in asked) + evaluated.calls.get("prompt", 0),
        "completion": sum(r.completion_tokens for r in asked) + evaluated.calls.get("completion", 0),
        "calls": sum(r.calls for r in asked) + evaluated.calls.get("calls", 0),
        "cached_calls": sum(r.cached_calls + r.calls * cached for r, cached in simulated.records)
        + evaluated.calls.get("cached_calls", 0),
        "calls_per_scene": round(sum(r.calls + r.cached_calls for r in records) / simulated.count, 1),
        # Unlike the counts above, these are of all commands that the run took: its money, and why it took long.
        "troubles": used.troubles,
    } | ({} if cost is None else {"cost_usd": round(cost, 6)})
    return {
        "run_id": options.run,
        "model": options.model,
        "settings": options.settings.model_dump(mode="json") | {"instructions": options.instructions, "scenes": options.scenes},
        "counts": counts,
        "gates": gates,
        "tokens": tokens,
        "timing": {"simulate": simulated.seconds, "tune": tuned.seconds, "evaluate": evaluated.seconds},
        "evaluation": evaluated.evaluation,
        "human": rated(store, options.run),
        "release": release.decide(evaluated.evaluation),
        "signatures": signed.figures,
        "artifacts": artifacts,
    }


def rated(store: Store, run_id: str) -> dict[str, Any] | None:
    """What raters found, as `rate import` has left it last."""
    try:
        return dict(json.loads(store.read(run_id, RATED)))
    except MissingError:
        return None


def publish_cards(options: RunOptions, store: Store, tuned: Tuned, summary: dict[str, Any]) -> None:
    """The examples as a dataset with its card, and the adapter's card beside it: both folders can go to the hub as they are."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "train.parquet")
        store.fetch(tuned.examples, file)
        store.write_file(options.run, cards.EXAMPLES, file)
    store.write(options.run, "dataset/README.md", cards.dataset_card(summary).encode())
    if tuned.adapter is not None:
        store.write(options.run, "adapter/README.md", cards.model_card(summary).encode())


def where(options: RunOptions, reference: Reference, name: str) -> dict[str, str]:
    """An artifact under the run's own folder."""
    return {"uri": f"{options.uri}/{name}", "sha256": reference.sha256}


def merged(gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a gate, over all shards and waves."""
    out: dict[str, dict[str, Any]] = {}
    for gate in gates:
        row = out.setdefault(
            gate["name"],
            {"name": gate["name"], "passed": True, "evaluated": 0, "quarantined": 0, "success_percent": 100.0}
            | {"problems": [], "warnings": []},
        )
        row["passed"] = row["passed"] and gate["passed"]
        row["evaluated"] += gate["evaluated"]
        row["quarantined"] += gate["quarantined"]
        for said in ("problems", "warnings"):
            row[said] = sorted({*row[said], *gate[said]})[:5]
        row["success_percent"] = round(100 * (1 - row["quarantined"] / max(1, row["evaluated"])), 2)
    return list(out.values())


def manifest(options: RunOptions, simulated: Simulated, tuned: Tuned, summary: dict[str, Any]) -> dict[str, Any]:
    """All that the run made, and from what: references, settings, versions, commit."""
    return {
        "run_id": options.run,
        "options": options.model_dump(mode="json", exclude={"refresh"}),
        **versions(options),
        "lineage": {
            "scenes": simulated.scenes.model_dump(),
            "examples": {**tuned.examples.model_dump(), "from": simulated.scenes.sha256},
            "adapter": {**tuned.adapter.model_dump(), "from": tuned.examples.sha256} if tuned.adapter else None,
            "report": summary["artifacts"]["report"],
        },
        "quarantines": [reference.model_dump() for reference in quarantines(simulated, tuned)],
    }


def versions(options: RunOptions) -> dict[str, Any]:
    """What numbers depend on besides the options: the weights, the packages, this program."""
    return {
        "model": options.model if options.endpoint else options.spec.fingerprint,
        "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of this program's own checkout; None where it was installed without one."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
