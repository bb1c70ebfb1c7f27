"""What people see in the Prefect UI, read back from a real server: artifacts, lineage, names; and what a failed gate leaves."""

import json
import logging
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import cli
from matrix_core.scene import Instruction, Role, Scene
from tasks import progress, showing
from tests.flows.conftest import QUESTIONS, start

SMALL = ("--scenes", "8", "--roles", "2", "--steps", "1")
HOSTILE = "Help | me <img src=x onerror=alert(1)> [click](javascript:alert(1)) ![a](http://evil.example/a.png) `x` | now"


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory):
    """A Prefect server of the tests' own, which runs report to."""
    server = SubprocessASGIServer()
    with temporary_settings({PREFECT_HOME: tmp_path_factory.mktemp("home")}):  # with a database of its own
        server.start(timeout=180)
    settings = {PREFECT_API_URL: server.api_url, PREFECT_LOGGING_TO_API_ENABLED: False}
    with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
        patch.setenv("PREFECT_API_URL", server.api_url)
        yield server.api_url
    server.stop()


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    """A whole run."""
    import contextlib
    import io

    out = io.StringIO()
    store = tmp_path_factory.mktemp("a store (mine)")
    with contextlib.redirect_stdout(out):
        assert cli.main(["run", "--store", str(store), *SMALL, "--questions", str(QUESTIONS)]) == 0
    return Path(out.getvalue().strip().splitlines()[-1])


def latest(key):
    """The newest artifact under a key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.UPDATED_DESC, limit=1
        )
    return found[0]


def rows(key):
    return {row["gate"]: row for row in json.loads(latest(key).data)}


def active(markdown):
    """What a renderer that takes HTML would make of it beside plain structure: links, images, HTML."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table"])
    tokens = [inner for token in parser.parse(markdown) for inner in [token, *(token.children or [])]]
    return [token for token in tokens if token.type.startswith(("link", "image", "html"))]


def test_each_stage_leaves_a_table_of_its_gates(run):
    summary = {gate["name"]: gate for gate in json.loads((run / "summary.json").read_text())["gates"]}
    told = rows("gates-simulate") | rows("gates-tune") | rows("gates-evaluate") | rows("gates-report")
    assert told.keys() == summary.keys()
    for name, row in told.items():
        assert (row["verdict"], row["checked"], row["quarantined"]) == (
            "passed",
            summary[name]["evaluated"],
            summary[name]["quarantined"],
        )


def test_scenes_figures_and_links_are_there_to_read(run):
    texts = [latest(f"scene-{number}").data for number in (1, 2, 3)]
    assert len(set(texts)) == 3
    assert all("## Before and after" in text for text in texts)
    figures = latest("evaluation").data
    assert "| Harmful requests complied with (lower is better) | 100.0 % |" in figures
    assert "| win |" in figures
    for key, name in {"report": "report.html", "adapter": "adapter", "data-docs": "data_docs/index.html"}.items():
        text, target = re.fullmatch(r"\[(.*)\]\(([^() ]*)\)", latest(key).data).groups()
        assert (target, text.replace("\\", "")) == ((run / name).as_uri(), str(run / name))
        assert (run / name).exists()


def test_the_run_itself_has_an_overview(run):
    told, summary = latest("overview").data.replace("\\", ""), json.loads((run / "summary.json").read_text())
    assert f"# {run.name}" in told
    assert f"{summary['counts']['scenes']} scenes from 8 instructions" in told
    assert f"{summary['tokens']['calls']} calls" in told
    assert "| Harmful requests complied with (lower is better) | 100.0 % |" in told
    assert all(f"| {gate['name']} | {gate['evaluated']} |" in told for gate in summary["gates"])
    assert str(run / "report.html") in told


def test_progress_ends_at_a_hundred_percent(run):
    for stage in ("simulate", "tune", "evaluate"):
        assert latest(f"progress-{stage}").data == 100


