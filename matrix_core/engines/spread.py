"""The in-process engine in several processes at a time, for small models on a CPU.

The steps of a small model are too short to be divided among threads: two processes of one thread each answer more than one process
of two. They are other Python processes (`matrix_core.engines.helper`), started before the first large batch, shared by all engines
of this process, and used from when they are up. Answers are the same wherever they are made: no row depends on those beside it.
"""

import atexit
import logging
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
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
SHARE = 48
"""Requests for each process at least; fewer are answered sooner in fewer."""
PROCESSES = 4
"""At most: each takes about a gigabyte."""

_ANSWERING = threading.Lock()
_LOG = logging.getLogger(__name__)


class SpreadEngine:
    """As `LocalEngine`, in `processes` processes, this one among them; by default in one for each of torch's threads.

    A model that is not small, or not on a CPU, stays in this one. What it runs on is imported with its first request.
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
        with _ANSWERING:
            _start(self._shares(len(requests)) - 1)
        return self._own.count_tokens(requests)

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order; a request that fails gets one with an error."""
        count = self._shares(len(requests))
        if count < 2:
            return self._own.generate(requests, progress, finished)
        out: dict[int, Completion] = {}
        telling = threading.Lock()

        def tell(index: int, completion: Completion) -> None:
            with telling:
                out[index] = completion
                if finished:
                    finished(index, completion)
                if progress:
                    progress(1, completion.completion_tokens)

        def answer(indices: Sequence[int]) -> None:
            self._own.generate([requests[i] for i in indices], finished=lambda i, completion: tell(indices[i], completion))

        with _ANSWERING, _one_thread():
            helpers = _ready(count - 1)
            shares = [range(first, len(requests), len(helpers) + 1) for first in range(len(helpers) + 1)]
            with ThreadPoolExecutor(len(shares)) as pool:
                theirs = [
                    pool.submit(helper.answer, (self._spec, self._adapter, [requests[i] for i in share]), share, tell)
                    for helper, share in zip(helpers, shares[1:], strict=True)
                ]
                try:
                    answer(shares[0])
                except BaseException:
                    _end(helpers)  # nobody waits for what they were asked
                    raise
            try:
                for one in theirs:
                    one.result()
            except BaseException:
                _end(helpers)
                raise
            if left := [index for index in range(len(requests)) if index not in out]:  # a helper died
                answer(left)
        trim()
        return [out[index] for index in range(len(requests))]

    def _shares(self, requests: int) -> int:
        """In how many processes so many requests are answered; 0 and 1 are this one alone."""
        return min(self._processes, requests // SHARE)


class _Helper:
    """Another process: not up yet, up, or gone by itself, which is then not tried again."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "matrix_core.engines.helper"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._in: Any = self._process.stdin
        self._out: Any = self._process.stdout
        self._begun = False
        self._gone = False

    def is_up(self) -> bool:
        """Whether it can be asked by now."""
        if not self._begun and select.select([self._out], [], [], 0)[0]:
            self._begun = True
            self._said()
        return self._begun and not self._gone

    def answer(self, asked: Any, places: Sequence[int], tell: Callable[[int, Completion], None]) -> None:
        """Have it answer, and tell each answer with its place. Ends early if the process does."""
        try:
            pickle.dump(asked, self._in)
            self._in.flush()
        except OSError:
            self._gone = True
        while not self._gone and (said := self._said()) is not None:
            index, completion = said
            tell(places[index], completion)

    def end(self) -> None:
        """End it, whatever it does."""
        self._gone = True
        self._process.kill()
        self._process.wait()

    def _said(self) -> Any:
        try:
            return pickle.load(self._out)  # noqa: S301 - from a process of our own
        except (EOFError, pickle.UnpicklingError):
            if not self._gone:
                _LOG.warning("a process that answers requests has ended; the others go on")
            self._gone = True
            return None


_helpers: list[_Helper] = []


def _start(count: int) -> None:
    """Have as many helpers, whether they are up or not."""
    while len(_helpers) < count:
        _helpers.append(_Helper())


def _ready(count: int) -> list[_Helper]:
    """Those of `count` helpers that are up."""
    _start(count)
    return [helper for helper in _helpers[:count] if helper.is_up()]


def _end(helpers: Sequence[_Helper]) -> None:
    for helper in helpers:
        helper.end()
        _helpers.remove(helper)


@atexit.register
def _end_all() -> None:
    _end([*_helpers])


def rest() -> None:
    """Give back what the other processes take, once they are done; the next large batch starts them again."""
    with _ANSWERING:
        _end_all()


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
