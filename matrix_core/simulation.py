"""Who acts next, and when a scene is over: every rule of the simulation stands here, and nothing else does.

Theory of operation. A scene is opened by its draft, its roles and its plan. Then each step of the plan makes a round:

    action -> modulator -> reactions -> modulator -> ... (as deep as `reaction_depth`) -> memory, if the log has grown

where *modulator* is feasibility, then routing, then consequence. An action that is not feasible is blocked: it is neither routed
nor has it a consequence, so it reaches nobody and nobody reacts to it. A role reacts only to what routing made it aware of. When
the plan is used up the scene is summed up, criticised, and its draft refined.

`next_step` reads the state off the scene itself, so a scene can be put away after any step and taken up again. A *wave* is one step
for all scenes of a shard that are due for it: `next_wave` picks the earliest in the order above, so the scenes of a shard walk in
step and every wave is as full as it can be.

Ablations change no schedule. A part that is left out keeps its turn and asks nobody (`step`): without roles one anonymous observer
stands for all people; without feasibility whatever is tried happens; without routing everybody hears everything; without memory
nobody has anything in mind; without critique the draft is refined straight from what came of the scene. Only a rival has another
schedule: its steps one after the other, each as soon as what it writes is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from matrix_core.request import Request
from matrix_core.rivals import RIVALS
from matrix_core.scene import Event, Role, Scene, Settings
from matrix_core.steps import STEPS, action, consequence, feasibility, memory, reaction, routing
from matrix_core.steps.base import Step, unique

_ORDER = (
    "draft",
    "roles",
    "plan",
    "action",
    "feasibility",
    "routing",
    "consequence",
    "reaction",
    "memory",
    "summary",
    "critique",
    "refinement",
)


class Wave(NamedTuple):
    """One step for all scenes of a shard. Waves sort in the order in which they are run."""

    round: int
    depth: int
    place: int

    @property
    def step(self) -> str:
        """Name of the step."""
        return _ORDER[self.place]


def next_step(scene: Scene, settings: Settings) -> Wave | None:
    """The step that this scene needs next; None when it is over."""
    if scene.draft is None:
        return _wave(-1, 0, "draft")
    if settings.method != "matrix":
        missing = (name for name in RIVALS[settings.method].steps if getattr(scene, _WRITES[name]) is None)
        return next((_wave(-1, 0, name) for name in missing), None)
    if scene.protagonist is None:
        return _wave(-1, 0, "roles")
    if not scene.plan:
        return _wave(-1, 0, "plan")
    last = scene.events[-1] if scene.events else None
    if last is not None:
        for step, pending in _MODULATOR.items():
            if pending(scene):
                return _wave(last.round, last.depth, step)
        if reaction.pending(scene, settings):
            return _wave(last.round, last.depth, "reaction")
        if memory.due(scene, settings):
            return _wave(last.round, settings.reaction_depth, "memory")
    coming = action.next_round(scene)
    if coming < len(scene.plan):
        return _wave(coming, 0, "action")
    if scene.summary is None:
        return _wave(settings.steps, 0, "summary")
    if scene.critique is None:
        return _wave(settings.steps, 0, "critique")
    if scene.refined is None:
        return _wave(settings.steps, 0, "refinement")
    return None


def step(name: str, settings: Settings) -> Step:
    """The step that is played under this name: MATRIX's own, a rival's, or what stands in for a part that is left out."""
    if settings.method != "matrix":
        return RIVALS[settings.method].steps.get(name, STEPS[name])
    if name in settings.without:
        return _STAND_INS[name]
    if "memory" in settings.without and name in _REMEMBERING:
        return _REMEMBERING[name]
    return STEPS[name]


def next_wave(scenes: Sequence[Scene], settings: Settings) -> tuple[Wave, list[int]] | None:
    """The earliest wave that some scene is due for, and the indices of all scenes due for it; None when all are over."""
    return earliest([next_step(scene, settings) for scene in scenes])


def earliest(due: Sequence[Wave | None]) -> tuple[Wave, list[int]] | None:
    """The earliest of these waves, and the indices of all that are it; None if there is none."""
    first = min((wave for wave in due if wave is not None), default=None)
    return None if first is None else (first, [i for i, wave in enumerate(due) if wave == first])


def _decided(scene: Scene, update: Callable[[Event], dict[str, object]]) -> Scene:
    events = (event.model_copy(update=update(event)) for event in scene.events)
    return scene.model_copy(update={"events": tuple(events)})


def _one_observer(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    return STEPS["roles"].absorb(scene, texts, settings).model_copy(update={"roles": (OBSERVER,)})


def _whatever_is_tried(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    return _decided(scene, lambda event: {"feasible": True} if event.feasible is None else {})


def _everybody_hears(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    waiting = {id(scene.events[i]) for i in routing.pending(scene)}
    return _decided(scene, lambda event: {"aware": tuple(routing.others(scene, event))} if id(event) in waiting else {})


def _nothing_kept(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    return scene.model_copy(update={"remembered": len(scene.events)})


def _uncriticised(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    return scene.model_copy(update={"critique": "", "harmed": unique([name for event in scene.events for name in event.harmed])})


def _nobody(scene: Scene, settings: Settings) -> list[Request]:
    return []


OBSERVER = Role(name="observer", traits="somebody like anybody", status="near by")
"""Who stands for all people where roles are left out."""

_STAND_INS = {
    "roles": Step("roles: one anonymous observer", 1, STEPS["roles"].ask, _one_observer, STEPS["roles"].settings),
    "feasibility": Step("feasibility: all", 1, _nobody, _whatever_is_tried),
    "routing": Step("routing: to all", 1, _nobody, _everybody_hears),
    "memory": Step("memory: none", 1, _nobody, _nothing_kept),
    "critique": Step("critique: none", 1, _nobody, _uncriticised),
}
_REMEMBERING = {
    name: replace(STEPS[name], name=f"{name}: forgetful", ask=memory.forgetful(STEPS[name].ask))
    for name in ("action", "feasibility", "consequence", "reaction")
}
"""The steps that ask in view of what has happened, with nobody having anything in mind."""
_MODULATOR = {"feasibility": feasibility.pending, "routing": routing.pending, "consequence": consequence.pending}
"""Steps of the modulator, in order -> the events that wait for it."""
_WRITES = {"draft": "draft", "summary": "summary", "critique": "critique", "refinement": "refined"}
"""Step of a rival -> the field that it writes."""


def _wave(round_: int, depth: int, step: str) -> Wave:
    return Wave(round_, depth, _ORDER.index(step))
