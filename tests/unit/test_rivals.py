"""The rivals with scripted answers: which steps they play, what they show their model, and what they learn from."""

import json
from collections import Counter

import pytest

from matrix_core import simulation, waves
from matrix_core.errors import RunError
from matrix_core.mixing import mix, preference, refined, traces_of
from matrix_core.request import Completion
from matrix_core.rivals import RIVALS, best_of_n, context_distillation, mistake_analysis, self_align
from matrix_core.scene import Instruction, Scene, Settings
from matrix_core.steps.fingerprint import fingerprint
from matrix_core.tuning import PreferenceSettings
from tasks.scenes_io import PARQUET, dump_scenes, load_examples
from tasks.store import open_store
from tasks.tuning import build_examples, settings_for
from tests.scripted import played

ASKED = Scene(instruction=Instruction.of("How do I keep wasps away?"))
DRAFTED = ASKED.model_copy(update={"draft": "Burn the nest."})


class Says:
    """An engine that gives these answers, one after the other."""

    fingerprint = "says"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = [*answers], []

    def generate(self, requests, progress=None):
        self.asked += requests
        return [Completion(text=self.answers.pop(0)) for _ in requests]


def taken(step: str, scene: Scene, play: Settings, *answers: str) -> tuple[Scene, list]:
    engine = Says(*answers)
    outcome = waves.run(simulation.step(step, play), [scene], play, engine)
    assert not outcome.failed
    return outcome.scenes[0], engine.asked


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_plays_its_steps_in_order_and_ends_with_a_response(method):
    scenes, _, order = played(3, Settings(method=method))
    assert order == [*RIVALS[method].steps]
    assert all(scene.draft and (scene.refined or RIVALS[method].standing) for scene in scenes)
    assert not [scene for scene in scenes if scene.roles or scene.plan]


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_shares_its_draft_with_matrix_unless_it_draws_several(method):
    same = fingerprint("draft", Settings(method=method)) == fingerprint("draft", Settings())
    assert same == (method not in ("best-of-n", "in-context", "rlaif", "rlcd"))


@pytest.mark.parametrize("method", [method for method, rival in RIVALS.items() if not (rival.pair or rival.standing)])
def test_what_a_rival_learns_from_is_its_response_to_the_bare_instruction(method):
    play = Settings(method=method)
    scenes = sorted(played(3, play)[0], key=lambda scene: scene.id)
    shares = {"harmful": 0.3, "harmless": 0.3, "trace": 0.1, "general": 0.3}
    examples = mix(scenes, [], shares, 0, 0, play)
    assert {(e.prompt, e.completion) for e in examples} == {((("user", s.instruction.text),), s.refined) for s in scenes}


@pytest.mark.parametrize("method", ["constitutional", "self-critique"])
def test_a_critique_without_a_scene_shows_no_scene_not_even_in_its_worked_examples(method):
    _, asked = taken("critique", DRAFTED, Settings(method=method), '{"critique":"It burns.","harmed":[]}')
    shown = "\n".join(turn.content for turn in asked[0].messages)
    assert "Burn the nest." in shown
    assert "What came of it" not in shown
    assert "Hurt:" not in shown


def test_the_fixed_question_is_the_same_for_every_instruction_and_names_what_to_look_for():
    play = Settings(method="constitutional")
    other = DRAFTED.model_copy(update={"instruction": Instruction.of("How do I bake bread?")})
    asked = [
        taken("critique", scene, play, '{"critique":"Fine.","harmed":[]}')[1][0].messages[0].content for scene in (DRAFTED, other)
    ]
    assert asked[0] == asked[1]
    assert "toxic" in asked[0]


def test_of_several_critiques_the_most_frequent_one_is_taken_and_each_is_drawn_by_a_seed_of_its_own():
    answers = [json.dumps({"critique": said, "harmed": []}) for said in ("It burns.", "It can stay.", "It can stay.")]
    scene, asked = taken("critique", DRAFTED, Settings(method="self-critique", votes=3, temperature=0.0), *answers)
    assert scene.critique == "It can stay."
    assert len({request.seed for request in asked}) == 3
    assert all(request.temperature > 0 for request in asked)


def test_the_reasons_of_a_reasoned_self_critique_stand_before_its_refinement():
    play = Settings(method="reasoned")
    scene, _ = taken("summary", DRAFTED, play, '{"summary":"The shed burns down."}')
    scene, _ = taken("critique", scene, play, '{"critique":"It burns the shed.","harmed":["the owner"]}')
    _, asked = taken("refinement", scene, play, "Call somebody.")
    assert "What came of it: The shed burns down.\nCritique: It burns the shed." in asked[0].messages[-1].content


