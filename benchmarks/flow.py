"""What everything around the model costs: the whole stage against the bare engine fed the same requests, and the gates' share.

Many requests of the embedded model's scenes are the same, word for word, and are asked once. So there are two measures: the engine
is fed all requests that the steps make, or only those of them that reach it in the stage, which leaves to the stage's side the cost
of finding that out, and of giving each scene its answer.

The stage does one shard's gates while the model answers another, so it can't be timed wave by wave. It runs in a process of its
own, which is stopped while the bare engine answers, in this one, what the stage has asked by then. So both run in turns of a few
seconds, each with the whole machine, and a machine that gets slower slows both. What the stage asks must be told across; meanwhile
its other processes stand still, and the time is nobody's. With two shards the other one's thread goes on for that while, which is
in the stage's favour, by less than the telling takes.
"""

import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from benchmarks import ratios
from benchmarks.engine import timed
from matrix_core.engines import spread
from matrix_core.engines.base import Engine
from matrix_core.engines.journal import JournalEngine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.errors import UserError
from matrix_core.models import resolve
from matrix_core.request import Completion, Request

TURNS = 3
SCENES, FEW = (128, 320, 640, 1280), 4
"""Of the embedded model as many as `make align` plays, which are one shard, a half and a fifth of it, and two such shards, played
side by side; of SmolLM2, which takes a hundred times as long for each, few."""

Fed = Literal["all requests of the steps", "the calls that reach it"]
Span = tuple[float, float]
"""From when to when, in seconds of `time.time`."""


def main() -> list[dict[str, Any]]:
    """`simulate` on the embedded model, and on SmolLM2 where it is; beside what it asks, asked once more of the same engine."""
    rows: list[dict[str, Any]] = []
    every: Fed = "all requests of the steps"
    for scenes in SCENES:
        rows += [_stage_row("pocket", scenes, every, _turns("pocket", scenes, 128, every)), *_rows("pocket", scenes, 128)]
    try:
        resolve("smollm2")
    except UserError as error:
        print(f"SmolLM2 is left out: {error}")
        return rows
    return rows + _rows("smollm2", FEW, 1, "--steps", "1")


def _rows(model: str, scenes: int, first: int, *more: str) -> list[dict[str, Any]]:
    """The stage beside the engine with the calls that reach it, and the gates."""
    turns = _turns(model, scenes, first, "the calls that reach it", *more)
    wholes, gates = [turn.whole for turn in turns], [turn.gates for turn in turns]
    return [
        _stage_row(model, scenes, "the calls that reach it", turns),
        ratios.row(
            f"share of the gates in the time of the stage: {model}, {scenes} scenes",
            [checks / whole for checks, whole in zip(gates, wholes, strict=True)],
            0.03,
            f"{ratios.seconds(gates)}: all gates",
            f"{ratios.seconds(wholes)}: simulate",
            at_least=False,
        ),
    ]


class Turn(NamedTuple):
    """Seconds of the stage, of the bare engine and of the gates, and how many requests the engine was fed."""

    whole: float
    engine: float
    gates: float
    requests: int


def _stage_row(model: str, scenes: int, fed: Fed, turns: Sequence[Turn]) -> dict[str, Any]:
    requests = statistics.median(turn.requests for turn in turns)
    return ratios.row(
        f"time of the whole stage, to the bare engine's with {fed}: {model}, {scenes} scenes",
        [turn.whole / turn.engine for turn in turns],
        1.05,
        f"{ratios.seconds([turn.whole for turn in turns])}: simulate, {scenes} scenes of {model}, other ones each turn",
        f"{ratios.seconds([turn.engine for turn in turns])}: {requests:,.0f} requests to the engine alone, wave by wave",
        at_least=False,
    )


