"""Results of tasks come back only as this program's own models, and only while the objects that they name are there."""

import json
from pathlib import Path

import pytest

from tasks.play import Record
from tasks.results import MatrixStore, block_name
from tasks.store import MissingError, Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def plant(store: Store, result: str, serializer: object = None) -> MatrixStore:
    """A result under the key `k`, as Prefect writes one."""
    record = {
        "metadata": {"storage_key": "k", "serializer": serializer or {"type": "json"}, "storage_block_id": None},
        "result": result,
    }
    store.remember("k", json.dumps(record).encode())
    return MatrixStore(uri=store.uri)


def loaded(block: MatrixStore) -> object:
    from prefect.results import ResultRecord

    return ResultRecord.deserialize(block.read_path("k")).result


def test_our_own_models_come_back(store):
    reference = store.put(b"[]", ".json")
    record = Record(step="draft", asked=3, quarantine=reference)
    found = loaded(plant(store, json.dumps({"__class__": "tasks.play.Record", "data": record.model_dump()})))
    assert found == record


@pytest.mark.parametrize(
    "name",
    ["subprocess.getoutput", "os.system", "flows.report.subprocess", "tasks.store.open_store", "builtins.eval", "pathlib.Path"],
)
def test_nothing_else_is_built_or_called(store, tmp_path, name):
    block = plant(store, json.dumps([{"a": {"__class__": name, "data": {"cmd": f"touch {tmp_path}/called"}}}]))
    with pytest.raises(MissingError, match="is none of this program"):
        block.read_path("k")
    assert not (tmp_path / "called").exists()


def test_a_result_is_read_as_json_whatever_serializer_it_asks_for(store):
    for serializer in ({"type": "pickle"}, {"type": "json", "object_decoder": "os.system"}, {"type": "compressed/pickle"}):
        assert json.loads(plant(store, "[1]", serializer).read_path("k"))["metadata"]["serializer"] == {"type": "json"}
        assert loaded(plant(store, "[1]", serializer)) == [1]
    with pytest.raises(MissingError):
        plant(store, "gASVKQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU", {"type": "pickle"}).read_path("k")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"metadata": {}, "result": 3}', b"\xff"])
def test_a_damaged_result_counts_as_missing(store, data):
    store.remember("k", data)
    with pytest.raises(MissingError):
        MatrixStore(uri=store.uri).read_path("k")


def test_a_result_whose_object_is_gone_counts_as_missing(store):
    reference = store.put(b"[]", ".json")
    block = plant(store, json.dumps({"reference": reference.model_dump()}))
    assert loaded(block) == {"reference": reference.model_dump()}
    Path(store.locate(reference)).unlink()
    with pytest.raises(MissingError, match=reference.sha256):
        MatrixStore(uri=store.uri).read_path("k")


@pytest.mark.parametrize("key", ["../runs/x/summary.json", "/etc/passwd", "a/../../objects/x"])
def test_keys_stay_in_their_room(store, key):
    from matrix_core.errors import RunError

    block = MatrixStore(uri=store.uri)
    with pytest.raises(RunError, match="can't be the name of a file"):
        block.read_path(key)
    with pytest.raises(RunError, match="can't be the name of a file"):
        block.write_path(key, b"{}")


def test_a_store_has_one_block_name_and_credentials_are_not_in_the_block():
    assert block_name("s3://bucket/a") == block_name("s3://bucket/a") != block_name("s3://bucket/b")
    assert set(MatrixStore.model_fields) == {"uri"}
