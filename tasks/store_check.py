"""Tries out what a store must be able to do, in a corner of its own, and cleans up."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from matrix_core.errors import RunError, UserError
from tasks.store import DamagedError, Store, open_store

LARGE = 12 << 20
"""Bytes of the large file: enough to go to S3 in two parts."""


_TICK = 1.1
"""Seconds after which a clock that counts whole seconds, as many servers' do, shows another time."""


@dataclass(frozen=True)
class Finding:
    """What was tried, whether it worked, and what there is to say."""

    name: str
    works: bool
    needed: bool
    said: str
    seconds: float


def check_store(uri: str) -> list[Finding]:
    """Try out the store at this URI; nothing is left behind. Raises UserError if there can be no store."""
    outside = open_store(uri)
    missing = [] if "://" in outside.uri else _missing_folders(Path(outside.uri))
    store = open_store(f"{outside.uri}/.check-{uuid.uuid4().hex}")
    findings: list[Finding] = []

    def attempt(name: str, trial: Callable[[Store], str], needed: bool = True) -> None:
        began = time.perf_counter()
        try:
            works, said = True, trial(store)
        except (RunError, UserError, OSError) as error:
            works, said = False, str(error)
        findings.append(Finding(name, works, needed, said, time.perf_counter() - began))

    try:
        attempt("write", _write)
        attempt("read", _read)
        attempt("list", _list)
        attempt("overwrite", _overwrite)
        attempt("verify", _verify)
        attempt("large file", _large)
        attempt("renew", _renew)
        attempt("create if absent", _create, needed=False)
    finally:
        attempt("delete", _delete)
        if "://" not in store.uri:
            shutil.rmtree(store.uri, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
    return findings


def _write(store: Store) -> str:
    store.write("check", "a.txt", b"first")
    return ""


def _read(store: Store) -> str:
    _same(store.read("check", "a.txt"), b"first")
    return ""


def _list(store: Store) -> str:
    there = [entry.key for entry in store.backend.list("runs/")]
    if there != ["runs/check/a.txt"] or store.runs() != ["check"]:
        raise RunError(f"the list should have one name, and has {there[:3]}")
    return ""


def _overwrite(store: Store) -> str:
    store.write("check", "a.txt", b"second")
    _same(store.read("check", "a.txt"), b"second")
    return ""


def _verify(store: Store) -> str:
    ref = store.put(b"right", ".txt")
    _same(store.get(ref), b"right")
    store.backend.delete([ref.key])
    store.backend.write(ref.key, b"wrong")
    try:
        store.get(ref)
    except DamagedError:
        return "an altered object is found by its hash"
    raise RunError("an altered object was handed out")


def _large(store: Store) -> str:
    with tempfile.TemporaryDirectory(prefix="matrix-align-") as scratch:
        source, back = Path(scratch, "source"), Path(scratch, "back")
        source.write_bytes(os.urandom(LARGE))
        store.fetch(store.put_file(source, ".bin"), back)
    return f"{LARGE >> 20} MB there and back"


def _renew(store: Store) -> str:
    before = _written("runs/check/a.txt", store)
    time.sleep(_TICK)
    store.backend.touch("runs/check/a.txt")
    if _written("runs/check/a.txt", store) <= before:
        raise RunError("it didn't become newer: prune could delete what a running flow has just used again")
    return "what is used again counts as written anew"


def _create(store: Store) -> str:
    first = store.backend.write("runs/check/b.txt", b"first", absent_only=True)
    second = store.backend.write("runs/check/b.txt", b"second", absent_only=True)
    if not first or second or store.read("check", "b.txt") != b"first":
        raise RunError("the server doesn't keep to it; of two that write the same object at once the last one wins")
    return ""


def _delete(store: Store) -> str:
    store.backend.delete([entry.key for entry in store.backend.list("")])
    left = [entry.key for entry in store.backend.list("")]
    if left:
        raise RunError(f"{len(left)} are still there, such as {store.backend.locate(left[0])}")
    return ""


def _same(found: bytes, put: bytes) -> None:
    if found != put:
        raise RunError(f"{put!r} was put there, and {found[:20]!r} came back")


def _written(key: str, store: Store) -> datetime:
    return next(entry.modified for entry in store.backend.list("runs/") if entry.key == key)


def _missing_folders(path: Path) -> list[Path]:
    """The folders that would have to be made for this one, the lowest first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]
