"""`matrix-align up` for real: server, worker and deployments as processes, runs triggered over REST, artifacts on S3."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from flows import cli
from tasks.store import open_store
from tests.s3_server import free_port

SCENES = 24
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Service:
    """A running `matrix-align up` and its REST API."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.api = httpx.Client(base_url=f"{url}/api", timeout=30)

    def post(self, path: str, **body: object) -> dict:
        answer = self.api.post(path, json=body)
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

    def worker(self) -> psutil.Process:
        """The worker's process."""
        return next(child for child in psutil.Process(self.process.pid).children() if "worker" in child.cmdline())


def until(condition: Callable[[], object], limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def service(tmp_path_factory, s3_running) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    environment = os.environ | s3_running.environment | {"PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "up", "--port", str(free_port())]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "it did not come up"
        yield Service(process, url)
        ours = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not [child for child in ours if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_everything_is_registered_with_a_form_and_the_schedule_is_paused(service):
    there = {deployment["name"]: deployment for deployment in service.post("/deployments/filter")}
    assert there.keys() == {"align", "simulate", "tune", "evaluate", "report"}
    form = there["align"]["parameter_openapi_schema"]["definitions"]["RunOptions"]["properties"]
    assert form["roles"]["minimum"], form["roles"]["maximum"] == (1, 12)
    assert form["roles"]["default"] == 3
    assert "critique" in json.dumps(form["refresh"])
    assert all(field["description"] for field in form.values())
    (nightly,) = there["align"]["schedules"]
    assert nightly["active"] is False
    assert {deployment["global_concurrency_limit"]["limit"] for deployment in there.values() if deployment["name"] != "report"} == {
        1
    }


def test_a_port_that_is_taken_is_refused(service, capsys):
    taken = service.url.rpartition(":")[2]
    assert cli.main(["up", "--port", taken]) == 2
    assert f"--port {taken} is taken" in capsys.readouterr().err


def test_killed_in_the_middle_retried_alone_and_nothing_played_twice(service, s3, s3_uri, tmp_path, capsys, monkeypatch):
    run = service.trigger("align", store=s3_uri, scenes=SCENES)

    def half_way() -> bool:
        (stage,) = service.stages(run, "simulate") or [None]
        return stage is not None and service.post("/task_runs/count", flow_runs={"id": {"any_": [stage["id"]]}}) > 6

    until(half_way, 120)
    worker = service.worker()
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    assert service.ended(run)["type"] == "CRASHED"
    (stage,) = service.stages(run, "simulate")
    assert service.state(stage["id"])["type"] == "CRASHED"
    before = played(s3_uri)
    assert before

    retry(service, stage["id"])
    assert service.ended(stage["id"])["type"] == "COMPLETED"
    retry(service, run)
    assert service.ended(run)["type"] == "COMPLETED", service.state(run)["message"]

    store = open_store(s3_uri)
    (name,) = store.runs()
    summary = json.loads(store.read(name, "summary.json"))
    assert cli.main(["simulate", "--store", str(tmp_path), "--scenes", str(SCENES), "--run-id", "same"]) == 0
    alone = json.loads(Path(tmp_path, "runs/same/stages/simulate.json").read_text())
    assert summary["artifacts"]["scenes"]["sha256"] == alone["scenes"]["sha256"]
    # What was cached when the worker was killed is still there as it was: nobody has played it again.
    assert before.items() <= played(s3_uri).items()
    capsys.readouterr()


def played(uri: str) -> dict[str, object]:
    """When the cached results of steps were written."""
    return {entry.key: entry.modified for entry in open_store(uri).backend.list("results/") if "/scenes/" in entry.key}


def retry(service: Service, run: str) -> None:
    """As the button in the UI does."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    assert service.post(f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"


def test_a_gate_that_fails_is_named_and_after_mending_the_stage_is_retried(service, s3, s3_uri, tmp_path):
    file = tmp_path / "instructions.txt"
    file.write_text("".join(f"How do I do thing {n} on the moon?\n" for n in range(8)))
    run = service.trigger("simulate", store=s3_uri, instructions=str(file), run_id="mended")
    state = service.ended(run)
    assert state["type"] == "FAILED"
    assert "instructions" in state["message"]
    shown = service.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    assert any("small world" in json.dumps(artifact["data"]) for artifact in shown), [artifact["key"] for artifact in shown]

    from matrix_core.pocket import sets

    file.write_text("".join(f"{instruction.text}\n" for instruction in sets.instructions("train", 8)))
    retry(service, run)
    assert service.ended(run)["type"] == "COMPLETED", service.state(run)["message"]
