"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import ratios
from flows import cli
from matrix_core.engines import spread
from matrix_core.engines.spread import SpreadEngine
from matrix_core.errors import UserError
from matrix_core.models import resolve
from matrix_core.request import Completion, Message, Request
from tasks.engines import Model, engine
from tasks.runs import Simulated, recall
from tasks.store import open_store
from validations import gate

TURNS = 3
SCENES, FEW = 640, 4
"""Of the embedded model, and of SmolLM2, which takes a hundred times as long for each."""


def main() -> list[dict[str, Any]]:
    """`simulate` on the embedded model, and on SmolLM2 where it is; then the very calls that it made, to the same engine."""
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
    waves: list[list[Request]] = []
    checking = [0.0]
    answer, check = SpreadEngine.generate, gate.check

    def noted(self: SpreadEngine, requests: Sequence[Request], *given: Any, **named: Any) -> list[Completion]:
        waves.append(list(requests))
        return answer(self, requests, *given, **named)

    def timed(*given: Any, **named: Any) -> gate.GateResult:
        began = time.perf_counter()
        try:
            return check(*given, **named)
        finally:
            checking[0] += time.perf_counter() - began

    bare = engine(Model(name=model))
    bare.generate([Request(messages=(Message(role="user", content="Hello."),), max_tokens=1)])
    wholes, engines, gates = [], [], []
    for turn in range(TURNS):
        waves.clear()
        checking[0] = 0.0
        SpreadEngine.generate, gate.check = noted, timed  # type: ignore[method-assign]
        try:
            wholes.append(_simulate(folder, model, scenes, turn, *more))
        finally:
            SpreadEngine.generate, gate.check = answer, check  # type: ignore[method-assign]
        gates.append(checking[0])
        began = time.perf_counter()
        for wave in waves:
            bare.generate(wave)
        engines.append(time.perf_counter() - began)
    stage = f"{ratios.seconds(wholes)}: simulate, {scenes} scenes of {model}, other ones each turn"
    return [
        ratios.row(
            f"time of the whole stage, to the bare engine's: {model}",
            [whole / bare for whole, bare in zip(wholes, engines, strict=True)],
            1.05,
            stage,
            f"{ratios.seconds(engines)}: the same waves to the engine alone",
            at_least=False,
        ),
        ratios.row(
            f"share of the gates in the time of the stage: {model}",
            [gate / whole for gate, whole in zip(gates, wholes, strict=True)],
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
