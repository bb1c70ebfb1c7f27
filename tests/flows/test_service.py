"""`matrix-align up` for real: server, worker and deployments as processes, runs triggered over REST, artifacts on S3."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows import cli
from tasks.store import open_store
from tests.flows.conftest import QUESTIONS
from tests.service import Service, serving, until

SCENES = 24


@pytest.fixture(scope="module")
def service(tmp_path_factory, s3_running) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), **s3_running.environment) as service:
        yield service


def test_everything_is_registered_with_a_form_and_the_schedule_is_paused(service):
    there = {deployment["name"]: deployment for deployment in service.post("/deployments/filter")}
    assert there.keys() == {"align", "simulate", "tune", "evaluate", "report"}
    form = there["align"]["parameter_openapi_schema"]["definitions"]["RunOptions"]["properties"]
    assert (form["roles"]["minimum"], form["roles"]["maximum"]) == (1, 12)
    assert form["roles"]["default"] == 3
    assert "critique" in json.dumps(form["refresh"])
    assert all(field["description"] for field in form.values())
    (nightly,) = there["align"]["schedules"]
    assert nightly["active"] is False
    assert {deployment["global_concurrency_limit"]["limit"] for deployment in there.values() if deployment["name"] != "report"} == {
        1
    }


def test_a_server_and_a_worker_run_and_nothing_else(service):
    children = psutil.Process(service.process.pid).children()
    assert sorted(next(word for word in ("server", "worker", "?") if word in [*child.cmdline(), "?"]) for child in children) == [
        "server",
        "worker",
    ]


def test_a_port_that_is_taken_is_refused(service, capsys):
    taken = service.url.rpartition(":")[2]
    assert cli.main(["up", "--port", taken]) == 2
    assert f"--port {taken} is taken" in capsys.readouterr().err


def test_killed_in_the_middle_retried_alone_and_nothing_played_twice(service, s3, s3_uri, tmp_path, capsys, monkeypatch):
    run = service.trigger("align", store=s3_uri, scenes=SCENES, questions=QUESTIONS)

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

    service.retry(stage["id"])
    assert service.ended(stage["id"])["type"] == "COMPLETED"
    service.retry(run)
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
    service.retry(run)
    assert service.ended(run)["type"] == "COMPLETED", service.state(run)["message"]
