"""What a stage leaves for the next one and for people, and what is said where it is not there."""

import hashlib

import pytest

from matrix_core.errors import UserError
from matrix_core.scene import Instruction, Scene
from tasks.runs import Simulated, each_scene, keep, publish_scenes, recall
from tasks.scenes_io import PARQUET, dump_scenes, from_lines
from tasks.store import open_store

SCENES = [Scene(instruction=Instruction.of(f"How do I do {n}?"), draft="Do it.") for n in range(5)]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def test_scenes_are_published_over_all_shards_as_lines_that_the_store_keeps_too(store):
    shards = [store.put(dump_scenes(some), PARQUET) for some in (SCENES[:2], SCENES[2:])]
    reference = publish_scenes(store, "mine", shards)
    lines = store.read("mine", "scenes.jsonl")
    assert from_lines(lines, Scene) == SCENES == list(each_scene(store, shards))
    assert reference.sha256 == hashlib.sha256(lines).hexdigest()
    assert store.get(reference) == lines


def test_a_stage_that_was_not_run_or_by_another_version_is_asked_for(store):
    with pytest.raises(UserError, match="'simulate' has not been run; run `matrix-align simulate`"):
        recall(store, "mine", "simulate", Simulated)
    keep(store, "mine", "simulate", Instruction.of("not what it should be"))
    with pytest.raises(UserError, match="'simulate' was run by another version; run `matrix-align simulate`"):
        recall(store, "mine", "simulate", Simulated)
