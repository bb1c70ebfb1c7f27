"""The store in a bucket of a real S3 server: what it keeps, and that nothing altered is ever handed out.

`rclone` ignores `IfNoneMatch`: servers that honour or refuse it are played by botocore's Stubber.
"""

import hashlib
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from matrix_core.errors import UserError
from tasks import progress
from tasks.store import DamagedError, MissingError, Reference, Store, open_store
from tests.s3_server import stubbed


@pytest.fixture
def store(s3_uri: str) -> Store:
    return open_store(s3_uri)


def test_put_and_get(store, s3_uri):
    ref = store.put(b"abc", ".txt")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ref == Reference(sha256=digest, size=3, suffix=".txt")
    assert store.locate(ref) == f"{s3_uri}/objects/ba/{digest}.txt"
    assert store.has(ref)
    assert store.get(ref) == b"abc"
    assert store.get(store.put(b"", "")) == b""


def test_a_store_may_have_a_bucket_of_its_own(s3, s3_uri):
    open_store(s3_uri).backend._client.create_bucket(Bucket="own-bucket")
    store = open_store("s3://own-bucket")
    ref = store.put(b"abc", ".txt")
    assert store.uri == "s3://own-bucket"
    assert store.locate(ref).startswith("s3://own-bucket/objects/ba/")
    assert open_store("s3://own-bucket/").get(ref) == b"abc"


def test_a_report_in_the_bucket_is_a_page_for_browsers(store, s3_uri):
    key = store.write("a", "report.html", b"<html>").removeprefix("s3://artifacts/")
    assert store.backend._client.head_object(Bucket="artifacts", Key=key)["ContentType"] == "text/html"


def test_what_is_used_again_counts_as_written_anew(store):
    ref = store.put(b"abc", ".txt")
    where = {"Bucket": "artifacts", "Key": store.locate(ref).removeprefix("s3://artifacts/")}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    aged = {"mtime": str(yesterday.timestamp())}
    store.backend._client.copy_object(**where, CopySource=where, MetadataDirective="REPLACE", Metadata=aged)
    assert [entry.modified.day for entry in store.backend.list("objects/")] == [yesterday.day]
    store.backend.touch(ref.key)
    assert all(entry.modified > datetime.now(UTC) - timedelta(minutes=1) for entry in store.backend.list("objects/"))
    assert store.get(ref) == b"abc"


def test_many_writers_of_the_same_bytes(store):
    data = os.urandom(100_000)
    with ThreadPoolExecutor(8) as pool:
        refs = set(pool.map(lambda _: store.put(data, ".bin"), range(32)))
    assert len(refs) == 1
    assert store.get(refs.pop()) == data
    assert len(list(store.backend.list("objects/"))) == 1


def test_more_keys_than_a_page_has_are_listed_and_deleted(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.backend.write(f"many/{i:04}.json", b"{}"), range(1_010)))
    assert [entry.key for entry in store.backend.list("many/")] == [f"many/{i:04}.json" for i in range(1_010)]
    assert list(store.backend.folders("")) == ["many"]
    store.backend.delete(entry.key for entry in store.backend.list("many/"))
    assert list(store.backend.list("")) == []


def test_a_large_file_goes_there_and_back_in_parts(store, tmp_path):
    source, back = tmp_path / "source.bin", tmp_path / "deep" / "back.bin"
    size = 96 << 20
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    parts: list[object] = []
    events = store.backend._client.meta.events
    events.register("before-call.s3.UploadPart", lambda **_: parts.append(1), unique_id="count")
    tracemalloc.start()
    try:
        ref = store.put_file(source, ".bin")
        store.fetch(ref, back)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        events.unregister("before-call.s3.UploadPart", unique_id="count")
    with source.open("rb") as one, back.open("rb") as two:
        assert ref.size == size
        assert hashlib.file_digest(one, "sha256").hexdigest() == hashlib.file_digest(two, "sha256").hexdigest() == ref.sha256
    assert peak < 40 << 20
    assert len(parts) == 12


