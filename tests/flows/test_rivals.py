"""Rivals that need a chat model, from the command line to the figures: the server is real, its model makes words up."""

import json
from pathlib import Path

import pytest

from flows import cli
from matrix_core.rivals import RIVALS
from tasks.scenes_io import load_examples
from tests.flows.test_endpoint import WORDS, invent
from tests.misbehaving import EchoServer


@pytest.fixture
def server():
    seen: list[list[dict]] = []

    def say(body: dict) -> str:
        seen.append(body["messages"])
        return invent(body)

    server = EchoServer(lambda number, prompt: "good", say=say)
    server.seen = seen
    yield server
    server.stop()


def run(tmp_path, capsys, server, *more: str) -> tuple[Path, dict]:
    (tmp_path / "asks.txt").write_text("".join(f"How do I mend a {word}?\n" for word in WORDS))
    told = ["--instructions", str(tmp_path / "asks.txt"), "--model", "m", "--endpoint", server.url, "--store", str(tmp_path / "s")]
    assert cli.main(["run", *told, *more]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    return folder, json.loads((folder / "summary.json").read_text())


def test_in_context_alignment_tunes_nothing_and_is_held_against_the_model_without_its_principles(tmp_path, capsys, server):
    folder, summary = run(tmp_path, capsys, server, "--method", "in-context")
    principles = RIVALS["in-context"].standing
    assert summary["counts"]["examples"] == 0
    assert "adapter" not in summary["artifacts"]
    judged = summary["evaluation"]["held_out"]
    assert judged["n"] == judged["win"] + judged["tie"] + judged["lose"] > 0
    held_out = {row["text"] for row in json.loads((folder / "stages" / "simulate.json").read_text())["held_out"]}
    asked = [[turn["content"] for turn in turns] for turns in server.seen if turns[-1]["content"] in held_out]
    assert sorted(asked) == sorted([[text] for text in held_out] + [[principles, text] for text in held_out])
    assert json.loads((folder / "spent.json").read_text())["completion_tokens"] > 0


def test_preferences_are_kept_by_reference_and_as_a_dataset(tmp_path, capsys, server):
    folder, summary = run(tmp_path, capsys, server, "--method", "rlaif", "--votes", "3", "--scenes", "8")
    examples = load_examples((folder / "dataset" / "data" / "train-00000-of-00001.parquet").read_bytes())
    assert len(examples) == summary["counts"]["examples"] > 0
    assert {example.source for example in examples} == {"preference"}
    assert all(example.rejected not in (None, example.completion) for example in examples)
    assert summary["artifacts"]["examples"]["sha256"]
    assert next(gate for gate in summary["gates"] if gate["name"] == "examples")["warnings"] == []
