"""Scenes go through bytes unchanged, and equal scenes give equal bytes."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pyarrow import parquet

from matrix_core.errors import RunError
from matrix_core.scene import Event, Example, Instruction, Role, Scene
from tasks.scenes_io import (
    dump_examples,
    dump_rows,
    dump_scenes,
    from_lines,
    load_examples,
    load_rows,
    load_scenes,
    pack_lines,
    rows_from_lines,
    to_lines,
)

BAKER = Role(name="the baker", traits="cheerful", status="kneading dough")
SCENES = [
    Scene(
        instruction=Instruction.of("How do I dry paint?\nQuickly, \u2028 please — \U0001f600 \u0000"),
        draft="Use a fan.",
        protagonist=BAKER,
        roles=(Role(name="the cat", traits="shy", status=""),),
        plan=("plug it in",),
        events=(Event(round=0, depth=0, actor="the baker", action="plugs it in", feasible=True, aware=(), consequence="noise"),),
        harmed=(),
    ),
    Scene(instruction=Instruction.of("第二个")),
]


def test_scenes_come_back_as_they_were():
    assert load_scenes(dump_scenes(SCENES)) == SCENES
    assert from_lines(to_lines(SCENES), Scene) == SCENES
    assert load_scenes(dump_scenes([])) == []


def test_examples_and_rows_come_back_as_they_were():
    examples = [Example(scene="", source="general", prompt=(("user", "2 and 2?"),), completion="4")]
    assert load_examples(dump_examples(examples)) == examples
    rows = [{"gate": "roles", "reason": "line\nend \u2028 \udc80", "n": 3}, {}]
    assert load_rows(dump_rows(rows)) == rows
    assert rows_from_lines(to_lines(rows)) == rows


TEXT = some.text(max_size=20)
ROLES = some.builds(Role, name=some.text(min_size=1, max_size=20), traits=TEXT, status=TEXT)
NAMES = some.lists(TEXT, max_size=2).map(tuple)
EVENTS = some.builds(
    Event,
    round=some.integers(0, 2**40),
    depth=some.integers(0, 3),
    actor=TEXT,
    action=TEXT,
    aware=some.none() | NAMES,
    harmed=NAMES,
)


@given(
    some.lists(
        some.builds(
            Scene,
            instruction=some.text(min_size=1, max_size=20).map(Instruction.of),
            draft=some.none() | TEXT,
            protagonist=some.none() | ROLES,
            roles=some.lists(ROLES, max_size=2).map(tuple),
            events=some.lists(EVENTS, max_size=2).map(tuple),
            harmed=some.none() | NAMES,
        ),
        max_size=3,
    )
)
def test_any_scenes_come_back_as_they_were(scenes):
    assert load_scenes(dump_scenes(scenes)) == load_scenes(pack_lines(to_lines(scenes))) == scenes


def test_one_line_a_row():
    assert to_lines(SCENES).count(b"\n") == 2


def test_equal_scenes_give_equal_bytes_at_any_time(monkeypatch):
    first = dump_scenes(SCENES)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert dump_scenes([scene.model_copy(deep=True) for scene in SCENES]) == first
    assert dump_scenes(SCENES[:1]) != first


def test_a_row_that_cannot_be_written_is_named():
    broken = SCENES[1].model_copy(update={"draft": "half a pair: \ud83d"})
    for write in (to_lines, dump_scenes):
        with pytest.raises(RunError, match=r"row 2 \(Scene\)"):
            write([SCENES[0], broken])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"instruction": {"id": "x", "text": "y"}}\n{"instruction": {"id": "x", "text": ""}}\n', "line 2 .*instruction.text"),
        (b'{"instruction": {"id": "x", "text": "y"}, "later": 1}\n', "line 1 .*later"),
        (b"\n\nnonsense\n", "line 3"),
    ],
)
def test_lines_of_something_else_are_named(data, words):
    with pytest.raises(RunError, match=words):
        from_lines(data, Scene)


def test_a_packed_row_of_another_version_is_named():
    table = parquet.read_table(io.BytesIO(dump_scenes(SCENES)))
    blank = table.set_column(0, "instruction", [[{"id": "x", "text": "y"}, {"id": "x", "text": ""}]])
    later = table.append_column("later", [[1, 2]])
    for changed, words in ((blank, r"row 2 is no Scene .*instruction\.text"), (later, r"row 1 is no Scene .*later")):
        out = io.BytesIO()
        parquet.write_table(changed, out)
        with pytest.raises(RunError, match=words):
            load_scenes(out.getvalue())


def test_bytes_of_something_else_are_refused():
    packed = dump_scenes(SCENES)
    for data in (b"", b"plain", packed[:-20], packed[20:]):
        with pytest.raises(RunError, match="no Parquet file"):
            load_scenes(data)
    playing = pack_lines(to_lines(SCENES))
    for data in (playing[:-3], playing[:4], playing[:8] + b"\0" * 8):
        with pytest.raises(RunError, match="no whole scenes"):
            load_scenes(data)
    rows = dump_rows([{"n": 1}])
    for data in (b"plain", rows[:-4], rows[:12] + b"\0\0\0\0" + rows[16:]):
        with pytest.raises(RunError, match="no gzipped JSON lines"):
            load_rows(data)
    with pytest.raises(RunError, match="line 2 is not JSON"):
        rows_from_lines(b"{}\n{\n")


def test_examples_have_a_column_of_rejected_answers_only_where_there_are_any():
    alone = Example(scene="1", source="harmful", prompt=(("user", "Why?"),), completion="So.")
    pair = alone.model_copy(update={"source": "preference", "rejected": "No."})
    for examples, columns in (([alone], []), ([pair], ["rejected"]), ([], [])):
        data = dump_examples(examples)
        assert load_examples(data) == examples
        assert parquet.read_schema(io.BytesIO(data)).names == ["scene", "source", "prompt", "completion", *columns]
