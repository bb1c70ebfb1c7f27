"""Shards that are played side by side leave exactly what shards leave that are played one after the other."""

import json
from pathlib import Path

import pytest

import flows.simulate
from flows import cli


@pytest.fixture
def simulate(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("flows.simulate.SHARD_SIZE", 5)

    def run(at_once: int) -> Path:
        monkeypatch.setattr(flows.simulate, "at_once", lambda model: at_once)
        store = tmp_path / f"store-{at_once}"
        assert cli.main(["simulate", "--store", str(store), "--scenes", "8", "--steps", "1"]) == 0
        return Path(capsys.readouterr().out.strip().splitlines()[-1])

    return run


def test_the_order_of_shards_is_that_of_their_hashes_however_they_are_played(simulate):
    one, several = simulate(1), simulate(2)
    assert (one / "scenes.jsonl").read_bytes() == (several / "scenes.jsonl").read_bytes()
    records = [json.loads((run / "stages/simulate.json").read_text())["records"] for run in (one, several)]
    shown = [
        [(record["step"], record["asked"], record["calls"] + record["cached_calls"], record["gate"]) for record, _ in one_run]
        for one_run in records
    ]
    assert shown[0] == shown[1]
    assert len({record["step"] for record, _ in records[0]}) > 5
