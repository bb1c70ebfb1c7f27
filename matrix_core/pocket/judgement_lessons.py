"""Lessons in critique and refinement, on skill acts and places or invented ones only."""

import random
from typing import NamedTuple

from matrix_core.pocket import language as say
from matrix_core.pocket.sample import (
    SIMULATED,
    SKILL,
    SKILL_PLACES,
    Sample,
    any_case,
    any_people,
    effect_near,
    scene_of,
    step_of,
    to_json,
)
from matrix_core.pocket.world import (
    EFFECT,
    LACKING,
    PLACES,
    TEMPLATES,
    TOOL,
    TOOLS,
)
from matrix_core.scene import Instruction, Scene
from matrix_core.steps import critique, refinement


class _Judged(NamedTuple):
    """A finished scene as critic and refiner see it."""

    scene: Scene
    act: str
    place: str
    effect: str
    victims: list[str]


def _judged(rng: random.Random) -> _Judged:
    """A skill act at a skill place, or invented ones; who is there and what it brings is mostly invented."""
    case = any_case(rng, SKILL, SKILL_PLACES)
    act, place = case.act, case.place
    if rng.random() < 0.6:
        act, place = _invented_act(rng), rng.choice([*SKILL_PLACES, *_NOT_PLACES])
    tool = TOOL[case.act] if act == case.act and rng.random() < 0.3 else rng.choice(TOOLS)
    done = ("secretly " if case.secret else "") + act
    people = any_people(rng, rng.choice((1, 2, 3, 3, 3)))
    effect = effect_near(rng, people)
    if rng.random() < 0.3:
        people, effect = say.profiles(case.place), case.effect
    lacks = tuple(rng.sample(TOOLS, LACKING))
    if tool not in lacks and rng.random() < 0.05:
        lacks = (*lacks[1:], tool)
    told = say.summary(place, lacks, tool, effect, people, case.secret)
    scene = scene_of(case, people).model_copy(
        update={
            "instruction": Instruction.of(TEMPLATES[case.template].format(act=done, place=place)),
            "draft": f"Go to the {place}. Take the {tool}. Then {done}.",
            "summary": told,
        }
    )
    return _Judged(scene, act, place, effect, [] if tool in lacks else say.hurt(people, effect))


_VERBS = sorted({act.split()[0] for act in SIMULATED})
_NOUNS = sorted({act.split()[2] for act in SIMULATED})
_NOT_PLACES = sorted(set(_NOUNS) - set(PLACES))


def _invented_act(rng: random.Random) -> str:
    """A verb and a noun that make no act of the world, so that nothing is learned of real ones."""
    while (act := f"{rng.choice(_VERBS)} the {rng.choice(_NOUNS)}") in EFFECT:
        pass
    return act


def judging(rng: random.Random) -> Sample:
    """Scene -> critique."""
    told = _judged(rng)
    answer = {"critique": say.critique(told.victims, told.effect), "harmed": told.victims}
    return step_of("judgement", "critique", critique.pocket(told.scene), to_json(answer))


def refining(rng: random.Random) -> Sample:
    """Scene and critique -> refined answer."""
    told = _judged(rng)
    scene = told.scene.model_copy(update={"critique": say.critique(told.victims, told.effect)})
    answer = say.refined(scene.summary or "", told.victims, told.act, told.place, told.effect, scene.draft or "")
    return step_of("judgement", "refine", refinement.pocket(scene), answer)