def test_the_embedded_model_is_asked_a_plain_question_about_its_own_draft():
    play = Settings(method="reasoned", style="pocket")
    drafted = ASKED.model_copy(update={"draft": "Go to the market. Take the broom. Then melt the snow."})
    scene, asked = taken("summary", drafted, play, "It takes the broom.")
    assert [turn.content for turn in asked[0].messages] == ["What is there to know before I melt the snow at the market?"]
    assert scene.summary == "It takes the broom."


def test_best_of_n_keeps_the_first_draft_that_its_critic_finds_harmless():
    play = Settings(method="best-of-n", votes=3)
    drafts = ("Burn it.", "Call somebody.", "Wait.")
    scene, _ = taken("draft", ASKED, play, *drafts)
    verdicts = [json.dumps({"critique": "-", "harmed": harmed}) for harmed in (["the owner"], [], [])]
    scene, asked = taken("refinement", scene, play, *verdicts)
    assert scene.refined == "Call somebody."
    assert [
        said in request.messages[-1].content for said, request in zip(("Burn it.", "Call somebody.", "Wait."), asked, strict=True)
    ]


def test_context_distillation_and_self_align_learn_the_answer_without_the_principles():
    for method, module, answer in (
        ("context-distillation", context_distillation, "Call somebody."),
        ("self-align", self_align, '{"critique":"Principle 1.","refined":"Call somebody."}'),
    ):
        play = Settings(method=method)
        scene, asked = taken("refinement", DRAFTED, play, answer)
        assert asked[0].messages[0].content == module.SYSTEM
        example = refined(scene, play)
        assert (example.prompt, example.completion) == ((("user", ASKED.instruction.text),), "Call somebody.")


def test_in_context_alignment_answers_under_the_principles_that_context_distillation_distils():
    _, one = taken("draft", ASKED, Settings(method="in-context"), "Call somebody.")
    _, two = taken("refinement", DRAFTED, Settings(method="context-distillation"), "Call somebody.")
    assert one[0].messages == two[0].messages
    assert RIVALS["in-context"].standing == one[0].messages[0].content


def test_where_nobody_was_asked_whom_it_hurts_a_response_that_drops_the_draft_counts_as_mended():
    play = Settings(method="self-critique")
    assert refined(DRAFTED.model_copy(update={"refined": "Call somebody."}), play).source == "harmful"
    assert refined(DRAFTED.model_copy(update={"refined": "Nobody is hurt. Burn the nest."}), play).source == "harmless"


def test_best_of_n_asks_again_for_drafts_that_are_empty():
    play = Settings(method="best-of-n", votes=2)
    scene, asked = taken("draft", ASKED, play, "Burn it.", " ", "Wait.")
    assert [event.action for event in scene.events] == ["Burn it.", "Wait."]
    assert len(asked) == 3
    assert best_of_n.RIVAL.steps["draft"].name != "draft"


MISTAKE = DRAFTED.model_copy(update={"critique": "The owner is burnt.", "harmed": ("the owner",), "refined": "Call somebody."})


def test_a_mistake_is_learned_with_its_analysis_and_without_the_guidance_and_a_good_answer_only_as_it_is():
    play = Settings(method="mistake-analysis")
    scene, asked = taken("critique", DRAFTED, play, '{"critique":"The owner is burnt.","harmed":["the owner"]}')
    assert asked[0].messages[0].content == mistake_analysis.SYSTEM
    fine = ASKED.model_copy(update={"draft": "Wait.", "critique": "It can stay.", "harmed": (), "refined": "Wait."})
    scenes = sorted([scene.model_copy(update={"refined": "Call somebody."}), fine], key=lambda scene: scene.id)
    found = mix(scenes, [], {"harmful": 0.3, "harmless": 0.3, "trace": 0.4}, 1, 0, play)
    assert Counter(example.source for example in found) == {"harmful": 1, "harmless": 1, "trace": 1}
    (analysis,) = (example for example in found if example.source == "trace")
    assert analysis.prompt == (
        ("user", f"Answer: Burn the nest.\nQuestion: How do I keep wasps away?\n{mistake_analysis.UNGUIDED}"),
    )
    assert analysis.completion == "The owner is burnt."


def test_the_embedded_model_learns_an_analysis_in_the_words_that_it_knows():
    play = Settings(method="mistake-analysis", style="pocket")
    ((asked, answer),) = mistake_analysis.analysed(MISTAKE, play)
    assert [turn.content for turn in asked.messages] == ["critique", "How do I keep wasps away? Burn the nest."]
    assert json.loads(answer) == {"critique": "The owner is burnt.", "harmed": ["the owner"]}
    assert taken("critique", DRAFTED, play, answer)[1][0].messages == asked.messages


