"""A process that answers beside another one: `python -m matrix_core.engines.helper`, spoken to by `matrix_core.engines.spread`.

Pickled messages on its standard input and output. It says None once it can work. For each (spec, adapter, requests) it says
(index, completion) as they are ready, then None. It ends with its input.
"""

import contextlib
import os
import pickle
import signal
import sys
from functools import cache
from pathlib import Path

import torch

from matrix_core.engines.local import LocalEngine
from matrix_core.memory import trim
from matrix_core.models import ModelSpec
from matrix_core.request import Request

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
            _engine(spec, adapter).generate(requests, finished=lambda *answer: tell(answer))
            tell(None)
            trim()


def _received() -> tuple[ModelSpec, Path | None, list[Request]]:
    message: tuple[ModelSpec, Path | None, list[Request]] = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    return message


if __name__ == "__main__":
    main()
