"""The failure signatures of a run, measured and held to their bounds by their gate."""

import json
from typing import Any, NamedTuple

from tasks.gating import passed
from tasks.runs import Evaluated, Simulated, Tuned, each_scene
from tasks.store import Store
from validations import gate
from validations.rules import Style
from validations.signatures import measure
from validations.suites import suite


class Signed(NamedTuple):
    """The failure signatures of a run."""

    figures: list[dict[str, Any]]
    """`name`, `what` (the failure, in words), `value` (None: not measured), `at_least` or `at_most`, and whether it is `ok`"""
    gate: dict[str, Any]


def sign(store: Store, run_id: str, style: Style, simulated: Simulated, tuned: Tuned, evaluated: Evaluated) -> Signed:
    """Measure them on what the stages have left. Their gate warns, it stops nothing."""
    answers = [
        (row["prompt"], row["tuned"]) for pairs in evaluated.pairs.values() for row in json.loads(store.get(pairs)) if row["tuned"]
    ]
    curves = (tuned.result or {}).get("held_out", {})
    measured = measure(each_scene(store, simulated.shards), answers, curves, evaluated.evaluation, style)
    judged = gate.check("signatures", [{"id": run_id, **measured}], style=style)
    figures = []
    for rule, found in zip(suite("signatures", style).rules, judged.expectations, strict=True):
        bound = {"at_least": rule.given["min_value"]} if "min_value" in rule.given else {"at_most": rule.given["max_value"]}
        figures.append({"name": rule.name, "what": rule.reason, "value": measured[rule.name], **bound, "ok": found.success})
    return Signed(figures, passed(judged, store))
