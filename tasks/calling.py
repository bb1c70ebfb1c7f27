"""How a flow calls a cached task: with its results in the run's store, and told whether the answer came from there.

And how it does several things of the kind side by side.
"""

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar

from tasks import journals, progress
from tasks.results import result_storage

_T = TypeVar("_T")
_R = TypeVar("_R")


class Called(NamedTuple):
    """What a task handed back, and the name of its work in the journal."""

    result: Any
    cached: bool
    work: str


def call(
    task: Any,
    store: str,
    *args: Any,
    refresh: bool = False,
    again: Callable[[Any], bool] = lambda result: False,
    more_to_come: bool = False,
    **more: Any,
) -> Called:
    """Call the task. Raises what it raised.

    With `refresh`, or where `again` says so of what the cache holds, it is done anew and the cache overwritten. What the task was
    journalling meanwhile is forgotten once its result is kept; where `more_to_come`, which may ask the same, the caller is to say
    when (`journals.done`).
    """
    storage = result_storage(store)
    state = task.with_options(result_storage=storage, refresh_cache=refresh)(*args, **more, return_state=True)
    result, cached = state.result(), state.name == "Cached"
    if cached and again(result):
        return call(task, store, *args, refresh=True, more_to_come=more_to_come, **more)
    given = inspect.signature(task.fn).bind(*args, **more).arguments
    work = task.cache_key_fn(None, given)
    if more_to_come:
        journals.done_anew(store, work)
    else:
        journals.done(store, work)
    return Called(result, cached, work)


def side_by_side(work: Callable[[_T], _R], items: Sequence[_T], at_once: int) -> list[_R]:
    """The work for each item, so many at a time in threads of this flow; the results in order of the items.

    Raises what the first that failed has raised; the others are stopped when they next tell of progress, also by Ctrl-C.
    """
    if at_once < 2 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(at_once) as pool:
        # As Prefect's own task runner does: a copy of the context carries the flow's run into the thread.
        futures = [pool.submit(copy_context().run, work, item) for item in items]
        try:
            over, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future in over:
                    future.result()
            return [future.result() for future in futures]
        except BaseException:
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
