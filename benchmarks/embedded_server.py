"""A server of the embedded model in a process of its own, which misbehaves in a share of its calls, and counts what it does.

Its answers are the local engine's: what is asked while it is busy is its next batch. Beside the troubles of transport it may give
a wrong role: an answer in which somebody is named whom the schema does not allow.
"""

import json
import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from matrix_core import models
from matrix_core.engines.coalesce import CoalescingEngine
from matrix_core.engines.local import LocalEngine
from matrix_core.request import Message, Request
from tests.misbehaving import TROUBLE, EchoServer

NAME = str(models.POCKET)
"""What it calls its model."""
WRONG_ROLE = "wrong role"
NOBODY = "nobody of them"
RETRY_AFTER = "1"


@dataclass
class Counts:
    """What a server has done so far: calls by how they were answered, questions that came again because an answer was wrong."""

    done: Counter[str]
    asked_again: int


class Serving:
    """A running server."""

    def __init__(self, url: str, pipe: Connection) -> None:
        self.url, self._pipe = url, pipe

    def counts(self) -> Counts:
        """What it has done so far."""
        self._pipe.send(None)
        counts: Counts = self._pipe.recv()
        return counts


@contextmanager
def serving(share: float = 0.0, seed: int = 0) -> Iterator[Serving]:
    """A server that misbehaves in this share of its calls, each kind of trouble as often as the others."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, share, seed), daemon=True)
    process.start()
    try:
        yield Serving(ours.recv(), ours)
    finally:
        process.kill()
        process.join()


def _serve(pipe: Connection, share: float, seed: int) -> None:
    model = _Model(share, seed)
    server = EchoServer(model.behave, retry_after=RETRY_AFTER, say=model.say, model=NAME)
    pipe.send(server.url)
    while True:
        pipe.recv()
        with server.changed, model.lock:
            done = server.done + Counter({WRONG_ROLE: model.wrong})
            done["good"] -= model.wrong
            pipe.send(Counts(done, len(model.asked_again)))


class _Model:
    """What the server says, and whether it says it properly."""

    def __init__(self, share: float, seed: int) -> None:
        self.lock = threading.Lock()
        self.wrong = 0
        self.asked_again: set[str] = set()
        self._share, self._seed = share, seed
        self._drawn: Counter[str] = Counter()
        self._now = threading.local()
        self._engine = CoalescingEngine(LocalEngine(models.resolve("pocket")))
        self._engine.generate([Request(messages=(Message(role="user", content="Hi"),), max_tokens=1)])  # its weights are loaded

    def behave(self, number: int, prompt: str) -> str:
        """Drawn by the seed, the prompt, and how often that came before: threads that race don't change what is drawn."""
        with self.lock:
            self._drawn[prompt] += 1
            chance = random.Random(f"{self._seed}\n{prompt}\n{self._drawn[prompt]}")
        how = chance.choice([*TROUBLE, WRONG_ROLE]) if chance.random() < self._share else "good"
        self._now.wrong_role = how == WRONG_ROLE
        return "good" if how == WRONG_ROLE else how

    def say(self, body: dict[str, Any]) -> str:
        """The embedded model's answer, or one with a wrong role where that was drawn and the schema names roles."""
        turns = body["messages"]
        # The embedded model never learned to mend an answer: asked again it is asked the same, as one that mends it would answer.
        first = next((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))
        schema = body["response_format"]["json_schema"]["schema"] if "response_format" in body else None
        request = Request(
            messages=tuple(Message(**turn) for turn in turns[:first]),
            json_schema=schema,
            max_tokens=body["max_tokens"],
            stop=tuple(body.get("stop", ())),
        )
        (answer,) = self._engine.generate([request])
        spoiled = _with_wrong_role(answer.text, schema) if schema and self._now.wrong_role else None
        with self.lock:
            if first < len(turns):
                self.asked_again.add(json.dumps(body))
            self.wrong += spoiled is not None
        return answer.text if spoiled is None else spoiled


def _with_wrong_role(answer: str, schema: dict[str, Any]) -> str | None:
    """The answer with one name more in its first list of roles; None where there is no such list."""
    for name, below in schema["properties"].items():
        if "enum" in below.get("items", {}):
            said = json.loads(answer)
            return json.dumps(said | {name: [*said[name][1:], NOBODY]})
    return None
