"""A store in a bucket that can't be used or breaks: each failure in one line that says what to do.

Against a real server where it fails in that way; refusals that `rclone` never makes (a clock that is off, an expired token) are
played by botocore's Stubber, broken connections by a server of a few lines.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError

from flows import cli
from matrix_core.errors import RunError, UserError
from tasks import s3 as s3_module
from tasks.s3 import Bucket
from tasks.store import Store, open_store
from tests.s3_server import free_port, stubbed


@pytest.fixture
def store(s3_uri: str) -> Store:
    return open_store(s3_uri)


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
