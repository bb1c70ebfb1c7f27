"""Prefect's results in the artifact store: what a task handed back, as JSON under `results/`, beside the objects that it names.

Whoever can write to the store can write a result, so none is believed: it is read as plain JSON whatever serializer it asks for, it
may build nothing but this program's own models, and it counts only as long as all objects that it names are there.
"""

import hashlib
import json
import threading
import time
from functools import cache
from typing import Any

from prefect.filesystems import WritableFileSystem
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.utilities.importtools import from_qualified_name
from pydantic import BaseModel, Field, PrivateAttr

from tasks.store import MissingError, Store, open_store

_OURS = ("flows", "tasks", "matrix_core", "validations")
_AT_ONCE = 2.0
"""Prefect asks twice for a result: whether it is there, and for its bytes. Within so many seconds the answer is the same."""


class MatrixStore(WritableFileSystem):
    """Keeps the results of tasks in the artifact store. Credentials come from the environment of whoever uses it."""

    _block_type_name = "MATRIX store"
    _block_type_slug = "matrix-store"
    _description = "The artifact store of MATRIX runs: a folder or an S3 bucket."

    uri: str = Field(description="a folder, or s3://bucket/prefix")

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _last: tuple[str, float, bytes] = PrivateAttr(default=("", 0.0, b""))

    @property
    def slug(self) -> str:
        """What the server knows the saved block as: `type/name`."""
        return f"{self._block_type_slug}/{block_name(self.uri)}"

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """The result with this key, safe to load. Raises MissingError if it must be computed anew."""
        with self._lock:
            key, at, data = self._last
        if key == path and time.monotonic() - at < _AT_ONCE:
            return data
        data = self._checked(path, self._store().recall(path))
        with self._lock:
            self._last = (path, time.monotonic(), data)
        return data

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Keep a result."""
        with self._lock:
            self._last = ("", 0.0, b"")
        self._store().remember(path, content)

    async def aread_path(self, path: str) -> bytes:
        """`read_path` for flows that are coroutines."""
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """`write_path` for flows that are coroutines."""
        self.write_path(path, content)

    def _store(self) -> Store:
        return open_store(self.uri, writable=False)

    def _checked(self, path: str, data: bytes) -> bytes:
        """The record with plain JSON as its serializer and this server's id of the store."""
        try:
            record = json.loads(data)
            _refuse_foreign(json.loads(record["result"]))
            record["metadata"] |= {
                "serializer": {"type": "json"},
                "storage_block_id": str(self._block_document_id) if self._block_document_id else None,
            }
        except (ValueError, KeyError, TypeError) as error:
            raise MissingError(f"result {path} in {self.uri} is none of this program ({error})") from error
        return json.dumps(record).encode()


def result_storage(uri: str) -> MatrixStore:
    """Where the results of tasks go for a store: a block that the Prefect server knows, saved there if it isn't yet.

    What `@task(result_storage=...)` takes. Its name follows from the store's URI, so all processes use the same one.
    """
    return _saved(open_store(uri, writable=False).uri, PREFECT_API_URL.value(), str(PREFECT_HOME.value()))


def block_name(uri: str) -> str:
    """The name of a store's block, without its type."""
    return f"store-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


@cache
def _saved(uri: str, _server: str | None, _home: str) -> MatrixStore:
    """The block, once in a process for each server."""
    name = block_name(uri)
    try:
        return MatrixStore.load(name, _sync=True)  # type: ignore[call-arg, return-value]
    except ValueError:
        block = MatrixStore(uri=uri)
        block.save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
        return block


def _refuse_foreign(value: Any) -> None:
    """ValueError if loading the value would build, or call, anything but this program's own models."""
    if isinstance(value, dict):
        if "__exc_type__" in value:
            raise ValueError("it holds an exception")
        if "__class__" in value:
            name = str(value["__class__"])
            kind = from_qualified_name(name) if name.partition(".")[0] in _OURS else None
            if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
                raise ValueError(f"it holds a {name}")
        for below in value.values():
            _refuse_foreign(below)
    elif isinstance(value, list):
        for below in value:
            _refuse_foreign(below)
