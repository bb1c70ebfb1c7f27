"""Prefect's settings for runs from the command line and for servers that we start: quiet, cheap, no telemetry."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from matrix_core.loading import loading

_ALWAYS = {"GX_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
RECORDED_TOGETHER = {
    f"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_{name}": value
    for name, value in {"BATCH_SIZE": "100", "READ_BATCH_SIZE": "100", "FLUSH_INTERVAL": "1"}.items()
}
"""A server of ours records once a second what has happened to tasks: a transaction for each state costs it about thrice as much."""

_BY_ITSELF = RECORDED_TOGETHER | {
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    # Nobody watches a server that is there for one command: 0.6 s of a core, not 0.7, for the tasks of 640 scenes.
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "false",
    # Its own 20 s are too few for a machine that is busy.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


@contextmanager
def prefect_for(debug: bool) -> Iterator[None]:
    """Import and call flows within. What the user has set in the environment stays as it is.

    Without `PREFECT_API_URL` Prefect serves itself for the time of the run; with it, runs report there.
    """
    no_telemetry()
    if "PREFECT_API_URL" not in os.environ:
        for name, value in (_BY_ITSELF | {"PREFECT_LOGGING_LEVEL": "WARNING" if debug else "CRITICAL"}).items():
            os.environ.setdefault(name, value)
    with loading():
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    # Nobody listens for signs of life, and each flow would wait for its next one, up to a second. The environment can't say none.
    unheard = not PREFECT_API_URL.value() and PREFECT_FLOWS_HEARTBEAT_FREQUENCY.name not in os.environ
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if unheard else {}):
        yield


def no_telemetry() -> None:
    """Nobody is told anything that the user did not ask for."""
    for name, value in _ALWAYS.items():
        os.environ.setdefault(name, value)
