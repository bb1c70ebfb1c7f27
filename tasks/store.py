"""The artifact store: what runs make, each thing once, under the SHA-256 of its bytes; and the few files of each run.

A store has two rooms. `objects/` holds content: a key is the hash of what is behind it, so it never changes and equal things
are kept once. `runs/<run-id>/` holds what people open: summary, manifest, report. Tasks pass `Reference`s, never bytes.

Everything becomes visible whole or not at all: it is written beside its place, flushed to the disk, and renamed into it.
"""

import hashlib
import json
import os
import re
import tempfile
import uuid
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from matrix_core.errors import RunError, UserError

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
_SUFFIX = r"(\.[a-z0-9]{1,16}){0,3}"


class MissingError(RunError):
    """What was asked for isn't in the store."""


class DamagedError(RunError):
    """An object whose bytes aren't those that were put there."""


class Reference(BaseModel):
    """Names one object of a store. Small, plain JSON, valid for every store that holds the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"\A[0-9a-f]{64}\z")
    size: int = Field(ge=0, description="bytes")
    suffix: str = Field("", pattern=rf"\A{_SUFFIX}\z", description="what kind of file it is: .jsonl.gz, .json, ...")


class Store(Protocol):
    """What a store can do. Failures are RunErrors that name the object and say what to do next."""

    @property
    def uri(self) -> str:
        """Where the store is: what `--store` takes."""
        ...

    def put(self, data: bytes, suffix: str) -> Reference:
        """Keep these bytes. What is already there is left as it is."""
        ...

    def get(self, ref: Reference) -> bytes:
        """The bytes behind a reference, their hash checked. Raises MissingError or DamagedError."""
        ...

    def locate(self, ref: Reference) -> str:
        """The URI of the object, whether it is there or not."""
        ...

    def put_folder(self, path: Path) -> Reference:
        """Keep all files under a folder; the reference is to a list of their names and references (the tree)."""
        ...

    def get_folder(self, ref: Reference, to: Path) -> None:
        """Write the files of a tree into the folder `to`; other files there are left alone."""
        ...

    def write(self, run_id: str, name: str, data: bytes) -> str:
        """Write a file of a run, in place of an earlier one of that name. Returns its URI."""
        ...

    def read(self, run_id: str, name: str) -> bytes:
        """A file of a run. Raises MissingError."""
        ...

    def runs(self) -> list[str]:
        """The ids of all runs, sorted."""
        ...


def check_run_id(run_id: str) -> str:
    """The run id, if it is one: it names a folder, so it must not lead out of the store. Raises UserError."""
    if not _RUN_ID.fullmatch(run_id):
        raise UserError(
            f"run id {run_id!r} can't be used: take 1 to 80 of the characters A-Z a-z 0-9 . _ - and begin with a letter, digit or _"
        )
    return run_id


def open_store(uri: str, *, writable: bool = True) -> Store:
    """The store at a URI; makes nothing yet. With `writable` it is tried out, without a trace, whether it can be written to.

    Raises UserError if there can be no store there.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if not uri.strip():
        raise UserError("--store is empty: name a folder")
    if scheme and scheme[1].lower() == "s3":
        raise UserError(f"--store {uri}: S3 stores come with the next release; use a folder")
    if scheme and scheme[1].lower() != "file":
        raise UserError(f"--store {uri}: stores at {scheme[1]}:// aren't supported; use a folder")
    root = Path(os.path.expanduser(unquote(urlsplit(uri).path) if scheme else uri)).absolute()
    try:
        for room in (root, root / "objects", root / "runs"):
            _try_out(room, writable)
    except (OSError, ValueError) as error:
        doing = "written to" if writable else "opened"
        raise UserError(f"--store {uri} can't be {doing} ({_reason(error)}): name a folder where you can write") from error
    return FolderStore(root)


def _try_out(folder: Path, writable: bool) -> None:
    """OSError if the folder, or the nearest one above it that exists, is no folder or can't be written to."""
    while not _exists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    if writable:
        # An unnamed file where the system has such: nothing is left behind, not even by a kill.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()


def _exists(path: Path) -> bool:
    # Not Path.exists or os.path.lexists: they take a name that is too long, or a link to nowhere, for nothing there.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class FolderStore:
    """A store in a folder: `objects/ab/<sha256><suffix>` and `runs/<run-id>/<name>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def put(self, data: bytes, suffix: str) -> Reference:
        """Keep these bytes."""
        ref = Reference(sha256=hashlib.sha256(data).hexdigest(), size=len(data), suffix=suffix)
        path = self._object(ref)
        # Two writers of one key may both get past this line; they bring the same bytes.
        if not path.exists():
            _publish(path, data, 0o444)
        return ref

    def get(self, ref: Reference) -> bytes:
        """The bytes behind a reference."""
        path = self._object(ref)
        data = _read(path, f"object {path} is missing: run the command that made it again")
        found = hashlib.sha256(data).hexdigest()
        if found != ref.sha256:
            raise DamagedError(
                f"object {path} was altered: its SHA-256 is {found[:12]}..., {len(data)} bytes; delete it and run again"
            )
        return data

    def locate(self, ref: Reference) -> str:
        """The path of the object."""
        return str(self._object(ref))

    def put_folder(self, path: Path) -> Reference:
        """Keep all files under a folder."""
        files = {}
        for file in sorted(path.rglob("*")):
            if file.is_file():
                suffix = file.suffix.lower()
                kept = self.put(file.read_bytes(), suffix if re.fullmatch(_SUFFIX, suffix) else "")
                files[file.relative_to(path).as_posix()] = kept.model_dump()
        return self.put(json.dumps(files, sort_keys=True, indent=1).encode(), ".tree.json")

    def get_folder(self, ref: Reference, to: Path) -> None:
        """Write the files of a tree into a folder."""
        for name, kept in json.loads(self.get(ref)).items():
            _publish(to / _inside(name), self.get(Reference.model_validate(kept)), 0o666)

    def write(self, run_id: str, name: str, data: bytes) -> str:
        """Write a file of a run."""
        path = self._file(run_id, name)
        _publish(path, data, 0o666)
        return str(path)

    def read(self, run_id: str, name: str) -> bytes:
        """A file of a run."""
        return _read(self._file(run_id, name), f"run {run_id} in {self.uri} has no {name}")

    def runs(self) -> list[str]:
        """The ids of all runs."""
        folder = self._root / "runs"
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and _RUN_ID.fullmatch(entry.name))

    def _object(self, ref: Reference) -> Path:
        return self._root / "objects" / ref.sha256[:2] / f"{ref.sha256}{ref.suffix}"

    def _file(self, run_id: str, name: str) -> Path:
        return self._root / "runs" / check_run_id(run_id) / _inside(name)


def _inside(name: str) -> PurePosixPath:
    """The name as a path that stays below where it is put."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or "\\" in name or "\0" in name or any(part in (".", "..") for part in name.split("/")):
        raise RunError(f"{name!r} can't be the name of a file in the store: it must be a relative path without '..'")
    return path


def _publish(path: Path, data: bytes, mode: int) -> None:
    """Let a file with these bytes appear at `path`, whole and on the disk, or leave everything as it was."""
    beside = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        # The rename itself must outlive a power cut too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RunError(f"can't write {path} ({_reason(error)}): mend that, then run the same command again") from error


def _read(path: Path, missing: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(missing) from error
    except OSError as error:
        raise RunError(f"can't read {path} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