def test_folders(store, tmp_path):
    source = tmp_path / "adapter"
    (source / "deep").mkdir(parents=True)
    (source / "adapter_config.json").write_bytes(b"{}")
    (source / "deep" / "weights.safetensors").write_bytes(b"\0\1")
    ref = store.put_folder(source)
    store.get_folder(ref, tmp_path / "target")
    assert (tmp_path / "target" / "deep" / "weights.safetensors").read_bytes() == b"\0\1"
    assert sorted(path.name for path in (tmp_path / "target").rglob("*") if path.is_file()) == [
        "adapter_config.json",
        "weights.safetensors",
    ]


def test_a_transfer_that_takes_a_while_says_how_far_it_is(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.transfers.QUIET", 0.0)
    said: list[str] = []
    monkeypatch.setattr("tasks.progress.step", lambda done, doing: said.append(doing))
    (tmp_path / "weights.bin").write_bytes(bytes(20_000_000))
    with progress.stage("tune", total=1):
        ref = store.put_file(tmp_path / "weights.bin", ".bin")
    assert said[-1] == "upload weights.bin 20 of 20 MB"
    said.clear()
    # Without the bar of a stage, and without a terminal, nothing is said.
    store.fetch(ref, tmp_path / "back.bin")
    assert said == []


def test_what_is_not_there_cannot_be_renewed(store):
    assert not store.backend.touch("objects/none")


def test_an_upload_in_parts_that_is_refused_says_why(store, tmp_path, monkeypatch):
    (tmp_path / "large.bin").write_bytes(bytes(9 << 20))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    other = open_store(store.uri, writable=False)
    with pytest.raises(UserError, match="the secret key is wrong"):
        other.backend.upload("objects/x", tmp_path / "large.bin")


@pytest.mark.parametrize("altered", [b"012345678", b"0123456789x", b"X123456789", b""])
def test_an_altered_object_is_found_by_its_hash_and_never_used(store, tmp_path, altered):
    ref = store.put(b"0123456789", ".bin")
    store.backend.write(ref.key, altered)
    with pytest.raises(DamagedError, match="delete it and run again") as caught:
        store.get(ref)
    assert store.locate(ref) in str(caught.value)
    with pytest.raises(DamagedError):
        store.fetch(ref, tmp_path / "out.bin")
    assert list(tmp_path.iterdir()) == []
    assert store.has(ref) == (len(altered) == 10)


def test_a_truncated_object_is_written_anew(store):
    ref = store.put(b"0123456789", ".bin")
    store.backend.write(ref.key, b"01234")
    assert store.get(store.put(b"0123456789", ".bin")) == b"0123456789"


def test_a_missing_object_is_named(store, tmp_path):
    ref = Reference(sha256="a" * 64, size=1, suffix=".txt")
    assert not store.has(ref)
    for use in (lambda: store.get(ref), lambda: store.fetch(ref, tmp_path / "x")):
        with pytest.raises(MissingError, match=f"object {store.locate(ref)} is missing"):
            use()


def test_where_the_server_offers_it_an_object_is_created_only_if_absent():
    store, stub = stubbed()
    key = Reference(sha256=hashlib.sha256(b"abc").hexdigest(), size=3, suffix=".txt").key
    head = {"Bucket": "bucket", "Key": f"p/{key}"}
    stub.add_client_error("head_object", "404", http_status_code=404, expected_params=head)
    put = {**head, "ContentType": "text/plain", "Body": b"abc", "IfNoneMatch": "*"}
    stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412, expected_params=put)
    with stub:
        assert store.put(b"abc", ".txt").size == 3
        stub.assert_no_pending_responses()


def test_where_the_server_does_not_offer_it_an_object_is_written():
    store, stub = stubbed()
    where = {"Bucket": "bucket", "Key": "p/k", "ContentType": "application/octet-stream"}
    stub.add_client_error(
        "put_object", "NotImplemented", http_status_code=501, expected_params={**where, "Body": b"1", "IfNoneMatch": "*"}
    )
    stub.add_response("put_object", {}, {**where, "Body": b"1"})
    stub.add_response("put_object", {}, {**where, "Body": b"2"})
    with stub:
        assert store.backend.write("k", b"1", absent_only=True)
        # Not asked for again.
        assert store.backend.write("k", b"2", absent_only=True)
        stub.assert_no_pending_responses()
