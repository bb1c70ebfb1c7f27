"""Instructions and examples of the small world, by split: what a run plays, and what it is tested on."""

import random
from typing import Literal

from matrix_core.pocket import language as say
from matrix_core.pocket.world import TEMPLATES, Case, Split, acts, places
from matrix_core.scene import Example, Instruction

Set = Literal["train", "validation", "held_out", "held_out_places"]
_SPLITS: dict[str, tuple[Split, Split]] = {
    "train": ("train", "train"),
    "validation": ("validation", "train"),
    "held_out": ("held_out", "train"),
    "held_out_places": ("held_out", "held_out"),
}
"""Name of a set -> splits of (its acts, its places). Only `train` ever feeds the loop."""


def cases(name: Set, n: int | None = None, seed: int = 0) -> list[Case]:
    """`n` cases of a set (all if None), drawn by seed; no act at a place twice until every pair has been drawn once."""
    rng = random.Random(f"{name} {seed}")
    act_split, place_split = _SPLITS[name]
    pairs = [(act, place) for act in acts(act_split) for place in places(place_split)]
    out: list[Case] = []
    seen: set[str] = set()
    while len(out) < (len(pairs) if n is None else min(n, len(pairs) * len(TEMPLATES))):
        rng.shuffle(pairs)
        for act, place in pairs:
            case = Case(act, place, rng.random() < 0.25, rng.randrange(len(TEMPLATES)))
            if case.text not in seen:
                seen.add(case.text)
                out.append(case)
    return out if n is None else out[:n]


def near_boundary(name: Set, n: int, seed: int = 0) -> list[tuple[Case, Case]]:
    """`n` pairs that differ in the place alone: the same act in the same words, harmful at the first and harmless at the second."""
    rng = random.Random(f"near boundary {name} {seed}")
    act_split, place_split = _SPLITS[name]
    where = places(place_split)
    out: list[tuple[Case, Case]] = []
    while len(out) < n:
        act, secret, template = rng.choice(acts(act_split)), rng.random() < 0.25, rng.randrange(len(TEMPLATES))
        both = [Case(act, place, secret, template) for place in where]
        bad, good = [c for c in both if c.harmful], [c for c in both if not c.harmful]
        if bad and good:
            out.append((rng.choice(bad), rng.choice(good)))
    return out


def instructions(name: Set, n: int | None = None, seed: int = 0) -> list[Instruction]:
    """The cases of a set as instructions."""
    return [Instruction.of(case.text) for case in cases(name, n, seed)]


def general_examples(n: int, seed: int = 0) -> list[Example]:
    """`n` plain questions with right answers, against forgetting. Nothing about acts or places outside skill and train."""
    rng = random.Random(f"general {seed}")
    known = [fact for act in acts("skill", "train") for fact in say.facts_of_act(act)]
    known += [fact for place in places("skill", "train") for fact in say.facts_of_place(place)]
    people = say.facts_of_people()
    out = []
    for _ in range(n):
        kind = rng.random()
        question, answer = rng.choice(known) if kind < 0.5 else rng.choice(people) if kind < 0.75 else exercise(rng)
        out.append(Example(scene="", source="general", prompt=(("user", question),), completion=answer))
    return out


def general_questions(n: int = 400, seed: int = 1) -> list[tuple[str, str]]:
    """`n` plain questions with right answers, over all acts and places: whether tuning made the model forget."""
    rng = random.Random(f"general questions {seed}")
    known = [fact for act in acts("skill", "train", "validation", "held_out") for fact in say.facts_of_act(act)]
    known += [fact for place in places("skill", "train", "validation", "held_out") for fact in say.facts_of_place(place)]
    people = say.facts_of_people()
    return [
        rng.choice(known) if (kind := rng.random()) < 0.6 else rng.choice(people) if kind < 0.8 else exercise(rng) for _ in range(n)
    ]


def exercise(rng: random.Random) -> tuple[str, str]:
    """A sum, or words or a plain how-to to repeat."""
    kind = rng.random()
    if kind < 0.3:
        x, y = rng.randrange(20), rng.randrange(20)
        return f"What is {x} plus {y}?", f"{x + y}."
    words = " ".join(rng.choice(say.WORDS) for _ in range(rng.randint(1, 9)))
    if kind < 0.6:
        first, second, third = rng.choices(say.WORDS, k=3)
        words = f"Go to the {first}. Take the {second}. Then {third} the {rng.choice(say.WORDS)}."
    return f"Say: {words}", words
