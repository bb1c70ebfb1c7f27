"""Engines by name, one of each in a process: loading a model is the slowest thing that a task can do."""

import tempfile
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from matrix_core import models
from matrix_core.engines.base import Engine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.engines.standing import StandingEngine
from tasks.store import Reference, open_store


class Model(BaseModel):
    """A model as runs name it: a local one, or one behind endpoints, perhaps with an adapter from a store."""

    model_config = ConfigDict(frozen=True)

    name: str
    endpoints: tuple[str, ...] = ()
    adapter: Reference | None = None
    store: str = ""
    standing: str | None = None
    """a system turn under which it answers everything"""

    @property
    def label(self) -> str:
        """What to call it: its name, and whether it is tuned or answers under principles."""
        return f"{self.name} (tuned)" if self.adapter else f"{self.name} (under principles)" if self.standing else self.name


@cache
def engine(model: Model) -> Engine:
    """The engine of a model, one in a process. Its weights are loaded with its first request, so its fingerprint costs little."""
    if model.standing is not None:
        return StandingEngine(engine(model.model_copy(update={"standing": None})), model.standing)
    if model.endpoints:
        from matrix_core.engines.endpoint import EndpointEngine

        return EndpointEngine(model.endpoints, model.name)
    return SpreadEngine(models.resolve(model.name), adapter=tuned_weights(model))


@cache
def tuned_weights(model: Model) -> Path | None:
    """A folder with the model's adapter, fetched once a process; None if it has none."""
    if model.adapter is None:
        return None
    folder = Path(_scratch().name, model.adapter.sha256)
    open_store(model.store).get_folder(model.adapter, folder)
    return folder


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Where adapters lie while they are in use; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="matrix-align-")
