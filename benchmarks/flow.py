"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from flows import cli
from flows.options import RunOptions
from matrix_core import models
from matrix_core.engines.local import LocalEngine
from matrix_core.request import Completion, Request
from tasks.runs import Simulated, recall
from tasks.store import open_store
from validations import gate

SCENES = 640


def main() -> dict[str, Any]:
    """One run of `simulate` on the embedded model; then the very calls that it made, to a fresh engine, in the same process."""
    waves: list[list[Request]] = []
    checking = [0.0]
    answer, check = LocalEngine.generate, gate.check

    def noted(self: LocalEngine, requests: Sequence[Request], *more: Any, **named: Any) -> list[Completion]:
        waves.append(list(requests))
        return answer(self, requests, *more, **named)

    def timed(*given: Any, **named: Any) -> gate.GateResult:
        began = time.perf_counter()
        try:
            return check(*given, **named)
        finally:
            checking[0] += time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        cli.main(["simulate", "--store", folder, "--scenes", "4", "--run-id", "warm"])  # everything is imported, the model loaded
        waves.clear()
        LocalEngine.generate, gate.check = noted, timed  # type: ignore[method-assign]
        try:
            cli.main(["simulate", "--store", folder, "--scenes", str(SCENES), "--run-id", "measured", "--seed", "1"])
        finally:
            LocalEngine.generate, gate.check = answer, check  # type: ignore[method-assign]
        store = open_store(folder)
        whole = recall(store, "measured", "simulate", Simulated).seconds
        engine = LocalEngine(models.resolve(RunOptions.of().model))
        began = time.perf_counter()
        for wave in waves:
            engine.generate(wave)
        bare = time.perf_counter() - began
    table = {
        "scenes": SCENES,
        "calls": sum(map(len, waves)),
        "flow_seconds": whole,
        "engine_seconds": bare,
        "flow_to_engine": whole / bare,
        "gates_seconds": checking[0],
        "gates_share": checking[0] / whole,
    }
    print(f"flow: {whole:.1f} s against {bare:.1f} s of the bare engine, {table['flow_to_engine']:.3f} times")
    print(f"gates: {checking[0]:.1f} s, {100 * table['gates_share']:.1f} % of the stage")
    return table
