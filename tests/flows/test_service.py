"""`matrix-align up` for real: server, worker and deployments as processes, runs started from the UI and over REST, artifacts on S3.

One run is started through the form of the UI, killed, retried and looked at. The browser's part is skipped where there is none.
`make screenshots` keeps what it sees.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import TimeoutError as NothingCame

from flows import cli
from tasks.store import open_store
from tests.browser import CHROMIUM, browsing, page_of, picture
from tests.flows.conftest import QUESTIONS
from tests.s3_server import BUCKET
from tests.service import Service, serving, until

FORM = {"Scenes": 16, "Roles": 2, "Steps": 1, "Questions": QUESTIONS}
STORE = f"s3://{BUCKET}/service"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on the PATH")


@pytest.fixture(scope="module")
def service(tmp_path_factory, s3_running) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), **s3_running.environment) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as started:
        yield started


@pytest.fixture
def page(browser) -> Iterator[Any]:
    with page_of(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def started(service, request) -> str:
    """A whole run, just started with nothing but what the form asks; its id in Prefect."""
    options = {"store": STORE, **{name.lower(): value for name, value in FORM.items()}}
    if CHROMIUM is None:
        return service.trigger("align", **options)
    deployment = service.api.get("/deployments/name/align/align").json()["id"]
    with page_of(request.getfixturevalue("browser"), height=1500) as page:
        page.goto(f"{service.url}/deployments/deployment/{deployment}/run")
        for name, value in {"Store": STORE, **FORM}.items():
            label = page.get_by_text(f"{name} (Optional)", exact=True)
            field = page.locator(".p-label").filter(has=label).last
            field.wait_for()
            kind = field.get_by_role("button", name="int", exact=True)
            if kind.count():
                kind.click()
            field.locator("textarea, input").fill(str(value))
        picture(page, "form")
        answer = _submitted(page)
        assert answer.ok, answer.text()
    (run,) = service.post("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [deployment]}})
    given = run["parameters"]["options"]
    assert {name: given[name] for name in options} == options
    return str(run["id"])


def _submitted(page: Any) -> Any:
    """What the server answers to the filled-in form.

    By the keyboard, and again if nothing comes of it, as a person does: a click once led to no request.
    """
    for limit in (20_000, 60_000):
        with suppress(NothingCame):
            with page.expect_response("**/create_flow_run", timeout=limit) as answer:
                page.get_by_role("button", name="Submit").press("Enter")
            return answer.value
    raise AssertionError(f"no run came of the form; the page says: {page.inner_text('body')}")


@pytest.fixture(scope="module")
def before(service, started) -> dict[str, Any]:
    """What was cached when the worker was killed in the middle of the run."""

    def half_way() -> bool:
        (stage,) = service.stages(started, "simulate") or [None]
        return stage is not None and service.post("/task_runs/count", flow_runs={"id": {"any_": [stage["id"]]}}) > 6

    until(half_way, 180)
    worker = service.worker()
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    assert service.ended(started)["type"] == "CRASHED"
    with pytest.MonkeyPatch.context() as patch:
        _find_s3(patch, service)
        return played()


@pytest.fixture(scope="module")
def finished(service, started, before) -> str:
    """The same run, after a retry of the stage that was killed and of the run itself."""
    (stage,) = service.stages(started, "simulate")
    assert service.state(stage["id"])["type"] == "CRASHED"
    service.retry(stage["id"])
    assert service.ended(stage["id"])["type"] == "COMPLETED"
    service.retry(started)
    assert service.ended(started)["type"] == "COMPLETED", service.state(started)["message"]
    return started


def _find_s3(patch: pytest.MonkeyPatch, service: Service) -> None:
    for name, value in psutil.Process(service.process.pid).environ().items():
        if name.startswith("AWS_"):
            patch.setenv(name, value)


def played() -> dict[str, Any]:
    """When what steps made of scenes was noted."""
    return {entry.key: entry.modified for entry in open_store(STORE).backend.list("results/") if "/scenes/" in entry.key}


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
    limits = {name: deployment["global_concurrency_limit"]["limit"] for name, deployment in there.items() if name != "report"}
    assert set(limits.values()) == {1}


def test_a_server_and_a_worker_run_and_nothing_else(service):
    until(lambda: service.worker() is not None)
    children = psutil.Process(service.process.pid).children()
    assert sorted(next(word for word in ("server", "worker", "?") if word in [*child.cmdline(), "?"]) for child in children) == [
        "server",
        "worker",
    ]


def test_a_port_that_is_taken_is_refused(service, capsys):
    taken = service.url.rpartition(":")[2]
    assert cli.main(["up", "--port", taken]) == 2
    assert f"--port {taken} is taken" in capsys.readouterr().err


def test_killed_in_the_middle_and_retried_alone_nothing_is_played_twice(before, finished, s3, tmp_path, capsys):
    store = open_store(STORE)
    (name,) = store.runs()
    summary = json.loads(store.read(name, "summary.json"))
    options = [word for key, value in FORM.items() for word in (f"--{key.lower()}", str(value))]
    assert cli.main(["simulate", "--store", str(tmp_path), *options, "--run-id", "same"]) == 0
    alone = json.loads(Path(tmp_path, "runs/same/stages/simulate.json").read_text())
    assert summary["artifacts"]["scenes"]["sha256"] == alone["scenes"]["sha256"]
    # What was cached when the worker was killed is still there as it was: nobody has played it again. But for the last of it:
    # scenes are noted before their task's result is, and a task that was killed in between notes them anew.
    *whole, _ = sorted(before, key=before.__getitem__)
    assert whole
    now = played()
    assert {key: before[key] for key in whole}.items() <= now.items()
    assert before.keys() <= now.keys()
    capsys.readouterr()


def opened(page: Any, service: Service, run: str, key: str) -> None:
    """Find an artifact among those of a run, and read it."""
    listed = page.get_by_text(key, exact=True).first
    for limit in (10_000, 60_000):  # again if nothing comes of it, as a person does
        page.goto(f"{service.url}/runs/flow-run/{run}")
        page.get_by_text("Artifacts", exact=True).first.click()
        with suppress(NothingCame):
            listed.wait_for(timeout=limit)
            break
    else:
        raise AssertionError(f"{key} is not listed; the page says: {page.inner_text('body')}")
    if key == "scene-1":
        picture(page, "stage")
    found = service.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}})
    page.goto(f"{service.url}/artifacts/artifact/{found[0]['id']}")


@needs_browser
def test_the_run_shows_what_it_came_to(page, service, finished):
    opened(page, service, finished, "overview")
    page.get_by_text(f"scenes from {FORM['Scenes']} instructions").wait_for()
    page.get_by_role("cell", name="Harmful requests complied with").first.wait_for()


@needs_browser
def test_a_stage_shows_its_gates_and_scenes_to_read(page, service, finished):
    stage = service.stages(finished, "simulate")[0]["id"]
    opened(page, service, stage, "gates-simulate")
    page.get_by_text("consequences", exact=True).first.wait_for()
    opened(page, service, stage, "scene-1")
    page.get_by_role("heading", name="Before and after").wait_for()
    picture(page, "scene")


@needs_browser
@pytest.mark.parametrize("name", ["data_docs/index.html", "report.html"])
def test_the_pages_of_a_run_open_without_an_error_and_load_nothing_from_elsewhere(page, finished, s3, tmp_path, name):
    store = open_store(STORE)
    (run,) = store.runs()
    for entry in store.backend.list(f"runs/{run}/"):
        file = tmp_path / entry.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.backend.read(entry.key))
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.goto((tmp_path / "runs" / run / name).as_uri())
    links = {link.evaluate("link => link.href") for link in page.get_by_role("link").all()}
    for link in sorted(link for link in links if link.startswith("file:") and link.endswith(".html")):
        page.goto(link)
        assert page.locator("h1, h2, table").count(), link
    assert troubles == []


def test_a_gate_that_fails_is_named_and_after_mending_the_stage_is_retried(service, s3, s3_uri, tmp_path, request):
    file = tmp_path / "instructions.txt"
    file.write_text("".join(f"How do I do thing {n} on the moon?\n" for n in range(8)))
    run = service.trigger("simulate", store=s3_uri, instructions=str(file), run_id="mended", roles=1, steps=1)
    state = service.ended(run)
    assert state["type"] == "FAILED"
    assert "instructions" in state["message"]
    shown = service.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    assert any("small world" in json.dumps(artifact["data"]) for artifact in shown), [artifact["key"] for artifact in shown]
    if CHROMIUM:
        page = request.getfixturevalue("page")
        page.goto(f"{service.url}/runs/flow-run/{run}")
        page.get_by_text("inside_the_models_world took 8 (100.0 %)").first.wait_for()
        opened(page, service, run, "gate-failed")
        page.get_by_role("heading", name="Gate instructions did not pass").wait_for()

    from matrix_core.pocket import sets

    file.write_text("".join(f"{instruction.text}\n" for instruction in sets.instructions("train", 8)))
    service.retry(run)
    assert service.ended(run)["type"] == "COMPLETED", service.state(run)["message"]
