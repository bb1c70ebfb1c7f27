"""The in-process engine in processes of its own, for small models on a CPU.

The steps of a small model are too short to be divided among threads: two processes of one thread each answer more than one process
of two. They are other Python processes (`matrix_core.engines.helper`), started before the first large batch, shared by all engines
of this process, and used from when they are up. This one only asks, so that what is done with one caller's answers takes no time
from the next one's. Answers are the same wherever they are made: no row depends on those beside it.
"""

import atexit
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from multiprocessing.connection import wait as ready
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix_core.engines.base import Finished, Progress
from matrix_core.engines.identity import fingerprint
from matrix_core.loading import loading
from matrix_core.memory import trim
from matrix_core.models import ModelSpec
from matrix_core.request import Completion, Request

if TYPE_CHECKING:
    from matrix_core.engines.local import LocalEngine

SMALL_BYTES = 2**26
"""Weights of at most so many bytes are small: larger ones keep all threads busy in one process."""
MANY = 96
"""So many requests are worth starting the processes for."""
SHARE = 12
"""Requests for each process that is up, at least; fewer are answered as soon by fewer."""
PROCESSES = 4
"""At most: each takes about a gigabyte."""

_STARTING = threading.Lock()
"""Held while the list of processes is changed or looked at, and while this process answers because none is up yet."""
_LOG = logging.getLogger(__name__)


class SpreadEngine:
    """As `LocalEngine`, in `processes` processes; by default in one for each of torch's threads.

    Several threads may ask at a time; each process answers one after the other. A model that is not small, or not on a CPU, stays
    in this process, and so do few requests as long as there is no other. What it runs on is imported with its first request.
    """

    def __init__(self, spec: ModelSpec, adapter: Path | None = None, processes: int | None = None) -> None:
        self._spec, self._adapter, self._wanted = spec, adapter, processes
        self.fingerprint = fingerprint(spec, adapter)

    @cached_property
    def _own(self) -> "LocalEngine":
        with loading():
            from matrix_core.engines.local import LocalEngine
        return LocalEngine(self._spec, self._adapter)

    @cached_property
    def _processes(self) -> int:
        with loading():
            import torch

        small = sum(file.stat().st_size for file in Path(self._spec.path).glob("*.safetensors")) <= SMALL_BYTES
        on_cpu = not torch.cuda.is_available()
        return (self._wanted or min(torch.get_num_threads(), PROCESSES)) if small and on_cpu else 1

    def count_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Lengths of the prompts in tokens. Raises ValueError if the model's template can't render one of them.

        Who counts many will ask many: the other processes are started by now, and come up while this one goes on.
        """
        with _STARTING:
            self._start_for(len(requests))
        return self._own.count_tokens(requests)

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order; a request that fails gets one with an error."""
        if self._processes < 2:
            return self._own.generate(requests, progress, finished)
        with _STARTING:
            helpers = self._answering(len(requests))
            if not helpers:
                return self._own.generate(requests, progress, finished)
        out: dict[int, Completion] = {}
        telling = threading.Lock()

        def tell(answers: Iterable[tuple[int, Completion]]) -> None:
            with telling:
                for index, completion in answers:
                    out[index] = completion
                    if finished:
                        finished(index, completion)
                    if progress:
                        progress(1, completion.completion_tokens)

        def ask(helper: "_Helper", first: int) -> None:
            share = range(first, len(requests), len(helpers))
            helper.answer((self._spec, self._adapter, [requests[i] for i in share]), share, tell)

        with ThreadPoolExecutor(len(helpers)) as pool:
            asked = [pool.submit(ask, helper, first) for first, helper in enumerate(helpers)]
            try:
                for one in asked:
                    one.result()
            except BaseException:
                _end(helpers)  # nobody waits for what they were asked
                raise
        if left := [index for index in range(len(requests)) if index not in out]:  # a helper died
            self._own.generate([requests[i] for i in left], finished=lambda i, completion: tell([(left[i], completion)]))
        trim()
        return [out[index] for index in range(len(requests))]

    def _answering(self, requests: int) -> list["_Helper"]:
        """The processes that answer so many requests, those with the least to do first; none where this one answers."""
        self._start_for(requests)
        if not any(helper.is_up() for helper in _helpers):
            return []
        up = [helper for helper in _helpers if helper.is_up(wait=60)]  # they were started together
        return sorted(up, key=lambda helper: helper.asked)[: max(requests // SHARE, 1)]

    def _start_for(self, requests: int) -> None:
        """Have all processes come up, if so many requests are worth it."""
        while requests >= MANY and len(_helpers) < self._processes > 1:
            _helpers.append(_Helper())


class _Helper:
    """Another process: not up yet, up, or gone by itself, which is then not tried again."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "matrix_core.engines.helper"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._in: Any = self._process.stdin
        self._out: Any = self._process.stdout
        self._begun = False
        self._gone = False
        self._turn = threading.Lock()
        self.asked = 0
        """calls that it has not answered yet"""

    def is_up(self, wait: float = 0) -> bool:
        """Whether it can be asked, by now or within so many seconds."""
        if not self._begun and ready([self._out], wait):  # not select's own, which takes no more than 1,024 open files
            self._begun = True
            self._said()
        return self._begun and not self._gone

    def answer(self, asked: Any, places: Sequence[int], tell: Callable[[Iterable[tuple[int, Completion]]], None]) -> None:
        """Have it answer after what it was asked before, and tell answers with their places. Ends early if the process does."""
        self.asked += 1
        with self._turn:
            try:
                self._send(asked)
                while not self._gone and (said := self._said()) is not None:
                    tell([(places[index], completion) for index, completion in said])
            except BaseException:
                self.end()  # what it would still say is no answer to what it is asked next
                raise
            finally:
                self.asked -= 1

    def end(self) -> None:
        """End it, whatever it does."""
        self._gone = True
        self._process.kill()
        self._process.wait()

    def _send(self, what: Any) -> None:
        try:
            pickle.dump(what, self._in)
            self._in.flush()
        except OSError:
            self._gone = True

    def _said(self) -> Any:
        try:
            return pickle.load(self._out)  # noqa: S301 - from a process of our own
        except (EOFError, pickle.UnpicklingError):
            if not self._gone:
                _LOG.warning("a process that answers requests has ended; the others go on")
            self._gone = True
            return None


_helpers: list[_Helper] = []


def _end(helpers: Sequence[_Helper]) -> None:
    _helpers[:] = [helper for helper in _helpers if helper not in helpers]
    for helper in helpers:
        helper.end()


@atexit.register
def _end_all() -> None:
    _end([*_helpers])


def rest() -> None:
    """Give back what the other processes take, once they are done; the next large batch starts them again."""
    with _STARTING:
        _end_all()
