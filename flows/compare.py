"""`matrix-align compare A B [C...]`: any runs, adapters, models or endpoints on a benchmark, each against the first."""

import hashlib
import json
from pathlib import Path
from typing import Any

from prefect import flow

from flows.benchmark import Contest, aligned, judges_of, not_embedded, remote_or_local
from flows.finding import locate_run
from flows.naming import check_model
from flows.options import RunOptions
from matrix_core import significance
from matrix_core.errors import UserError
from tasks import progress
from tasks.benchmarks import draw
from tasks.engines import Model
from tasks.runs import Tuned, recall
from tasks.store import Store, check_run_id, open_store


@flow(name="compare", flow_run_name="compare {options.benchmark}")
def compare(options: RunOptions, arms: list[str]) -> str:
    """Answer, judge and compare; the figures lie in `comparison.json` of a folder of their own, whose URI is returned."""
    store = open_store(options.store)
    models = {arm: arm_of(arm, store) for arm in arms}
    if len(set(models.values())) < len(models):
        raise UserError("two of these are the same model: name each once")
    first = models[arms[0]]
    judges = judges_of(options, first)
    not_embedded((*models.values(), *judges.values()))
    sample = draw(store, str(options.benchmark), options.data, options.questions, options.seed)
    name = f"compare-{hashlib.sha256(json.dumps([arms, list(judges), sample.reference.sha256]).encode()).hexdigest()[:10]}"
    options = options.model_copy(update={"run_id": name})
    contest = Contest(store, options, sample, judges)
    with progress.stage("compare", total=len(arms) - 1):
        told: dict[str, Any] = {}
        for arm in arms[1:]:
            found = contest.between(first, models[arm])
            told[arm] = found.figures | {"pairs": found.pairs.model_dump(), "gates": found.gates}
            progress.step(1)
    corrected = significance.holm({arm: figures["sign_test"] for arm, figures in told.items()})
    for arm, p in corrected.items():
        told[arm]["sign_test_holm"] = p
    out = {"benchmark": sample.benchmark.name, "sample": sample.noted, "baseline": arms[0], "judges": list(judges)}
    data = json.dumps(out | {"calls": contest.calls, "arms": told}, indent=1, ensure_ascii=False).encode()
    store.write(name, "comparison.json", data)
    return f"{store.uri}/runs/{name}"


def arm_of(text: str, store: Store) -> Model:
    """What somebody compares: a run's tuned model (its id or URI), a folder with an adapter, NAME@URL, or a model by its name.

    Raises UserError.
    """
    if "/runs/" in text or _is_run(text, store):
        return _tuned(text, store)
    if Path(text, "adapter_config.json").is_file():
        return _adapter(Path(text), store)
    check_model(text)
    return remote_or_local(text)


def _is_run(text: str, store: Store) -> bool:
    try:
        return check_run_id(text) in store.runs()
    except UserError:
        return False


def _tuned(text: str, store: Store) -> Model:
    uri, run_id = locate_run(text, None if "/runs/" in text else store.uri)
    opened = open_store(uri, writable=False)
    tuned = recall(opened, run_id, "tune", Tuned)
    made = aligned(RunOptions.of_run(run_id, uri), tuned)
    if made is None:
        raise UserError(f"run {run_id} has no adapter: name its model's endpoint as NAME@URL instead")
    return made


def _adapter(folder: Path, store: Store) -> Model:
    from matrix_core.models import adapter_hash, resolve

    adapter_hash(folder)
    try:
        name = json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: its adapter_config.json names no base_model_name_or_path") from error
    resolve(str(name))
    return Model(name=str(name), adapter=store.put_folder(folder), store=store.uri)
