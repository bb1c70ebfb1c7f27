"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import ratios
from flows import cli
from matrix_core.engines import spread
from matrix_core.engines.spread import SpreadEngine
from matrix_core.request import Completion, Request
from tasks.engines import Model, engine
from tasks.runs import Simulated, recall
from tasks.store import open_store
from validations import gate

SCENES, TURNS = 640, 3


def main() -> list[dict[str, Any]]:
    """`simulate` on the embedded model; then the very calls that it made, to the same engine, in the same process."""
    waves: list[list[Request]] = []
    checking = [0.0]
    answer, check = SpreadEngine.generate, gate.check

    def noted(self: SpreadEngine, requests: Sequence[Request], *more: Any, **named: Any) -> list[Completion]:
        waves.append(list(requests))
        return answer(self, requests, *more, **named)

    def timed(*given: Any, **named: Any) -> gate.GateResult:
        began = time.perf_counter()
        try:
            return check(*given, **named)
        finally:
            checking[0] += time.perf_counter() - began

    bare = engine(Model(name="pocket"))
    wholes, engines, gates = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        _simulate(folder, 128, seed=99)  # everything is imported, the model loaded, the other processes started
        while not all(helper.is_up() for helper in spread._helpers):
            time.sleep(0.1)
        for turn in range(TURNS):
            waves.clear()
            checking[0] = 0.0
            SpreadEngine.generate, gate.check = noted, timed  # type: ignore[method-assign]
            try:
                wholes.append(_simulate(folder, SCENES, seed=turn))
            finally:
                SpreadEngine.generate, gate.check = answer, check  # type: ignore[method-assign]
            gates.append(checking[0])
            began = time.perf_counter()
            for wave in waves:
                bare.generate(wave)
            engines.append(time.perf_counter() - began)
    stage = f"{ratios.seconds(wholes)}: simulate, {SCENES} scenes of the embedded model, other ones each turn"
    return [
        ratios.row(
            "time of the whole stage, to the bare engine's",
            [whole / bare for whole, bare in zip(wholes, engines, strict=True)],
            1.05,
            stage,
            f"{ratios.seconds(engines)}: the same waves to the engine alone",
            at_least=False,
        ),
        ratios.row(
            "share of the gates in the time of the stage",
            [gate / whole for gate, whole in zip(gates, wholes, strict=True)],
            0.03,
            f"{ratios.seconds(gates)}: all gates",
            stage,
            at_least=False,
        ),
    ]


def _simulate(folder: str, scenes: int, seed: int) -> float:
    """Seconds of the stage."""
    run = f"scenes-{scenes}-seed-{seed}"
    cli.main(["simulate", "--store", folder, "--scenes", str(scenes), "--run-id", run, "--seed", str(seed)])
    return recall(open_store(folder), run, "simulate", Simulated).seconds
