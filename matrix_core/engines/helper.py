"""A process that answers for another one: `python -m matrix_core.engines.helper`, spoken to by `matrix_core.engines.spread`.

Pickled messages on its standard input and output. It says None once it can work. For each (spec, adapter, requests) it says lists
of (index, completion) as they are ready, then None. It ends with its input.
"""

import contextlib
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from matrix_core.engines.local import LocalEngine
from matrix_core.memory import trim
from matrix_core.models import ModelSpec
from matrix_core.request import Completion, Request

EVERY = 0.1
"""Seconds between two lists of answers: each message costs the other process time."""

_engine = cache(LocalEngine)


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the other process, which then closes our input
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between
    torch.set_num_threads(1)

    def tell(what: object) -> None:
        pickle.dump(what, out)
        out.flush()

    tell(None)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            spec, adapter, requests = _received()
            ready = _Ready(tell)
            _engine(spec, adapter).generate(requests, finished=ready.add)
            ready.tell()
            tell(None)
            trim()


class _Ready:
    """Answers that are ready and not told yet."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._answers: list[tuple[int, Completion]] = []
        self._told = time.monotonic()

    def add(self, index: int, completion: Completion) -> None:
        """Tell this one, now or with those that are ready soon."""
        self._answers.append((index, completion))
        if time.monotonic() - self._told > EVERY:
            self.tell()

    def tell(self) -> None:
        """Tell all."""
        self._tell(self._answers)
        self._answers, self._told = [], time.monotonic()


def _received() -> tuple[ModelSpec, Path | None, list[Request]]:
    message: tuple[ModelSpec, Path | None, list[Request]] = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    return message


if __name__ == "__main__":
    main()
