"""Large files on their way to a store and back: after two seconds people see how far they are."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tasks import progress

QUIET = 2.0
"""So many seconds a transfer may take before anything is said of it."""


@contextmanager
def watched(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A callback for the bytes that have moved, of `total`; may be called from any thread.

    It speaks in the bar of the running stage, else in one of its own.
    """
    lock, began, done = threading.Lock(), time.monotonic(), 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    own = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = own.add_task(doing, total=total)

    def moved(size: int) -> None:
        nonlocal done
        with lock:
            done += size
            if time.monotonic() - began < QUIET:
                return
            if progress.running():
                progress.step(0, f"{doing} {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
            elif sys.stderr.isatty():
                own.start()
                own.update(task, completed=done)

    try:
        yield moved
    finally:
        if own.live.is_started:
            own.stop()
