"""The artifact store: what runs make, each thing once, under the SHA-256 of its bytes; and the few files of each run.

`objects/` holds content: a key is the hash of what is behind it, so it never changes and equal things are kept once.
`runs/<run-id>/` holds what people open: summary, manifest, report. `results/` is a cache, small JSON files that name objects and
may go at any time. Tasks pass `Reference`s, never bytes. Where all this lies is a backend's business: a folder, or S3.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matrix_core.errors import RunError, UserError
from tasks import folder
from tasks.backend import Backend, DamagedError, Entry, MissingError, check_run_id, is_run_id

__all__ = [
    "FRESH",
    "RESULTS",
    "TREE",
    "DamagedError",
    "MissingError",
    "Reference",
    "Store",
    "check_run_id",
    "open_store",
    "references",
]

FRESH = timedelta(hours=1)
"""What was written or used within this time is never pruned: somebody may be about to refer to it. Whatever is older and is used
again counts as written anew."""

RESULTS = "results/"
"""Where what Prefect's tasks handed back is cached."""

TREE = ".tree.json"
"""The suffix of a list of files: name -> reference."""

_SUFFIX = r"(\.[a-z0-9]{1,16}){0,3}"


class Reference(BaseModel):
    """Names one object of a store. Small, plain JSON, valid for every store that holds the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"\A[0-9a-f]{64}\z")
    size: int = Field(ge=0, description="bytes")
    suffix: str = Field("", pattern=rf"\A{_SUFFIX}\z", description="what kind of file it is: .jsonl.gz, .json, ...")

    @property
    def key(self) -> str:
        """Where the object lies in its store."""
        return f"objects/{self.sha256[:2]}/{self.sha256}{self.suffix}"


class Store:
    """An artifact store. Failures are RunErrors that name the object and say what to do next."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def uri(self) -> str:
        """Where the store is: what `--store` takes."""
        return self.backend.uri

    def put(self, data: bytes, suffix: str) -> Reference:
        """Keep these bytes. What is already there is left as it is."""
        ref = Reference(sha256=hashlib.sha256(data).hexdigest(), size=len(data), suffix=suffix)
        if self._lacks(ref):
            self.backend.write(ref.key, data, absent_only=True)
        return ref

    def put_file(self, path: Path, suffix: str) -> Reference:
        """Keep a file of any size, in bounded memory."""
        try:
            with path.open("rb") as file:
                digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        except OSError as error:
            raise RunError(f"can't read {path} ({folder.reason(error)})") from error
        ref = Reference(sha256=digest, size=size, suffix=suffix)
        if self._lacks(ref):
            self.backend.upload(ref.key, path, absent_only=True)
        return ref

    def get(self, ref: Reference) -> bytes:
        """The bytes behind a reference, their hash checked. Raises MissingError or DamagedError."""
        try:
            data = self.backend.read(ref.key)
        except MissingError as error:
            raise self._missing(ref) from error
        self._verify(ref, hashlib.sha256(data).hexdigest(), len(data))
        return data

    def fetch(self, ref: Reference, path: Path) -> None:
        """Write the object into a file, in bounded memory, its hash checked before the file appears.

        Raises MissingError or DamagedError.
        """
        beside = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.backend.download(ref.key, beside)
                with beside.open("rb") as file:
                    self._verify(ref, hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except MissingError as error:
            raise self._missing(ref) from error
        except OSError as error:
            raise RunError(f"can't write {path} ({folder.reason(error)}): mend that, then run the same command again") from error

    def has(self, ref: Reference) -> bool:
        """Whether the object is there, with all its bytes; their hash is not looked at."""
        there = self.backend.entry(ref.key)
        return there is not None and there.size == ref.size

    def locate(self, ref: Reference) -> str:
        """The URI of the object, whether it is there or not."""
        return self.backend.locate(ref.key)

    def put_folder(self, path: Path) -> Reference:
        """Keep all files under a folder; the reference is to a list of their names and references (the tree)."""
        files = {}
        for file in sorted(path.rglob("*")):
            if file.is_file():
                suffix = file.suffix.lower()
                kept = self.put_file(file, suffix if re.fullmatch(_SUFFIX, suffix) else "")
                files[file.relative_to(path).as_posix()] = kept.model_dump()
        return self.put(json.dumps(files, sort_keys=True, indent=1).encode(), TREE)

    def get_folder(self, ref: Reference, to: Path) -> None:
        """Write the files of a tree into the folder `to`; other files there are left alone."""
        for name, kept in json.loads(self.get(ref)).items():
            self.fetch(Reference.model_validate(kept), to / _inside(name))

    def write(self, run_id: str, name: str, data: bytes) -> str:
        """Write a file of a run, in place of an earlier one of that name. Returns its URI."""
        key = _run_key(run_id, name)
        self.backend.write(key, data)
        return self.backend.locate(key)

    def write_file(self, run_id: str, name: str, path: Path) -> None:
        """`write` for a file of any size, in bounded memory."""
        self.backend.upload(_run_key(run_id, name), path)

    def read(self, run_id: str, name: str) -> bytes:
        """A file of a run. Raises MissingError."""
        try:
            return self.backend.read(_run_key(run_id, name))
        except MissingError as error:
            raise MissingError(f"run {run_id} in {self.uri} has no {name}") from error

    def runs(self) -> list[str]:
        """The ids of all runs, sorted."""
        return sorted(name for name in self.backend.folders("runs/") if is_run_id(name))

    def remember(self, name: str, data: bytes) -> None:
        """Cache a result, in place of an earlier one of that name."""
        self.backend.write(_result_key(name), data)

    def recall(self, name: str) -> bytes:
        """A cached result, if all objects that it names are there.

        Otherwise it is worth nothing: MissingError. One that is older than FRESH counts as written anew, so that nobody prunes it
        while it is in use.
        """
        key = _result_key(name)
        data = self.backend.read(key)
        there = self.backend.entry(key)
        try:
            named = list(references(json.loads(data)))
        except ValueError as error:
            raise MissingError(f"{self.backend.locate(key)} is not JSON") from error
        for ref in named:
            if not self.has(ref):
                raise MissingError(f"{self.backend.locate(key)} names {self.locate(ref)}, which is missing or truncated")
        if there is None or (_old(there) and not self.backend.touch(key)):
            raise MissingError(f"{self.backend.locate(key)} was deleted just now")
        return data

    def _lacks(self, ref: Reference) -> bool:
        """Whether the object must be written. One of the wrong size is removed first; an old one counts as written anew."""
        there = self.backend.entry(ref.key)
        if there is None:
            return True
        if there.size != ref.size:
            self.backend.delete([ref.key])
            return True
        # Somebody who prunes may have been quicker.
        return _old(there) and not self.backend.touch(ref.key)

    def _missing(self, ref: Reference) -> MissingError:
        return MissingError(f"object {self.locate(ref)} is missing: run the command that made it again")

    def _verify(self, ref: Reference, found: str, size: int) -> None:
        if found != ref.sha256:
            raise DamagedError(
                f"object {self.locate(ref)} was altered: its SHA-256 is {found[:12]}..., {size} bytes; delete it and run again"
            )


def references(value: Any) -> Iterator[Reference]:
    """All references in a JSON value, also in JSON that lies in it as text."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.keys() == Reference.model_fields.keys():
                try:
                    yield Reference.model_validate(value)
                except ValidationError as error:
                    raise ValueError(f"{value} is no reference") from error
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and value[:1] in ("{", "["):
            with suppress(ValueError):
                left.append(json.loads(value))


def open_store(uri: str, *, writable: bool = True) -> Store:
    """The store at a URI; makes nothing yet. With `writable` it is tried out, without a trace, whether it can be used.

    Raises UserError if there can be no store there.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if not uri.strip():
        raise UserError("--store is empty: name a folder, or s3://bucket/prefix")
    if scheme and scheme[1].lower() == "s3":
        from tasks.s3 import open_bucket

        bucket = open_bucket(uri)
        if writable:
            bucket.try_out()
        return Store(bucket)
    if scheme and scheme[1].lower() != "file":
        raise UserError(f"--store {uri}: stores at {scheme[1]}:// aren't supported; use a folder or s3://bucket/prefix")
    root = Path(os.path.expanduser(unquote(urlsplit(uri).path) if scheme else uri)).absolute()
    try:
        folder.try_out(root, writable)
    except (OSError, ValueError) as error:
        doing = "written to" if writable else "opened"
        raise UserError(f"--store {uri} can't be {doing} ({folder.reason(error)}): name a folder where you can write") from error
    return Store(folder.Folder(root))


def _old(there: Entry) -> bool:
    return datetime.now(UTC) - there.modified > FRESH


def _run_key(run_id: str, name: str) -> str:
    return f"runs/{check_run_id(run_id)}/{_inside(name)}"


def _result_key(name: str) -> str:
    return f"{RESULTS}{_inside(name)}"


def _inside(name: str) -> PurePosixPath:
    """The name as a path that stays below where it is put."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or "\\" in name or "\0" in name or any(part in (".", "..") for part in name.split("/")):
        raise RunError(f"{name!r} can't be the name of a file in the store: it must be a relative path without '..'")
    return path
