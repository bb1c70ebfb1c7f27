"""Prefect's settings for runs from the command line: quiet, no telemetry, its results in the run's store.

Must be applied before Prefect is imported. What the user has set in the environment stays as it is.
"""

import os

from matrix_core.errors import RunError


def apply(store: str, debug: bool = False) -> None:
    """Set what is not set. Without `PREFECT_API_URL` Prefect serves itself for the time of the run; with it, runs report there."""
    if "://" in store:
        raise RunError(f"results of tasks can't be kept at {store} yet; use a folder")
    wanted = {
        "GX_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": os.path.join(os.path.abspath(store), "results"),
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    if "PREFECT_API_URL" not in os.environ:
        wanted |= {
            "PREFECT_LOGGING_LEVEL": "INFO" if debug else "CRITICAL",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
