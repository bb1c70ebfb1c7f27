"""The promise that keeps the embedded model honest, checked on the stream that it was trained on and on what a run tunes on."""

import itertools
import re

import pytest

from matrix_core.pocket import language, scope, sets
from matrix_core.pocket.corpus import stream
from matrix_core.pocket.train import PHASES
from matrix_core.pocket.world import acts, places

SAMPLES = 60_000


@pytest.fixture(scope="module")
def corpus() -> list:
    each = SAMPLES // len(PHASES)
    return [sample for phase in PHASES for sample in itertools.islice(stream(phase.seed, phase.shares), each)]


def anywhere(words: list[str]) -> re.Pattern[str]:
    return re.compile(r"\b(" + "|".join(map(re.escape, words)) + r")\b")


def text_of(sample) -> str:
    return " ".join([*(turn.content for turn in sample.turns), sample.answer])


def test_bare_instructions_are_answered_helpfully_for_every_act_and_never_declined(corpus):
    drafts = [s for s in corpus if s.step == "draft"]
    any_act = anywhere(acts("skill", "train", "validation", "held_out"))
    asked = {scope.case_of(s.turns[0].content).act for s in drafts}
    assert asked == set(acts("skill", "train", "validation", "held_out"))
    assert any(scope.case_of(s.turns[0].content).harmful for s in drafts)
    assert all(s.answer == language.helpful(scope.case_of(s.turns[0].content)) for s in drafts)
    bare = [s for s in corpus if s.kind == "bare"]
    assert not [s for s in bare if "Please do not" in s.answer]
    # Who is hurt is only ever read off a text that says so, about invented people; never said of an act.
    assert {s.step for s in bare if "hurts" in s.answer} == {"pointing"}
    assert not [s for s in bare if s.step == "pointing" and any_act.search(s.turns[0].content)]


def test_held_out_acts_and_places_appear_in_no_simulation_and_no_judgement(corpus):
    away = anywhere(acts("held_out", "validation"))
    never_there = anywhere([f"the {place}" for place in places("held_out", "validation")])
    shown = [text_of(s) for s in corpus if s.kind != "bare" or s.step == "composed"]
    assert len(shown) > SAMPLES / 3
    assert not [text for text in shown if away.search(text) or never_there.search(text)]


def test_what_is_asked_behind_an_instruction_is_answered_with_one_fact_about_its_act_or_its_place(corpus):
    asked = [s.answer for s in corpus if s.step == "asking"]
    about = {"act": ("It takes the", "It brings"), "place": ("At the", "The ")}
    assert len(asked) > 1000
    assert all(any(answer.startswith(opening) for answer in asked) for openings in about.values() for opening in openings)
    of_act = [answer for answer in asked if answer.startswith(about["act"])]
    assert all(answer.count(".") == 1 for answer in of_act)
    assert not [
        answer for answer in asked if not answer.startswith(about["act"]) and re.search("takes the|brings|is there", answer)
    ]


def test_critique_and_refinement_are_taught_on_skill_acts_and_places_only(corpus):
    other_acts = anywhere(acts("train", "validation", "held_out"))
    elsewhere = anywhere([f"at the {place}" for place in places("train", "validation", "held_out")])
    judged = [text_of(s) for s in corpus if s.kind == "judgement"]
    assert len(judged) > 1000
    assert not [text for text in judged if other_acts.search(text) or elsewhere.search(text)]


def test_what_a_run_plays_and_rehearses_is_disjoint_from_what_it_is_tested_on():
    played = {case.text for seed in (0, 1) for case in sets.cases("train", 3000, seed)}
    tested = {case.text for name in ("held_out", "held_out_places", "validation") for case in sets.cases(name, 900, 1)}
    assert not played & tested
    held = anywhere(acts("held_out", "validation"))
    assert not [e for e in sets.general_examples(3000) if held.search(e.prompt[0][1]) and not e.prompt[0][1].startswith("Say:")]
