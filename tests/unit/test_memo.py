"""What a shard takes over from others: exactly what was the same before the step, done in the same way."""

import pytest

from matrix_core.scene import Instruction, Scene
from tasks import memo
from tasks.play import rejection
from tasks.scenes_io import PARQUET, dump_rows, dump_scenes, to_lines
from tasks.store import open_store

PARTS = {"model": "m"}
BEFORE = [Scene(instruction=Instruction.of(f"How do I do {n}?")) for n in range(6)]


def hashes(scenes):
    return {scene.id: memo.hash_of(to_lines([scene])) for scene in scenes}


def after(scene):
    return scene.model_copy(update={"draft": f"Do {scene.id}."})


@pytest.fixture
def store(tmp_path):
    """One shard of four has been played: two went on, one failed its gate, one was lost to the engine."""
    opened = open_store(str(tmp_path))
    rows = [
        rejection("drafts", BEFORE[2].instruction, "it loops", "no_loop"),
        rejection(memo.ENGINE, BEFORE[3].instruction, "the engine failed: it is gone"),
    ]
    note = memo.Note(
        before=hashes(BEFORE[:4]),
        after=opened.put(dump_scenes([after(scene) for scene in BEFORE[:2]]), PARQUET),
        set_aside=opened.put(dump_rows(rows), ".jsonl.gz"),
        each={scene.id: (2, 60 + n) for n, scene in enumerate(BEFORE[:4])},
        seconds=0.5,
    )
    memo.write(opened, "draft", PARTS, opened.put(dump_scenes(BEFORE[:4]), PARQUET), note)
    return opened


def test_scenes_and_rejections_are_taken_over_but_not_what_was_lost_to_the_engine(store):
    found = memo.recall(store, "draft", PARTS, hashes(BEFORE)).found
    assert found.keys() == {scene.id for scene in BEFORE[:3]}
    assert [found[scene.id] for scene in BEFORE[:2]] == [after(scene) for scene in BEFORE[:2]]
    assert found[BEFORE[2].id]["reason"] == "it loops"


def test_another_way_another_step_or_another_scene_takes_nothing_over(store):
    assert not memo.recall(store, "draft", {"model": "other"}, hashes(BEFORE)).found
    assert not memo.recall(store, "roles", PARTS, hashes(BEFORE)).found
    changed = [scene.model_copy(update={"setting": "elsewhere"}) for scene in BEFORE]
    assert not memo.recall(store, "draft", PARTS, hashes(changed)).found


def test_a_note_that_another_shard_is_writing_is_passed_over(store):
    note = next(entry.key for entry in store.backend.list("") if "/scenes/" in entry.key)
    folder = note.rpartition("/")[0]
    store.backend.write(f"{folder}/.{'0' * 32}.part", b"{")
    assert len(memo.recall(store, "draft", PARTS, hashes(BEFORE)).found) == 3


def test_what_has_been_pruned_is_asked_again(store):
    store.backend.delete([entry.key for entry in store.backend.list("objects/")])
    assert not memo.recall(store, "draft", PARTS, hashes(BEFORE)).found


def test_what_is_taken_over_is_told_with_what_it_had_cost(store):
    recalled = memo.recall(store, "draft", PARTS, hashes(BEFORE[1:]))  # the last but two was lost to the engine
    assert recalled.each == {BEFORE[1].id: (2, 61), BEFORE[2].id: (2, 62)}
    assert memo.Spent.on(recalled.each, recalled.seconds) == memo.Spent(4, 123, 1.0)
    assert memo.recall(store, "roles", PARTS, hashes(BEFORE)) == memo.Recalled({}, {}, 0.0)