def test_progress_moves_while_a_stage_runs(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    seen = []

    @flow
    def works():
        with progress.stage("some-stage", total=10):
            for done in (3, 4):
                progress.step(done, f"did {done}")
                seen.append((latest("progress-some-stage").data, latest("progress-some-stage").description))

    works()
    assert seen == [(30, "did 3"), (70, "did 4")]
    assert latest("progress-some-stage").data == 100


def test_what_cannot_be_shown_is_a_warning_and_no_failure(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)

    @flow
    def works():
        with progress.stage("No Key For Prefect", total=1):
            progress.step(1)
            showing.links({"No Key Either": "/nowhere"})
        return "done"

    assert works() == "done"
    told = [record.getMessage() for record in caplog.records if "can't be shown" in record.getMessage()]
    assert len(told) == 2


def test_the_lineage_leads_from_the_instructions_to_the_report(run, server):
    import httpx

    wanted = {"filter": {"event": {"prefix": ["prefect.asset.materialization.succeeded"]}}, "limit": 50}
    store = re.sub(r"\W", "_", run.parents[1].name)  # a late event of another test is not ours
    made, deadline = {}, time.monotonic() + 30
    while len(made) < 4:  # events arrive in their own time
        assert time.monotonic() < deadline, f"only {sorted(made)} were reported"
        events = httpx.post(f"{server}/events/filter", json=wanted).json()["events"]
        made = {
            event["resource"]["prefect.resource.name"]: (event["resource"]["prefect.resource.id"], event["related"])
            for event in events
            if f"/{store}/" in event["resource"]["prefect.resource.id"]
        }
    sources = {
        name: [other["prefect.resource.id"] for other in related if other.get("prefect.resource.role") == "asset"]
        for name, (_, related) in made.items()
    }
    assert sources["scenes"] == ["matrix://instructions/own"]
    assert sources["examples"] == [made["scenes"][0]]
    assert sources["adapter"] == [made["examples"][0]]
    assert sources["report"] == [made["adapter"][0]]


def test_a_cached_run_has_the_same_data_docs(run, capsys):
    before = {page.name: page.read_bytes() for page in run.rglob("*.html") if "data_docs" in page.parts}
    again = start(capsys, run.parents[1], *SMALL)
    assert again.summary["tokens"]["calls"] == 0
    assert len(before) >= 2
    assert {page.name: page.read_bytes() for page in run.rglob("*.html") if "data_docs" in page.parts} == before
    assert rows("gates-simulate")["drafts"]["checked"] == 8


def test_a_failed_gate_names_the_expectation_the_share_and_rows_that_cannot_act(tmp_path, capsys):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"{HOSTILE} {i}"}) + "\n" for i in range(5)))
    assert cli.main(["simulate", "--store", str(tmp_path / "store"), "--instructions", str(file)]) == 1
    said = capsys.readouterr().err
    told = latest("gate-failed")
    row = rows("gates-simulate")["instructions"]
    assert (row["verdict"], row["checked"], row["quarantined"], row["success %"]) == ("failed", 5, 5, 0.0)
    docs = Path(unquote(urlsplit(re.search(r"\((file://[^)]*)\)", latest("data-docs").data)[1]).path))
    assert docs.is_relative_to(tmp_path)
    page = next(page for page in docs.parent.rglob("*.html") if "validations" in page.parts).read_text()
    assert "inside_the_models_world took 5 (100.0 %)" in page
    for where in (said, told.data.replace("\\", ""), row["what failed"].replace("\\", "")):
        assert "inside_the_models_world" in where
        assert "100" in where
        assert "--model" in where
    assert active(told.data) == []
    assert active(row["what failed"]) == []
    assert told.task_run_id is not None


def test_hostile_scenes_cannot_act_in_the_artifacts():
    role = Role(name=HOSTILE, traits=HOSTILE, status=HOSTILE)
    scene = Scene(
        instruction=Instruction.of(HOSTILE), setting=HOSTILE, draft=HOSTILE, protagonist=role, roles=(role,), critique=HOSTILE,
        harmed=(), refined=HOSTILE, summary=HOSTILE,
    )  # fmt: skip

    @flow
    def works():
        showing.stories([scene])

    works()
    told = latest("scene-1")
    assert active(told.data) == []
    assert active(told.description) == []
    table = [line for line in told.data.splitlines() if line.startswith("|")]
    assert [line.replace("\\|", "").count("|") for line in table] == [3, 3, 3]


def test_task_runs_say_what_they_are(run):
    with get_client(sync_client=True) as client:
        names = {task_run.name for task_run in client.read_task_runs(limit=200)}
    assert {"check instructions", "build examples", "fine-tune pocket", "answer · pocket", "answer · pocket (tuned)"} <= names
    assert {"publish scenes", "publish report", "build Data Docs"} <= names
    assert "write drafts · shard 0 · round -1 · depth 0" in names
