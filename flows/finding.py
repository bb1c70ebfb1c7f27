"""Runs by the names that people give them: an id, or the URI that the command printed; and what to say where there is none."""

from collections.abc import Sequence

from matrix_core.errors import UserError
from tasks.store import Store, check_run_id

DEFAULT_STORE = "./matrix-runs"
ABLATION = "ablation-"
"""What ids of ablations begin with."""


def locate_run(run: str, store: str | None) -> tuple[str, str]:
    """(store, run id) of a run named by its id, or by the URI that the command printed. Raises UserError."""
    uri, runs, run_id = run.rstrip("/").rpartition("/runs/")
    if not runs:
        return (DEFAULT_STORE if store is None else store), check_run_id(run)
    if store is not None:
        raise UserError(f"run {run} names its store itself: leave --store out")
    return uri, check_run_id(run_id)


def find_run(store: Store, run_id: str) -> str:
    """The run id, if that run is in the store. Raises UserError that lists close ones."""
    runs = store.runs()
    if run_id not in runs:
        raise UserError(f"no run {run_id} in {store.uri}: {suggest(run_id, runs, 'matrix-align run makes one')}")
    return run_id


def suggest(wanted: str, there: Sequence[str], otherwise: str) -> str:
    """What to say to somebody who named something that isn't there: the closest names, else the first, else `otherwise`."""
    from difflib import get_close_matches

    if not there:
        return otherwise
    starting = [name for name in there if name.startswith(wanted)]
    close = starting or get_close_matches(wanted, there, n=3, cutoff=0.5)
    return (
        f"did you mean {' or '.join(close[:3])}?"
        if close
        else f"there are {', '.join(there[:5])}{', ...' if len(there) > 5 else ''}"
    )
