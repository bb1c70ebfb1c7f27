"""An S3 bucket, or a prefix in one, as a place for artifacts: Amazon's, or any server that speaks its language.

Credentials, profile, region and endpoint come from where every AWS tool looks for them: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
`AWS_REGION`, `AWS_ENDPOINT_URL_S3` and the files in `~/.aws`. Uploads become visible whole or not at all: S3 promises that.
Whether what comes back is what was put there is for the store to see: it checks the hash of every object.
"""

import mimetypes
import os
import random
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from s3transfer.exceptions import RetriesExceededError

from matrix_core.errors import UserError
from tasks.backend import Entry, MissingError
from tasks.s3_errors import explained
from tasks.transfers import watched

ATTEMPTS = 5
"""How often a request is made before it counts as failed; between attempts the time to wait grows, by chance more or less."""
PART = 8 << 20
"""Files above this size (bytes) go in parts of it, four at a time; at most 64 pieces of 256 KB wait to be written down."""
_PARTS = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4, max_io_queue=64)
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
_ERRORS = (BotoCoreError, ClientError, ValueError)


class Bucket:
    """Bytes in objects: the key is what follows the prefix."""

    def __init__(self, bucket: str, prefix: str, client: Any, hasty: Any) -> None:
        self._bucket, self._root = bucket, f"{prefix}/" if prefix else ""
        self._uri = f"s3://{self._bucket}/{prefix}".rstrip("/")
        self._client, self._hasty = client, hasty
        self._answered, self._conditional = False, True

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return self._uri

    def try_out(self) -> None:
        """Make sure, quickly and without a trace, that the bucket answers, unless it has before. Raises UserError."""
        if not self._answered:
            with self._telling(""):
                self._hasty.list_objects_v2(Bucket=self._bucket, Prefix=self._root, MaxKeys=1)

    def locate(self, key: str) -> str:
        """The URI of an object."""
        return f"{self._uri}/{key}" if key else self._uri

    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        with self._telling(key):
            for attempt in range(1, ATTEMPTS):
                body = self._get(key)
                try:
                    return bytes(body.read())
                except (HTTPClientError, IncompleteReadError):
                    # The client itself tries again only until the answer begins, not when it breaks off.
                    time.sleep(random.uniform(0, 0.2 * 2**attempt))
            return bytes(self._get(key).read())

    def write(self, key: str, data: bytes, *, absent_only: bool = False) -> bool:
        """Put an object."""
        where = {"Bucket": self._bucket, "Key": self._root + key, "ContentType": _content_type(key)}
        with self._telling(key):
            if absent_only and self._conditional:
                try:
                    self._client.put_object(**where, Body=data, IfNoneMatch="*")
                    return True
                except ClientError as error:
                    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                    if status == 412:
                        return False
                    if status not in (409, 501):
                        raise
                    # 409: two wrote at once; whoever asks for `absent_only` brings the same bytes. 501: not offered here.
                    self._conditional = status != 501
            self._client.put_object(**where, Body=data)
            return True

    def upload(self, key: str, path: Path, *, absent_only: bool = False) -> None:
        """Put a file; a large one in parts."""
        size = path.stat().st_size
        if size <= PART:
            self.write(key, path.read_bytes(), absent_only=absent_only)
            return
        with self._telling(key), watched(f"upload {path.name}", size) as moved:
            # By name: the parts of an open file would be held in memory.
            kind = {"ContentType": _content_type(key)}
            self._client.upload_file(str(path), self._bucket, self._root + key, kind, Config=_PARTS, Callback=moved)

    def download(self, key: str, path: Path) -> None:
        """Fetch an object into a file, in parts."""
        entry = self.entry(key)
        with self._telling(key), path.open("wb") as file, watched(f"download {path.name}", entry.size if entry else 0) as moved:
            self._client.download_fileobj(self._bucket, self._root + key, file, Config=_PARTS, Callback=moved)

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects below a prefix, page by page."""
        for page in self._pages(prefix):
            for found in page.get("Contents", ()):
                yield Entry(found["Key"][len(self._root) :], found["Size"], found["LastModified"])

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix."""
        for page in self._pages(prefix, Delimiter="/"):
            for found in page.get("CommonPrefixes", ()):
                yield found["Prefix"][len(self._root + prefix) :].rstrip("/")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, a thousand at a time."""
        remaining = iter(keys)
        while some := list(islice(remaining, 1000)):
            with self._telling(some[0]):
                wanted = {"Objects": [{"Key": self._root + key} for key in some], "Quiet": True}
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=wanted)
                for failed in answer.get("Errors", ()):
                    if failed.get("Code") != "NoSuchKey":
                        raise ClientError({"Error": failed}, "DeleteObjects")

    def entry(self, key: str) -> Entry | None:
        """An object's size and time."""
        with self._telling(key):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=self._root + key)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
            return Entry(key, head["ContentLength"], head["LastModified"])

    def touch(self, key: str) -> bool:
        """Copy an object onto itself."""
        where = {"Bucket": self._bucket, "Key": self._root + key}
        # rclone takes the time from this mark; elsewhere it is the time of the copying.
        mark = {"mtime": f"{time.time():.6f}"}
        new = {"MetadataDirective": "REPLACE", "Metadata": mark, "ContentType": _content_type(key)}
        try:
            with self._telling(key):
                self._client.copy_object(**where, CopySource=where, **new)
        except MissingError:
            return False
        return True

    def _get(self, key: str) -> Any:
        return self._client.get_object(Bucket=self._bucket, Key=self._root + key)["Body"]

    def _pages(self, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(Bucket=self._bucket, Prefix=self._root + prefix, **more))
        while True:
            with self._telling(prefix):
                page = next(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        """Failures as our errors, which name the object."""
        try:
            yield
        except (*_ERRORS, RetriesExceededError, S3UploadFailedError) as error:
            # The last two only say that a transfer failed; what they are about says why.
            wrapped = error.__context__ if isinstance(error, S3UploadFailedError) else getattr(error, "last_exception", None)
            broken = wrapped if isinstance(wrapped, Exception) else error
            where = self._client.meta.endpoint_url
            raise explained(broken, self.locate(key), where, self._bucket, opening=not self._answered) from error
        self._answered = True


def open_bucket(uri: str) -> Bucket:
    """The place at `s3://bucket/prefix`; one in a process for each URI and environment. Raises UserError."""
    bucket, _, prefix = uri[len("s3://") :].partition("/")
    if "@" in bucket:
        raise UserError("--store s3://...@...: credentials don't belong there; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not bucket:
        raise UserError(f"--store {uri} names no bucket: write s3://bucket/prefix")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"--store {uri}: no bucket can be called {bucket!r}; 3 to 63 of a-z 0-9 . - are allowed")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/") if prefix) or not prefix.isprintable() or len(prefix) > 500:
        raise UserError(f"--store {uri}: the prefix must be names with / between them, without '.', '..' or control characters")
    environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    try:
        return _bucket(bucket, prefix, environment)
    except _ERRORS as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "S3"
        raise explained(error, uri, endpoint, bucket, opening=True) from error


def _content_type(key: str) -> str:
    """What browsers take the object for: reports and their parts are opened from the bucket."""
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


@lru_cache(maxsize=64)
def _bucket(bucket: str, prefix: str, environment: tuple[tuple[str, str], ...]) -> Bucket:
    return Bucket(bucket, prefix, *_clients(environment))


@lru_cache(maxsize=8)
def _clients(_: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    """(a patient client, a hasty one for the first contact). Clients may be shared by threads; making one takes a while."""
    session = boto3.Session()
    region = session.region_name or "us-east-1"
    # The store checks every read by hash itself; not every server knows the newer checksums that boto3 adds by default.
    common = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    plain = session.client("s3", region_name=region, config=common)
    if not re.search(r"\.amazonaws\.com(\.cn)?$", urlsplit(plain.meta.endpoint_url).hostname or ""):
        # Other servers seldom answer at bucket.host.
        common = common.merge(Config(s3={"addressing_style": "path"}))
        plain = session.client("s3", region_name=region, config=common)
    hasty = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    return plain, session.client("s3", region_name=region, config=common.merge(hasty))
