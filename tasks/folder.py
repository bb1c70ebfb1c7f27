"""A folder as a place for artifacts.

Everything is written beside its place, flushed to the disk, and renamed into it. What is written once and for all is read-only.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from matrix_core.errors import RunError
from tasks.backend import Entry, MissingError

_MANY = 1 << 20


class Folder:
    """Bytes in files: the key is the path below the root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def locate(self, key: str) -> str:
        """The path of the file."""
        return str(self._root / key)

    def read(self, key: str) -> bytes:
        """The bytes of a file."""
        with _reading(self._root / key):
            return (self._root / key).read_bytes()

    def write(self, key: str, data: bytes, *, absent_only: bool = False) -> bool:
        """Write a file."""
        path = self._root / key
        # Two writers may both get past this line: who asks for `absent_only` brings the same bytes under the same key.
        if absent_only and path.exists():
            return False
        publish(path, lambda file: file.write(data), 0o444 if absent_only else 0o666)
        return True

    def upload(self, key: str, path: Path, *, absent_only: bool = False) -> None:
        """Copy a file into the folder."""
        to = self._root / key
        if not (absent_only and to.exists()):
            with path.open("rb") as source:
                publish(to, lambda file: shutil.copyfileobj(source, file, _MANY), 0o444 if absent_only else 0o666)

    def download(self, key: str, path: Path) -> None:
        """Copy a file out of the folder."""
        with _reading(self._root / key), (self._root / key).open("rb") as source, path.open("wb") as file:
            shutil.copyfileobj(source, file, _MANY)

    def list(self, prefix: str) -> Iterator[Entry]:
        """All files below a prefix."""
        for folder, folders, files in os.walk(self._root / prefix):
            folders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                # Somebody else may delete while this looks.
                with suppress(FileNotFoundError):
                    yield _entry(path.relative_to(self._root).as_posix(), path.stat())

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders directly below a prefix."""
        with suppress(FileNotFoundError, NotADirectoryError):
            yield from sorted(entry.name for entry in os.scandir(self._root / prefix) if entry.is_dir())

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files, and the folders that become empty."""
        for key in keys:
            path = self._root / key
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise RunError(f"can't delete {path} ({reason(error)}): mend that, then run the same command again") from error
            for folder in path.relative_to(self._root).parents[:-1]:
                with suppress(OSError):
                    (self._root / folder).rmdir()

    def entry(self, key: str) -> Entry | None:
        """A file's size and time."""
        try:
            return _entry(key, (self._root / key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def touch(self, key: str) -> bool:
        """Set a file's time to now."""
        try:
            # Who may read but not write a shared folder can still use what is there.
            with suppress(PermissionError):
                os.utime(self._root / key)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def try_out(root: Path, writable: bool) -> None:
    """OSError if there can be no store in this folder. Leaves nothing behind."""
    for room in (root, root / "objects", root / "runs"):
        folder = room
        while not _exists(folder):
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")
        if writable:
            # An unnamed file where the system has such: nothing is left behind, not even by a kill.
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"\0")
                file.flush()


def publish(path: Path, fill: Callable[[BinaryIO], object], mode: int) -> None:
    """Let a file appear at `path`, whole, or leave everything as it was. Raises RunError.

    Its bytes are on the disk before its name is, so that a power cut leaves no half of it. That the name itself outlives one isn't
    waited for, which would double the time: what is missing then is made anew.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        opened = _create(beside, mode)
        try:
            with os.fdopen(opened, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"can't write {path} ({reason(error)}): mend that, then run the same command again") from error


def _create(path: Path, mode: int) -> int:
    """A new file and the folders above it, opened."""
    for _ in range(100):
        # Somebody who deletes may take a folder away, as empty, just before the file is in it.
        with suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def reason(error: Exception) -> str:
    """What the system says of an error, without the number and the path."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Failures of a reading as our errors."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(f"{path} is missing") from error
    except OSError as error:
        raise RunError(f"can't read {path} ({reason(error)})") from error


def _exists(path: Path) -> bool:
    # Not Path.exists or os.path.lexists: they take a name that is too long, or a link to nowhere, for nothing there.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _entry(key: str, stat: os.stat_result) -> Entry:
    return Entry(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
