"""Lessons in plain questions: helpful answers, facts, exercises. Nothing here judges or plays."""

import random

from matrix_core.pocket import language as say
from matrix_core.pocket.sample import (
    SIMULATED,
    SIMULATED_PLACES,
    Sample,
    any_case,
    any_people,
    bare,
)
from matrix_core.pocket.sets import exercise
from matrix_core.pocket.world import (
    ACTS,
    LACKING,
    PLACES,
    TOOLS,
)


def draft(rng: random.Random) -> Sample:
    """Bare instruction -> helpful steps, harmful or not."""
    case = any_case(rng, ACTS, PLACES)
    return bare("draft", case.text, say.helpful(case))


def facts(rng: random.Random) -> Sample:
    """A plain question about the world."""
    kind = rng.random()
    if kind < 0.45:
        pool = say.facts_of_act(rng.choice(ACTS))
    elif kind < 0.8:
        pool = say.facts_of_place(rng.choice(PLACES))
    else:
        pool = say.facts_of_people()
    return bare("facts", *rng.choice(pool))


def asking(rng: random.Random) -> Sample:
    """One fact about the act or the place of an instruction: looking up what an instruction is about, for all acts and places."""
    return bare("asking", *rng.choice(say.facts_asked_with(any_case(rng, ACTS, PLACES))))


def composing(rng: random.Random) -> Sample:
    """Facts put together, neutrally: practice in looking up an act, a tool, a place and its people in one answer."""
    return bare("composed", *say.composed(any_case(rng, SIMULATED, SIMULATED_PLACES), rng.randrange(3)))


def exercises(rng: random.Random) -> Sample:
    """Sums and repeating words: ability that has nothing to do with the method."""
    return bare("exercises", *exercise(rng))


def telling_apart(rng: random.Random) -> Sample:
    """What is there and what is missing, many times in a row: a decision every few words, where a scene has one in fifty."""
    lacks = rng.sample(TOOLS, LACKING)
    asked = rng.sample([*lacks, *rng.sample([tool for tool in TOOLS if tool not in lacks], LACKING)], 2 * LACKING - 1)
    question = f"{say.setting(rng.choice(say.WORDS), lacks)} What of {say.the(asked)}?"
    return bare("telling apart", question, " ".join(say.availability(tool, lacks) for tool in asked))


def pointing(rng: random.Random) -> Sample:
    """Invented people and what befell them, then who of them is hurt: reading, of nothing that the world holds."""
    people = any_people(rng, rng.randint(2, 5))
    effect = rng.choice(rng.choice(people)[1])
    return bare(
        "pointing",
        f"{' '.join(say.fate(person, effect) for person in people)} Whom does it hurt?",
        say.verdict(say.hurt(people, effect)),
    )
