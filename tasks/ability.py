"""General ability of a model before and after, measured on texts and questions of our own writing. One cached task a model."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.context import TaskRunContext

from matrix_core import models
from tasks import keys
from tasks.engines import Model, engine, tuned_weights
from tasks.runs import put_json
from tasks.store import Reference, open_store
from tasks.tuning import Gated

if TYPE_CHECKING:
    from matrix_core.ability import Measured

DATA = Path(__file__).parent / "data"
PASSAGES, CHOICES = DATA / "plain_text.jsonl", DATA / "choices.jsonl"


def _parts(model: Model) -> keys.Parts:
    asked = hashlib.sha256(PASSAGES.read_bytes() + CHOICES.read_bytes()).hexdigest()
    return {"model": engine(model).fingerprint, "texts and questions": asked}


def _key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    return keys.key("ability", _parts(parameters["model"]), "")


@task(
    name="measure ability",
    task_run_name="measure ability · {model.label}",
    cache_key_fn=_key,
    persist_result=True,
    result_serializer="json",
)
def measure_ability(store: str, model: Model) -> Gated:
    """An `ability.Measured` as JSON in the store, of a model whose weights are at hand."""
    from matrix_core import ability

    opened, spec = open_store(store), models.resolve(model.name)
    why = keys.explain(opened, "ability", _parts(model))
    adapter = tuned_weights(model)
    loaded = models.load(spec) if adapter is None else models.load_tuned(spec, adapter)
    found = ability.measure(*loaded, ability.read_passages(PASSAGES), ability.read_choices(CHOICES))
    return Gated(reference=put_json(opened, found._asdict()), count=len(found.right), gates=[], why=why, result=None)


def load_measured(store: str, reference: Reference) -> "Measured":
    """What was measured, behind a reference."""
    from matrix_core.ability import Measured

    return Measured(**json.loads(open_store(store).get(reference)))
