"""What each stage shows when it is done: its gates, something to read or to click, what results came from, a line in the log."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matrix_core.scene import Scene
from tasks import showing
from tasks.runs import Evaluated, Simulated, Tuned
from tasks.store import Store


def simulated(uri: str, instructions: str | None, done: Simulated, scenes: Iterable[Scene]) -> None:
    """`uri` is the run's, `instructions` what the run was given to play."""
    records = [record for record, _ in done.records]
    showing.gates("simulate", [record.gate for record in records if record.gate])
    showing.stories(scenes)
    showing.made("scenes", f"{uri}/scenes.jsonl", [_source(instructions)], scenes=done.count, instructions=done.instructions)
    calls = sum(record.calls for record, hit in done.records if not hit)
    cached = sum(record.cached_calls + record.calls * hit for record, hit in done.records)
    showing.note(
        f"simulate: {done.count} of {done.instructions} scenes finished, {calls} calls to the model, {cached} more from the cache"
    )


def tuned(uri: str, examples: str, done: Tuned) -> None:
    """`examples` is where the training examples lie."""
    showing.gates("tune", done.gates)
    showing.made("examples", examples, [f"{uri}/scenes.jsonl"], examples=done.count)
    if done.adapter is not None:
        showing.made("adapter", f"{uri}/adapter", [examples])
        showing.links({"adapter": f"{uri}/adapter"})
    showing.note(f"tune: {done.count} examples, {'no adapter' if done.adapter is None else 'an adapter'}")


def evaluated(done: Evaluated) -> None:
    """Base against tuned, as far as there is something to compare."""
    showing.gates("evaluate", done.gates)
    showing.evaluation(done.evaluation)
    showing.note(f"evaluate: {len(done.evaluation)} benchmarks, {done.calls.get('calls', 0)} calls to the model")


def documented(uri: str) -> None:
    """Where Data Docs are."""
    showing.links({"data-docs": f"{uri}/data_docs/index.html"})


def reported(uri: str, adapter: bool, gate: dict[str, Any]) -> None:
    """Where to look: the report, all files of the run; and the gate of the whole run."""
    showing.gates("report", [gate])
    places = {"report": f"{uri}/report.html", "run-folder": uri}
    showing.links(places)
    showing.made("report", f"{uri}/report.html", [f"{uri}/adapter" if adapter else f"{uri}/scenes.jsonl"])
    showing.note(f"report: {uri}/report.html")


def aligned(store: Store, run_id: str) -> None:
    """The whole run on one page, where the one looks who started it: its stages are runs of their own."""
    showing.overview(json.loads(store.read(run_id, "summary.json")))


def _source(instructions: str | None) -> str:
    """What stands for the instructions: a file, or a name for what has no place."""
    if instructions is None:
        return "matrix://instructions/own"
    return "matrix://instructions/standard-input" if instructions == "-" else str(Path(instructions).absolute())
