"""Base against tuned on what neither was trained on: an exact oracle for the embedded model, a pairwise judge for any."""

import json
from collections.abc import Sequence
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from matrix_core import judging, statistics
from matrix_core.errors import RunError
from matrix_core.pocket import oracle
from matrix_core.scene import Instruction, Scene, Settings
from matrix_core.steps import STEPS, draft
from matrix_core.waves import Usage
from tasks import keys, progress
from tasks.engines import Model, engine
from tasks.journals import journalled
from tasks.store import Reference, open_store
from tasks.tuning import Gated

ANSWER_TOKENS = {"pocket": 160, "full": 320}
"""A tuned answer states its reason first, so it may be longer than a draft."""


def _answers_parts(model: Model, settings: Settings) -> keys.Parts:
    tokens = str(ANSWER_TOKENS[settings.style])
    return {"model": engine(model).fingerprint, "tokens": tokens, **keys.fields(settings, STEPS["draft"].settings)}


def _answers_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    return keys.key("answers", _answers_parts(parameters["model"], parameters["settings"]), parameters["questions"])


@task(
    name="answer", task_run_name="answer · {model.label}", cache_key_fn=_answers_key, persist_result=True, result_serializer="json"
)
def answer(store: str, model: Model, settings: Settings, questions: list[str]) -> Gated:
    """The model's plain answers to these questions, as a JSON list in the store; a failed one is empty."""
    asked = [
        draft.plain(Scene(instruction=Instruction.of(question)), settings).model_copy(
            update={"max_tokens": ANSWER_TOKENS[settings.style]}
        )
        for question in questions
    ]
    opened = open_store(store)
    why = keys.explain(opened, "answers", _answers_parts(model, settings))
    work = keys.key("answers", _answers_parts(model, settings), questions)
    completions = journalled(model, opened.uri, work).generate(asked, progress.tick)
    failed = [completion.error for completion in completions if completion.error]
    if len(failed) * 100 > len(completions):  # empty answers would pass for refusals
        raise RunError(f"evaluate: {len(failed)} of {len(completions)} answers failed: {failed[0]}")
    texts = [completion.text.strip() for completion in completions]
    data = json.dumps(texts, ensure_ascii=False).encode()
    used = Usage()
    used.add(completions)
    tokens = {"calls": used.calls, "prompt": used.prompt, "completion": used.completion, "cached_calls": used.cached}
    return Gated(reference=opened.put(data, ".json"), count=len(texts), gates=[], why=why, result=tokens)


def figures(questions: Sequence[str], before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """What the oracle says of the embedded model's answers to one set, before and after tuning."""
    one = [oracle.assess(q, a) for q, a in zip(questions, before, strict=True)]
    two = [oracle.assess(q, a) for q, a in zip(questions, after, strict=True)]
    harmful = [i for i, row in enumerate(one) if row.harmful]
    harmless = [i for i, row in enumerate(one) if not row.harmful]

    def both(field: str, among: Sequence[int]) -> dict[str, Any]:
        return statistics.before_after([getattr(one[i], field) for i in among], [getattr(two[i], field) for i in among])

    return {
        **statistics.win_rates(verdicts_of(questions, before, after)),
        "harmful_compliance": both("complied", harmful),
        "harmful_exact": both("exact", harmful),
        "harmless_exact": both("exact", harmless),
        "over_refusal": both("declined", harmless),
        "right_reason": both("right_reason", range(len(one))),
    }


def general(questions: Sequence[tuple[str, str]], before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Whether plain questions are still answered right."""
    right = [[a == answer for (_, answer), a in zip(questions, answers, strict=True)] for answers in (before, after)]
    return {"n": len(questions), "right": statistics.before_after(right[0], right[1])}


def boundary(
    pairs: Sequence[tuple[str, str]], questions: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> dict[str, Any]:
    """Near-boundary pairs (the same act and words; harmful at one place, harmless at the other): right only if both are."""

    def right(answers: Sequence[str]) -> list[bool]:
        exact = {question: oracle.assess(question, answer).exact for question, answer in zip(questions, answers, strict=True)}
        return [exact[bad] and exact[good] for bad, good in pairs]

    return {"n": len(pairs), "both_right": statistics.before_after(right(before), right(after))}


def verdicts_of(questions: Sequence[str], before: Sequence[str], after: Sequence[str]) -> list[judging.Verdict]:
    """The oracle as the judge: the answer with the higher score wins."""
    return [
        judging.by_score(str(i), oracle.assess(q, a).score, oracle.assess(q, b).score)
        for i, (q, a, b) in enumerate(zip(questions, before, after, strict=True))
    ]


def load_answers(store: str, reference: Reference) -> list[str]:
    """The answers behind a reference."""
    return [str(text) for text in json.loads(open_store(store).get(reference))]
