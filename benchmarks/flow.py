"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import ratios
from benchmarks.engine import timed
from flows import cli
from matrix_core.engines import spread
from matrix_core.engines.spread import SpreadEngine
from matrix_core.errors import UserError
from matrix_core.models import resolve
from matrix_core.request import Completion, Request
from tasks.runs import Simulated, recall
from tasks.store import open_store
from validations import gate

TURNS = 3
SCENES, FEW = 640, 4
"""Of the embedded model, and of SmolLM2, which takes a hundred times as long for each."""


def main() -> list[dict[str, Any]]:
    """`simulate` on the embedded model, and on SmolLM2 where it is; beside the very calls that it makes, to the same engine."""
    with tempfile.TemporaryDirectory() as folder:
        # What comes first isn't counted: it imports, loads, compiles, and starts the other processes.
        _simulate(folder, "pocket", 128, TURNS)
        while not all(helper.is_up() for helper in spread._helpers):
            time.sleep(0.1)
        rows = _rows(folder, "pocket", SCENES)
        try:
            resolve("smollm2")
        except UserError as error:
            print(f"SmolLM2 is left out: {error}")
            return rows
        _simulate(folder, "smollm2", FEW, TURNS, "--steps", "1")
        return rows + _rows(folder, "smollm2", FEW, "--steps", "1")


def _rows(folder: str, model: str, scenes: int, *more: str) -> list[dict[str, Any]]:
    """Each wave is answered twice in a row, in the flow and alone, in turns first: a machine that gets slower slows both."""
    alone: list[float] = []
    checking: list[float] = []
    answer, check = SpreadEngine.generate, gate.check

    def twice(self: SpreadEngine, requests: Sequence[Request], *given: Any, **named: Any) -> list[Completion]:
        first = len(alone) % 2 == 0
        if first:
            alone.append(timed(lambda: answer(self, requests)))
        answers = answer(self, requests, *given, **named)
        if not first:
            alone.append(timed(lambda: answer(self, requests)))
        return answers

    def checked(*given: Any, **named: Any) -> gate.GateResult:
        results: list[gate.GateResult] = []
        checking.append(timed(lambda: results.append(check(*given, **named))))
        return results[0]

    wholes, engines, gates = [], [], []
    for turn in range(TURNS):
        alone.clear()
        checking.clear()
        SpreadEngine.generate, gate.check = twice, checked  # type: ignore[method-assign]
        try:
            both = _simulate(folder, model, scenes, turn, *more)
        finally:
            SpreadEngine.generate, gate.check = answer, check  # type: ignore[method-assign]
        engines.append(sum(alone))
        wholes.append(both - engines[-1])
        gates.append(sum(checking))
    stage = f"{ratios.seconds(wholes)}: simulate, {scenes} scenes of {model}, other ones each turn"
    return [
        ratios.row(
            f"time of the whole stage, to the bare engine's: {model}",
            [whole / engine for whole, engine in zip(wholes, engines, strict=True)],
            1.05,
            stage,
            f"{ratios.seconds(engines)}: each wave once more to the engine alone, beside the first time",
            at_least=False,
        ),
        ratios.row(
            f"share of the gates in the time of the stage: {model}",
            [checks / whole for checks, whole in zip(gates, wholes, strict=True)],
            0.03,
            f"{ratios.seconds(gates)}: all gates",
            stage,
            at_least=False,
        ),
    ]


def _simulate(folder: str, model: str, scenes: int, seed: int, *more: str) -> float:
    """Seconds of the stage."""
    run = f"{model}-{scenes}-{seed}"
    chosen = ["--model", model, "--scenes", str(scenes), "--run-id", run, "--seed", str(seed), *more]
    cli.main(["simulate", "--store", folder, *chosen])
    return recall(open_store(folder), run, "simulate", Simulated).seconds