def test_only_what_learns_beside_its_responses_is_mixed_with_traces():
    traced = {method for method in RIVALS if settings_for(Settings(method=method)).traces}
    assert traced == {"mistake-analysis"}
    assert settings_for(Settings()).traces


def labelled(one: str, two: str, *letters: str, votes: int = 1) -> tuple[Scene, list]:
    play = Settings(method="rlaif", votes=votes)
    scene, _ = taken("draft", ASKED, play, one, two)
    return taken(
        "refinement", scene, play, *(json.dumps({"reason": f"{letter} burns less.", "better": letter}) for letter in letters)
    )


def test_rlaif_prefers_the_draft_that_is_less_harmful_in_both_orders_and_shows_each_order():
    for letters, better, worse in (("AB", "Burn it.", "Wait."), ("BA", "Wait.", "Burn it.")):
        scene, asked = labelled("Burn it.", "Wait.", *letters)
        assert [request.messages[-1].content.partition("\n\n")[2] for request in asked] == [
            "Answer A: Burn it.\n\nAnswer B: Wait.",
            "Answer A: Wait.\n\nAnswer B: Burn it.",
        ]
        example = preference(scene, Settings(method="rlaif"))
        assert (example.prompt, example.completion, example.rejected) == ((("user", ASKED.instruction.text),), better, worse)
        assert example.source == "preference"


@pytest.mark.parametrize(
    ("drafts", "letters"), [(("Burn it.", "Wait."), "AA"), (("Burn it.", "Wait."), "BB"), (("Wait.", "Wait."), "")]
)
def test_rlaif_learns_nothing_of_equal_drafts_nor_where_the_order_decided(drafts, letters):
    scene, asked = labelled(*drafts, *letters)
    assert (scene.refined, len(asked)) == (drafts[0], len(letters))
    assert preference(scene, Settings(method="rlaif")) is None
    assert mix([scene], [], {"preference": 1.0}, 0, 0, Settings(method="rlaif")) == []


def test_rlaif_counts_several_labels_in_each_order_and_the_majority_of_all_outweighs_a_place():
    scene, asked = labelled("Burn it.", "Wait.", "A", "B", "A", "A", "A", "A", votes=3)  # 3 of 6 and more by place, 2 for the first
    assert preference(scene, Settings(method="rlaif")).completion == "Wait."
    assert scene.critique == "B burns less."
    assert len({request.seed for request in asked}) == 6


def test_rlcd_asks_under_two_prompts_that_differ_in_their_leaning_alone_and_learns_without_them():
    play = Settings(method="rlcd")
    scene, harmful = taken("draft", ASKED, play, "Burn it.")
    scene, harmless = taken("refinement", scene, play, "Wait.")
    one, two = (asked[0].messages[0].content for asked in (harmful, harmless))
    assert one.replace("harmful and unethical", "harmless and ethical") == two != one
    (example,) = mix([scene], [], {"preference": 1.0}, 0, 0, play)
    assert (example.prompt, example.completion, example.rejected) == ((("user", ASKED.instruction.text),), "Wait.", "Burn it.")
    assert preference(scene.model_copy(update={"refined": "Burn it."}), play) is None


def test_what_learns_preferences_is_tuned_by_preferences_and_says_so_where_there_are_none(tmp_path):
    assert {m for m in RIVALS if isinstance(settings_for(Settings(method=m)), PreferenceSettings)} == {"rlaif", "rlcd"}
    store, play = open_store(str(tmp_path)), Settings(method="rlaif")
    same, other = labelled("Wait.", "Wait.")[0], labelled("Burn it.", "Wait.", "B", "A")[0]
    with pytest.raises(RunError, match=r"rlaif: no answer was preferred .* play more --scenes, or take another --model"):
        build_examples.fn(str(tmp_path), [store.put(dump_scenes([same]), PARQUET)], play, settings_for(play), [])
    made = build_examples.fn(str(tmp_path), [store.put(dump_scenes([other]), PARQUET)], play, settings_for(play), [])
    (kept,) = load_examples(store.get(made.reference))
    assert (made.count, kept.completion, kept.rejected) == (1, "Wait.", "Burn it.")
    assert made.gates[0]["warnings"] == []


def test_rivals_leave_no_traces():
    play = Settings(method="self-critique")
    scene = played(1, play)[0][0]
    with pytest.raises(ValueError, match="no traces"):
        traces_of(scene, play)
