"""One progress bar a stage: what is being done, how fast, how long it will still take. On stderr; silent where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text


class _TokenRate(ProgressColumn):
    """Generated tokens a second since the stage began."""

    def render(self, task: Task) -> Text:
        tokens = int(task.fields.get("tokens", 0))
        seconds = time.monotonic() - float(task.fields["began"])
        return Text(f"{tokens / seconds:,.0f} tokens/s" if tokens and seconds > 0 else "")


_bars: list[tuple[Progress, TaskID]] = []


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
        _bars.append((bar, bar.add_task(name, total=total, tokens=0, began=time.monotonic())))
        try:
            yield
        finally:
            _bars.pop()
    if not console.is_terminal:
        print(f"{name}: done", file=sys.stderr)


def running() -> bool:
    """Whether a stage has a bar now."""
    return bool(_bars)


def step(done: float, doing: str | None = None) -> None:
    """Move the innermost bar by `done` units and say what is being done now."""
    if _bars:
        bar, task = _bars[-1]
        bar.update(task, advance=done, description=doing or bar.tasks[task].description)


def tick(finished: int, tokens: int) -> None:
    """An engine has finished requests and generated tokens."""
    if _bars:
        bar, task = _bars[-1]
        bar.update(task, tokens=int(bar.tasks[task].fields["tokens"]) + tokens)
