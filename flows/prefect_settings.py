"""Prefect's settings for runs from the command line: quiet, no telemetry, its results in the run's own store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALWAYS = {"GX_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
_BY_ITSELF = {"PREFECT_LOGGING_TO_API_ENABLED": "false", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}


@contextmanager
def prefect_for(store: str, debug: bool) -> Iterator[None]:
    """Prefect, set up for a store. Without `PREFECT_API_URL` it serves itself for the time of the run; with it, runs report there.

    What the user has set in the environment stays as it is; the environment must be set before Prefect is imported.
    """
    wanted = _ALWAYS
    if "PREFECT_API_URL" not in os.environ:
        wanted = _ALWAYS | _BY_ITSELF | {"PREFECT_LOGGING_LEVEL": "WARNING" if debug else "CRITICAL"}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    from prefect.settings import PREFECT_DEFAULT_RESULT_STORAGE_BLOCK, temporary_settings

    from tasks.results import result_storage

    # Every task whose flow names no other storage keeps its results there.
    with temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: result_storage(store).slug}):
        yield
