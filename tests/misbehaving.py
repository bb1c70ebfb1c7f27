"""A real HTTP server that says to everybody what it was told, or misbehaves as real servers do."""

import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TROUBLE = {
    "429": "429",
    "500": "5xx",
    "hang": "timeout",
    "late": "timeout",
    "reset": "connection",
    "half a body": "bad body",
    "half of json": "bad body",
    "no choices": "empty",
    "no content": "empty",
}
"""What it can do wrong -> the kind of trouble that an engine must see in it."""

Answer = Callable[[], dict[str, Any]]
"""Makes the reply, for those who send it."""


class EchoServer:
    """Starts at once. `behave(number, prompt)` says what to do with a call: "good", or a key of TROUBLE.

    An answer is what `say` makes of a request's body, by default "echo: " and the prompt; its usage is 7 prompt and 3 completion
    tokens. It serves one model, `model`.
    """

    def __init__(
        self,
        behave: Callable[[int, str], str] = lambda number, prompt: "good",
        port: int = 0,
        retry_after: str = "",
        say: Callable[[dict[str, Any]], str] = lambda body: f"echo: {body['messages'][-1]['content']}",
        model: str = "m",
    ) -> None:
        self.behave, self.retry_after = behave, retry_after
        self.done: Counter[str] = Counter()
        self.arrivals: list[float] = []
        self.in_flight = 0
        self.connections = 0
        """so far"""
        self.changed = threading.Condition()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say({"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": "us"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.changed:
                    number = len(server.arrivals)
                    server.arrivals.append(time.monotonic())
                    server.in_flight += 1
                    server.changed.notify_all()
                how = server.behave(number, body["messages"][-1]["content"])
                with server.changed:
                    server.done[how] += 1
                    server.in_flight -= 1
                    server.changed.notify_all()
                getattr(self, f"_{how.replace(' ', '_')}")(lambda: reply(say(body)))

            def _say(self, content: dict[str, Any], status: int = 200) -> None:
                self._write(json.dumps(content).encode(), status)

            def _write(self, data: bytes, status: int = 200, length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data) if length is None else length))
                if status == 429 and server.retry_after:
                    self.send_header("Retry-After", server.retry_after)
                self.end_headers()
                self.wfile.write(data)

            def _good(self, answer: Answer) -> None:
                self._say(answer())

            def _429(self, answer: Answer) -> None:
                self._say({"error": {"message": "too many requests"}}, 429)

            def _500(self, answer: Answer) -> None:
                self._say({"error": {"message": "broken"}}, 500)

            def _hang(self, answer: Answer) -> None:
                select.select([self.connection], [], [], 30)  # until the client gives up
                self.close_connection = True

            def _late(self, answer: Answer) -> None:
                select.select([self.connection], [], [], 30)
                self._say(answer())

            def _reset(self, answer: Answer) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def _half_a_body(self, answer: Answer) -> None:
                data = json.dumps(answer()).encode()
                self._write(data[: len(data) // 2], length=len(data))
                self.close_connection = True

            def _half_of_json(self, answer: Answer) -> None:
                data = json.dumps(answer()).encode()
                self._write(data[: len(data) // 2])

            def _no_choices(self, answer: Answer) -> None:
                self._say({**answer(), "choices": []})

            def _no_content(self, answer: Answer) -> None:
                content = answer()
                content["choices"][0]["message"]["content"] = None
                self._say(content)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

            def process_request(self, request: Any, client_address: Any) -> None:
                server.connections += 1
                super().process_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that has given up

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait for something that arrivals or answers change. Raises TimeoutError after half a minute."""
        with self.changed:
            if not self.changed.wait_for(until, 30):
                raise TimeoutError

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def reply(text: str) -> dict[str, Any]:
    """An answer, as servers wrap it."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
