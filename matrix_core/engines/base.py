"""What an engine is: something that answers requests. It knows nothing of scenes or steps."""

from collections.abc import Callable, Sequence
from typing import Protocol

from matrix_core.request import Completion, Request

Progress = Callable[[int, int], None]
"""Called with (requests finished, tokens generated) since the last call."""

Finished = Callable[[int, Completion], None]
"""Called once for each request, with its index and its completion, as soon as that is ready; perhaps from another thread."""


class Engine(Protocol):
    """Answers requests in order: as many completions as requests, each with its own error if it has one.

    Safe to call from several threads. `fingerprint` names all that decides an answer besides the request: model, revision or
    weights hash, adapter, dtype.
    """

    fingerprint: str

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order. What a callback raises ends it."""
        ...
