"""A benchmark's questions answered, judged and graded, as cached tasks; and the pairs as people may look at them."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect import task
from prefect.context import TaskRunContext

from matrix_core import benchmarks, grading, judging
from matrix_core.benchmarks import Benchmark, Item
from matrix_core.engines.base import Engine
from matrix_core.errors import RunError
from matrix_core.judging import Pair, Verdict
from matrix_core.request import Message, Request
from matrix_core.rubrics import RUBRICS
from matrix_core.waves import Usage
from tasks import benchmark_files, keys, progress
from tasks.engines import Model, engine
from tasks.journals import journalled
from tasks.store import Reference, Store, open_store
from tasks.tuning import Gated

ANSWER_TOKENS = 512
"""The longest answer; greedy, so that a model's answers are its own and no draw."""


class Sample(NamedTuple):
    """The questions that are asked, where they lie in the store, and where they came from."""

    benchmark: Benchmark
    items: list[Item]
    reference: Reference
    noted: dict[str, Any]


def draw(store: Store, name: str, data: str | None, n: int | None, seed: int) -> Sample:
    """Read a benchmark, draw its sample and keep it in the store. Raises UserError."""
    loaded = benchmark_files.load(name, data)
    items = benchmarks.sample(loaded.items, n, seed)
    rows = [item.model_dump(mode="json") for item in items]
    reference = store.put(json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass"), ".json")
    noted = {"n": len(items), "of": len(loaded.items), "source": loaded.source, "seed": seed, "sha256": reference.sha256}
    return Sample(loaded.benchmark, items, reference, noted)


def load_items(store: str, reference: Reference) -> list[Item]:
    """The questions behind a reference."""
    return [Item.model_validate(row) for row in json.loads(open_store(store).get(reference))]


def load_turns(store: str, reference: Reference) -> list[list[str]]:
    """The answers behind a reference: for each question one a turn."""
    return [[str(text) for text in answers] for answers in json.loads(open_store(store).get(reference))]


def _answer_parts(model: Model) -> keys.Parts:
    return {"model": engine(model).fingerprint, "tokens": str(ANSWER_TOKENS)}


def _answer_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    return keys.key("benchmark-answers", _answer_parts(parameters["model"]), parameters["items"].sha256)


@task(
    name="answer benchmark",
    task_run_name="answer benchmark · {model.label}",
    cache_key_fn=_answer_key,
    persist_result=True,
    result_serializer="json",
)
def answer_benchmark(store: str, model: Model, items: Reference) -> Gated:
    """The model's answers, all first turns as one batch and then all second ones; as JSON in the store."""
    opened = open_store(store)
    why = keys.explain(opened, "benchmark-answers", _answer_parts(model))
    work = keys.key("benchmark-answers", _answer_parts(model), items.sha256)
    usage = Usage()
    answers = converse(load_items(store, items), journalled(model, opened.uri, work), usage)
    data = json.dumps(answers, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Gated(reference=opened.put(data, ".json"), count=len(answers), gates=[], why=why, result=_used(usage))


def converse(items: Sequence[Item], engine: Engine, usage: Usage) -> list[list[str]]:
    """The engine's answer to each turn of each item. Raises RunError if more than one in a hundred fails."""
    talks = [list(item.history) for item in items]
    answers: list[list[str]] = [[] for _ in items]
    for turn in range(max((len(item.turns) for item in items), default=0)):
        due = [i for i, item in enumerate(items) if turn < len(item.turns)]
        for i in due:
            talks[i].append(Message(role="user", content=items[i].turns[turn]))
        completions = engine.generate([Request(messages=tuple(talks[i]), max_tokens=ANSWER_TOKENS) for i in due], progress.tick)
        usage.add(completions)
        failed = [completion.error for completion in completions if completion.error]
        if len(failed) * 100 > len(completions):  # empty answers would pass for refusals
            raise RunError(f"evaluate: {len(failed)} of {len(completions)} answers failed: {failed[0]}")
        for i, completion in zip(due, completions, strict=True):
            answers[i].append(completion.text.strip())
            talks[i].append(Message(role="assistant", content=completion.text.strip()))
    return answers


def pairs_of(items: Sequence[Item], before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> list[Pair]:
    """The pairs to judge; several turns are told one after the other."""
    return [
        Pair(id=item.id, instruction=_asked(item), base=_told(a), tuned=_told(b))
        for item, a, b in zip(items, before, after, strict=True)
    ]


def _asked(item: Item) -> str:
    rest = [f"(turn {i}) {text}" for i, text in enumerate(item.turns[1:], 2)]
    return "\n\n".join([item.prompt, *rest])


def _told(answers: Sequence[str]) -> str:
    if len(answers) == 1:
        return answers[0]
    return "\n\n".join(f"(turn {i}) {text}" for i, text in enumerate(answers, 1))


def _verdict_parts(judge: Model, rubric: str, seed: int) -> keys.Parts:
    version, *prompt = RUBRICS[rubric]
    asked = keys.digest([prompt, judging.SCHEMA])
    return {"judge": engine(judge).fingerprint, "rubric": f"{rubric} {version}", "prompt or schema": asked, "seed": str(seed)}


def _verdict_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    given = [parameters[name].sha256 for name in ("items", "before", "after")]
    return keys.key("benchmark-verdicts", _verdict_parts(parameters["judge"], parameters["rubric"], parameters["seed"]), given)


@task(
    name="judge benchmark",
    task_run_name="judge benchmark · {judge.label}",
    cache_key_fn=_verdict_key,
    persist_result=True,
    result_serializer="json",
)
def judge_benchmark(
    store: str, judge: Model, rubric: str, items: Reference, before: Reference, after: Reference, seed: int
) -> Gated:
    """One judge's verdicts by one rubric, as JSON in the store; `result` says what it was asked for, and what it lost."""
    opened, parts = open_store(store), _verdict_parts(judge, rubric, seed)
    why = keys.explain(opened, "benchmark-verdicts", parts)
    work = keys.key("benchmark-verdicts", parts, [items.sha256, before.sha256, after.sha256])
    pairs = pairs_of(load_items(store, items), load_turns(store, before), load_turns(store, after))
    usage = Usage()
    verdicts = judging.judge(pairs, journalled(judge, opened.uri, work), seed, progress.tick, usage, rubric)
    lost = sum(judging.ENGINE_FAILED in verdict.error for verdict in verdicts)
    data = json.dumps([verdict.model_dump(mode="json") for verdict in verdicts], ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    return Gated(reference=opened.put(data, ".json"), count=len(verdicts), gates=[], why=why, result=_used(usage) | {"lost": lost})


def _grade_parts(judge: Model, seed: int) -> keys.Parts:
    asked = keys.digest([grading.SYSTEM, grading.EXAMPLES, grading.SCHEMA])
    return {
        "judge": engine(judge).fingerprint,
        "grades": str(grading.VERSION),
        "prompt or schema": asked,
        "seed": str(seed),
    }


def _grade_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    given = [parameters[name].sha256 for name in ("items", "answers")]
    return keys.key("benchmark-grades", _grade_parts(parameters["judge"], parameters["seed"]), given)


@task(
    name="grade benchmark",
    task_run_name="grade benchmark · {judge.label}",
    cache_key_fn=_grade_key,
    persist_result=True,
    result_serializer="json",
)
def grade_benchmark(store: str, judge: Model, items: Reference, answers: Reference, seed: int) -> Gated:
    """One judge's grades of one model's answers, as JSON in the store; `result` says what it was asked for, and what it lost."""
    opened, parts = open_store(store), _grade_parts(judge, seed)
    why = keys.explain(opened, "benchmark-grades", parts)
    work = keys.key("benchmark-grades", parts, [items.sha256, answers.sha256])
    usage = Usage()
    asked = journalled(judge, opened.uri, work)
    grades = grading.grade(load_items(store, items), load_turns(store, answers), asked, seed, progress.tick, usage)
    lost = sum(judging.ENGINE_FAILED in grade.error for grade in grades)
    data = json.dumps([grade.model_dump(mode="json") for grade in grades], ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Gated(reference=opened.put(data, ".json"), count=len(grades), gates=[], why=why, result=_used(usage) | {"lost": lost})


def pair_rows(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What was compared, and what the judges made of it: `id`, `prompt`, `base`, `tuned`, `outcome`."""
    return [
        {"id": pair.id, "prompt": pair.instruction, "base": pair.base, "tuned": pair.tuned, "outcome": verdict.outcome}
        for pair, verdict in zip(pairs, verdicts, strict=True)
    ]


def _used(usage: Usage) -> dict[str, Any]:
    return {"calls": usage.calls, "prompt": usage.prompt, "completion": usage.completion, "cached_calls": usage.cached}
