"""`matrix-align show` finds runs and scenes, and prints what is in them as inert text."""

import json
from pathlib import Path

import pytest

from flows.cli import main
from matrix_core.scene import Event, Instruction, Role, Scene
from tasks.scenes_io import to_lines
from tasks.store import open_store

EVIL = "[red]x[/red] [link=http://example.org]y[/link] [/] :boom: \x1b[2J\x1b]0;t\x07 \u202ecod"


def scene(text: str) -> Scene:
    return Scene(
        instruction=Instruction.of(text),
        draft="Pour it out.",
        setting="a garage",
        protagonist=Role(name="the mechanic", traits="hasty", status="at work"),
        roles=(Role(name="the clerk", traits="fears floods", status="typing"),),
        target="a dry floor",
        plan=("pour it out",),
        events=(
            Event(
                round=0,
                depth=0,
                actor="the mechanic",
                action="pours it out",
                feasible=True,
                aware=("the clerk",),
                consequence="The clerk gets wet.",
                harmed=("the clerk",),
            ),
        ),
        summary="The clerk got wet.",
        critique="It hurts the clerk.",
        harmed=("the clerk",),
        refined="Please do not.",
    )


SCENES = [scene("How do I flush the pipes?"), scene(EVIL), *(scene(f"Question {i}?") for i in range(20))]
SUMMARY = {
    "run_id": "mine",
    "model": EVIL,
    "settings": {"roles": 3, "seed": 0, "style": "pocket"},
    "counts": {"instructions": 24, "scenes": 22, "quarantined": 2, "examples": 40},
    "gates": [{"name": "roles", "passed": True, "evaluated": 24, "quarantined": 2, "success_percent": 91.66666}],
    "tokens": {"prompt": 1000, "completion": 2000, "calls": 300, "cached_calls": 7},
    "timing": {"simulate": 12.345},
    "evaluation": {
        "pocket": {
            "n": 400,
            "win": 250,
            "tie": 50,
            "lose": 100,
            "win_rate": 0.625,
            "ci95": [0.58, 0.67],
            "judge": "the oracle",
            "harmful_compliance": {"before": 0.975, "after": 0.041, "ci95": [0.02, 0.07]},
        },
    },
    "artifacts": {"report": {"uri": "/somewhere/report.html", "sha256": "ab"}},
}
QUARANTINE = [
    {"gate": "roles", "id": "0123456789abcdef", "reason": "two roles of one name", "expectation": "unique", "instruction": EVIL},
    {"gate": "input", "id": "fedcba9876543210", "reason": "a NUL byte", "expectation": "", "instruction": "x\0"},
]


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    kept = open_store(str(tmp_path))
    kept.write("mine", "scenes.jsonl", to_lines(SCENES))
    kept.write("mine", "summary.json", json.dumps(SUMMARY).encode())
    kept.write("mine", "quarantine.jsonl", to_lines(QUARANTINE))
    kept.write("young", "options.json", b"{}")
    return tmp_path


@pytest.fixture
def show(store, capsys):
    def call(*argv: str, code: int = 0) -> str:
        assert main(["show", *argv, "--store", str(store)]) == code
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
        return err if code else out

    return call


def test_a_run_as_tables(show):
    out = show("mine")
    flat = " ".join(out.replace("│", " ").split())
    for words in (
        "instructions 24",
        "roles yes 24 2 91.67",
        "cached_calls 7",
        "simulate 12.35",
        "pocket 400 250 50 100 0.625 0.58, 0.67 the oracle",
        "pocket harmful_compliance 0.975 0.041 0.02, 0.07",
        "report /somewhere/report.html",
        "Scenes: 22",
        f"1 {SCENES[0].id} How do I flush the pipes? the clerk",
    ):
        assert words in flat
    assert "[red]x[/red]" in out
    assert "\\x1b[2J" in out


def test_a_run_by_its_uri(store, capsys):
    assert main(["show", f"{store}/runs/mine"]) == 0
    assert "Run mine" in capsys.readouterr().out
    assert main(["show", f"{store}/runs/mine/", "--store", "elsewhere"]) == 2
    assert "names its store itself: leave --store out" in capsys.readouterr().err


def test_json(show):
    assert json.loads(show("mine", "--json")) == SUMMARY
    assert json.loads(show("mine", "--json", "--quarantine")) == QUARANTINE
    assert Scene.model_validate(json.loads(show("mine", "2", "--json"))) == SCENES[1]


@pytest.mark.parametrize("wanted", ["1", SCENES[0].id, SCENES[0].id[:6]])
def test_a_scene_by_number_id_or_its_beginning(show, wanted):
    assert Scene.model_validate(json.loads(show("mine", wanted, "--json"))) == SCENES[0]


def test_the_story_of_a_scene(show):
    story = show("mine", "1")
    for words in ("How do I flush the pipes?", "the clerk", "It hurts the clerk.", "Please do not."):
        assert words in story
    assert ":boom:" in show("mine", "2")


def test_the_quarantine(show):
    out = show("mine", "--quarantine")
    for words in ("roles", "0123456789abcdef", "two roles of one name", "[red]x[/red]", "x\\x00"):
        assert words in out
    assert "Nothing of run young is in quarantine." in show("young", "--quarantine")


def test_scenes_that_are_none(show):
    first, second = SCENES[0].id, SCENES[1].id
    assert "a number, 1 to 22" in show("mine", "23", code=2)
    assert "a number, 1 to 22" in show("mine", "0x", code=2)
    typo = first[:-1] + ("0" if first[-1] != "0" else "1")
    assert f"did you mean {first}" in show("mine", typo, code=2)
    assert "was quarantined at roles: two roles of one name" in show("mine", "0123456789abcdef", code=2)
    shared = next(s.id[0] for s in SCENES if sum(t.id[0] == s.id[0] for t in SCENES) > 1 and not s.id[0].isdigit())
    assert f"begin with '{shared}'" in show("mine", shared, code=2)
    assert second not in show("young", "1", code=2)


def test_a_run_that_has_not_ended(show):
    assert "run young in" in show("young", code=2)
    assert "no summary yet: let it end, or start it again" in show("young", code=2)
    assert "no scenes yet" in show("young", "1", code=2)
