"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share.

The stage does one shard's gates while the model answers another, so it can't be timed wave by wave. It runs in a process of its
own, which is stopped while the bare engine answers, in this one, what the stage has asked by then. So both run in turns of a few
seconds, each with the whole machine, and a machine that gets slower slows both.
"""

import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from benchmarks import ratios
from benchmarks.engine import timed
from matrix_core.engines import spread
from matrix_core.engines.spread import SpreadEngine
from matrix_core.errors import UserError
from matrix_core.models import resolve
from matrix_core.request import Completion, Request

TURNS = 3
SCENES, FEW = (640, 1280), 4
"""Of the embedded model as many as `make align` plays, which are one shard, and two such shards, which are played side by side; of
SmolLM2, which takes a hundred times as long for each, few."""

Span = tuple[float, float]
"""From when to when, in seconds of `time.time`."""


def main() -> list[dict[str, Any]]:
    """`simulate` on the embedded model, and on SmolLM2 where it is; beside the very calls that it makes, to the same engine."""
    rows = [row for scenes in SCENES for row in _rows("pocket", scenes, 128)]
    try:
        resolve("smollm2")
    except UserError as error:
        print(f"SmolLM2 is left out: {error}")
        return rows
    return rows + _rows("smollm2", FEW, 1, "--steps", "1")


def _rows(model: str, scenes: int, first: int, *more: str) -> list[dict[str, Any]]:
    """The rows of a model. What comes `first`, that many scenes, isn't counted: both sides import, load, and start processes."""
    engine, spawn = SpreadEngine(resolve(model)), get_context("spawn")
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        stage = spawn.Process(target=_stage, args=(theirs, folder, model, *more))
        stage.start()
        theirs.close()
        try:
            _turn(stage.pid, ours, engine, first, TURNS)
            assert all(helper.is_up(wait=60) for helper in spread._helpers)
            wholes, engines, gates = zip(*[_turn(stage.pid, ours, engine, scenes, turn) for turn in range(TURNS)], strict=True)
        finally:
            ours.close()
            stage.join()
    spread.rest()
    said = f"{ratios.seconds(wholes)}: simulate, {scenes} scenes of {model}, other ones each turn"
    return [
        ratios.row(
            f"time of the whole stage, to the bare engine's: {model}, {scenes} scenes",
            [whole / engine for whole, engine in zip(wholes, engines, strict=True)],
            1.05,
            said,
            f"{ratios.seconds(engines)}: the same calls once more to the engine alone, one by one, in turns with the stage",
            at_least=False,
        ),
        ratios.row(
            f"share of the gates in the time of the stage: {model}, {scenes} scenes",
            [checks / whole for checks, whole in zip(gates, wholes, strict=True)],
            0.03,
            f"{ratios.seconds(gates)}: all gates",
            said,
            at_least=False,
        ),
    ]


def _turn(pid: int | None, stage: Connection, engine: SpreadEngine, scenes: int, seed: int) -> tuple[float, float, float]:
    """Seconds of the stage, of the bare engine with the same calls, and of the gates, in one run of the stage."""
    stage.send((scenes, seed))
    calls: deque[Sequence[Request]] = deque()
    stops: list[Span] = []
    checks: list[Span] = []
    whole: Span | None = None
    began, alone = time.time(), 0.0
    while whole is None or calls:
        if calls and (whole or alone < _running((began, time.time()), stops)):
            since = time.time()
            processes = _suspended(pid)
            try:
                alone += timed(lambda: engine.generate(calls.popleft()))
            finally:
                for process in processes:
                    process.resume()
            stops.append((since, time.time()))
        elif stage.poll(1):
            match stage.recv():
                case "asked", requests:
                    calls.append(requests)
                case "checked", span:
                    checks.append(span)
                case "over", span:
                    whole = span
    return _running(whole, stops), alone, sum(_running(check, stops) for check in checks)


def _suspended(pid: int | None) -> list[psutil.Process]:
    """The stage's processes, stopped."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        process.suspend()
    return processes


def _running(span: Span, stops: Sequence[Span]) -> float:
    """Seconds of the span in which the stage was not stopped."""
    begin, end = span
    return end - begin - sum(max(0.0, min(end, stop[1]) - max(begin, stop[0])) for stop in stops)


def _stage(told: Connection, folder: str, model: str, *more: str) -> None:
    """The process of the stage: runs it as often as it is asked to, and tells what it asks its engine and when gates check.

    It ends by itself, and Prefect's server with it.
    """
    from flows import cli
    from flows.prefect_settings import prefect_for

    with prefect_for(debug=False):  # set before anything imports Prefect
        from tasks.runs import Simulated, recall
        from tasks.store import open_store
        from validations import gate

    answer, check, telling = SpreadEngine.generate, gate.check, threading.Lock()

    def tell(*what: Any) -> None:
        with telling:
            told.send(what)

    def asked(self: SpreadEngine, requests: Sequence[Request], *given: Any, **named: Any) -> list[Completion]:
        tell("asked", requests)
        return answer(self, requests, *given, **named)

    def checked(*given: Any, **named: Any) -> gate.GateResult:
        began = time.time()
        result = check(*given, **named)
        tell("checked", (began, time.time()))
        return result

    SpreadEngine.generate, gate.check = asked, checked  # type: ignore[method-assign]
    while True:
        try:
            scenes, seed = told.recv()
        except EOFError:
            return
        run = f"{model}-{scenes}-{seed}"
        chosen = ["--model", model, "--scenes", str(scenes), "--run-id", run, "--seed", str(seed), *more]
        cli.main(["simulate", "--store", folder, *chosen])
        ended = Path(folder, "runs", run, "stages", "simulate.json").stat().st_mtime
        tell("over", (ended - recall(open_store(folder), run, "simulate", Simulated).seconds, ended))
