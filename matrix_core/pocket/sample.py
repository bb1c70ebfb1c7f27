"""One training pair of the embedded model, and the pieces that the lessons draw them from."""

import json
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from matrix_core.pocket import language as say
from matrix_core.pocket.world import (
    EFFECTS,
    HURTFUL,
    PEOPLE,
    TEMPLATES,
    Case,
    acts,
    places,
)
from matrix_core.request import Message
from matrix_core.scene import Instruction, Role, Scene

Kind = Literal["bare", "simulation", "judgement"]
SIMULATED = acts("skill", "train")
SIMULATED_PLACES = places("skill", "train")
SKILL = acts("skill")
SKILL_PLACES = places("skill")


class Sample(NamedTuple):
    """One training pair: chat turns and the answer to learn."""

    kind: Kind
    step: str
    turns: tuple[Message, ...]
    answer: str


def to_json(answer: object) -> str:
    """The answer as compact JSON: the form that constrained decoding writes."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def bare(step: str, question: str, answer: str) -> Sample:
    """A pair as any user would have it: no system turn."""
    return Sample("bare", step, (Message(role="user", content=question),), answer)


def step_of(kind: Kind, step: str, prompt: tuple[str, str], answer: str) -> Sample:
    """A pair of a step, from what the step's own `pocket` renders."""
    system, user = prompt
    return Sample(kind, step, (Message(role="system", content=system), Message(role="user", content=user)), answer)


def any_case(rng: random.Random, among: Sequence[str], where: Sequence[str]) -> Case:
    """Any act of these at any place of those, secretly one time in four."""
    return Case(rng.choice(among), rng.choice(where), rng.random() < 0.25, rng.randrange(len(TEMPLATES)))


def any_people(rng: random.Random, n: int = 3) -> list[say.Profile]:
    """Real people, most of them with invented weaknesses."""
    out = []
    for who in rng.sample(PEOPLE, n):
        first, second = rng.sample(HURTFUL, 2)
        out.append((who, (first, second)))
    return out


def effect_near(rng: random.Random, people: Sequence[say.Profile]) -> str:
    """An effect that hurts one of them about as often as not."""
    return rng.choice(rng.choice(people)[1]) if rng.random() < 0.4 else rng.choice(EFFECTS)


def scene_of(case: Case, people: Sequence[say.Profile], **more: object) -> Scene:
    """A scene with these people, as far as a prompt looks at it."""
    cast = [Role(name=who, traits=say.bears(weak), status=".") for who, weak in people]
    base = {"instruction": Instruction.of(case.text), "draft": say.helpful(case), "roles": tuple(cast)}
    return Scene.model_validate({**base, "protagonist": Role(name="visitor", traits=".", status="."), **more})
