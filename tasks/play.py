"""The steps of the method as Prefect tasks: references in, references out, one task a step of one wave for one shard.

Each task loads its shard, lets the core ask and absorb, passes what came back through the gate, and stores the rest. What is passed
around is small (hashes and counts); what is cached is keyed by everything that decides the outcome and by nothing else.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from prefect import task
from prefect.context import TaskRunContext
from pydantic import BaseModel, ConfigDict

from matrix_core import simulation, waves
from matrix_core.errors import RunError
from matrix_core.scene import Instruction, Method, Scene, Settings
from matrix_core.steps import STEPS
from matrix_core.steps.fingerprint import fingerprint
from tasks import keys, memo, playing, progress, showing
from tasks.engines import Model, engine
from tasks.gating import passed
from tasks.journals import journalled
from tasks.scenes_io import PARQUET, dump_rows, dump_scenes, load_scenes
from tasks.store import Reference, Store, open_store
from validations import gate, tables

NAMES = {
    "draft": "write drafts",
    "roles": "generate roles",
    "plan": "make plans",
    "action": "act",
    "feasibility": "check feasibility",
    "routing": "route messages",
    "consequence": "write consequences",
    "reaction": "react",
    "memory": "keep memory",
    "summary": "sum up consequences",
    "critique": "write critique",
    "refinement": "refine response",
}
"""Step -> the name of its task, as the Prefect UI shows it."""

HandOff = tuple[str, Callable[[waves.Outcome], list[dict[str, Any]]]]
_HAND_OFFS: Mapping[str, HandOff] = {
    "draft": ("drafts", lambda played: tables.drafts(played.scenes, played.finish)),
    "plan": ("roles", lambda played: tables.roles(played.scenes)),
    "routing": ("actions", lambda played: tables.actions(played.scenes)),
    "consequence": ("consequences", lambda played: tables.consequences(played.scenes)),
    "summary": ("actions", lambda played: tables.actions(played.scenes, over=True)),
    "critique": ("critiques", lambda played: tables.critiques(played.scenes)),
    "refinement": ("refinements", lambda played: tables.refinements(played.scenes, played.finish)),
}
"""Step -> the gate that its results must pass, and how they are laid out for it. Actions once more when all of them are over: those
of a wave that were all blocked were not routed."""
_RESPONSES: HandOff = "drafts", lambda played: tables.drafts([tables.answered(scene) for scene in played.scenes], played.finish)
"""The gate of a rival's responses: whether they are whole texts. The others hold them against a scene, and a rival has none."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Play(_Frozen):
    """What all tasks of a simulation share."""

    store: str
    model: Model
    settings: Settings
    refresh: str | None = None
    """a step that is done anew, whatever the cache holds"""


class Shard(_Frozen):
    """Some scenes, where they lie, and the wave that they are due for (None: all are over)."""

    index: int
    scenes: Reference
    count: int
    due: str | None
    wave: tuple[int, int] = (-1, 0)
    method: Method = "matrix"
    """whose schedule says what is due: a draft is the same for all of them"""


class Record(_Frozen):
    """What one wave did: for the summary, the gates' table and the quarantine."""

    step: str
    why: str = ""
    """why it had to be done: which part of its cache key was new"""
    asked: int = 0
    reused: int = 0
    """scenes that were taken over from other shards"""
    lost: int = 0
    """scenes that the engine failed for: worth another try"""
    calls: int = 0
    cached_calls: int = 0
    """answers that were in the journal"""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    re_asked: int = 0
    spent: memo.Spent = memo.Spent()
    """what its scenes have cost, those included that were taken over"""
    gate: dict[str, Any] | None = None
    quarantine: Reference | None = None


class Played(_Frozen):
    """What a step's task hands back."""

    shard: Shard
    record: Record


def open_shard(play: Play, index: int, scenes: list[Scene]) -> Shard:
    """Store the scenes of a shard and say what they are due for."""
    return _shard(play, index, scenes)


def taken_over(play: Play, shard: Shard) -> Shard:
    """The shard as this play goes on with it: a step that several methods share may have been cached by another one."""
    if shard.method == play.settings.method:
        return shard
    return _shard(play, shard.index, load_scenes(open_store(play.store).get(shard.scenes)))


def _shard(play: Play, index: int, scenes: list[Scene]) -> Shard:
    store, rows = open_store(play.store, writable=False), playing.rows_of(scenes, play.settings)
    first = simulation.earliest([row.due for row in rows])
    if first is None:
        reference = store.put(dump_scenes(scenes), PARQUET)
        return Shard(index=index, scenes=reference, count=len(scenes), due=None, method=play.settings.method)
    wave, _ = first
    return Shard(
        index=index,
        scenes=playing.put(store, rows, play.settings),
        count=len(scenes),
        due=wave.step,
        wave=(wave.round, wave.depth),
        method=play.settings.method,
    )


def parts_of(step: str, play: Play) -> keys.Parts:
    """All that decides what a step makes of a scene, but the scene."""
    return {
        "prompt or schema": fingerprint(step, play.settings),
        "gate": gate.fingerprint(hand_off[0]) if (hand_off := _hand_off(step, play.settings)) else "none",
        "model": engine(play.model).fingerprint,
        "re-asking": f"{waves.RE_ASK} times, at {waves.WARMER} or more",
        **keys.fields(play.settings, simulation.step(step, play.settings).settings),
    }


