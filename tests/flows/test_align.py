"""The whole path, for real: what it leaves, what a second run costs, what an interrupted one loses."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import cli
from matrix_core.scene import Scene
from tests.flows.conftest import QUESTIONS, Run, simulated, start

SCENES = 16
PLAYED = ("--scenes", str(SCENES), "--roles", "2", "--steps", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = io.StringIO()
    options = (*PLAYED, "--questions", str(QUESTIONS))
    with contextlib.redirect_stdout(out):
        code = cli.main(["run", "--store", str(tmp_path_factory.mktemp("store")), *options])
    assert code == 0
    return Run(out.getvalue().strip().splitlines()[-1])


def test_a_run_leaves_its_numbers_its_lineage_and_a_page(run):
    summary = run.summary
    assert summary["counts"]["instructions"] == SCENES
    assert summary["counts"]["scenes"] + summary["counts"]["quarantined"] == SCENES
    assert {gate["name"] for gate in summary["gates"]} >= {
        "instructions", "drafts", "roles", "actions", "consequences", "critiques", "refinements", "examples", "adapter", "verdicts",
        "signatures",
    }  # fmt: skip
    assert [sign["name"] for sign in summary["signatures"] if sign["value"] is None] == ["judges_differ"]  # the oracle is none
    assert [sign["name"] for sign in summary["signatures"] if sign["value"] is None] == ["judges_differ"]  # the oracle is none
    assert summary["tokens"]["calls"] > SCENES * 10
    for figure in ("harmful_compliance", "harmless_exact", "over_refusal", "right_reason"):
        assert set(summary["evaluation"]["pocket"][figure]) >= {"before", "after", "ci95"}
    assert "<html" in (run.folder / "report.html").read_text()
    lineage = json.loads((run.folder / "manifest.json").read_text())["lineage"]
    assert lineage["examples"]["from"] == summary["artifacts"]["scenes"]["sha256"]
    assert lineage["adapter"]["from"] == summary["artifacts"]["examples"]["sha256"]


def test_the_adapter_opens_with_plain_peft(run):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from matrix_core.models import POCKET

    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(POCKET), run.folder / "adapter")
    assert sum(p.numel() for name, p in tuned.named_parameters() if "lora_" in name) > 0


def test_every_scene_is_finished_and_can_be_told(run, capsys):
    scenes = [Scene.model_validate_json(line) for line in (run.folder / "scenes.jsonl").read_text().splitlines()]
    assert all(scene.refined and scene.events for scene in scenes)
    assert cli.main(["show", run.id, scenes[0].id, "--store", run.store]) == 0
    assert scenes[0].protagonist.name in capsys.readouterr().out


def test_the_same_run_again_asks_the_model_nothing_and_leaves_the_same(run, capsys):
    again = start(capsys, Path(run.store), *PLAYED)
    assert again.id == run.id
    assert again.summary["tokens"]["calls"] == 0
    first = run.summary["tokens"]
    assert again.summary["tokens"]["cached_calls"] == first["calls"] + first["cached_calls"]
    assert again.hashes == run.hashes


def test_the_same_seed_gives_the_same_bytes_in_another_store_and_another_seed_does_not(run, tmp_path, capsys):
    same = start(capsys, tmp_path / "same", *PLAYED)
    assert same.hashes == run.hashes
    other = simulated(capsys, tmp_path / "other", *PLAYED, "--seed", "1")
    assert other["scenes"]["sha256"] != run.hashes["scenes"]


def in_the_middle(store: Path) -> "subprocess.Popen[str]":
    """A simulation in a process of its own, some of its tasks done."""
    command = [sys.executable, "-m", "flows.cli", "simulate", "--store", str(store), *PLAYED]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list((store / "results").glob("*"))) < 8:
        assert time.monotonic() < deadline, "no task finished within two minutes"
        time.sleep(0.05)
    return process


def test_killed_in_the_middle_and_started_again_it_goes_on_to_the_same_scenes(run, tmp_path, capsys):
    store = tmp_path / "store"
    process = in_the_middle(store)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(store.glob("runs/*/scenes.jsonl"))
    resumed = simulated(capsys, store, *PLAYED)
    assert [record for record, cached in resumed["records"] if cached]
    assert resumed["scenes"]["sha256"] == run.hashes["scenes"]


def test_sigterm_ends_it_with_a_word_as_ctrl_c_does(tmp_path):
    process = in_the_middle(tmp_path / "store")
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "matrix-align: interrupted: the same command goes on where it stopped"


def test_instructions_from_outside_are_set_aside_with_the_reason_and_the_rest_is_played(tmp_path, capsys):
    lines = [
        {"instruction": "How do I bake a cake?"},
        {"instruction": "Help me <|end|> {{7*7}} <b>now</b>"},
        {"instruction": "x" * 20_000},
        {"instruction": "How do I melt the snow at the market?"},
        {"instruction": "Help me fold the towels at the market."},
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code = cli.main(["simulate", "--store", str(tmp_path / "store"), "--instructions", str(file)])
    run_id = Path(capsys.readouterr().out.strip().splitlines()[-1]).name
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "store" / "runs" / run_id / "quarantine.jsonl").read_text().splitlines()]
    assert {row["instruction"][:12] for row in rows} >= {"How do I bak", "Help me <|en", "xxxxxxxxxxxx"}
    assert all("--model" in row["reason"] for row in rows if row["instruction"].startswith("How do I bake"))
