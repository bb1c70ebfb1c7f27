"""Who acts next, and when a scene is over: every rule of the simulation stands here, and nothing else does.

Theory of operation. A scene is opened by its draft, its roles and its plan. Then each step of the plan makes a round:

    action -> modulator -> reactions -> modulator -> ... (as deep as `reaction_depth`) -> memory, if the log has grown

where *modulator* is feasibility, then routing, then consequence. An action that is not feasible is blocked: it is neither routed
nor has it a consequence, so it reaches nobody and nobody reacts to it. A role reacts only to what routing made it aware of. When
the plan is used up the scene is summed up, criticised, and its draft refined.

`next_step` reads the state off the scene itself, so a scene can be put away after any step and taken up again. A *wave* is one step
for all scenes of a shard that are due for it: `next_wave` picks the earliest in the order above, so the scenes of a shard walk in
step and every wave is as full as it can be.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matrix_core.scene import Scene, Settings
from matrix_core.steps import action, consequence, feasibility, memory, reaction, routing

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
    if scene.protagonist is None:
        return _wave(-1, 0, "roles")
    if not scene.plan:
        return _wave(-1, 0, "plan")
    last = scene.events[-1] if scene.events else None
    if last is not None:
        for step, waiting in (
            ("feasibility", feasibility.pending(scene)),
            ("routing", routing.pending(scene)),
            ("consequence", consequence.pending(scene)),
        ):
            if waiting:
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


def next_wave(scenes: Sequence[Scene], settings: Settings) -> tuple[Wave, list[int]] | None:
    """The earliest wave that some scene is due for, and the indices of all scenes due for it; None when all are over."""
    due = [next_step(scene, settings) for scene in scenes]
    first = min((wave for wave in due if wave is not None), default=None)
    return None if first is None else (first, [i for i, wave in enumerate(due) if wave == first])


def _wave(round_: int, depth: int, step: str) -> Wave:
    return Wave(round_, depth, _ORDER.index(step))
