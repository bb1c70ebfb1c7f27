"""What a place that keeps artifacts can do: bytes under keys, no more. `tasks/folder.py` and `tasks/s3.py` are the two there are.

A key is a relative path with `/`. Whatever is written becomes visible whole or not at all.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from matrix_core.errors import RunError, UserError

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")


class MissingError(RunError):
    """What was asked for isn't in the store."""


class DamagedError(RunError):
    """An object whose bytes aren't those that were put there."""


@dataclass(frozen=True)
class Entry:
    """What lies under a key: its size in bytes, and when it was last written (with time zone)."""

    key: str
    size: int
    modified: datetime


class Backend(Protocol):
    """Bytes under keys. Failures are RunErrors, or UserErrors where a setting is wrong, that name the place and say what to do."""

    @property
    def uri(self) -> str:
        """Where it is: what `--store` takes."""
        ...

    def locate(self, key: str) -> str:
        """The URI of what lies, or would lie, under a key."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes under a key. Raises MissingError."""
        ...

    def write(self, key: str, data: bytes, *, absent_only: bool = False) -> bool:
        """Write bytes under a key. With `absent_only` what is there already stays, and the answer is False.

        Where a place can't promise that, it writes.
        """
        ...

    def upload(self, key: str, path: Path, *, absent_only: bool = False) -> None:
        """`write` for a file of any size, in bounded memory."""
        ...

    def download(self, key: str, path: Path) -> None:
        """`read` into a file, in bounded memory. Raises MissingError."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """All entries whose key begins with the prefix, which is empty or ends with `/`; sorted by key."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """The names that stand directly below the prefix and have entries below them."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete what lies under these keys; what isn't there is no error."""
        ...

    def entry(self, key: str) -> Entry | None:
        """What lies under a key, without its bytes."""
        ...

    def touch(self, key: str) -> bool:
        """Set the time of the last writing to now. False if nothing is there."""
        ...


def check_run_id(run_id: str) -> str:
    """The run id, if it is one: it names a folder, so it must not lead out of the store. Raises UserError."""
    if not is_run_id(run_id):
        raise UserError(
            f"run id {run_id!r} can't be used: take 1 to 80 of the characters A-Z a-z 0-9 . _ - and begin with a letter, digit or _"
        )
    return run_id


def is_run_id(name: str) -> bool:
    """Whether a run may have this name."""
    return _RUN_ID.fullmatch(name) is not None
