"""Nothing is asked twice: what a run, and a changed run, still asks the model."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from flows import cli
from matrix_core.engines.journal_file import shares
from matrix_core.engines.spread import SpreadEngine
from matrix_core.pocket import sets
from matrix_core.steps import STEPS
from tasks.journals import journal_file
from tests.flows.conftest import simulated, start

N, MORE = 12, 6
SMALL = ("--roles", "2", "--steps", "1")


@pytest.fixture(scope="module")
def texts():
    return [instruction.text for instruction in sets.instructions("train", N + MORE)]


@pytest.fixture
def file(tmp_path, texts):
    def write(lines):
        path = tmp_path / "instructions.txt"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def why(capsys, run):
    assert cli.main(["why", run.id, "--store", run.store, "--json"]) == 0
    return {row["step"]: row for row in json.loads(capsys.readouterr().out)}


def test_only_what_is_new_is_done(tmp_path, capsys, file, texts, monkeypatch):
    store = tmp_path / "store"
    first = start(capsys, store, *SMALL, "--instructions", file(texts[:N]))
    assert {row["why"][0] for row in why(capsys, first).values() if row["done"]} <= {"never done before", "new input"}

    same = start(capsys, store, *SMALL, "--instructions", file(texts[:N]))
    assert same.summary["tokens"]["calls"] == 0
    assert not [row for row in why(capsys, same).values() if row["done"]]

    fresh = simulated(capsys, tmp_path / "other", *SMALL, "--instructions", file(texts[N:]))
    more = start(capsys, store, *SMALL, "--instructions", file(texts))
    left = fresh, json.loads((more.folder / "stages/simulate.json").read_text())
    alone, added = (sum(record["calls"] for record, cached in one["records"] if not cached) for one in left)
    assert added == alone > 0
    counts = more.summary["counts"]
    assert counts["scenes"] + counts["quarantined"] == N + MORE

    refreshed = start(capsys, store, *SMALL, "--instructions", file(texts), "--refresh", "critique")
    assert refreshed.summary["tokens"]["calls"] == N + MORE
    done = {step: row["why"] for step, row in why(capsys, refreshed).items() if row["done"]}
    assert done.keys() == {"critique"}
    assert done["critique"][0].startswith("refreshed")

    monkeypatch.setitem(STEPS, "critique", dataclasses.replace(STEPS["critique"], version=2))
    edited = start(capsys, store, *SMALL, "--instructions", file(texts))
    assert edited.summary["tokens"]["calls"] == N + MORE
    reasons = {step: row["why"] for step, row in why(capsys, edited).items() if row["done"]}
    assert reasons.keys() == {"critique"}
    assert reasons["critique"][0].startswith("prompt or schema: ")


def test_one_step_is_told_by_itself_and_an_unknown_one_refused(tmp_path, capsys, file, texts):
    here = ["--store", str(tmp_path / "store")]
    simulated(capsys, tmp_path / "store", *SMALL, "--instructions", file(texts[:N]), "--run-id", "mine")
    assert cli.main(["why", "mine", "roles", *here]) == 0
    assert "never done before" in capsys.readouterr().out
    assert cli.main(["why", "mine", "rolls", *here]) == 2
    assert "did you mean roles" in capsys.readouterr().err


def test_what_an_earlier_wave_of_the_shard_has_asked_is_not_asked_again_and_the_journal_is_empty_in_the_end(
    tmp_path, capsys, monkeypatch
):
    asked: Counter[str] = Counter()
    waves: list[int] = []
    generate = SpreadEngine.generate

    def counting(self, requests, *given, **named):
        asked.update(request.identity for request in requests)
        waves.append(len(shares(journal_file(str(tmp_path)))))
        return generate(self, requests, *given, **named)

    monkeypatch.setattr(SpreadEngine, "generate", counting)
    records = simulated(capsys, tmp_path, "--scenes", "8")["records"]
    assert set(asked.values()) == {1}
    assert sum(record["cached_calls"] for record, _ in records) > 0
    assert waves[0] == 0 < waves[-1]
    assert shares(journal_file(str(tmp_path))) == []


def test_shards_that_are_played_side_by_side_are_told_in_order_and_cached_as_others_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("flows.simulate.SHARD_SIZE", 5)
    left = []
    for at_once in (2, 1):
        monkeypatch.setattr("flows.simulate.at_once", lambda model, n=at_once: n)
        how = ("--scenes", "8", "--steps", "1", "--run-id", f"at-once-{at_once}")
        assert cli.main(["simulate", "--store", str(tmp_path), *how]) == 0
        run = Path(capsys.readouterr().out.strip().splitlines()[-1])
        records = json.loads((run / "stages/simulate.json").read_text())["records"]
        assert {cached for _, cached in records} == {at_once == 1}
        left.append(((run / "scenes.jsonl").read_bytes(), [record for record, _ in records]))
    assert left[0] == left[1]
    ids = [json.loads(line)["instruction"]["id"] for line in left[0][0].splitlines()]
    assert ids == sorted(ids)
    drafts = [place for place, record in enumerate(left[0][1]) if record["step"] == "draft"]
    assert drafts == [1, 1 + len(left[0][1]) // 2]
