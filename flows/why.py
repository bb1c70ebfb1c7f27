"""What `matrix-align why` prints: for each cached task of a run whether its result came from the cache, and if not, why."""

import json
from collections import Counter
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.finding import suggest
from matrix_core.errors import UserError
from tasks.inputs import printable
from tasks.runs import Done, Evaluated, Simulated, Tuned, recall
from tasks.store import Store

_STAGES: dict[str, type[BaseModel]] = {"simulate": Simulated, "tune": Tuned, "evaluate": Evaluated}


def steps(store: Store, run_id: str) -> list[dict[str, Any]]:
    """One row a step, in the order of the run: its stage, how often it came from the cache and how often not, and the reasons.

    Raises UserError if no stage of the run is finished.
    """
    rows: dict[str, dict[str, Any]] = {}
    for stage, kind in _STAGES.items():
        try:
            found: Any = recall(store, run_id, stage, kind)
            done: list[Done] = (found.whole if stage == "evaluate" else found).steps
        except UserError:
            if stage == "simulate":
                raise
            break
        for one in done:
            row = rows.setdefault(one.step, {"stage": stage, "step": one.step, "cached": 0, "done": 0, "why": Counter()})
            row["cached" if one.cached else "done"] += 1
            if not one.cached:
                row["why"][one.why] += 1
    return [row | {"why": [reason for reason, _ in row["why"].most_common()]} for row in rows.values()]


def show_why(store: Store, run_id: str, step: str | None, console: Console, as_json: bool) -> None:
    """Print the rows, or the one of `step`. Raises UserError if the run has no such step."""
    rows = steps(store, run_id)
    if step is not None:
        names = [row["step"] for row in rows]
        rows = [row for row in rows if row["step"] == step]
        if not rows:
            raise UserError(f"run {run_id} has no step {step!r}: {suggest(step, names, 'it has none yet')}")
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table("stage", "step", "from the cache", "done", "why it was done")
    for row in rows:
        table.add_row(
            row["stage"], row["step"], str(row["cached"]), str(row["done"]), Text(printable("; ".join(row["why"]), 2_000))
        )
    console.print(table)
