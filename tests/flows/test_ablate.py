"""Arms for real, on the embedded model: what is shared is done once, what is finished is not done again, and the table adds up."""

import json
from pathlib import Path

import pytest

from flows import cli

PLAN = """
scenes = 8
questions = 8
roles = 1
steps = 1
seeds = [0]
[arms.MATRIX]
[arms."fixed critique"]
method = "constitutional"
[arms.base]
method = "base"
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    file = tmp_path_factory.mktemp("plan") / "plan.toml"
    file.write_text(PLAN)
    return file


def ablated(capsys, plan: Path, store: Path) -> tuple[Path, dict]:
    assert cli.main(["ablate", "--plan", str(plan), "--store", str(store)]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    return folder, json.loads((folder / "ablation.json").read_text())


def test_arms_share_their_drafts_are_compared_on_the_same_questions_and_are_not_played_twice(plan, tmp_path, capsys):
    folder, told = ablated(capsys, plan, tmp_path)
    runs = {name: tmp_path / "runs" / row["runs"][0] for name, row in told["arms"].items() if row["runs"]}
    assert [*told["arms"]] == ["MATRIX", "fixed critique", "base"]
    assert {*runs} == {"MATRIX", "fixed critique"}
    left = {name: json.loads((run / "stages" / "simulate.json").read_text())["records"] for name, run in runs.items()}
    assert ("draft", True) in {(record["step"], cached) for record, cached in left["fixed critique"]}
    assert told["arms"]["MATRIX"]["cost"]["tokens"] > told["arms"]["fixed critique"]["cost"]["tokens"] > 0
    for row in told["arms"].values():
        figure = row["figures"]["pocket.well_answered"]
        assert figure["n"] == 8
        assert figure["ci95"][0] <= figure["value"] <= figure["ci95"][1]
    assert told["arms"]["base"]["figures"]["pocket.harmful_compliance"]["value"] == 1.0
    assert "<svg" in (folder / "ablation.html").read_text()

    again_in, again = ablated(capsys, plan, tmp_path)
    assert again_in == folder
    assert again["arms"] == told["arms"]
    for name, run in runs.items():
        assert all(cached for _, cached in json.loads((run / "stages" / "simulate.json").read_text())["records"]), name
        assert all(done[1] for done in json.loads((run / "stages" / "tune.json").read_text())["steps"]), name

    assert cli.main(["show", str(folder)]) == 0
    assert "fixed critique" in capsys.readouterr().out
    assert cli.main(["results", "--store", str(tmp_path)]) == 0
    assert f"`matrix-align ablate --plan {plan}`" in capsys.readouterr().out
