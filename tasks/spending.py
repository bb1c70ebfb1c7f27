"""What a run has used at its endpoints, all its commands together: noted in its `spent.json`, so that a budget is the run's."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict

from matrix_core.engines.base import Engine
from matrix_core.engines.budget import Budget, Meter
from tasks.store import MissingError, Store

FILE = "spent.json"


class Spent(BaseModel):
    """Tokens as the servers counted them, and how often each kind of trouble was met."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    troubles: dict[str, int] = {}


def spent(store: Store, run_id: str) -> Spent:
    """What the run has used so far."""
    try:
        return Spent.model_validate_json(store.read(run_id, FILE))
    except MissingError:
        return Spent()


@contextmanager
def metered(store: Store, run_id: str, asker: Engine, budget: Budget) -> Iterator[Callable[[], None]]:
    """Let an engine go on from what the run has used, within its budget; one without a meter is left alone.

    What is used is noted at the end, and whenever what is yielded is called: a process that is killed forgets what came after.
    """
    if not isinstance(getattr(asker, "meter", None), Meter):
        yield lambda: None
        return
    before = spent(store, run_id)
    meter = Meter(budget, before.prompt_tokens, before.completion_tokens, Counter(before.troubles))
    asker.meter = meter  # type: ignore[attr-defined]

    def note() -> None:
        now = Spent(prompt_tokens=meter.prompt, completion_tokens=meter.completion, troubles=dict(meter.troubles))
        store.write(run_id, FILE, now.model_dump_json(indent=1).encode())

    try:
        yield note
    finally:
        note()
