"""The journals of completions: one for each store, in the user's cache on this machine.

What a task asks is journalled under the task's cache key until its result lies in the store, which takes the journal's place; or,
where tasks after it may ask the same, until these have theirs. A process that is killed in between leaves what the next start of
the same tasks deletes.
"""

import hashlib
from functools import cache
from pathlib import Path

from prefect.context import TaskRunContext

from matrix_core.engines.base import Engine
from matrix_core.engines.coalesce import CoalescingEngine
from matrix_core.engines.journal import JournalEngine
from matrix_core.engines.journal_file import open_journal
from matrix_core.user_cache import user_cache
from tasks.engines import Model, engine
from tasks.store import open_store

SHARDS_AT_SERVERS = 4
"""How many shards are played at a time where servers answer: those that wait for their last answers leave room for others."""
SHARDS_IN_PROCESS = 2
"""The same for a local model, which answers one while gates and store have the other."""


def journal_file(store: str) -> Path:
    """Where the journal of the store at this URI lies, whether there is one or not."""
    uri = open_store(store, writable=False).uri
    return user_cache() / "journal" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.sqlite"


def journalled(model: Model, store: str, work: str) -> Engine:
    """The engine of a model, for a piece of work of this name: what it was asked before is not asked again until the work is done.

    Work that is being done anew (a task that refreshes its cache) knows only what it was asked since that began.
    """
    running = TaskRunContext.get()
    anew = bool(running and running.task.refresh_cache)
    return JournalEngine(_shared(model), journal_file(store), _anew(work) if anew else work, anew)


def done(store: str, *works: str) -> None:
    """The results of these pieces of work lie in the store."""
    open_journal(journal_file(store)).forget(*works, *map(_anew, works))


def done_anew(store: str, work: str) -> None:
    """The work's result lies in the store, and other work may ask the same: only what it asked anew is forgotten."""
    open_journal(journal_file(store)).forget(_anew(work))


def at_once(model: Model) -> int:
    """How many shards to play at a time."""
    return SHARDS_AT_SERVERS if model.endpoints else SHARDS_IN_PROCESS


@cache
def _shared(model: Model) -> CoalescingEngine:
    """One in a process, so that all threads share it. Engines have queues of their own."""
    return CoalescingEngine(engine(model), at_once(model))


def _anew(work: str) -> str:
    return f"{work} anew"
