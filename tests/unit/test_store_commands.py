"""`store check` and `store prune`: what they find, what they delete, and what they must never delete."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows import cli
from tasks.pruning import carry_out, plan
from tasks.store import MissingError, Reference, Store, open_store
from tests.unit.test_store import file_size_limit

HOUR = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def age(store: Store, key: str, hours: float) -> None:
    """Let a file of a store in a folder have been written so many hours ago."""
    then = time.time() - hours * HOUR
    os.utime(Path(store.uri, key), (then, then))


def make_run(store: Store, run_id: str, hours: float, finished: bool = True) -> dict[str, Reference]:
    """A run of so many hours ago, with all kinds of things that runs leave, each with bytes of its own."""
    made = {name: store.put(f"{run_id} {name}".encode(), ".jsonl") for name in ("scenes", "quarantine", "wave")}
    weights = store.put(f"{run_id} weights".encode(), ".safetensors")
    made["adapter"] = store.put(json.dumps({"adapter_model.safetensors": weights.model_dump()}).encode(), ".tree.json")
    result = {"result": json.dumps({"__class__": "x", "data": {"shard": made["wave"].model_dump()}}), "metadata": {}}
    store.remember(f"step-{run_id}", json.dumps(result).encode())
    store.write(run_id, "options.json", b"{}")
    records = {"scenes": made["scenes"].model_dump(), "records": [[{"quarantine": made["quarantine"].model_dump()}, False]]}
    store.write(run_id, "stages/simulate.json", json.dumps(records).encode())
    store.write(run_id, "stages/tune.json", json.dumps({"adapter": made["adapter"].model_dump()}).encode())
    if finished:
        store.write(run_id, "summary.json", b"{}")
    if "://" not in store.uri:
        keys = [ref.key for ref in made.values()] + [weights.key, f"results/step-{run_id}"]
        for key in keys + [entry.key for entry in store.backend.list(f"runs/{run_id}/")]:
            age(store, key, hours)
    return made | {"weights": weights}


def prune(store: Store, keep: int) -> None:
    carry_out(store, plan(store, keep), keep)


def everything_is_there(store: Store, run_id: str, made: dict[str, Reference]) -> bool:
    cached = {entry.key for entry in store.backend.list("results/")}
    return run_id in store.runs() and all(store.has(ref) for ref in made.values()) and f"results/step-{run_id}" in cached


def test_the_runs_that_were_written_to_last_stay_with_all_that_they_need(folder):
    made = {run_id: make_run(folder, run_id, hours) for run_id, hours in (("a", 72), ("b", 30), ("c", 50), ("d", 90))}
    prune(folder, 2)
    assert folder.runs() == ["b", "c"]
    assert everything_is_there(folder, "b", made["b"])
    assert everything_is_there(folder, "c", made["c"])
    assert not any(folder.has(ref) for run_id in ("a", "d") for ref in made[run_id].values())
    assert [entry.key for entry in folder.backend.list("results/")] == ["results/step-b", "results/step-c"]
    assert plan(folder, 2).all == ()


def test_what_two_runs_share_stays_with_the_one_that_is_kept(folder):
    old, new = make_run(folder, "old", 72), make_run(folder, "new", 30)
    folder.write("new", "manifest.json", json.dumps({"examples": {"from": old["scenes"].sha256}}).encode())
    age(folder, "runs/new/manifest.json", 30)
    prune(folder, 1)
    assert folder.has(old["scenes"])
    assert not folder.has(old["quarantine"])
    assert everything_is_there(folder, "new", new)


def test_an_old_result_stays_if_a_kept_run_names_its_key_and_keeps_what_it_names(folder):
    old, _ = make_run(folder, "old", 72), make_run(folder, "new", 30)
    key = f"draft-{'5' * 64}"
    folder.remember(key, json.dumps({"result": old["wave"].model_dump_json()}).encode())
    folder.write("new", "stages/simulate.json", json.dumps({"keys": [key]}).encode())
    for name in (f"results/{key}", "runs/new/stages/simulate.json"):
        age(folder, name, 60)
    age(folder, "runs/new/summary.json", 30)
    prune(folder, 1)
    assert folder.recall(key)
    assert folder.get(old["wave"]) == b"old wave"


def test_no_run_is_kept(folder):
    make_run(folder, "a", 72)
    prune(folder, 0)
    assert list(folder.backend.list("")) == []


def test_what_is_young_stays_whoever_it_belongs_to(folder):
    make_run(folder, "kept", 2)
    young = make_run(folder, "young", 0.9)
    loose = folder.put(b"nobody refers to it yet", ".bin")
    tree = folder.put(json.dumps({"f": folder.put(b"file of a young tree", "").model_dump()}).encode(), ".tree.json")
    file = folder.put(b"file of a young tree", "")
    age(folder, file.key, 5)
    prune(folder, 1)
    assert everything_is_there(folder, "young", young)
    assert all(folder.has(ref) for ref in (loose, tree, file))


def test_a_run_that_still_goes_on_stays_for_a_day(folder):
    make_run(folder, "kept", 2)
    going = make_run(folder, "going", 20, finished=False)
    stopped = make_run(folder, "stopped", 30, finished=False)
    prune(folder, 1)
    assert everything_is_there(folder, "going", going)
    assert folder.runs() == ["going", "kept"]
    assert not folder.has(stopped["scenes"])


def test_other_peoples_files_are_left_alone(folder):
    make_run(folder, "a", 72)
    for name in ("mine.txt", "photos/cat.jpg", "objects/README", "runs/.hidden/x", "objects/ab/notes.txt"):
        folder.backend.write(name, b"x")
        age(folder, name, 999)
    prune(folder, 0)
    assert sorted(entry.key for entry in folder.backend.list("")) == [
        "mine.txt", "objects/README", "objects/ab/notes.txt", "photos/cat.jpg", "runs/.hidden/x",
    ]  # fmt: skip


def test_what_a_killed_writer_left_behind_goes(folder):
    make_run(folder, "a", 30)
    for name, hours in ((f"objects/ab/.{'0' * 32}.part", 2.0), (f"objects/ab/.{'1' * 32}.part", 0.0)):
        folder.backend.write(name, b"x")
        age(folder, name, hours)
    prune(folder, 1)
    assert [entry.key for entry in folder.backend.list("objects/ab/") if entry.key.endswith(".part")] == [
        f"objects/ab/.{'1' * 32}.part"
    ]


def test_what_is_put_again_or_recalled_again_is_safe(folder):
    make_run(folder, "kept", 30)
    ref = folder.put(b"used again", ".txt")
    named = folder.put(b"named", ".txt")
    folder.remember("again", json.dumps({"result": named.model_dump()}).encode())
    folder.remember("never", json.dumps({"result": named.model_dump()}).encode())
    for key in (ref.key, named.key, "results/again", "results/never"):
        age(folder, key, 99)
    folder.put(b"used again", ".txt")
    folder.recall("again")
    prune(folder, 1)
    assert folder.has(ref)
    assert folder.has(named)
    assert folder.recall("again")


def test_what_was_planned_but_is_used_again_before_it_goes_stays(folder):
    made = make_run(folder, "a", 72)
    planned = plan(folder, 0)
    folder.put(b"a scenes", ".jsonl")
    folder.write("a", "summary.json", b"{}")
    gone = carry_out(folder, planned, 0)
    assert gone.runs == ()
    assert everything_is_there(folder, "a", made)


def test_a_cached_result_that_names_something_missing_is_none(folder):
    ref = folder.put(b"0123456789", ".bin")
    folder.remember("k", json.dumps({"result": json.dumps({"a": [ref.model_dump()]})}).encode())
    assert folder.recall("k")
    Path(folder.locate(ref)).chmod(0o644)
    Path(folder.locate(ref)).write_bytes(b"01234")
    with pytest.raises(MissingError, match="missing or truncated"):
        folder.recall("k")
    Path(folder.locate(ref)).unlink()
    with pytest.raises(MissingError, match=ref.sha256):
        folder.recall("k")


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_beside_a_writer_nothing_that_it_has_just_put_goes(where, tmp_path, request):
    store = open_store(str(tmp_path / "store") if where == "folder" else request.getfixturevalue("s3_uri"))
    put: list[Reference] = []
    stop, failures = threading.Event(), list[BaseException]()

    def write() -> None:
        n = 0
        try:
            while not stop.is_set():
                n += 1
                put.append(store.put(f"{n % 40}".encode(), ".txt"))
                store.write("going", "options.json", b"{}")
                store.remember(f"k{n % 40}", json.dumps({"result": put[-1].model_dump()}).encode())
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(10):
        prune(store, 0)
    stop.set()
    writer.join()
    assert failures == []
    assert put
    assert all(store.has(ref) for ref in put)
    assert store.runs() == ["going"]


def test_in_a_bucket(s3_uri):
    store = open_store(s3_uri)
    first, second = make_run(store, "a", 0), make_run(store, "b", 0)
    # Times in buckets are the server's; two days later both runs are equally old, and the one with the later name stays.
    later = datetime.now(UTC) + timedelta(days=2)
    assert plan(store, 1).all == ()
    store.write("b", "summary.json", b"{}")
    gone = carry_out(store, plan(store, 1, later), 1, later)
    assert gone.runs == ("a",)
    assert store.runs() == ["b"]
    assert not store.has(first["scenes"])
    assert everything_is_there(store, "b", second)


def run(*command: str) -> int:
    return cli.main(["store", *command])


def test_prune_shows_first_and_deletes_only_when_told(folder, capsys, monkeypatch):
    make_run(folder, "old-run", 72)
    make_run(folder, "new-run", 30)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert run("prune", "--keep-runs", "1", "--store", folder.uri) == 0
    out = capsys.readouterr().out
    assert "old-run" in out
    assert "nothing was deleted: give --yes" in out
    assert folder.runs() == ["new-run", "old-run"]
    assert run("prune", "--keep-runs", "1", "--store", folder.uri, "--yes") == 0
    # 4 files of the run, its result, 5 objects.
    assert "deleted 10 files" in capsys.readouterr().out
    assert folder.runs() == ["new-run"]
    assert run("prune", "--keep-runs", "1", "--store", folder.uri, "--yes") == 0
    assert "nothing to delete" in capsys.readouterr().out


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "", "99999999"])
def test_prune_with_a_count_that_is_none(count, tmp_path, capsys):
    assert run("prune", f"--keep-runs={count}", "--store", str(tmp_path)) == 2
    assert "give a whole number from 0 to 1000000" in capsys.readouterr().err


def test_check_of_a_folder_leaves_nothing(tmp_path, capsys):
    assert run("check", str(tmp_path / "a" / "b"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fine"]
    assert {finding["name"] for finding in told["findings"] if finding["works"]} == {
        "write", "read", "list", "overwrite", "verify", "large file", "renew", "create if absent", "delete",
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_bucket_says_what_the_server_cannot_do(s3_uri, capsys):
    assert run("check", s3_uri, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fine"]
    assert [(finding["name"], finding["needed"]) for finding in told["findings"] if not finding["works"]] == [
        ("create if absent", False)
    ]
    assert list(open_store(s3_uri).backend.list("")) == []
    assert run("check", s3_uri) == 0
    assert "no (can do without)" in capsys.readouterr().out


def test_check_where_large_files_cannot_be_written(tmp_path, capsys):
    with file_size_limit(1_000_000):
        assert run("check", str(tmp_path / "store"), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [(finding["name"], finding["needed"]) for finding in told["findings"] if not finding["works"]] == [("large file", True)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "words"), [("s3://", "names no bucket"), ("gs://x", "aren't supported"), ("s3://nowhere", "no bucket")]
)
def test_check_of_what_is_no_store(uri, words, s3, capsys):
    assert run("check", uri) == 2
    assert words in capsys.readouterr().err
