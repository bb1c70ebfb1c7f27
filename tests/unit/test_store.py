"""The store keeps what it was given, whole, once, and inside its folder."""

import os
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from matrix_core.errors import RunError, UserError
from tasks.store import DamagedError, MissingError, Reference, open_store


def files(folder: Path) -> list[str]:
    """All files under a folder, as relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """The system refuses to let files grow beyond the limit, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_put_and_get(tmp_path):
    store = open_store(str(tmp_path))
    ref = store.put(b"abc", ".txt")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ref == Reference(sha256=digest, size=3, suffix=".txt")
    assert store.get(ref) == b"abc"
    assert store.locate(ref) == str(tmp_path / "objects" / "ba" / f"{digest}.txt")
    assert files(tmp_path) == [f"objects/ba/{digest}.txt"]


def test_a_reference_survives_json_and_opens_in_a_copy_of_the_store(tmp_path):
    ref = open_store(str(tmp_path / "a")).put(b"", "")
    os.rename(tmp_path / "a", tmp_path / "b")
    assert open_store(str(tmp_path / "b")).get(Reference.model_validate_json(ref.model_dump_json())) == b""


def test_what_is_there_is_not_written_again(tmp_path):
    store = open_store(str(tmp_path))
    path = Path(store.locate(store.put(b"abc", ".txt")))
    before = path.stat()
    store.put(b"abc", ".txt")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert stat.S_IMODE(after.st_mode) & 0o222 == 0


def test_many_writers_of_the_same_bytes_leave_one_whole_object(tmp_path):
    store = open_store(str(tmp_path))
    data = os.urandom(100_000)
    with ThreadPoolExecutor(8) as pool:
        refs = set(pool.map(lambda _: store.put(data, ".bin"), range(32)))
    assert len(refs) == 1
    assert store.get(refs.pop()) == data
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    "alter", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"X" + data[1:], lambda data: b""]
)
def test_altered_bytes_are_found_and_the_object_is_named(tmp_path, alter):
    store = open_store(str(tmp_path))
    ref = store.put(b"0123456789", ".bin")
    path = Path(store.locate(ref))
    path.chmod(0o644)
    path.write_bytes(alter(b"0123456789"))
    with pytest.raises(DamagedError, match="delete it and run again") as caught:
        store.get(ref)
    assert str(path) in str(caught.value)
    path.unlink()
    assert store.get(store.put(b"0123456789", ".bin")) == b"0123456789"


def test_a_missing_object_is_named(tmp_path):
    store = open_store(str(tmp_path))
    ref = store.put(b"abc", ".txt")
    Path(store.locate(ref)).unlink()
    with pytest.raises(MissingError, match=ref.sha256):
        store.get(ref)


def test_a_put_that_fails_leaves_nothing(tmp_path):
    store = open_store(str(tmp_path))
    data = os.urandom(300_000)
    with file_size_limit(10_000), pytest.raises(RunError, match=r"File too large.*run the same command again"):
        store.put(data, ".bin")
    assert files(tmp_path) == []
    assert store.get(store.put(data, ".bin")) == data


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path):
    store = open_store(str(tmp_path))
    path = store.write("run-1", "summary.json", b"{}")
    with file_size_limit(10_000), pytest.raises(RunError, match=r"summary\.json"):
        store.write("run-1", "summary.json", b"x" * 300_000)
    assert Path(path).read_bytes() == b"{}"
    assert files(tmp_path) == ["runs/run-1/summary.json"]


