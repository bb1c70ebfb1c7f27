"""The rules of the scene, over random scenes whose every answer is scripted: no model, no I/O."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix_core import simulation, waves
from matrix_core.scene import Instruction, Scene, Settings
from matrix_core.steps import STEPS
from matrix_core.steps.memory import recall
from tests.scripted import Script, played

PLAYS = st.builds(
    Settings,
    roles=st.integers(1, 5),
    steps=st.integers(1, 5),
    reaction_depth=st.integers(0, 3),
    memory_limit=st.integers(1, 8),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), PLAYS)
def test_every_scene_ends_with_its_plan_used_up_and_everything_decided(seed, play):
    for scene in played(seed, play)[0]:
        assert simulation.next_step(scene, play) is None
        assert {e.round for e in scene.events} == set(range(len(scene.plan)))
        assert None not in (scene.draft, scene.summary, scene.critique, scene.refined)
        assert all(e.feasible is not None for e in scene.events)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), PLAYS)
def test_what_is_blocked_reaches_nobody_harms_nobody_and_sets_off_nothing(seed, play):
    for scene in played(seed, play)[0]:
        for i, event in enumerate(scene.events):
            if event.feasible is False:
                assert event.reason
                assert (event.aware, event.consequence, event.harmed) == (None, None, ())
                assert not [e for e in scene.events if e.cause == i]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), PLAYS)
def test_everybody_who_is_told_reacts_once_and_nobody_else_does(seed, play):
    for scene in played(seed, play)[0]:
        for i, event in enumerate(scene.events):
            reacted = [e.actor for e in scene.events if e.cause == i]
            expected = event.aware or () if event.feasible and event.depth < play.reaction_depth else ()
            assert sorted(reacted) == sorted(expected)
            assert event.actor not in (event.aware or ())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), PLAYS)
def test_a_role_is_never_shown_what_it_was_not_told(seed, play):
    scenes, script, _ = played(seed, play)
    reactions = [r for r in script.asked if r.json_schema and set(r.json_schema["properties"]) == {"thought", "action"}]
    by_action = {e.action: (scene, e) for scene in scenes for e in scene.events}
    for request in reactions:
        shown = request.messages[-1].content
        me = shown.removeprefix("You: ").split(";")[0]
        for action, (scene, event) in by_action.items():
            if action in shown:
                assert event in scene.known_to(me)


def test_a_secret_action_reaches_nobody_and_is_remembered_by_its_actor_and_the_modulator_alone():
    play = Settings(reaction_depth=1)
    script = Script(3, secret=1.0, infeasible=0.0)
    scene = Scene(instruction=Instruction.of("ask"))
    while due := simulation.next_wave([scene], play):
        scene = waves.run(STEPS[due[0].step], [scene], play, script).scenes[0]
    assert {e.depth for e in scene.events} == {0}
    assert recall(scene, "zoe") != "Nothing yet."
    assert all(recall(scene, name) == "Nothing yet." for name in scene.names[1:])


@pytest.mark.parametrize("limit", [1, 3])
def test_memory_is_summarised_when_the_log_grows_and_what_is_summarised_is_not_repeated(limit):
    scenes, _, order = played(5, Settings(memory_limit=limit, steps=4))
    assert "memory" in order
    for scene in scenes:
        if scene.remembered:
            assert scene.memory in recall(scene, None)
            old = scene.events[: scene.remembered]
            assert not [e for e in old if e.action in recall(scene, None)]


def test_scenes_of_a_shard_walk_in_step_so_that_a_step_is_one_batch():
    _, _, order = played(7, Settings(steps=2, reaction_depth=1), n=20)
    assert order.count("draft") == order.count("roles") == order.count("plan") == order.count("refinement") == 1
    assert order.count("action") == 2
    assert order.count("feasibility") <= 4


def test_a_play_is_the_same_for_the_same_seed_and_whatever_its_shard_mates():
    play = Settings()
    one = waves.run(STEPS["draft"], [Scene(instruction=Instruction.of(t)) for t in "abc"], play, Script(1))
    request = STEPS["roles"].ask(one.scenes[0], play)[0]
    assert request.seed == STEPS["roles"].ask(one.scenes[0], play)[0].seed
    assert request.seed != STEPS["roles"].ask(one.scenes[0], Settings(seed=1))[0].seed
    assert request.seed != STEPS["roles"].ask(one.scenes[1], play)[0].seed
