"""Refined scenes become training examples, and examples an adapter: two cached tasks, each with its gate."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.context import TaskRunContext
from pydantic import BaseModel, ConfigDict

from matrix_core import models, tuning
from matrix_core.errors import RunError
from matrix_core.mixing import learns_preferences, mix
from matrix_core.pocket import scope, sets
from matrix_core.pocket.world import ACT_SPLIT, PLACE_SPLIT
from matrix_core.rivals import RIVALS
from matrix_core.scene import Example, Instruction, Settings
from matrix_core.tuning import Mixed, PreferenceSettings, TuningSettings
from tasks import keys, progress
from tasks.gating import passed
from tasks.play import rejection
from tasks.runs import each_scene
from tasks.scenes_io import PARQUET, dump_examples, dump_rows, load_examples
from tasks.store import Reference, Store, open_store
from validations import gate, tables
from validations.rules import Style

GENERAL = 700
"""How many plain questions go into the embedded model's mix at most, against forgetting."""


class Gated(BaseModel):
    """Something that a task made, and what its gate said."""

    model_config = ConfigDict(frozen=True)

    reference: Reference
    count: int = 0
    gates: list[dict[str, Any]]
    why: str = ""
    """why it had to be made: which part of its cache key was new"""
    result: dict[str, Any] | None = None
    quarantine: Reference | None = None


def settings_for(settings: Settings, shares: Mapping[Mixed, float] | None = None) -> TuningSettings:
    """The paper's recipe for real models, the embedded model's own for itself. Without traces where there are none.

    A method that learns from preferences has the recipe of these. `shares`: another mix than the recipe's.
    """
    if learns_preferences(settings):
        return (PreferenceSettings.pocket if settings.style == "pocket" else PreferenceSettings.paper)(seed=settings.seed)
    recipe = TuningSettings.pocket if settings.style == "pocket" else TuningSettings.paper
    rival = RIVALS.get(settings.method)
    untraced = (rival is not None and rival.also is None) or "traces" in settings.without
    changes = ({"traces": 0} if untraced else {}) | ({"shares": dict(shares)} if shares is not None else {})
    return recipe(seed=settings.seed, **changes)


def _examples_parts(settings: Settings, recipe: TuningSettings) -> keys.Parts:
    mixing = keys.fields(recipe, ("shares", "traces", "seed"))
    parts = {"gate": gate.fingerprint("examples"), "general examples": str(GENERAL), "split": keys.digest([ACT_SPLIT, PLACE_SPLIT])}
    return {**parts, **keys.fields(settings), **mixing}


def _examples_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    given = [[shard.sha256 for shard in parameters["shards"]], parameters["held_out"]]
    return keys.key("examples", _examples_parts(parameters["settings"], parameters["recipe"]), given)


def _adapter_parts(model: str, recipe: TuningSettings) -> keys.Parts:
    return {"model": models.resolve(model).fingerprint, "gate": gate.fingerprint("adapter"), **keys.fields(recipe)}


def _adapter_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    return keys.key("fine-tune", _adapter_parts(parameters["model"], parameters["recipe"]), parameters["examples"].sha256)


@task(
    name="build examples",
    task_run_name="build examples",
    cache_key_fn=_examples_key,
    persist_result=True,
    result_serializer="json",
)
def build_examples(store: str, shards: list[Reference], settings: Settings, recipe: TuningSettings, held_out: list[str]) -> Gated:
    """Mix refined harmful, refined harmless, simulation traces and general examples in the recipe's shares.

    `shards`: where the scenes lie, in the order of their ids. `held_out`: ids of instructions that must not be among them.
    """
    opened = open_store(store)
    why = keys.explain(opened, "examples", _examples_parts(settings, recipe))
    general = sets.general_examples(GENERAL, recipe.seed) if settings.style == "pocket" else []
    examples = mix(each_scene(opened, shards), general, recipe.shares, recipe.traces, recipe.seed, settings)
    if not examples and learns_preferences(settings):
        raise RunError(
            f"{settings.method}: no answer was preferred to another: the two were the same, or their order decided; "
            "play more --scenes, or take another --model"
        )
    leaks = {example for example in examples if _leaks(example, set(held_out), settings.style)}
    strayed = {
        example: thing
        for example in examples
        if settings.style == "pocket" and example not in leaks and (thing := _strayed(example))
    }
    examples = [example for example in examples if example not in strayed]
    rows = [tables.example(example, held_out=example in leaks) for example in examples]
    judged = gate.check("examples", rows, style=settings.style)
    noted = passed(judged, opened)
    bad = {found.id: found for found in judged.quarantined}
    rejected = [
        rejection("examples", _asked(example), f"the model came to speak of {thing!r}, which is kept for the evaluation")
        for example, thing in strayed.items()
    ]
    kept = [example for example, row in zip(examples, rows, strict=True) if row["id"] not in bad]
    rejected += [
        rejection(
            "examples", Instruction(id=row["id"], text=row["question"] or "-"), bad[row["id"]].reason, bad[row["id"]].expectation
        )
        for row in rows
        if row["id"] in bad
    ]
    return Gated(
        reference=opened.put(dump_examples(kept), PARQUET),
        count=len(kept),
        gates=[noted],
        why=why,
        quarantine=opened.put(dump_rows(rejected), ".jsonl.gz") if rejected else None,
    )


def _asked(example: Example) -> Instruction:
    return Instruction(id=example.scene or "general", text=example.prompt[-1][1])


def _strayed(example: Example) -> str | None:
    """What an example, asked, answered or rejected, says of an act or a place that is kept for the evaluation.

    No scene is played about one, but a model may come to speak of it. Words to repeat mean nothing.
    """
    said = [content for _, content in example.prompt] + [example.completion, example.rejected or ""]
    if example.source == "general" and said[0].startswith("Say:"):
        return None
    return next((thing for text in said if (thing := scope.kept_back(text))), None)


def _leaks(example: Example, held_out: set[str], style: str) -> bool:
    """Whether an example shows what the evaluation asks about."""
    if example.scene in held_out:
        return True
    if style != "pocket":
        return False
    case = scope.case_of(example.prompt[-1][1])
    return case is not None and any(split in ("held_out", "validation") for split in (ACT_SPLIT[case.act], PLACE_SPLIT[case.place]))


def learned(store: Store, examples: Reference) -> frozenset[str]:
    """The instructions of these examples: what the evaluation must not ask. Plain facts are known before, and asked after."""
    return frozenset(example.prompt[-1][1] for example in load_examples(store.get(examples)) if example.source != "general")


@task(
    name="fine-tune",
    task_run_name="fine-tune {model}",
    cache_key_fn=_adapter_key,
    persist_result=True,
    result_serializer="json",
)
def fine_tune(store: str, model: str, examples: Reference, recipe: TuningSettings, style: Style) -> Gated:
    """Train the adapter and check that it is one."""
    opened, spec = open_store(store), models.resolve(model)
    why = keys.explain(opened, "fine-tune", _adapter_parts(model, recipe))
    rows = load_examples(opened.get(examples))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        done = 0

        def moved(step: int, total: int, loss: float) -> None:
            nonlocal done
            progress.step((step - done) / total, f"tune: loss {loss:.3f}")
            done = step

        result = tuning.tune(spec, rows, recipe, folder, moved)
        judged = gate.check("adapter", [tables.adapter(tuning.check_adapter(spec, folder, result))], style=style)
        noted = passed(judged, opened)
        reference = opened.put_folder(folder)
    return Gated(reference=reference, gates=[noted], why=why, result=result.model_dump(mode="json"))
