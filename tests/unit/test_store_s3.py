"""The store in a bucket of a real S3 server: what it keeps, and what it says when something is wrong.

Two things `rclone` doesn't do are answered by botocore's Stubber instead: it ignores `IfNoneMatch`, and it doesn't look at clocks.
"""

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber

from flows import cli
from matrix_core.errors import RunError, UserError
from tasks import progress
from tasks import s3 as s3_module
from tasks.s3 import Bucket
from tasks.store import DamagedError, MissingError, Reference, Store, open_store
from tests.s3_server import free_port


@pytest.fixture
def store(s3_uri: str) -> Store:
    return open_store(s3_uri)


def stubbed() -> tuple[Store, Stubber]:
    """A store whose server is played by botocore's Stubber."""
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return Store(Bucket("bucket", "p", client, client)), Stubber(client)


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


def test_files_of_runs_are_overwritten_and_listed(store, s3_uri):
    assert store.runs() == []
    assert store.write("b", "stages/tune.json", b"1") == f"{s3_uri}/runs/b/stages/tune.json"
    store.write("b", "stages/tune.json", b"22")
    store.write("a.1", "summary.json", b"3")
    assert store.read("b", "stages/tune.json") == b"22"
    assert store.runs() == ["a.1", "b"]
    with pytest.raises(MissingError, match=r"run b in s3://.* has no report\.html"):
        store.read("b", "report.html")


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
        list(pool.map(lambda i: store.backend.write(f"memo/{i:04}.json", b"{}"), range(1_010)))
    assert [entry.key for entry in store.backend.list("memo/")] == [f"memo/{i:04}.json" for i in range(1_010)]
    assert list(store.backend.folders("")) == ["memo"]
    store.backend.delete(entry.key for entry in store.backend.list("memo/"))
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


def refused(uri: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a run on this store ends with, before any model is loaded: exit code 2."""
    assert cli.main(["run", "--store", uri, "--scenes", "2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_no_bucket(s3, capsys):
    assert "there is no bucket nowhere: make it, or mend --store" in refused("s3://nowhere/x", capsys)


def test_wrong_secret(s3_uri, capsys, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    said = refused(s3_uri, capsys)
    assert "the secret key is wrong: check AWS_SECRET_ACCESS_KEY" in said
    assert "not-this-one" not in said


def test_unknown_key(s3_uri, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "check AWS_ACCESS_KEY_ID" in refused(s3_uri, capsys)


def test_no_credentials(s3_uri, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in refused(s3_uri, capsys)


def test_no_such_profile(s3_uri, capsys, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "check AWS_PROFILE" in refused(s3_uri, capsys)


def test_a_profile_is_used(s3, s3_uri, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text(
        "[team]\naws_access_key_id = {AWS_ACCESS_KEY_ID}\naws_secret_access_key = {AWS_SECRET_ACCESS_KEY}\n".format(
            **s3.environment
        )
    )
    (tmp_path / "config").write_text(f"[profile team]\nregion = eu-central-1\nendpoint_url = {s3.endpoint}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    store = open_store(s3_uri)
    assert store.get(store.put(b"abc", "")) == b"abc"


def test_nobody_listens(s3_uri, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    assert "can't connect: check the network, AWS_ENDPOINT_URL_S3, and that the server runs" in refused(s3_uri, capsys)


def test_an_endpoint_that_is_none(s3_uri, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:9000")
    assert "check AWS_ENDPOINT_URL_S3" in refused(s3_uri, capsys)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://ab", "no bucket can be called"),
        ("s3://My_Bucket/x", "no bucket can be called"),
        ("s3://127.0.0.1/x", "no bucket can be called"),
        ("s3://bucket/a//b", "the prefix must be names"),
        ("s3://bucket/../b", "the prefix must be names"),
        ("s3://bucket/a\nb", "the prefix must be names"),
    ],
)
def test_uris_that_name_no_place(uri, words, s3, capsys):
    assert words in refused(uri, capsys)


def test_credentials_in_the_uri_are_refused_and_not_repeated(s3, capsys):
    said = refused("s3://key:hunter2@bucket/x", capsys)
    assert "credentials don't belong there" in said
    assert "hunter2" not in said


def test_reading_a_store_that_cannot_be_reached_is_bad_input_too(s3, capsys):
    assert cli.main(["show", "s3://nowhere/x/runs/some-run"]) == 2
    assert "there is no bucket nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("RequestTimeTooSkewed", 403, UserError, "this machine's clock differs too much from the server's: set the clock"),
        ("AccessDenied", 403, UserError, "access is denied: allow these credentials to list, get, put and delete in bucket"),
        ("ExpiredToken", 400, UserError, "the credentials have expired: log in again"),
        ("PermanentRedirect", 301, UserError, "the bucket is in another region: set AWS_REGION"),
        ("SlowDown", 503, RunError, "the server fails .*: run again in a while"),
        ("EntityTooLarge", 400, RunError, "the server refuses"),
    ],
)
def test_refusals_that_rclone_does_not_make_midway(code, status, kind, words):
    store, stub = stubbed()
    stub.add_response("list_objects_v2", {"KeyCount": 0})
    stub.add_client_error("get_object", code, "said so", status)
    with stub:
        assert list(store.backend.list("runs/")) == []
        with pytest.raises(kind, match=words) as caught:
            store.read("run", "summary.json")
    assert type(caught.value) is kind
    assert "s3://bucket/p/runs/run/summary.json" in str(caught.value)


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


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """A server whose every GET is answered by `answer(request, how many came before)`."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            answer(self, len(seen) - 1)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def say(request: BaseHTTPRequestHandler, body: bytes, announced: int) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(announced))
    request.send_header("Connection", "close")
    request.end_headers()
    request.wfile.write(body)


def test_an_answer_that_breaks_off_is_asked_for_again(s3, monkeypatch):
    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        say(request, b"0123456789" if before == 2 else b"01234", 10)

    with serving(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert open_store("s3://bucket/p", writable=False).read("run", "a.json") == b"0123456789"


def test_answers_that_always_break_off_end_in_one_line(s3, monkeypatch):
    monkeypatch.setattr(s3_module, "ATTEMPTS", 2)
    with serving(lambda request, _: say(request, b"01234", 10)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises((RunError, UserError), match="the connection broke: check the network") as caught:
            open_store("s3://bucket/p", writable=False).read("run", "a.json")
    assert "IncompleteRead" in str(caught.value.__cause__)


def test_a_server_that_does_not_answer_in_time(s3, monkeypatch):
    release = threading.Event()
    with serving(lambda request, _: release.wait(10) and None) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        client = boto3.client("s3", config=Config(read_timeout=0.2, retries={"total_max_attempts": 1}))
        try:
            with pytest.raises(UserError, match="no answer in time: check the network and the endpoint"):
                Bucket("bucket", "", client, client).try_out()
        finally:
            release.set()


def test_the_same_failure_is_a_setting_at_first_and_a_broken_run_later(store, s3_uri):
    error = ConnectTimeoutError(endpoint_url="http://x")
    fresh = Bucket("bucket", "", store.backend._client, store.backend._client)
    with pytest.raises(UserError), fresh._telling("k"):
        raise error
    with pytest.raises(RunError), store.backend._telling("k"):
        raise error


def test_opening_leaves_nothing_and_is_done_once_for_all_tasks(s3, s3_uri):
    store = open_store(s3_uri)
    assert list(store.backend.list("")) == []
    assert open_store(f"{s3_uri}/").backend is store.backend
    assert not (s3.folder / Path(s3_uri).name).exists()
