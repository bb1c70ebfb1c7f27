"""How fast the in-process engine is beside what else answers requests: ratios, each measured side by side in one process.

Both sides use the same weights, the same number format, the same machine and greedy decoding, and take turns; a row has the median
ratio of all turns and the spread. A slow side answers a part of the requests, as its row says. Where a schema would bind the
answers, it binds both sides or neither.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.steps import play
from matrix_core import models
from matrix_core.engines import local
from matrix_core.engines.base import Finished, Progress
from matrix_core.engines.batch import common
from matrix_core.engines.chat import Chat
from matrix_core.engines.local import LocalEngine
from matrix_core.pocket import language as say
from matrix_core.pocket import sets
from matrix_core.request import Completion, Request
from matrix_core.scene import Instruction, Scene, Settings
from matrix_core.steps import STEPS

TURNS = 3
SCENES = 100
WAVE = 2000
SIZES = (16, 32, 64, 128)
SHARING = 24
OPENING = 300

Side = Callable[[int], tuple[float, float]]
"""Number of the turn -> (how much was done, seconds)."""


class _Recorder:
    """An engine that notes what it was asked for."""

    def __init__(self, engine: LocalEngine) -> None:
        self.fingerprint = engine.fingerprint
        self.waves: list[list[Request]] = []
        self._engine = engine

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        self.waves.append(list(requests))
        return self._engine.generate(requests, progress, finished)


class _Generate:
    """`model.generate` on a copy of the model with transformers' own attention."""

    def __init__(self, spec: models.ModelSpec) -> None:
        shared, _ = models.load(spec)
        self.model = copy.deepcopy(shared)
        self.model.set_attn_implementation("sdpa")
        self.ends = local._ends(self.model, spec)
        self.chat = Chat(models.tokenizer(spec))

    def prompts(self, requests: Sequence[Request]) -> list[list[int]]:
        return [ids for ids in self.chat.encode([r.messages for r in requests]) if isinstance(ids, list)]

    def batch(self, prompts: Sequence[list[int]], limits: Sequence[int]) -> list[list[int]]:
        """Answers of one static batch, without their end tokens, each cut at its own limit."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[self.ends[0]] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        out = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(limits),
            do_sample=False,
            eos_token_id=list(self.ends),
            pad_token_id=self.ends[0],
        )
        return [self.answer(row.tolist(), limit) for row, limit in zip(out[:, longest:], limits, strict=True)]

    def answer(self, row: Sequence[int], limit: int) -> list[int]:
        end = next((i for i, token in enumerate(row) if token in self.ends), len(row))
        return list(row[: min(end, limit)])


def main() -> list[dict[str, Any]]:
    """Print and return the rows."""
    torch.set_flush_denormal(True)
    waves = _recorded()
    return [_calls(waves), _wave(waves), *_sharing()]


def _recorded() -> list[list[Request]]:
    """The waves of real scenes of the embedded model."""
    recorder = _Recorder(LocalEngine(models.resolve("pocket")))
    play(sets.cases("train", SCENES), Settings(style="pocket", temperature=0.0), recorder)
    return recorder.waves


def _calls(waves: list[list[Request]]) -> dict[str, Any]:
    engine = LocalEngine(models.resolve("pocket"))
    mine = [wave[::4] for wave in waves]
    single = [request for wave in waves for request in wave]
    single = single[:: len(single) // 100][:99]

    def ours(_: int) -> tuple[float, float]:
        return sum(map(len, mine)), _seconds(lambda: [engine.generate(wave) for wave in mine])

    def theirs(turn: int) -> tuple[float, float]:
        part = single[turn::TURNS]
        return len(part), _seconds(lambda: [engine.generate([request]) for request in part])

    distinct = sum(len({request.identity() for request in wave}) for wave in mine)
    return _row(
        "calls of real scenes a second",
        10.0,
        f"pocket, {len(mine)} waves of {sum(map(len, mine))} calls under their schemas; {distinct} are distinct and computed",
        f"the same engine, weights and schemas, one blocking call after another: {len(single)} of these calls, a third a turn",
        ours,
        theirs,
    )


def _wave(waves: list[list[Request]]) -> dict[str, Any]:
    spec = models.resolve("pocket")
    distinct = {request.identity(): request for wave in waves for request in wave}
    requests = [request.model_copy(update={"json_schema": None}) for request in distinct.values()][:WAVE]
    engine, rival = LocalEngine(spec), _Generate(spec)
    prompts = rival.prompts(requests)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    said: dict[int, list[int]] = {}
    answers: list[Completion] = []

    def ours(_: int) -> tuple[float, float]:
        seconds = _seconds(lambda: answers.__setitem__(slice(None), engine.generate(requests)))
        return sum(c.completion_tokens for c in answers), seconds

    def static(size: int, every: int, first: int) -> tuple[float, float]:
        batches = [order[start : start + size] for start in range(0, len(order), size)][first::every]

        def work() -> None:
            for part in batches:
                limits = [requests[i].max_tokens for i in part]
                said.update(zip(part, rival.batch([prompts[i] for i in part], limits), strict=True))

        seconds = _seconds(work)
        return sum(len(said[i]) for part in batches for i in part), seconds

    best, speeds = _best(SIZES, lambda size: static(size, max(1, 512 // size), 256 // size))
    row = _row(
        f"generated tokens a second in a wave of {len(requests)} requests",
        2.0,
        f"pocket, prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, no schema, up to {local.ROWS} rows",
        f"model.generate, sorted by length, static batches of {best} (the best of {speeds}); every fourth batch, others each turn",
        ours,
        lambda turn: static(best, 4, turn),
    )
    return row | {"same_answers": _same(rival, {i: answers[i].text for i in said}, said)}


def _sharing() -> list[dict[str, Any]]:
    spec = models.resolve("smollm2")
    engine, rival = LocalEngine(spec), _Generate(spec)
    requests = _sharing_requests(rival)
    prompts = rival.prompts(requests)
    limit = requests[0].max_tokens
    said: dict[int, list[int]] = {}
    answers: list[Completion] = []

    def ours(_: int) -> tuple[float, float]:
        return len(requests), _seconds(lambda: answers.__setitem__(slice(None), engine.generate(requests)))

    def static(size: int) -> tuple[float, float]:
        part = range(size)
        seconds = _seconds(lambda: said.update(zip(part, rival.batch([prompts[i] for i in part], [limit] * size), strict=True)))
        return size, seconds

    def continuous(_: int) -> tuple[float, float]:
        config = GenerationConfig(max_new_tokens=limit, do_sample=False, eos_token_id=list(rival.ends), pad_token_id=rival.ends[0])
        paged = ContinuousBatchingConfig(page_size=32, num_blocks=512, max_batch_tokens=1024, allow_block_sharing=True)
        return SHARING // 3, _seconds(
            lambda: rival.model.generate_batch(
                inputs=prompts[: SHARING // 3], generation_config=config, continuous_batching_config=paged, warmup=False
            )
        )

    best, speeds = _best((8, 12, SHARING), static)
    mine = (
        f"smollm2, {models.dtype_of(spec)}, {SHARING} prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, the "
        f"first {common(prompts)} shared, answers of up to {limit} tokens"
    )
    first = _row(
        "answers a second for prompts that share their beginning, beside model.generate",
        2.5,
        mine,
        f"model.generate, one static batch of {best} of these prompts (the best of {speeds})",
        ours,
        lambda _: static(best),
    )
    first |= {"same_answers": _same(rival, {i: answers[i].text for i in said}, said)}
    second = _row(
        "answers a second for prompts that share their beginning, beside generate_batch",
        1.0,
        mine,
        f"model.generate_batch (continuous batching, blocks of 32 shared, 1024 tokens a step), {SHARING // 3} of these prompts",
        ours,
        continuous,
    )
    return [first, second]


def _sharing_requests(rival: _Generate) -> list[Request]:
    """The full prompts for the roles of a scene, the second worked example cut short, to make a beginning of 300 tokens."""
    cases = sets.cases("train", SHARING)
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


def _row(what: str, bound: float, ours_is: str, theirs_is: str, ours: Side, theirs: Side) -> dict[str, Any]:
    """Let both sides take turns, the first in every other turn."""
    ours_rates: list[float] = []
    theirs_rates: list[float] = []
    for turn in range(TURNS):
        for side, rates in ((ours, ours_rates), (theirs, theirs_rates))[:: 1 if turn % 2 else -1]:
            amount, seconds = side(turn)
            rates.append(amount / seconds)
    ratios = [a / b for a, b in zip(ours_rates, theirs_rates, strict=True)]
    ratio = statistics.median(ratios)
    reached = "reached" if ratio >= bound else "MISSED"
    print(f"{what}: {ratio:.2f}x ({min(ratios):.2f} to {max(ratios):.2f}), at least {bound:g}x: {reached}", flush=True)
    print(f"    ours    {statistics.median(ours_rates):10.2f}/s  {ours_is}")
    print(f"    theirs  {statistics.median(theirs_rates):10.2f}/s  {theirs_is}", flush=True)
    return {
        "what": what,
        "ratio": ratio,
        "ratios": ratios,
        "bound": bound,
        "ours": {"settings": ours_is, "rates": ours_rates},
        "theirs": {"settings": theirs_is, "rates": theirs_rates},
        "threads": torch.get_num_threads(),
    }


def _same(rival: _Generate, texts: dict[int, str], said: dict[int, list[int]]) -> str:
    """How many of the answers that both sides gave are the same."""
    same = sum(texts[i] == text for i, text in zip(said, rival.chat.decode(list(said.values())), strict=True))
    print(f"    {same} of {len(said)} answers of both sides are the same", flush=True)
    return f"{same} of {len(said)}"


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
