"""`matrix-align up` as tests use it: server, worker and deployments as processes, runs triggered over REST."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.s3_server import free_port

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Service:
    """A running `matrix-align up` and its REST API."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.api = httpx.Client(base_url=f"{url}/api", timeout=30)

    def post(self, path: str, **body: object) -> dict:
        answers: list[httpx.Response] = []
        # While its database is busy the server says so with 503, and Prefect's own client tries again, too.
        until(lambda: answers.append(self.api.post(path, json=body)) or answers[-1].status_code != 503)
        answer = answers[-1]
        assert answer.is_success, answer.text
        return answer.json()

    def trigger(self, name: str, **options: object) -> str:
        """Start a deployment as the UI does: with the parameters of its form."""
        deployment = self.api.get(f"/deployments/name/{name}/{name}").json()
        return self.post(f"/deployments/{deployment['id']}/create_flow_run", parameters={"options": options})["id"]

    def state(self, run: str) -> dict:
        return self.api.get(f"/flow_runs/{run}").json()["state"]

    def ended(self, run: str, limit: float = 300) -> dict:
        """The last state of a run, awaited."""
        until(lambda: self.state(run)["type"] in ENDED, limit)
        return self.state(run)

    def stages(self, parent: str, name: str) -> list[dict]:
        """The runs of a stage that a run has started, the last one first."""
        found = self.post(
            "/flow_runs/filter",
            flows={"name": {"any_": [name]}},
            flow_runs={"parent_flow_run_id": {"any_": [parent]}},
            sort="START_TIME_DESC",
        )
        return list(found)

    def retry(self, run: str) -> None:
        """As the button in the UI does."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        assert self.post(f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"

    def worker(self) -> psutil.Process | None:
        """The worker's process; None while there is none."""
        return next((child for child in psutil.Process(self.process.pid).children() if "worker" in child.cmdline()), None)


def until(condition: Callable[[], object], limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


@contextmanager
def serving(home: Path, join: Service | None = None, **more: str) -> Iterator[Service]:
    """The service with its own PREFECT_HOME, and its own server unless it joins another's.

    When it has been asked to stop, nothing that it started is left.
    """
    environment = os.environ | {"PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"} | more
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "up"]
    if join:
        environment["PREFECT_API_URL"] = f"{join.url}/api"
    else:
        command += ["--port", str(free_port())]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "it did not come up"
        yield Service(process, url)
        ours = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not [child for child in ours if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
