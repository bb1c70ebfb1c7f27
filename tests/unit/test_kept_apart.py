"""What the embedded model is tested on is nothing that it was tuned on: checked on every run, and planted here."""

import pytest

from flows.evaluate import Asker
from flows.options import RunOptions
from matrix_core.errors import RunError
from matrix_core.pocket import language, scope, sets
from matrix_core.pocket.world import acts, places
from matrix_core.scene import Instruction, Scene, Settings
from tasks.runs import Tuned
from tasks.scenes_io import PARQUET, dump_scenes, load_examples, load_rows
from tasks.store import open_store
from tasks.tuning import build_examples, learned, settings_for

PLAY = Settings(style="pocket", temperature=0.0)
AWAY = acts("held_out")[0]


def finished(case, **changed) -> Scene:
    told = Scene(
        instruction=Instruction.of(case.text),
        draft=language.helpful(case),
        harmed=tuple(case.victims),
        refined=language.right_answer(case),
    )
    return told.model_copy(update=changed)


@pytest.fixture
def build(tmp_path):
    def made(*scenes: Scene):
        store = open_store(str(tmp_path))
        shard = store.put(dump_scenes(sorted(scenes, key=lambda scene: scene.id)), PARQUET)
        recipe = settings_for(PLAY.model_copy(update={"without": ("traces",)}))
        return store, build_examples.fn(str(tmp_path), [shard], PLAY, recipe, [])

    return made


def played(n: int = 30) -> list[Scene]:
    return [finished(case) for case in sets.cases("train", n)]


def test_a_case_that_is_kept_for_the_evaluation_stops_the_run_before_anything_is_tuned(build):
    with pytest.raises(RunError, match="nothing_held_out"):
        build(*played(), finished(sets.cases("held_out", 1)[0]))


def test_an_answer_that_strays_to_what_is_kept_apart_is_taken_out_with_the_reason(build):
    first, *others = played()
    strayed = first.model_copy(update={"refined": f"{first.refined} Better {AWAY}."})
    store, made = build(strayed, *others)
    completions = {example.completion for example in load_examples(store.get(made.reference))}
    assert strayed.refined not in completions
    assert others[0].refined in completions
    rows = load_rows(store.get(made.quarantine))
    assert [row["reason"] for row in rows] == [f"the model came to speak of {AWAY!r}, which is kept for the evaluation"]


@pytest.mark.parametrize("kept", ["held_out", "validation"])
def test_every_act_and_place_that_is_kept_is_found_in_any_text_and_no_other_is(kept):
    assert all(scope.kept_back(f"I secretly {act} now.") == act for act in acts(kept))
    assert all(scope.kept_back(f"At the {place} the rope has gone.") == f"the {place}" for place in places(kept))
    ours = [case for name in ("skill", "train") for case in (*acts(name), *(f"at the {place}" for place in places(name)))]
    assert not [text for text in ours if scope.kept_back(f"Go and {text}.")]


def test_an_evaluation_that_asks_what_was_tuned_on_ends_with_the_question(build, tmp_path):
    store, made = build(*played())
    asked = learned(store, made.reference)
    assert asked == {scene.instruction.text for scene in played()}
    left = {"adapter": made.reference, "result": None, "gates": [], "quarantine": None, "steps": [], "seconds": 0}
    tuned = Tuned(examples=made.reference, count=made.count, **left)
    asker = Asker(RunOptions.of(store=str(tmp_path)), tuned)
    asker.learned = asked
    with pytest.raises(RunError, match="the model was tuned on what it is asked here"):
        asker.both([sets.cases("held_out", 1)[0].text, played()[0].instruction.text])