def _hand_off(step: str, settings: Settings) -> HandOff | None:
    """The gate that a step's results must pass; None for what no model has said."""
    if step in settings.without:
        return None
    if settings.method != "matrix":
        return {"draft": _HAND_OFFS["draft"], "refinement": _RESPONSES}.get(step)
    return _HAND_OFFS.get(step)


def key_of(step: str, play: Play, shard: Shard) -> str:
    """The cache key of a step for a shard: equal exactly if the step would ask and do the same."""
    return keys.key(step, parts_of(step, play), shard.scenes.sha256)


def _perform(step: str, play: Play, shard: Shard) -> Played:
    """Load, ask and absorb, gate, store."""
    began = time.monotonic()
    store = open_store(play.store, writable=False)  # tried out when the run began
    rows = playing.get(store, shard.scenes, play.settings)
    first = simulation.earliest([row.due for row in rows])
    if first is None or first[0].step != step:
        raise RunError(f"shard {shard.index} is not due for {step!r}; run the stage again from its start")
    turn, parts = [rows[i].scene for i in first[1]], parts_of(step, play)
    why = keys.explain(store, step, parts)
    before = {rows[i].scene.id: rows[i].hash for i in first[1]}
    recalled = memo.Recalled({}, {}, 0.0) if play.refresh == step else memo.recall(store, step, parts, before)
    known = recalled.found
    outcome = waves.run(
        simulation.step(step, play.settings),
        [scene for scene in turn if scene.id not in known],
        play.settings,
        journalled(play.model, store.uri, keys.key(step, parts, shard.scenes.sha256)),
        progress.tick,
    )
    outcome.scenes += [scene for scene in known.values() if isinstance(scene, Scene)]
    rejected = [row for row in known.values() if not isinstance(row, Scene)]
    rejected += [
        rejection(memo.ENGINE if failed.engine else step, failed.scene.instruction, failed.why) for failed in outcome.failed
    ]
    failing, noted = _gated(step, play, outcome, store)
    rejected += failing
    bad = {row["id"] for row in rejected}
    moved = {scene.id: scene for scene in outcome.scenes if scene.id not in bad}
    kept = [moved.get(row.scene.id, row.scene) for row in rows if row.scene.id not in bad]
    if not kept:
        reasons = "; ".join(sorted({row["reason"] for row in rejected})[:3])
        raise RunError(f"{NAMES[step]}: no scene of shard {shard.index} passed: {reasons}")
    rejected.sort(key=lambda row: str(row["id"]))
    aside = store.put(dump_rows(rejected), ".jsonl.gz") if rejected else None
    after = _shard(play, shard.index, kept)
    each, seconds = {**recalled.each, **outcome.spent}, round(recalled.seconds + time.monotonic() - began, 3)
    note = memo.Note(before=before, after=after.scenes, set_aside=aside, each=each, seconds=seconds / len(turn))
    memo.write(store, step, parts, shard.scenes, note)
    showing.note(
        f"{NAMES[step]}: shard {shard.index}, {len(turn)} scenes ({len(known)} taken over), {outcome.usage.calls} calls, "
        f"{len(rejected)} scenes set aside; {why}"
    )
    return Played(
        shard=after,
        record=Record(
            step=step,
            why=why,
            asked=len(turn) - len(known),
            reused=len(known),
            lost=sum(failed.engine for failed in outcome.failed),
            calls=outcome.usage.calls,
            cached_calls=outcome.usage.cached,
            prompt_tokens=outcome.usage.prompt,
            completion_tokens=outcome.usage.completion,
            re_asked=outcome.usage.re_asked,
            spent=memo.Spent.on(each, seconds),
            gate=noted,
            quarantine=aside,
        ),
    )


def _gated(step: str, play: Play, outcome: waves.Outcome, store: Store) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The rows that the step's gate takes out, and the gate as it is noted; None where there is none."""
    hand_off = _hand_off(step, play.settings)
    if hand_off is None or not outcome.scenes:
        return [], None
    name, lay_out = hand_off
    judged = gate.check(name, lay_out(outcome), style=play.settings.style)
    about = {scene.id: scene.instruction for scene in outcome.scenes}
    rows = [rejection(name, about[found.id], found.reason, found.expectation) for found in judged.quarantined]
    return rows, passed(judged, store)


def rejection(name: str, about: Instruction, reason: str, expectation: str = "") -> dict[str, Any]:
    """One row of the quarantine."""
    return {"gate": name, "id": about.id, "reason": reason, "expectation": expectation, "instruction": about.text}


def _as_task(step: str) -> Any:
    """The Prefect task of a step."""

    def perform(play: Play, shard: Shard) -> Played:
        return _perform(step, play, shard)

    def key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
        return key_of(step, parameters["play"], parameters["shard"])

    perform.__doc__ = STEPS[step].ask.__module__
    return task(
        name=NAMES[step],
        task_run_name=f"{NAMES[step]} · shard {{shard.index}} · round {{shard.wave[0]}} · depth {{shard.wave[1]}}",
        cache_key_fn=key,
        persist_result=True,
        result_serializer="json",
        log_prints=False,
    )(perform)


STEP_TASKS: Mapping[str, Any] = {step: _as_task(step) for step in STEPS}
"""Step -> its task; `flows/simulate.py` runs what the simulation says is due."""
