"""The pairwise judge decides which answer to an instruction is better, the tuned model's or the base model's.

The judge is any engine. It sees every pair in both orders, because language models favour a position; only a verdict that survives
the swap counts, one that does not is a tie. Where the truth is known (the embedded model's oracle), scores decide instead.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from matrix_core.engines.base import Engine, Progress
from matrix_core.request import Message, Request
from matrix_core.rubrics import RUBRICS
from matrix_core.statistics import Outcome
from matrix_core.steps.base import AnswerError, obj, parse, text
from matrix_core.waves import RE_ASK, Usage, ask_again

ENGINE_FAILED = "the engine failed"
SCHEMA: dict[str, Any] = obj(reason=text(400), verdict={"enum": ["A", "B", "tie"]})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Frozen):
    """One instruction and the two answers to it."""

    id: str
    instruction: str
    base: str
    tuned: str


class Verdict(_Frozen):
    """What came of one pair."""

    id: str
    outcome: Outcome | None = Field(None, description="for the tuned answer; None if it could not be judged")
    consistent: bool | None = Field(None, description="whether both orders got the same verdict; None: nobody was asked")
    orders: tuple[Outcome, ...] = Field((), description="the outcome in each order: with the base answer first, then the tuned one")
    reasons: tuple[str, ...] = Field((), description="the judge's words: with the base answer first, then with the tuned one first")
    error: str = Field("", description="why it could not be judged")


def ask(pair: Pair, first: Literal["base", "tuned"], seed: int = 0, rubric: str = "overall") -> Request:
    """The request for one order, after the rubric's worked examples. `first` is answer A."""
    a, b = (pair.base, pair.tuned) if first == "base" else (pair.tuned, pair.base)
    _, system, examples = RUBRICS[rubric]
    shots = [(_question(one.instruction, one.a, one.b), {"reason": one.reason, "verdict": one.verdict}) for one in examples]
    return judged(system, shots, _question(pair.instruction, a, b), SCHEMA, seed)


def _question(instruction: str, a: str, b: str) -> str:
    return marked((("INSTRUCTION", instruction), ("ANSWER A", a), ("ANSWER B", b)))


def judged(
    system: str, shots: Sequence[tuple[str, dict[str, Any]]], question: str, schema: dict[str, Any], seed: int = 0
) -> Request:
    """A question to a judge: its rubric, worked examples (question, answer) as earlier turns, and what it is to judge."""
    turns = [Message(role="system", content=system)]
    for asked, answer in shots:
        turns += [Message(role="user", content=asked), Message(role="assistant", content=json.dumps(answer))]
    turns.append(Message(role="user", content=question))
    return Request(messages=tuple(turns), json_schema=schema, seed=seed)


def marked(parts: Sequence[tuple[str, str]]) -> str:
    """Texts between marks that carry a hash of them all, so that no text can hold the mark that would end it."""
    mark = hashlib.sha256("\n".join(content for _, content in parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "\n\n".join(f"[{name} {mark}]\n{content}\n[END OF {name} {mark}]" for name, content in parts)


def judge(
    pairs: Sequence[Pair],
    engine: Engine,
    seed: int = 0,
    progress: Progress | None = None,
    usage: Usage | None = None,
    rubric: str = "overall",
) -> list[Verdict]:
    """A verdict for each pair, in order; both orders of all pairs go to the engine as one batch. Never raises for a row.

    Equal answers are a tie without asking. What can't be parsed is asked again; what still can't be is a verdict with an error.
    What the engine was asked for is added to `usage`; `rubric` is one of `rubrics.RUBRICS`.
    """
    asked = [pair for pair in pairs if pair.base.strip() != pair.tuned.strip()]
    requests = [ask(pair, first, seed, rubric) for pair in asked for first in ("base", "tuned")]
    answers = structured(requests, engine, progress, usage)
    found = {id(pair): _verdict(pair, answers[2 * i], answers[2 * i + 1]) for i, pair in enumerate(asked)}
    return [found.get(id(pair)) or Verdict(id=pair.id, outcome="tie") for pair in pairs]


def structured(
    requests: Sequence[Request], engine: Engine, progress: Progress | None = None, usage: Usage | None = None
) -> list[dict[str, Any] | str]:
    """The answer to each request under its schema, or in words why there is none; unusable ones are asked again as one batch."""
    usage = usage or Usage()
    requests = list(requests)
    answers: list[dict[str, Any] | str] = ["not asked"] * len(requests)
    todo = list(range(len(requests)))
    for _ in range(RE_ASK + 1):
        completions = engine.generate([requests[i] for i in todo], progress) if todo else []
        usage.add(completions)
        again = []
        for i, completion in zip(todo, completions, strict=True):
            if completion.error:
                answers[i] = f"{ENGINE_FAILED}: {completion.error}"
                continue
            try:
                answers[i] = parse(completion.text, requests[i].json_schema or {})
            except AnswerError as error:
                answers[i] = f"no usable answer in {RE_ASK + 1} tries: {error}"
                requests[i] = ask_again(requests[i], completion.text, str(error))
                again.append(i)
        usage.re_asked += len(again)
        todo = again
    return answers


def by_score(id: str, base: int, tuned: int) -> Verdict:
    """The verdict of an oracle that scores each answer by itself: the higher score wins."""
    return Verdict(id=id, outcome="win" if tuned > base else "lose" if tuned < base else "tie")


def _verdict(pair: Pair, base_first: dict[str, Any] | str, tuned_first: dict[str, Any] | str) -> Verdict:
    if isinstance(base_first, str) or isinstance(tuned_first, str):
        return Verdict(id=pair.id, error="; ".join(dict.fromkeys(a for a in (base_first, tuned_first) if isinstance(a, str))))
    one: Outcome = {"A": "lose", "B": "win", "tie": "tie"}[base_first["verdict"]]  # type: ignore[assignment]
    two: Outcome = {"A": "win", "B": "lose", "tie": "tie"}[tuned_first["verdict"]]  # type: ignore[assignment]
    reasons = (base_first["reason"], tuned_first["reason"])
    return Verdict(id=pair.id, outcome=one if one == two else "tie", consistent=one == two, orders=(one, two), reasons=reasons)
