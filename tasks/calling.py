"""How a flow calls a cached task: with its results in the run's store, and told whether the answer came from there."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from tasks import journals
from tasks.results import result_storage


class Called(NamedTuple):
    """What a task handed back."""

    result: Any
    cached: bool


def call(
    task: Any, store: str, *args: Any, refresh: bool = False, again: Callable[[Any], bool] = lambda result: False, **more: Any
) -> Called:
    """Call the task. Raises what it raised.

    With `refresh`, or where `again` says so of what the cache holds, it is done anew and the cache overwritten. What the task was
    journalling meanwhile is forgotten once its result is kept.
    """
    storage = result_storage(store)
    state = task.with_options(result_storage=storage, refresh_cache=refresh)(*args, **more, return_state=True)
    result, cached = state.result(), state.name == "Cached"
    if cached and again(result):
        return call(task, store, *args, refresh=True, **more)
    given = inspect.signature(task.fn).bind(*args, **more).arguments
    journals.done(store, task.cache_key_fn(None, given))
    return Called(result, cached)