@pytest.fixture(params=["a folder", "a bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's URI, of each kind."""
    return str(tmp_path) if request.param == "a folder" else request.getfixturevalue("s3_uri")


def test_files_of_a_run(place):
    store = open_store(place)
    assert store.runs() == []
    assert store.write("b", "stages/tune.json", b"1") == f"{place}/runs/b/stages/tune.json"
    store.write("b", "stages/tune.json", b"22")
    store.write("a.1", "summary.json", b"3")
    assert store.read("b", "stages/tune.json") == b"22"
    assert store.runs() == ["a.1", "b"]
    with pytest.raises(MissingError, match=r"run b in .* has no report\.html"):
        store.read("b", "report.html")
    with pytest.raises(MissingError):
        store.read("nobody", "summary.json")


def test_folders(tmp_path):
    source = tmp_path / "adapter"
    (source / "deep").mkdir(parents=True)
    (source / "adapter_config.json").write_bytes(b"{}")
    (source / "deep" / "weights.safetensors").write_bytes(b"\0\1")
    (source / "README").write_bytes(b"{}")
    store = open_store(str(tmp_path / "store"))
    ref = store.put_folder(source)
    assert store.put_folder(source) == ref
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine.txt").write_text("stays")
    store.get_folder(ref, target)
    assert files(target) == ["README", "adapter_config.json", "deep/weights.safetensors", "mine.txt"]
    assert (target / "deep" / "weights.safetensors").read_bytes() == b"\0\1"
    (source / "README").write_bytes(b"other")
    assert store.put_folder(source) != ref


def test_a_tree_that_leads_elsewhere_is_refused(tmp_path):
    store = open_store(str(tmp_path / "store"))
    inner = store.put(b"evil", "").model_dump_json()
    for name in ("../evil", "/tmp/evil", "a/../../evil", "a\\\\b", ""):
        tree = store.put(f'{{"{name}": {inner}}}'.encode(), ".tree.json")
        with pytest.raises(RunError, match="can't be the name of a file"):
            store.get_folder(tree, tmp_path / "target")
    assert files(tmp_path / "store") != []
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/../../../x", "a\\b", "a\0b", "", "./x"])
def test_file_names_stay_in_their_run(tmp_path, name):
    store = open_store(str(tmp_path / "store"))
    with pytest.raises(RunError):
        store.write("run", name, b"x")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", "../x", "a/b", "/x", ".hidden", "-x", "a b", "a\nb", "a\n", "a\0", "ä", "a\\b", "%2e%2e", "x" * 81, "~"],
)
def test_run_ids_that_would_leave_the_store(tmp_path, run_id):
    store = open_store(str(tmp_path / "store"))
    for use in (lambda: store.write(run_id, "x", b"x"), lambda: store.read(run_id, "x")):
        with pytest.raises(UserError, match=r"run id .* can't be used"):
            use()
    assert files(tmp_path) == []


@pytest.mark.parametrize("run_id", ["a", "A.b_c-9", "_", "0", "x" * 80, "pocket-0123456789"])
def test_run_ids_that_are_fine(tmp_path, run_id):
    store = open_store(str(tmp_path))
    store.write(run_id, "x", b"x")
    assert store.runs() == [run_id]


@pytest.mark.parametrize(
    "bad",
    [
        {"sha256": "../" + "a" * 61, "size": 1, "suffix": ""},
        {"sha256": "a" * 63, "size": 1, "suffix": ""},
        {"sha256": "A" * 64, "size": 1, "suffix": ""},
        {"sha256": "a" * 64 + "\n", "size": 1, "suffix": ""},
        {"sha256": "a" * 64, "size": -1, "suffix": ""},
        {"sha256": "a" * 64, "size": 1, "suffix": "/../../x"},
        {"sha256": "a" * 64, "size": 1, "suffix": ".."},
    ],
)
def test_references_that_would_leave_the_store(bad):
    with pytest.raises(ValidationError):
        Reference.model_validate(bad)


def test_opening_leaves_nothing_behind(tmp_path):
    open_store(str(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    open_store(str(tmp_path / "there"))
    assert list((tmp_path / "there").iterdir()) == []


def test_uris(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert open_store("./runs").uri == str(tmp_path / "runs")
    assert open_store(f"file://{tmp_path}/a%20b").uri == str(tmp_path / "a b")
    assert open_store("~/runs", writable=False).uri == "/somewhere/runs"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "--store is empty"),
        ("s3://", "names no bucket: write s3://bucket/prefix"),
        ("gs://bucket", "gs:// aren't supported; use a folder"),
        ("a\0b", "can't be written to"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_uris_that_are_no_store(uri, words):
    with pytest.raises(UserError) as caught:
        open_store(uri)
    assert words in str(caught.value)


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "objects").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in ("file", "file/below", "store", "dangling"):
        with pytest.raises(UserError, match="is not a folder"):
            open_store(str(tmp_path / path))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc is where even root can't write")
def test_a_store_that_cannot_be_written_to():
    with pytest.raises(UserError, match=r"can't be written to .*name a folder where you can write"):
        open_store("/proc/matrix-runs")
    assert open_store("/proc/matrix-runs", writable=False).runs() == []
