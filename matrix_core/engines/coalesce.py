"""An engine for several callers at a time: what they ask while it is busy goes to the inner engine together, as its next batch.

There is no thread of its own. Whoever comes while the inner engine is free leads a batch: everything that waits. The others wait
until all their requests are answered, or until a batch is over and one of them leads the next.
"""

import threading
from collections.abc import Sequence

from matrix_core.engines.base import Engine, Finished, Progress
from matrix_core.request import Completion, Request


class CoalescingEngine:
    """Passes the calls of several threads on to `engine`, as few large batches, at most `at_once` of them at a time.

    Equal requests (`Request.identity`) that wait or are being answered at the same time are asked once, whoever asks. Each caller
    gets its own completions in its own order, and its callbacks concern its own requests only. What the inner engine raises reaches
    all whose requests it left unanswered; what a callback raises, its own caller alone.
    """

    def __init__(self, engine: Engine, at_once: int = 1) -> None:
        self.fingerprint = engine.fingerprint
        self._engine = engine
        self._at_once = at_once
        self._changed = threading.Condition()
        self._running = 0
        self._waiting: list[_Ask] = []
        self._open: dict[str, _Ask] = {}
        """Identity -> what waits or is being answered."""

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order."""
        call = _Call(len(requests), progress, finished)
        identities = [request.identity for request in requests]
        with self._changed:
            for place, (identity, request) in enumerate(zip(identities, requests, strict=True)):
                ask = self._open.get(identity)
                if ask is None:
                    ask = self._open[identity] = _Ask(identity, request)
                    self._waiting.append(ask)
                ask.wanted.setdefault(call, []).append(place)
        try:
            while batch := self._next(call):
                self._lead(batch)
        finally:
            if call.left:
                with self._changed:
                    self._withdraw(call)
        if call.error is not None:
            raise call.error
        return call.answers

    def _next(self, call: "_Call") -> list["_Ask"]:
        """Wait until the caller is to lead a batch; nothing if its call is over."""
        with self._changed:
            while call.left and call.error is None:
                if self._waiting and self._running < self._at_once:
                    self._running += 1
                    batch, self._waiting = self._waiting, []
                    return batch
                self._changed.wait()
        return []

    def _lead(self, batch: list["_Ask"]) -> None:
        try:
            requests = [ask.request for ask in batch]
            answers = self._engine.generate(requests, finished=lambda index, completion: self._deliver(batch, index, completion))
            for index, completion in enumerate(answers):
                self._deliver(batch, index, completion)
        except BaseException as error:
            with self._changed:
                for call in {call for ask in batch for call in ask.wanted}:
                    call.error = call.error or error
                self._close(batch)
            if not isinstance(error, Exception):
                raise  # Ctrl-C is meant for the thread that it came to
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _deliver(self, batch: list["_Ask"], index: int, completion: Completion) -> None:
        """Hand an answer to all who want it. Raises what a callback raised if nobody is left who wants more of the batch."""
        ask = batch[index]
        with self._changed:
            if self._open.get(ask.identity) is not ask:
                return
            wanted = ask.wanted
            self._close([ask])
        tokens = completion.completion_tokens
        failure: BaseException | None = None
        for call, places in wanted.items():
            error: BaseException | None = None
            try:
                call.take(places, completion, tokens)
            except BaseException as raised:
                failure = error = raised
            tokens = 0  # generated once, whoever wanted them
            with self._changed:
                call.left -= len(places)
                if error is not None:
                    call.error = call.error or error
                    self._withdraw(call)
                if error is not None or not call.left:
                    self._changed.notify_all()
        if failure is not None:
            with self._changed:
                if any(other.wanted for other in batch):
                    return
                self._close(batch)
            raise failure

    def _close(self, asks: list["_Ask"]) -> None:
        """Nobody can join these any more. Called under the lock."""
        for ask in asks:
            ask.wanted = {}
            if self._open.get(ask.identity) is ask:
                del self._open[ask.identity]

    def _withdraw(self, call: "_Call") -> None:
        """Want nothing more for this call; what nobody wants any more is not asked. Called under the lock."""
        for ask in self._open.values():
            ask.wanted.pop(call, None)
        unwanted = [ask for ask in self._waiting if not ask.wanted]
        self._waiting = [ask for ask in self._waiting if ask.wanted]
        self._close(unwanted)


class _Ask:
    """A request on its way, and who wants its answer in which places."""

    def __init__(self, identity: str, request: Request) -> None:
        self.identity = identity
        self.request = request
        self.wanted: dict[_Call, list[int]] = {}


class _Call:
    """What one caller waits for."""

    def __init__(self, count: int, progress: Progress | None, finished: Finished | None) -> None:
        self.answers = [Completion()] * count
        self.left = count
        self.error: BaseException | None = None
        self._progress = progress
        self._finished = finished

    def take(self, places: list[int], completion: Completion, tokens: int) -> None:
        """Take an answer. Raises what a callback raises."""
        for place in places:
            self.answers[place] = completion
        if self._finished:
            for place in places:
                self._finished(place, completion)
        if self._progress:
            self._progress(len(places), tokens)
