"""A real S3 server for tests: `rclone serve s3` over a folder, on a port of its own, with a key and a secret of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.stub import Stubber

from tasks.s3 import Bucket
from tasks.store import Store

KEY, SECRET = "matrixkey", "matrixsecret"
BUCKET = "artifacts"


class S3Server:
    """Where the server is, and the folder that it serves: a bucket is a folder in it, an object a file.

    The server remembers folders for a while, so what tests alter they alter through it.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.endpoint = folder, f"http://127.0.0.1:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment must have."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """The server, with one empty bucket."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    rclone = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    port = free_port()
    log = folder.with_name(f"{folder.name}.log").open("wb")
    command = [rclone, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    command += ["--config", os.devnull]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert process.poll() is None, f"rclone ended: {Path(log.name).read_text()}"
                assert time.monotonic() < deadline, "rclone does not listen"
                time.sleep(0.02)
        yield S3Server(folder, port)
    finally:
        process.kill()
        process.wait()
        log.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stubbed() -> tuple[Store, Stubber]:
    """A store whose server is played by botocore's Stubber."""
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return Store(Bucket("bucket", "p", client, client)), Stubber(client)