def _turns(model: str, scenes: int, first: int, fed: Fed, *more: str) -> list[Turn]:
    """What comes `first`, that many scenes, isn't counted: both sides import, load, and start processes."""
    engine, spawn = SpreadEngine(resolve(model)), get_context("spawn")
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        stage = spawn.Process(target=_stage, args=(theirs, folder, model, fed, *more))
        stage.start()
        theirs.close()
        try:
            _turn(stage.pid, ours, engine, first, TURNS)
            assert all(helper.is_up(wait=60) for helper in spread._helpers)
            return [_turn(stage.pid, ours, engine, scenes, turn) for turn in range(TURNS)]
        finally:
            ours.close()
            stage.join()
            spread.rest()


def _turn(pid: int | None, stage: Connection, engine: SpreadEngine, scenes: int, seed: int) -> Turn:
    """One run of the stage, in turns with the bare engine."""
    stage.send((scenes, seed))
    calls: deque[Sequence[Request]] = deque()
    stops: list[Span] = []
    checks: list[Span] = []
    whole: Span | None = None
    began, alone, requests = time.time(), 0.0, 0
    while whole is None or calls:
        if calls and (whole or alone < _running((began, time.time()), stops)):
            since = time.time()
            with _stopped(_processes(pid)):
                requests += len(calls[0])
                alone += timed(lambda: engine.generate(calls.popleft()))
            stops.append((since, time.time()))
        elif stage.poll(1):
            match stage.recv():
                case "asking", since:
                    with _stopped(_processes(pid)[1:]):
                        stage.send("what")
                        calls.append(stage.recv())
                    # It may have been stopped between asking to tell and being heard.
                    stops.append((max(since, stops[-1][1] if stops else 0), time.time()))
                    stage.send("go on")
                case "checked", span:
                    checks.append(span)
                case "over", span:
                    whole = span
    return Turn(_running(whole, stops), alone, sum(_running(check, stops) for check in checks), requests)


def _processes(pid: int | None) -> list[psutil.Process]:
    """The stage's: the one that runs it, then those that it has started."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


@contextmanager
def _stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def _running(span: Span, stops: Sequence[Span]) -> float:
    """Seconds of the span in which the stage was not stopped."""
    begin, end = span
    return end - begin - sum(max(0.0, min(end, stop[1]) - max(begin, stop[0])) for stop in stops)


def _stage(told: Connection, folder: str, model: str, fed: Fed, *more: str) -> None:
    """The process of the stage: runs it as often as it is asked to, and tells what to feed the bare engine, and when gates check.

    It ends by itself, and Prefect's server with it.
    """
    from flows import cli
    from flows.prefect_settings import prefect_for

    with prefect_for(debug=False):  # set before anything imports Prefect
        from tasks.runs import Simulated, recall
        from tasks.store import open_store
        from validations import gate

    asks: Any = SpreadEngine if fed == "the calls that reach it" else JournalEngine
    answer, check, telling = asks.generate, gate.check, threading.Lock()

    def asked(self: Engine, requests: Sequence[Request], *given: Any, **named: Any) -> list[Completion]:
        with telling:  # while the others stand still: thousands of requests take their time, which is not the stage's
            told.send(("asking", time.time()))
            told.recv()
            told.send(requests)
            told.recv()
        answers: list[Completion] = answer(self, requests, *given, **named)
        return answers

    def checked(*given: Any, **named: Any) -> gate.GateResult:
        began = time.time()
        result = check(*given, **named)
        with telling:
            told.send(("checked", (began, time.time())))
        return result

    asks.generate, gate.check = asked, checked
    while True:
        try:
            scenes, seed = told.recv()
        except EOFError:
            return
        run = f"{model}-{scenes}-{seed}"
        chosen = ["--model", model, "--scenes", str(scenes), "--run-id", run, "--seed", str(seed), *more]
        cli.main(["simulate", "--store", folder, *chosen])
        ended = Path(folder, "runs", run, "stages", "simulate.json").stat().st_mtime
        told.send(("over", (ended - recall(open_store(folder), run, "simulate", Simulated).seconds, ended)))
