"""How fast the in-process engine is beside what else answers requests: ratios, each measured side by side in one process.

Both sides use the same weights, the same number format, the same machine and greedy decoding, and take turns; a row has the median
ratio of all turns and the spread. A slow side answers a part of the requests, as its row says. Where a schema would bind the
answers, it binds both sides or neither.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks import ratios
from benchmarks.generate import Generate
from benchmarks.steps import play
from matrix_core import models
from matrix_core.engines import local, spread
from matrix_core.engines.base import Finished, Progress
from matrix_core.engines.batch import common
from matrix_core.engines.local import LocalEngine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.pocket import language as say
from matrix_core.pocket import sets
from matrix_core.request import Completion, Request
from matrix_core.scene import Instruction, Scene, Settings
from matrix_core.steps import STEPS

TURNS = 3
SCENES = 256
"""Enough for waves that keep every process busy, as those of a run do."""
WAVE = 2000
SIZES = (16, 32, 64, 128, 256, 512)[3 * torch.cuda.is_available() :]
OPENING = 300

Side = Callable[[int], tuple[float, float]]
"""Number of the turn -> (how much was done, seconds)."""


class _Recorder:
    """An engine that notes what it was asked for."""

    def __init__(self, engine: SpreadEngine) -> None:
        self.fingerprint = engine.fingerprint
        self.waves: list[list[Request]] = []
        self._engine = engine

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        self.waves.append(list(requests))
        return self._engine.generate(requests, progress, finished)


def main() -> list[dict[str, Any]]:
    """Print and return the rows."""
    return [*embedded(), *sharing("smollm2", 24, (8, 12, 24), 3)]


def embedded() -> list[dict[str, Any]]:
    """The rows of the embedded model."""
    torch.set_flush_denormal(True)
    waves = recorded()
    return [_calls(waves), _wave(waves)]


def recorded() -> list[list[Request]]:
    """The waves of real scenes of the embedded model."""
    recorder = _Recorder(SpreadEngine(models.resolve("pocket")))
    play(sets.cases("train", SCENES), Settings(style="pocket", temperature=0.0), recorder)
    return recorder.waves


def _pocket(waves: list[list[Request]]) -> SpreadEngine:
    """The engine of the embedded model, with all its processes up."""
    engine = SpreadEngine(models.resolve("pocket"))
    engine.generate(max(waves, key=len)[:200])
    assert all(helper.is_up(wait=60) for helper in spread._helpers)
    return engine


def _calls(waves: list[list[Request]]) -> dict[str, Any]:
    engine, alone = _pocket(waves), LocalEngine(models.resolve("pocket"))
    single = [request for wave in waves for request in wave]
    single = single[:: len(single) // 100][:99]

    def ours(_: int) -> tuple[float, float]:
        return sum(map(len, waves)), timed(lambda: [engine.generate(wave) for wave in waves])

    def theirs(turn: int) -> tuple[float, float]:
        part = single[turn::TURNS]
        return len(part), timed(lambda: [alone.generate([request]) for request in part])

    distinct = sum(len({request.identity for request in wave}) for wave in waves)
    return measured(
        "calls of real scenes a second",
        10.0,
        f"pocket, {SCENES} scenes, {sum(map(len, waves))} calls in {len(waves)} waves under their schemas; {distinct} are distinct",
        f"the same engine, weights and schemas, one blocking call after another: {len(single)} of these calls, a third a turn",
        ours,
        theirs,
    )


def _wave(waves: list[list[Request]]) -> dict[str, Any]:
    spec = models.resolve("pocket")
    distinct = {request.identity: request for wave in waves for request in wave}
    some = list(distinct.values())[:: max(1, len(distinct) // WAVE)][:WAVE]
    requests = [request.model_copy(update={"json_schema": None}) for request in some]
    engine, rival = _pocket(waves), Generate(spec)
    prompts = rival.prompts(requests)
    order, most = sorted(range(len(prompts)), key=lambda i: len(prompts[i])), local.ROWS[models.device().type]
    said: dict[int, list[int]] = {}
    answers: list[Completion] = []

    def ours(_: int) -> tuple[float, float]:
        seconds = timed(lambda: answers.__setitem__(slice(None), engine.generate(requests)))
        return sum(c.completion_tokens for c in answers), seconds

    def static(size: int, every: int, first: int) -> tuple[float, float]:
        batches = [order[start : start + size] for start in range(0, len(order), size)][first::every]

        def work() -> None:
            for part in batches:
                limits = [requests[i].max_tokens for i in part]
                said.update(zip(part, rival.batch([prompts[i] for i in part], limits), strict=True))

        seconds = timed(work)
        return sum(len(said[i]) for part in batches for i in part), seconds

    best, speeds = _best(SIZES, lambda size: static(size, max(1, 512 // size), 256 // size))
    row = measured(
        f"generated tokens a second in a wave of {len(requests)} requests",
        2.0,
        f"pocket, prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, no schema, up to {most} rows",
        f"model.generate, sorted by length, static batches of {best} (the best of {speeds}); every fourth batch, others each turn",
        ours,
        lambda turn: static(best, 4, turn),
    )
    return row | {"same_answers": rival.same({i: answers[i].text for i in said}, said)}


def sharing(name: str, count: int, sizes: Sequence[int], part: int) -> list[dict[str, Any]]:
    """Answers to `count` prompts that begin alike; static batches are tried in these sizes, and of every `part`-th prompt else."""
    spec = models.resolve(name)
    engine, rival = LocalEngine(spec), Generate(spec)
    requests = requests_of(rival, count)
    prompts = rival.prompts(requests)
    limit = requests[0].max_tokens
    said: dict[int, list[int]] = {}
    answers: list[Completion] = []

    def ours(_: int) -> tuple[float, float]:
        return count, timed(lambda: answers.__setitem__(slice(None), engine.generate(requests)))

    def static(size: int) -> tuple[float, float]:
        some = range(size)
        seconds = timed(lambda: said.update(zip(some, rival.batch([prompts[i] for i in some], [limit] * size), strict=True)))
        return size, seconds

    def continuous(_: int) -> tuple[float, float]:
        return count // part, timed(lambda: rival.continuous(prompts[: count // part], limit))

    best, speeds = _best(sizes, static)
    mine = (
        f"{name}, {models.dtype_of(spec)}, {count} prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, the "
        f"first {common(prompts)} shared, answers of up to {limit} tokens"
    )
    first = measured(
        f"answers a second of {name} for prompts that share their beginning, beside model.generate",
        2.5,
        mine,
        f"model.generate, one static batch of {best} of these prompts (the best of {speeds})",
        ours,
        lambda _: static(best),
    )
    first |= {"same_answers": rival.same({i: answers[i].text for i in said}, said)}
    second = measured(
        f"answers a second of {name} for prompts that share their beginning, beside generate_batch",
        1.0,
        mine,
        f"model.generate_batch (continuous batching, blocks of 32 shared), {count // part} of these prompts",
        ours,
        continuous,
    )
    return [first, second]


def requests_of(rival: Generate, count: int) -> list[Request]:
    """The full prompts for the roles of a scene, the second worked example cut short, to make a beginning of 300 tokens."""
    cases = sets.cases("train", count)
    scenes = [Scene(instruction=Instruction.of(case.text), draft=say.helpful(case)) for case in cases]
    asked = [STEPS["roles"].ask(scene, Settings(temperature=0.0))[0] for scene in scenes]
    *examples, _ = asked[0].messages
    words = 0
    while True:
        second = [m.model_copy(update={"content": " ".join(m.content.split()[:words])}) for m in examples[3:5]]
        opening = (*examples[:3], *second)
        cut = [r.model_copy(update={"messages": (*opening, r.messages[-1]), "max_tokens": 32, "json_schema": None}) for r in asked]
        if common(rival.prompts(cut)) >= OPENING:
            return cut
        words += 1


def _best(sizes: Sequence[int], run: Callable[[int], tuple[float, float]]) -> tuple[int, str]:
    """The batch size with the most done a second, and all of these."""
    speeds = {size: amount / seconds for size in sizes for amount, seconds in [run(size)]}
    best = max(speeds, key=lambda size: speeds[size])
    return best, ", ".join(f"{size}: {speed:.4g}/s" for size, speed in speeds.items())


def measured(what: str, bound: float, ours_is: str, theirs_is: str, ours: Side, theirs: Side) -> dict[str, Any]:
    """Let both sides take turns, the first in every other turn. What either does first isn't counted: it loads and compiles."""
    ours(0)
    theirs(0)
    rates: dict[Side, list[float]] = {ours: [], theirs: []}
    for turn in range(TURNS):
        for side in (ours, theirs)[:: 1 if turn % 2 else -1]:
            amount, seconds = side(turn)
            rates[side].append(amount / seconds)
    ours_is, theirs_is = (
        f"{statistics.median(rates[side]):.4g}/s: {what_it_is}" for side, what_it_is in ((ours, ours_is), (theirs, theirs_is))
    )
    return ratios.row(what, [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)], bound, ours_is, theirs_is)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
