"""What tests of all kinds may ask for."""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator

import pytest

from tests.s3_server import BUCKET, S3Server, s3_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file is begun first, so that the other process has enough to do until it ends."""
    items.sort(key=lambda item: item.path.name != "test_service.py")


def pytest_unconfigure() -> None:
    """Nothing is left of what tests kept elsewhere."""
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _temporary_servers() -> Iterator[None]:
    """Prefect's temporary servers end while they can still log."""
    yield
    server = sys.modules.get("prefect.server.api.server")
    for running in list(server.SubprocessASGIServer._instances.values()) if server else ():
        running.stop()


@pytest.fixture(scope="session")
def s3_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, started for the first test that needs one."""
    with s3_server(tmp_path_factory.mktemp("s3") / "root") as server:
        yield server


@pytest.fixture
def s3(s3_running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, and an environment in which AWS tools find it."""
    for name, value in s3_running.environment.items():
        monkeypatch.setenv(name, value)
    return s3_running


@pytest.fixture
def s3_uri(s3: S3Server) -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"
