"""Calls that wait go together as the next batch; nothing is asked twice at a time; nobody gets what belongs to another."""

import threading
from collections.abc import Callable, Sequence

import pytest

from matrix_core.engines.coalesce import CoalescingEngine
from matrix_core.request import Completion, Message, Request


def ask(text: str, **how: object) -> Request:
    return Request(messages=(Message(role="user", content=text),), **how)


class GatedEngine:
    """A stand-in for a model: it answers a batch, with the words it was asked, only when the test lets it."""

    fingerprint = "gated"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.fails: Exception | None = None

    def generate(self, requests, progress=None, finished=None):
        self.batches.append([request.messages[0].content for request in requests])
        self.began.release()
        assert self.gate.acquire(timeout=20)
        out = []
        for index, request in enumerate(requests):
            if self.fails and request.messages[0].content == "bad":
                raise self.fails
            out.append(Completion(text=f"{request.messages[0].content} {request.seed}", completion_tokens=3))
            if finished:
                finished(index, out[-1])
        return out


class Callers:
    """Threads that each make one call, and what came of it."""

    def __init__(self, engine: CoalescingEngine) -> None:
        self.engine = engine
        self.threads: list[threading.Thread] = []
        self.answers: dict[str, list[str] | BaseException] = {}
        self.finished: dict[str, list[tuple[int, str]]] = {}
        self.progress: dict[str, list[tuple[int, int]]] = {}

    def start(self, name: str, requests: Sequence[Request], seen: Callable[[int, Completion], None] | None = None) -> None:
        self.finished[name], self.progress[name] = [], []

        def call() -> None:
            try:
                got = self.engine.generate(
                    requests,
                    lambda n, tokens: self.progress[name].append((n, tokens)),
                    seen or (lambda i, completion: self.finished[name].append((i, completion.text))),
                )
                self.answers[name] = [completion.text for completion in got]
            except Exception as error:
                self.answers[name] = error

        self.threads.append(threading.Thread(target=call, daemon=True))
        self.threads[-1].start()

    def waiting(self, n: int) -> None:
        """Wait until so many calls wait behind the one that leads."""
        condition = self.engine._changed
        with condition:
            while len(condition._waiters) < n:  # type: ignore[attr-defined]
                condition.wait(0.01)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def inner() -> GatedEngine:
    return GatedEngine()


def test_calls_that_come_meanwhile_share_the_next_batch_and_each_gets_its_own(inner):
    callers = Callers(CoalescingEngine(inner))
    callers.start("a", [ask("a1"), ask("a2")])
    assert inner.began.acquire(timeout=20)
    callers.start("b", [ask("b1"), ask("b2")])
    callers.waiting(1)
    callers.start("c", [ask("c1")])
    callers.waiting(2)
    inner.gate.release(2)
    callers.join()
    assert inner.batches == [["a1", "a2"], ["b1", "b2", "c1"]]
    assert callers.answers == {"a": ["a1 0", "a2 0"], "b": ["b1 0", "b2 0"], "c": ["c1 0"]}
    assert callers.finished["b"] == [(0, "b1 0"), (1, "b2 0")]
    assert callers.progress == {"a": [(1, 3), (1, 3)], "b": [(1, 3), (1, 3)], "c": [(1, 3)]}


def test_what_must_get_the_same_answer_is_asked_once_and_what_is_sampled_from_other_seeds_is_not(inner):
    callers = Callers(CoalescingEngine(inner))
    callers.start("a", [ask("same"), ask("same", seed=4, top_p=0.5), ask("drawn", temperature=1.0, seed=1)])
    assert inner.began.acquire(timeout=20)
    # The first joins what is being answered now, the second is drawn from another seed.
    callers.start("b", [ask("same", seed=9), ask("drawn", temperature=1.0, seed=2)])
    callers.waiting(1)
    callers.start("c", [ask("drawn", temperature=1.0, seed=2), ask("drawn", temperature=1.0, seed=1), ask("same", max_tokens=1)])
    callers.waiting(2)
    inner.gate.release(2)
    callers.join()
    assert inner.batches == [["same", "drawn"], ["drawn", "same"]]
    assert callers.answers == {
        "a": ["same 0", "same 0", "drawn 1"],
        "b": ["same 0", "drawn 2"],
        "c": ["drawn 2", "drawn 1", "same 0"],
    }
    # Tokens are counted where they were first wanted.
    assert callers.progress["a"] == [(2, 3), (1, 3)]
    assert callers.progress["b"] == [(1, 0), (1, 3)]
    assert callers.progress["c"] == [(1, 0), (1, 0), (1, 3)]


def test_what_has_been_answered_is_asked_again_by_who_comes_later(inner):
    engine = CoalescingEngine(inner)
    inner.gate.release(2)
    assert [engine.generate([ask("x")])[0].text for _ in range(2)] == ["x 0", "x 0"]
    assert inner.batches == [["x"], ["x"]]
    assert engine.generate([]) == []


def test_a_failure_reaches_all_whom_it_leaves_without_an_answer_and_nobody_else(inner):
    inner.fails = RuntimeError("no memory")
    callers = Callers(CoalescingEngine(inner))
    callers.start("first", [ask("x")])
    assert inner.began.acquire(timeout=20)
    callers.start("served", [ask("good")])
    callers.waiting(1)
    callers.start("one", [ask("bad")])
    callers.waiting(2)
    callers.start("two", [ask("good"), ask("after")])
    callers.waiting(3)
    inner.gate.release(2)
    callers.join()
    assert callers.answers["first"] == ["x 0"]
    assert callers.answers["served"] == ["good 0"]
    assert callers.answers["one"] is callers.answers["two"] is inner.fails
    inner.gate.release()
    assert callers.engine.generate([ask("well again")])[0].text == "well again 0"


def test_what_a_callback_raises_ends_its_own_call_alone(inner):
    callers = Callers(CoalescingEngine(inner))
    callers.start("first", [ask("x")])
    assert inner.began.acquire(timeout=20)
    broken = ValueError("stop")

    def seen(index: int, completion: Completion) -> None:
        raise broken

    callers.start("broken", [ask("b1"), ask("b2")], seen)
    callers.waiting(1)
    callers.start("fine", [ask("f1"), ask("b2")])
    callers.waiting(2)
    inner.gate.release(2)
    callers.join()
    assert callers.answers == {"first": ["x 0"], "broken": broken, "fine": ["f1 0", "b2 0"]}


def test_several_batches_at_a_time_where_the_engine_takes_them(inner):
    callers = Callers(CoalescingEngine(inner, at_once=2))
    callers.start("a", [ask("a")])
    callers.start("b", [ask("b")])
    for _ in range(2):
        assert inner.began.acquire(timeout=20)
    callers.start("c", [ask("a"), ask("c")])
    callers.waiting(1)
    inner.gate.release(3)
    callers.join()
    assert sorted(inner.batches) == [["a"], ["b"], ["c"]]
    assert callers.answers["c"] == ["a 0", "c 0"]
