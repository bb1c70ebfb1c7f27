"""How far a stage is: a bar on stderr (what is being done, how fast, how long still), and a progress artifact in the Prefect UI.

Each is silent where nobody watches: the bar without a terminal, the artifact without a server (`PREFECT_API_URL`). May be told of
from several threads.
"""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tasks import showing


class _TokenRate(ProgressColumn):
    """Generated tokens a second since the stage began."""

    def render(self, task: Task) -> Text:
        tokens = task.fields["counted"]["tokens"]
        seconds = time.monotonic() - float(task.fields["began"])
        return Text(f"{tokens / seconds:,.0f} tokens/s" if tokens and seconds > 0 else "")


_EVERY = 2.0
"""Seconds between two updates of an artifact, at least."""


class _Artifact:
    """The progress artifact of a stage. What goes wrong with it ends it, with one warning, and nothing else."""

    def __init__(self, name: str) -> None:
        self._id: UUID | None = None
        self._shown = time.monotonic()
        if PREFECT_API_URL.value() and FlowRunContext.get():
            with self._may_fail():
                self._id = create_progress_artifact(0.0, key=f"progress-{name}", description=name)  # type: ignore[assignment]

    def show(self, percent: float, doing: str, last: bool = False) -> None:
        """Move it, unless it was moved just now."""
        if self._id is None or not (last or time.monotonic() - self._shown >= _EVERY):
            return
        with self._may_fail():
            update_progress_artifact(self._id, min(percent, 100.0), doing)
        self._shown = time.monotonic()

    @contextmanager
    def _may_fail(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._id = None
            showing.note(f"progress can't be shown in the UI any more: {showing.reason(error)}", logging.WARNING)


_lock = threading.Lock()
_stopped = threading.Event()
_bars: list[tuple[Progress, TaskID, _Artifact, Counter[str]]] = []
"""With what engines have told, which is far more often than the bar is drawn."""


@contextmanager
def stage(name: str, total: int) -> Iterator[None]:
    """A bar for one stage of `total` units of work; nested calls draw nothing of their own."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
    )
    console = Console(stderr=True)
    with Progress(*columns, _TokenRate(), TimeRemainingColumn(), console=console, disable=not sys.stderr.isatty()) as bar:
        artifact, counted = _Artifact(name), Counter[str]()
        _bars.append((bar, bar.add_task(name, total=total, counted=counted, began=time.monotonic()), artifact, counted))
        try:
            yield
            artifact.show(100.0, f"{name}: done", last=True)
        finally:
            _bars.pop()
            _stopped.clear()
    if not console.is_terminal:
        print(f"{name}: done", file=sys.stderr)


class StoppedError(Exception):
    """What is ended because something beside it has failed."""


def stop() -> None:
    """End whatever goes on in other threads of this stage: the next that tells of progress gets a StoppedError."""
    _stopped.set()


def running() -> bool:
    """Whether a stage has a bar now."""
    return bool(_bars)


def step(done: float, doing: str | None = None) -> None:
    """Move the innermost bar by `done` units and say what is being done now."""
    if _stopped.is_set():
        raise StoppedError
    if _bars:
        bar, task, artifact, _ = _bars[-1]
        bar.update(task, advance=done, description=doing or bar.tasks[task].description)
        artifact.show(bar.tasks[task].percentage, bar.tasks[task].description)


def tick(finished: int, tokens: int) -> None:
    """An engine has finished requests and generated tokens."""
    if _stopped.is_set():
        raise StoppedError
    if _bars:
        with _lock:
            _bars[-1][-1]["tokens"] += tokens
