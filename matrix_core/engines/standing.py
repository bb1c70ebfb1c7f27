"""An engine that answers every request under the same system turn."""

import hashlib
from collections.abc import Sequence
from typing import Any

from matrix_core.engines.base import Engine, Finished, Progress
from matrix_core.request import Completion, Message, Request


class StandingEngine:
    """Another engine, with a system turn before each request; one that the request has itself comes after it, in the same turn."""

    def __init__(self, engine: Engine, system: str) -> None:
        self.engine, self.system = engine, system
        self.fingerprint = f"{engine.fingerprint} under {hashlib.sha256(system.encode()).hexdigest()[:16]}"

    @property
    def meter(self) -> Any:
        """The other engine's meter, if it has one."""
        return getattr(self.engine, "meter", None)

    @meter.setter
    def meter(self, meter: Any) -> None:
        self.engine.meter = meter  # type: ignore[attr-defined]

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order."""
        return self.engine.generate([self._under(request) for request in requests], progress, finished)

    def _under(self, request: Request) -> Request:
        first, *rest = request.messages
        if first.role == "system":
            turns = (Message(role="system", content=f"{self.system}\n\n{first.content}"), *rest)
        else:
            turns = (Message(role="system", content=self.system), *request.messages)
        return request.model_copy(update={"messages": turns})
