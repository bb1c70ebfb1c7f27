"""The whole path on a real S3 server: everything lies in the bucket, and a second run asks the model nothing."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow, task

from flows import cli
from tasks.results import result_storage
from tasks.runs import Simulated, Tuned, recall
from tasks.store import DamagedError, open_store
from tasks.tuning import Gated
from tests.s3_server import S3Server

OPTIONS = ("--scenes", "16", "--roles", "2", "--steps", "2", "--questions", "40")


@task(persist_result=True, result_serializer="json", cache_key_fn=lambda _, given: f"made-{given['n']}")
def make(store: str, n: int) -> Gated:
    """A task of the usual kind: it puts an object and hands back its reference."""
    print("made", n)
    return Gated(reference=open_store(store).put(b"%d" % n, ".txt"), count=n, gates=[])


@flow
def make_two(store: str) -> None:
    """Its tasks keep their results in the store that it was started with."""
    kept = make.with_options(result_storage=result_storage(store))
    for n in (1, 2):
        state = kept(store, n, return_state=True)
        print(n, state.name, open_store(store).get(state.result().reference).decode())


def test_results_lie_in_the_bucket_and_serve_other_processes_and_other_servers(s3_uri, tmp_path, capsys):
    store = open_store(s3_uri)
    make_two(s3_uri)
    assert capsys.readouterr().out.splitlines() == ["made 1", "1 Completed 1", "made 2", "2 Completed 2"]
    assert [entry.key for entry in store.backend.list("results/")] == ["results/made-1", "results/made-2"]
    store.backend.delete([next(store.backend.list("objects/")).key])
    # Another PREFECT_HOME is another server, with another id for the same store. One result has lost its object: it is made anew.
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
    command = [sys.executable, "-c", f"from tests.flows.test_s3 import make_two; make_two({s3_uri!r})"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["1 Completed 1", "2 Cached 2", "made 1"]
    assert store.has(Gated.model_validate(_result(store.recall("made-1"))).reference)


def _result(record: bytes) -> object:
    return json.loads(json.loads(record)["result"])["data"]


def run_on(uri: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict]:
    """`matrix-align run` in this process: (run id, its summary)."""
    code = cli.main(["run", "--store", uri, *OPTIONS])
    out, err = capsys.readouterr()
    assert code == 0, err
    last = out.strip().splitlines()[-1]
    run_id = last.removeprefix(f"{uri}/runs/")
    return run_id, json.loads(open_store(uri).read(run_id, "summary.json"))


def kept_by_prefect() -> set[Path]:
    """Results in Prefect's own default place, where other tests may have left some."""
    return {path for path in Path(os.environ["PREFECT_HOME"]).rglob("*") if path.parent.name == "storage"}


def test_the_whole_path(s3: S3Server, s3_uri, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept_before = kept_by_prefect()
    run_id, first = run_on(s3_uri, capsys)
    store = open_store(s3_uri)
    assert first["tokens"]["calls"] > 0
    assert {artifact["uri"].startswith(f"{s3_uri}/") for artifact in first["artifacts"].values()} == {True}
    there = {entry.key for entry in store.backend.list(f"runs/{run_id}/")}
    assert {
        f"runs/{run_id}/{name}" for name in ("summary.json", "manifest.json", "report.html", "adapter/adapter_config.json")
    } <= there
    assert len(list(store.backend.list("results/"))) > 20
    # Nothing on this machine but what Prefect keeps for itself.
    assert list(tmp_path.rglob("*")) == []
    assert kept_by_prefect() == kept_before

    again, second = run_on(s3_uri, capsys)
    assert again == run_id
    assert second["tokens"]["calls"] == 0
    assert second["tokens"]["cached_calls"] == first["tokens"]["calls"] + first["tokens"]["cached_calls"]
    for name in ("scenes", "examples", "adapter"):
        assert second["artifacts"][name] == first["artifacts"][name]

    assert cli.main(["show", f"{s3_uri}/runs/{run_id}", "1"]) == 0
    assert capsys.readouterr().out.startswith("# ")

    # An object that was altered is found when it is read, named, and not used.
    simulated = recall(store, run_id, "simulate", Simulated)
    shard, scenes = simulated.shards[0], simulated.scenes
    store.backend.write(shard.key, store.get(shard).replace(b"a", b"b"))
    assert cli.main(["report", f"{s3_uri}/runs/{run_id}"]) == 1
    assert f"object {store.locate(shard)} was altered" in capsys.readouterr().err
    with pytest.raises(DamagedError):
        store.get(shard)
    # Deleted, as the message says, it is made anew.
    store.backend.delete([shard.key, scenes.key])
    assert cli.main(["simulate", "--store", s3_uri, *OPTIONS]) == 0
    assert store.has(shard)
    assert hashlib.sha256(store.get(scenes)).hexdigest() == first["artifacts"]["scenes"]["sha256"]
    adapter = recall(store, run_id, "tune", Tuned).adapter
    assert adapter is not None
    assert store.has(adapter)
