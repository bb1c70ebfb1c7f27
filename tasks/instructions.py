"""The first hand-off: which instructions a run plays, which it keeps for the evaluation, and which are set aside unasked."""

import random
from typing import Any

from prefect import task
from prefect.context import TaskRunContext
from pydantic import BaseModel, ConfigDict

from matrix_core import models
from matrix_core.pocket import scope
from matrix_core.pocket.world import ACT_SPLIT, PLACE_SPLIT
from matrix_core.scene import Instruction, Scene
from matrix_core.steps import draft
from tasks import keys
from tasks.engines import engine
from tasks.gating import passed
from tasks.play import Play, Record, rejection
from tasks.scenes_io import PARQUET, dump_instructions, dump_rows, load_instructions
from tasks.store import Reference, open_store
from validations import gate, tables

HELD_OUT = 5
"""Of a file's instructions every fifth, by hash, is kept for the evaluation and never played."""


class Admitted(BaseModel):
    """The instructions that are played, and what the gate made of the rest."""

    model_config = ConfigDict(frozen=True)

    instructions: Reference
    record: Record


def divide(everything: list[Instruction], scenes: int | None, seed: int, style: str) -> tuple[list[Instruction], list[Instruction]]:
    """(to play, kept for the evaluation). Nothing is kept for the embedded model: it is tested on held-out sets of its own."""
    kept: list[Instruction] = []
    if style != "pocket" and len(everything) > 1:
        kept = [i for i in everything if int(i.id[:8], 16) % HELD_OUT == 0] or [min(everything, key=lambda i: i.id)]
        kept = kept[: len(everything) - 1]
    away = {i.id for i in kept}
    played = [i for i in everything if i.id not in away]
    if scenes is not None and scenes < len(played):
        played = random.Random(seed).sample(played, scenes)
    return played, kept


def rows(play: Play, instructions: list[Instruction]) -> list[dict[str, Any]]:
    """What the gate looks at: the text, its length against what the model can take, and whether it is of its world."""
    limit, lengths = 4000, [len(instruction.text) // 3 for instruction in instructions]
    if not play.model.endpoints:
        limit = models.context_length(models.resolve(play.model.name)) // 4
        asked = [draft.plain(Scene(instruction=instruction), play.settings) for instruction in instructions]
        lengths = engine(play.model).count_tokens(asked)  # type: ignore[attr-defined]
    return [
        tables.instruction(instruction, tokens=tokens, max_tokens=limit, outside=_outside(play, instruction.text))
        for instruction, tokens in zip(instructions, lengths, strict=True)
    ]


def _outside(play: Play, text: str) -> str:
    """Why an instruction is not one for this model; "" if it is."""
    return scope.outside(text) or _kept_back(text) if play.settings.style == "pocket" else ""


def _kept_back(text: str) -> str:
    """Why a case of the small world may not be played: the evaluation would not be honest if it were."""
    case = scope.case_of(text)
    for thing, split in ((case.act, ACT_SPLIT), (case.place, PLACE_SPLIT)) if case else ():
        if split[thing] in ("held_out", "validation"):
            return f"{thing!r} is kept for the evaluation and never played; ask about another"
    return ""


def _parts(play: Play) -> keys.Parts:
    return {"gate": gate.fingerprint("instructions"), "model": engine(play.model).fingerprint, "style": play.settings.style}


def _key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    given = [parameters["instructions"].sha256, parameters["set_aside"]]
    return keys.key("instructions", _parts(parameters["play"]), given)


@task(
    name="check instructions", task_run_name="check instructions", cache_key_fn=_key, persist_result=True, result_serializer="json"
)
def admit(play: Play, instructions: Reference, set_aside: list[tuple[str, str]]) -> Admitted:
    """Pass the instructions through their gate; what the reader of the file set aside (text, reason) joins the quarantine."""
    store = open_store(play.store)
    asked = load_instructions(store.get(instructions))
    judged = gate.check("instructions", rows(play, asked), style=play.settings.style)
    bad = {r.id: r for r in judged.quarantined}
    good = [instruction for instruction in asked if instruction.id not in bad]
    rejected = [rejection("instructions", i, bad[i.id].reason, bad[i.id].expectation) for i in asked if i.id in bad]
    rejected += [rejection("instructions", Instruction.of(text or "(empty)"), reason) for text, reason in set_aside]
    why = keys.explain(store, "instructions", _parts(play))
    noted = passed(judged, store)
    return Admitted(
        instructions=store.put(dump_instructions(good), PARQUET),
        record=Record(
            step="instructions",
            why=why,
            asked=len(asked),
            gate=noted,
            quarantine=store.put(dump_rows(rejected), ".jsonl.gz") if rejected else None,
        ),
    )
