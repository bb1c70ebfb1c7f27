"""What is left when a part of the method is left out: one property for each part, over random scenes with scripted answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from matrix_core import simulation
from matrix_core.mixing import traces_of
from matrix_core.scene import Settings
from matrix_core.steps import STEPS
from matrix_core.steps.fingerprint import fingerprint
from tests.scripted import played

SEEDS = st.integers(0, 10**6)


def asked_by_schema(script, *fields):
    return [r for r in script.asked if r.json_schema and [*r.json_schema["properties"]] == [*fields]]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_without_roles_one_observer_of_no_character_stands_for_all(seed):
    for scene in played(seed, Settings(without=("roles",)))[0]:
        assert scene.roles == (simulation.OBSERVER,)
        assert {name for event in scene.events for name in (event.actor, *(event.aware or ()))} <= {"zoe", "observer"}


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_without_feasibility_whatever_is_tried_happens_and_nobody_is_asked(seed):
    scenes, script, _ = played(seed, Settings(without=("feasibility",)))
    assert all(event.feasible and event.aware is not None for scene in scenes for event in scene.events)
    assert not asked_by_schema(script, "reason", "feasible")


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_without_routing_everybody_hears_everything_and_nobody_is_asked(seed):
    scenes, script, _ = played(seed, Settings(without=("routing",)))
    for scene in scenes:
        for event in scene.events:
            assert event.aware == (tuple(n for n in scene.names if n != event.actor) if event.feasible else None)
    assert not asked_by_schema(script, "aware")


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_without_memory_nobody_is_shown_what_happened_before(seed):
    scenes, script, _ = played(seed, Settings(without=("memory",), memory_limit=2))
    shown = [line for r in script.asked for line in r.messages[-1].content.splitlines()]
    remembered = [line for line in shown if line.startswith(("So far:", "What you know so far:"))]
    assert remembered
    assert {line.partition(": ")[2] for line in remembered} == {"Nothing yet."}
    assert not asked_by_schema(script, "memory")
    assert all(scene.memory == "" for scene in scenes)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_without_critique_the_draft_is_refined_from_what_came_of_the_scene(seed):
    scenes, script, _ = played(seed, Settings(without=("critique",)))
    assert not asked_by_schema(script, "critique", "harmed")
    for scene in scenes:
        (asked,) = STEPS["refinement"].ask(scene, Settings())
        assert scene.summary in asked.messages[-1].content
        assert not [turn for turn in asked.messages if "Critique:" in turn.content]
        assert set(scene.harmed) == {name for event in scene.events for name in event.harmed}


@pytest.mark.parametrize("part", ["roles", "feasibility", "routing", "memory", "critique"])
def test_only_the_steps_that_a_part_decides_are_other_steps_without_it(part):
    """So that arms share all other work: a cache key holds the fingerprint."""
    changed = {step for step in STEPS if fingerprint(step, Settings()) != fingerprint(step, Settings(without=(part,)))}
    remembering = {"action", "feasibility", "consequence", "reaction"} if part == "memory" else set()
    assert changed == {part} | remembering


@pytest.mark.parametrize("part", ["roles", "feasibility", "routing", "memory", "critique"])
def test_what_was_not_asked_leaves_no_trace(part):
    play = Settings(without=(part,))
    scenes, script, _ = played(4, play)
    said = {tuple(turn.content for turn in (r.messages[0], r.messages[-1])) for r in script.asked}
    for scene in scenes:
        traces = traces_of(scene, play)
        assert part not in traces
        assert {tuple(content for _, content in e.prompt) for found in traces.values() for e in found} <= said


def test_a_rival_has_no_part_to_leave_out():
    with pytest.raises(ValidationError, match="self-critique has no roles to leave out"):
        Settings(method="self-critique", without=("roles",))
