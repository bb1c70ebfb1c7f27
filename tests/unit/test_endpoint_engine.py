"""The endpoint engine against `transformers serve`, a real server of others, and against a stand-in for servers that misbehave."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from matrix_core import models
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.engines.local import LocalEngine
from matrix_core.errors import UserError
from matrix_core.request import Message, Request
from tests import tiny
from tests.s3_server import free_port
from tests.service import until

SCHEMA = {
    "type": "object",
    "properties": {"feasible": {"type": "boolean"}},
    "required": ["feasible"],
    "additionalProperties": False,
}


def ask(text: str, **how: object) -> Request:
    return Request(messages=(Message(role="user", content=text),), **{"max_tokens": 16, **how})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """`transformers serve` on the tiny model, in this process."""
    from transformers.cli.serve import Serve

    port = free_port()
    server = Serve(force_model=str(folder), device="cpu", host="127.0.0.1", port=port, non_blocking=True)
    until(lambda: server.server.started)  # it listens a little after it has been made
    yield f"http://127.0.0.1:{port}/v1"
    server.kill_server()


def test_a_real_server_answers_as_the_local_engine_does(served: str, folder: Path) -> None:
    engine = EndpointEngine([served], str(folder))
    engine.check()
    requests = [ask(text) for text in ("The clerk asks.", "Go to the garage.", "Take the rope.")]
    local = LocalEngine(models.resolve(str(folder))).generate(requests)
    seen: list[int] = []
    answers = engine.generate(requests, lambda finished, tokens: seen.append(finished))
    assert [c.text for c in answers] == [c.text for c in local]
    assert [c.prompt_tokens for c in answers] == [c.prompt_tokens for c in local]
    assert [c.finish_reason for c in answers] == [c.finish_reason for c in local]
    assert seen == [1, 1, 1]
    assert engine.generate([]) == []


def test_a_server_that_does_not_serve_the_model(served: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    for urls in ([served], [nobody, served]):  # where another is down, too
        with pytest.raises(UserError, match=r"127\.0\.0\.1.*'other/model'"):
            EndpointEngine(urls, "other/model").check()
    (answer,) = EndpointEngine([served], "other/model").generate([ask("Who?")])
    assert answer.finish_reason == "error"
    assert answer.error is not None
    assert "pinned" in answer.error


Reply = tuple[int, Any]


@pytest.fixture
def stand_in() -> Iterator[Callable[[Callable[[dict[str, Any]], Reply]], tuple[str, list[dict[str, Any]]]]]:
    """Starts servers that answer as they are told; each gives its address and the bodies that it was sent."""
    started: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[dict[str, Any]], Reply]) -> tuple[str, list[dict[str, Any]]]:
        bodies: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                about_us = [name for name in self.headers if name.lower().startswith("x-")]
                bodies.append({**body, "authorization": self.headers["Authorization"], "about us": about_us})
                status, content = answer(body)
                if status == 200:
                    message = {"role": "assistant", "content": content}
                    content = {
                        "id": "1",
                        "object": "chat.completion",
                        "created": 0,
                        "model": "m",
                        "choices": [{"index": 0, "finish_reason": "length" if content is None else "stop", "message": message}],
                        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
                    }
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1", bodies

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_what_a_request_says_reaches_the_server(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    url, bodies = stand_in(lambda body: (200, '{"feasible":true}'))
    request = ask("Can it be?", json_schema=SCHEMA, temperature=0.2, top_p=0.9, seed=5, stop=("\n",))
    (answer,) = EndpointEngine([url], "m").generate([request])
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens, answer.error) == ('{"feasible":true}', 7, 3, None)
    assert bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Can it be?"}],
            "max_tokens": 16,
            "temperature": 0.2,
            "top_p": 0.9,
            "seed": 5,
            "stop": ["\n"],
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
            "authorization": "Bearer secret",
            "about us": [],
        }
    ]


@pytest.mark.parametrize("refusal", [(400, {"error": {"message": "response_format is not supported"}}), (200, "Yes, of course!")])
def test_a_server_that_knows_no_schemas_is_told_in_words(stand_in: Any, refusal: Reply) -> None:
    url, bodies = stand_in(lambda body: refusal if "response_format" in body else (200, '```json\n{"feasible":false}\n```'))
    engine = EndpointEngine([url], "m")
    request = ask("Can it be?", json_schema=SCHEMA)
    (first,) = engine.generate([request])
    assert first.text == '{"feasible":false}'
    assert '{"feasible": true or false}' in bodies[-1]["messages"][-1]["content"]
    (second,) = engine.generate([request])
    assert second.text == '{"feasible":false}'
    assert len(bodies) == 3  # refused once, then told at once
    # An answer that ignored the schema has its price too.
    assert first.prompt_tokens == (14 if refusal[0] == 200 else 7)
    assert second.prompt_tokens == 7
    assert engine.meter.prompt == first.prompt_tokens + second.prompt_tokens


def test_a_model_that_only_thought_has_answered_nothing_and_is_not_asked_the_same_again(stand_in: Any) -> None:
    url, bodies = stand_in(lambda body: (200, None))
    (answer,) = EndpointEngine([url], "m").generate([ask("Why?")])
    assert (answer.text, answer.finish_reason, answer.error) == ("", "length", None)
    assert len(bodies) == 1


def test_what_may_pass_is_tried_again_and_what_will_not_is_not(stand_in: Any) -> None:
    tries: dict[str, int] = {}

    def shaky(body: dict[str, Any]) -> Reply:
        text = body["messages"][0]["content"]
        tries[text] = tries.get(text, 0) + 1
        if text == "busy" and tries[text] < 4:
            return 429, {"error": {"message": text}}
        if text == "wrong":
            return 400, {"error": {"message": "no such thing"}}
        return 200, text

    url, _ = stand_in(shaky)
    texts = ["good", "busy", "wrong", "fine"]
    engine = EndpointEngine([url, url], "m")
    answers = engine.generate([ask(text) for text in texts])
    assert [c.text for c in answers] == ["good", "busy", "", "fine"]
    assert [c.error is None for c in answers] == [True, True, False, True]
    assert tries == {"good": 1, "busy": 4, "wrong": 1, "fine": 1}
    assert "no such thing" in (answers[2].error or "")
    assert engine.troubles == {"429": 3}


def test_addresses_that_are_none_or_where_nobody_is() -> None:
    for url in ("localhost:8000", "ftp://x/v1", "", "http:///v1"):
        with pytest.raises(UserError, match="--endpoint"):
            EndpointEngine([url], "m")
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(UserError, match=r"can't be reached"):
        EndpointEngine([url], "m").check()


def test_fingerprints_tell_servers_and_models_apart() -> None:
    a, b = "http://a/v1", "http://b/v1"
    assert EndpointEngine([a, b], "m").fingerprint == EndpointEngine([b, a], "m").fingerprint
    assert len({EndpointEngine([u], m).fingerprint for u in (a, b) for m in ("m", "n")}) == 4
