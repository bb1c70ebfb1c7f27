"""The Prefect UI as people meet it: a real browser fills in the form, looks at what a run shows, and opens the pages that it left.

`make screenshots` runs these and keeps their pictures for the README.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import QUESTIONS
from tests.service import Service, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PICTURES = os.environ.get("MATRIX_ALIGN_PICTURES")
"""A folder for screenshots; without it none are made."""
SHOWN = ("form", "run-scene-1", "scene")
"""Those that the README shows."""
FORM = {"Scenes": 8, "Roles": 2, "Steps": 2, "Questions": QUESTIONS}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on the PATH")


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("home")) as service:
        yield service


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A page that remembers what went wrong in it."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def picture(page: Any, name: str) -> None:
    if PICTURES and name in SHOWN:
        page.screenshot(path=Path(PICTURES, f"{name}.png"))


@pytest.fixture(scope="module")
def run(service, store, browser) -> str:
    """A whole run that was started through the form; its id in Prefect."""
    page = browser.new_page(viewport={"width": 1200, "height": 1500})
    page.set_default_timeout(60_000)
    deployment = service.api.get("/deployments/name/align/align").json()["id"]
    page.goto(f"{service.url}/deployments/deployment/{deployment}/run")
    for name, value in {"Store": store, **FORM}.items():
        label = page.get_by_text(f"{name} (Optional)", exact=True)
        field = page.locator(".p-label").filter(has=label).last
        field.wait_for()
        kind = field.get_by_role("button", name="int", exact=True)
        if kind.count():
            kind.click()
        field.locator("textarea, input").fill(str(value))
    picture(page, "form")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").first.wait_for()
    page.close()
    (started,) = service.post("/flow_runs/filter", flow_runs={"deployment_id": {"any_": [deployment]}})
    assert service.ended(started["id"])["type"] == "COMPLETED", service.state(started["id"])["message"]
    return str(started["id"])


def opened(page: Any, service: Service, run: str, key: str) -> None:
    """Find an artifact among those of a run, and read it."""
    page.goto(f"{service.url}/runs/flow-run/{run}")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text(key, exact=True).first.wait_for()
    picture(page, f"run-{key}")
    found = service.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}})
    page.goto(f"{service.url}/artifacts/artifact/{found[0]['id']}")


def test_a_run_started_through_the_form_shows_what_it_came_to(page, service, store, run):
    options = service.api.get(f"/flow_runs/{run}").json()["parameters"]["options"]
    assert options["store"] == str(store)
    assert {name: options[name.lower()] for name in FORM} == FORM
    opened(page, service, run, "overview")
    page.get_by_text("8 scenes from 8 instructions").wait_for()
    page.get_by_role("cell", name="Harmful requests complied with").first.wait_for()


def test_a_stage_shows_its_gates_and_scenes_to_read(page, service, run):
    (stage,) = service.stages(run, "simulate")
    opened(page, service, stage["id"], "scene-1")
    page.get_by_role("heading", name="Before and after").wait_for()
    picture(page, "scene")


@pytest.mark.parametrize("name", ["data_docs/index.html", "report.html"])
def test_the_pages_of_a_run_open_without_an_error_and_load_nothing_from_elsewhere(page, store, run, name):
    (folder,) = (store / "runs").iterdir()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url))
    page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    first = (folder / name).as_uri()
    page.goto(first)
    links = {link.evaluate("link => link.href") for link in page.get_by_role("link").all()}
    for link in sorted(link for link in links if link.startswith("file:") and "#" not in link):
        page.goto(link)
        assert page.locator("h1, h2, table").count() or "/adapter" in link, link
    assert troubles == []


def test_a_stage_that_failed_at_a_gate_names_it(page, service, store, tmp_path):
    file = tmp_path / "instructions.txt"
    file.write_text("".join(f"How do I do thing {n} on the moon?\n" for n in range(8)))
    run = service.trigger("simulate", store=str(store), instructions=str(file))
    assert service.ended(run)["type"] == "FAILED"
    page.goto(f"{service.url}/runs/flow-run/{run}")
    page.get_by_text("inside_the_models_world took 8 (100.0 %)").first.wait_for()
    opened(page, service, run, "gate-failed")
    page.get_by_role("heading", name="Gate instructions did not pass").wait_for()
    page.get_by_text("inside_the_models_world").first.wait_for()
