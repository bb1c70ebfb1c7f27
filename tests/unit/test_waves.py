"""A wave against an engine that misbehaves: nothing raises, nobody is lost, bad answers are asked again with the reason."""

from matrix_core import waves
from matrix_core.request import Completion
from matrix_core.scene import Instruction, Role, Scene, Settings
from matrix_core.steps import STEPS

SCENE = Scene(
    instruction=Instruction.of("ask"),
    draft="do it",
    setting="here",
    protagonist=Role(name="zoe", traits="bold", status="here"),
    roles=(Role(name="ann", traits="calm", status="here"),),
)
GOOD = '{"target":"t","plan":["Go."]}'


class Replies:
    """Answers from a list, in order; keeps what it was asked. A stand-in for a model that answers badly on purpose."""

    fingerprint = "replies"

    def __init__(self, *texts: str | Exception) -> None:
        self.texts, self.asked = list(texts), []

    def generate(self, requests, progress=None):
        self.asked += requests
        replies = [self.texts.pop(0) for _ in requests]
        return [
            Completion(finish_reason="error", error=str(t)) if isinstance(t, Exception) else Completion(text=t) for t in replies
        ]


def test_an_answer_that_is_not_json_is_asked_again_with_what_was_wrong():
    engine = Replies("no json", GOOD)
    outcome = waves.run(STEPS["plan"], [SCENE], Settings(), engine)
    assert outcome.scenes[0].plan == ("Go.",)
    assert (outcome.usage.calls, outcome.usage.re_asked) == (2, 1)
    again = engine.asked[1].messages
    assert again[-2].content == "no json"
    assert "not JSON" in again[-1].content
    # Not with the seed and at the temperature that gave the bad answer.
    assert engine.asked[1].seed != engine.asked[0].seed
    assert engine.asked[1].temperature > engine.asked[0].temperature


def test_after_two_more_tries_the_row_is_set_aside_with_the_reason_and_its_mates_go_on():
    engine = Replies("{}", GOOD, "[]", '{"target":"","plan":[]}')
    outcome = waves.run(STEPS["plan"], [SCENE, SCENE], Settings(), engine)
    assert len(outcome.scenes) == 1
    ((scene, why, _),) = outcome.failed
    assert scene == SCENE
    assert "plan" in why
    assert "3 tries" in why


def test_all_bad_answers_of_a_scene_are_asked_again_at_once():
    acted = STEPS["action"].absorb(SCENE.model_copy(update={"plan": ("Go.",)}), ['{"action":"I go."}'], Settings())
    both = acted.model_copy(update={"events": (*acted.events, acted.events[0])})
    good = '{"reason":"r","feasible":true}'
    outcome = waves.run(STEPS["feasibility"], [both], Settings(), Replies("x", "y", good, good))
    assert [e.feasible for e in outcome.scenes[0].events] == [True, True]


def test_an_engine_error_sets_the_row_aside_and_keeps_the_rest():
    outcome = waves.run(STEPS["plan"], [SCENE, SCENE], Settings(), Replies(RuntimeError("no memory"), GOOD))
    assert len(outcome.scenes) == 1
    assert "no memory" in outcome.failed[0].why


def test_a_name_that_is_not_in_the_scene_is_refused_not_lost():
    acted = STEPS["action"].absorb(SCENE.model_copy(update={"plan": ("Go.",)}), ['{"action":"I go."}'], Settings())
    happens = acted.model_copy(update={"events": (acted.events[0].model_copy(update={"feasible": True}),)})
    outcome = waves.run(STEPS["routing"], [happens], Settings(), Replies('{"aware":["Anne"]}', '{"aware":["ann"]}'))
    assert outcome.usage.re_asked == 1
    assert outcome.scenes[0].events[0].aware == ("ann",)


def test_two_people_of_one_name_are_refused():
    who = '{"name":"ann","traits":"a","status":"b"}'
    bad = f'{{"setting":"s","protagonist":{who},"roles":[{who},{who},{who}]}}'
    outcome = waves.run(STEPS["roles"], [SCENE], Settings(), Replies(bad, bad, bad))
    assert "ann" in outcome.failed[0].why


def test_half_a_character_is_asked_again_in_json_and_in_free_text():
    outcome = waves.run(STEPS["plan"], [SCENE], Settings(), Replies('{"target":"\\ud800","plan":["Go."]}', GOOD))
    assert outcome.usage.re_asked == 1
    outcome = waves.run(STEPS["draft"], [Scene(instruction=Instruction.of("ask"))], Settings(), Replies("\ud800", " ", "Yes."))
    assert (outcome.usage.re_asked, outcome.scenes[0].draft) == (2, "Yes.")


def test_what_a_scene_takes_is_the_same_whether_a_journal_knew_the_answers_or_not():
    class Counting:
        fingerprint = "counting"

        def __init__(self, known: bool) -> None:
            self.known, self.texts = known, ["no json", GOOD]

        def generate(self, requests, progress=None):
            return [Completion(text=self.texts.pop(0), prompt_tokens=10, completion_tokens=3, cached=self.known) for _ in requests]

    asked, known = (waves.run(STEPS["plan"], [SCENE], Settings(), Counting(known)) for known in (False, True))
    assert asked.spent == known.spent == {SCENE.id: (2, 26)}
    assert (asked.usage.calls, known.usage.calls) == (2, 0)
