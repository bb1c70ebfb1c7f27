"""Cache keys: equal for equal parts in any process, different for any other part; and what is said about a new one."""

import subprocess
import sys

import pytest

from tasks import keys
from tasks.store import open_store

PARTS = {"model": "m1", "prompt or schema": "p1", "temperature": "0.2"}


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def test_the_order_of_parts_does_not_count_and_every_part_does():
    key = keys.key("draft", PARTS, "given")
    assert keys.key("draft", dict(reversed(PARTS.items())), "given") == key
    others = [PARTS | {name: "other"} for name in PARTS]
    assert (
        len(
            {
                key,
                keys.key("draft", PARTS, "else"),
                keys.key("roles", PARTS, "given"),
                *(keys.key("draft", o, "given") for o in others),
            }
        )
        == 6
    )


def test_a_key_is_the_same_in_another_process_with_another_hash_seed():
    code = f"from tasks import keys; print(keys.key('draft', {PARTS!r}, ['b', 'a']))"
    made = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert made == {keys.key("draft", PARTS, ["b", "a"]) + "\n"}


def test_what_is_new_is_told_against_the_closest_earlier_way(store):
    assert keys.explain(store, "draft", PARTS) == keys.FIRST
    assert keys.explain(store, "draft", PARTS) == keys.NEW_INPUT
    assert keys.explain(store, "draft", PARTS | {"model": "m2"}) == "model: m1 -> m2"
    both = {"model": "m2", "prompt or schema": "p2", "temperature": "0.2"}
    assert keys.explain(store, "draft", both) == "prompt or schema: p1 -> p2"
    assert keys.explain(store, "roles", PARTS) == keys.FIRST


def test_parts_that_come_or_go_and_long_values():
    assert keys.differences({"a": "1"}, {"b": "x" * 64}) == ["a: 1 -> none", f"b: none -> {'x' * 12}..."]
