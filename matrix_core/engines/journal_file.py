"""The journal of completions: one SQLite file, written by any number of threads and processes at a time.

Completions are committed in groups, within half a second, and a commit survives a kill. What belongs to a piece of
work that is done is forgotten; what nobody comes back for goes after a month. A journal only saves work, so nothing that goes wrong
with it ends a run: a damaged file is moved aside, and where none can be kept (no space, no rights) there is one warning and none is
kept.
"""

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from matrix_core.errors import UserError
from matrix_core.request import Completion, to_json

GROUP = 256
"""Completions that are committed at once, at most."""
SECONDS = 0.5
"""How long a completion waits for others to be committed with."""
KEPT_DAYS = 30
"""So long a completion waits for a run that comes back for it."""
BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    engine TEXT NOT NULL,
    made REAL NOT NULL,
    request TEXT NOT NULL,
    completion TEXT NOT NULL,
    UNIQUE (scope, key)
);
CREATE INDEX IF NOT EXISTS by_key ON completions (key);
"""
_NO_JOURNAL = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is no database, a broken one, or one with other tables."""

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Row(NamedTuple):
    """One completion: its key, the work that asked for it, the engine's fingerprint, what was asked (JSON), the answer."""

    key: str
    scope: str
    engine: str
    request: str
    completion: Completion


@cache
def open_journal(path: Path) -> "Journal":
    """The journal in this file, one in a process. The file is made when it is first needed."""
    return Journal(path)


class Journal:
    """A journal in a file. Safe to use from several threads; never raises for what is wrong with the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._gathering = threading.Lock()
        """Of its own, so that nobody who adds a completion waits for a disk."""
        self._rows: list[tuple[str, str, str, float, str, str]] = []
        self._timer: threading.Timer | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._given_up = False

    def find(self, keys: Sequence[str], scope: str, only: bool = False) -> dict[str, Completion]:
        """Key -> completion, for those that are there. What only other scopes hold is kept for this one as well.

        With `only` it doesn't count.
        """

        def read(connection: sqlite3.Connection) -> dict[str, Completion]:
            found: dict[str, Completion] = {}
            foreign = []
            # Of several rows of a key SQLite takes the other columns from the one with the least, which is this scope's own.
            rows = """
                SELECT key, completion, scope, min(scope != ?) FROM completions
                WHERE key IN (SELECT value FROM json_each(?)) AND (scope = ? OR ?) GROUP BY key
            """
            for key, completion, of, _ in connection.execute(rows, (scope, json.dumps(list(keys)), scope, not only)):
                try:
                    # Not by pydantic's own parser, which takes no half characters.
                    found[key] = Completion.model_validate(json.loads(completion) | {"cached": True})
                except (ValueError, TypeError):
                    continue
                if of != scope:
                    foreign.append((scope, key, of))
            if foreign:
                with connection:
                    connection.executemany(
                        "INSERT OR IGNORE INTO completions SELECT ?, key, engine, made, request, completion FROM completions "
                        "WHERE key = ? AND scope = ?",
                        foreign,
                    )
            return found

        with self._lock:
            self.flush()
            return self._with(read, {})

    def add(self, row: Row) -> None:
        """Keep a completion; it is committed within `SECONDS`."""
        with self._gathering:
            self._rows.append((row.scope, row.key, row.engine, time.time(), row.request, to_json(row.completion)))
            full = len(self._rows) >= GROUP
            if self._timer is None:
                self._timer = threading.Timer(SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if full:
            self.flush()

    def flush(self) -> None:
        """Commit what waits."""
        with self._lock:
            with self._gathering:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                rows, self._rows = self._rows, []

            def write(connection: sqlite3.Connection) -> None:
                with connection:
                    connection.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?, ?)", rows)

            if rows:
                self._with(write, None)

    def forget(self, *scopes: str) -> None:
        """Delete what was kept for pieces of work that are done."""

        def delete(connection: sqlite3.Connection) -> None:
            # Each by itself, since the log grows by what one commit deletes; the newest first, which lies at the end of the file.
            for scope in reversed(scopes):
                with connection:
                    connection.execute("DELETE FROM completions WHERE scope = ?", (scope,))

        with self._lock:
            self.flush()
            if self._connection is not None or self._path.exists():
                self._with(delete, None)

    def _with(self, work: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """What the work gives; `otherwise` where there can be no journal. A damaged file is moved aside, and the work done anew."""
        for damaged_before in (False, True):
            if self._given_up:
                break
            try:
                if self._connection is None:
                    self._connection = self._open()
                return work(self._connection)
            except (sqlite3.Error, OSError) as error:
                self._close()
                code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_IOERR
                if damaged_before or code & 0xFF not in _NO_JOURNAL or not self._move_aside(error):
                    self._given_up = True
                    _LOG.warning("completions are not journalled from now on: %s: %s", self._path, error)
        return otherwise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE", check_same_thread=False)
        self._connection = connection  # so that it is closed should the rest fail
        self._inode = self._path.stat().st_ino
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("PRAGMA journal_mode = WAL")
        # What a killed process has written stays; only a power cut may cost the last seconds, and those are asked again.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        with connection:
            connection.execute("DELETE FROM completions WHERE made < ?", (time.time() - KEPT_DAYS * 86_400,))
        os.utime(self._path)
        _sweep(self._path.parent)
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _move_aside(self, error: Exception) -> bool:
        """Move the damaged file aside, unless another process was quicker. False if that can't be done."""
        try:
            if self._path.exists() and self._path.stat().st_ino == self._inode:
                aside = self._path.with_suffix(".damaged")
                self._path.replace(aside)
                for suffix in ("-wal", "-shm"):
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)
                _LOG.warning("the journal of completions was damaged (%s): it lies in %s now, a new one is begun", error, aside)
        except OSError:
            return False
        return True


def _sweep(folder: Path) -> None:
    """Delete journals that nobody has opened for a month."""
    for file in folder.glob("*.sqlite"):
        if time.time() - file.stat().st_mtime > KEPT_DAYS * 86_400:
            for old in folder.glob(f"{file.stem}.*"):
                old.unlink(missing_ok=True)


class Share(NamedTuple):
    """What the journal holds of one engine."""

    engine: str
    completions: int
    bytes: int


def shares(path: Path) -> list[Share]:
    """What a journal holds, by engine; nothing if there is no file. Raises UserError for a damaged one."""
    sizes = """
        SELECT engine, count(*), sum(length(CAST(request AS BLOB)) + length(CAST(completion AS BLOB)))
        FROM completions GROUP BY engine ORDER BY engine
    """
    return [Share(*row) for row in _read(path, sizes)]


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Everything in a journal, the oldest first: `key`, `scope`, `engine`, `made` (Unix time), `request`, `completion`.

    Raises UserError for a damaged file.
    """
    for row in _read(path, "SELECT key, scope, engine, made, request, completion FROM completions ORDER BY made, key, scope"):
        named = dict(zip(("key", "scope", "engine", "made"), row, strict=False))
        try:
            yield named | {"request": json.loads(row[4]), "completion": json.loads(row[5])}
        except ValueError as error:
            raise _unreadable(path, error) from error


def _read(path: Path, query: str) -> Iterator[tuple[Any, ...]]:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as connection:
            yield from connection.execute(query)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"the journal {path} can't be read ({error}): delete it, or let the next run move it aside")
