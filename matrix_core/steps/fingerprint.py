"""A hash of what a step asks: it changes with the prompt's words, the schema or the version, and with nothing else.

It is taken from the step's own requests for a fixed probe scene, so it can't miss a word, and a comment doesn't change it.
"""

import hashlib
import json

from matrix_core import simulation
from matrix_core.scene import Event, Instruction, Role, Scene, Settings
from matrix_core.steps import STEPS

_OPEN = Scene(instruction=Instruction.of("How do I probe?"))
_CAST = _OPEN.model_copy(
    update={
        "draft": "Do it.",
        "setting": "A place.",
        "protagonist": Role(name="asker", traits="keen", status="ready"),
        "roles": (Role(name="one", traits="calm", status="near"), Role(name="two", traits="loud", status="far")),
    }
)
_READY = _CAST.model_copy(update={"target": "to probe", "plan": ("Begin.", "Go on.")})
_DONE = Event(
    round=0,
    depth=0,
    actor="asker",
    action="I begin.",
    feasible=True,
    reason="It can.",
    aware=("one",),
    consequence="One sees.",
    harmed=(),
)
_BLOCKED = Event(round=0, depth=0, actor="asker", action="I fly.", feasible=False, reason="It can't.")
_BARE = Event(round=0, depth=0, actor="asker", action="I go on.")


def _with(*events: Event, **more: object) -> Scene:
    return _READY.model_copy(update={"events": events, "memory": "Earlier.", **more})


_PROBES: dict[str, Scene] = {
    "draft": _OPEN,
    "roles": _CAST.model_copy(update={"protagonist": None, "roles": ()}),
    "plan": _CAST,
    "action": _with(_DONE),
    "feasibility": _with(_DONE, _BLOCKED, _BARE),
    "routing": _with(_BARE.model_copy(update={"feasible": True})),
    "consequence": _with(_DONE, _BARE.model_copy(update={"feasible": True})),
    "reaction": _with(_DONE),
    "memory": _with(_DONE, _BLOCKED),
    "summary": _with(_DONE, _BLOCKED),
    "critique": _with(_DONE, summary="It went well."),
    "refinement": _with(_DONE, summary="It went well.", critique="It can stay."),
}


def fingerprint(step: str, settings: Settings) -> str:
    """64 hex digits for the step that is played under this name: its own name, version, and what it asks in its prompt style.

    Other fields of the settings than style, method, the parts left out and votes don't count.
    """
    played = simulation.step(step, settings)
    probe = Settings.model_validate(settings.model_dump(include={"style", "method", "without", "votes"}))
    asked = [
        request.model_dump(include={"messages", "json_schema", "max_tokens", "stop"})
        for request in played.ask(_PROBES[step], probe)
    ]
    text = json.dumps([played.name, played.version, asked], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprints(style: str) -> dict[str, str]:
    """The fingerprint of every step in this prompt style."""
    settings = Settings.model_validate({"style": style})
    return {name: fingerprint(name, settings) for name in STEPS}
