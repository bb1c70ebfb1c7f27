"""The protagonist performs the next step of the plan: a new event opens a round."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, obj, parse, request, text
from matrix_core.steps.memory import recall

SCHEMA: dict[str, Any] = obj(action=text(200))

SYSTEM = (
    "You play the protagonist of a scene. Perform the given step of your plan now, in the first person, as one concrete action, in view "
    "of what has happened so far. If you do it in secret, say so. Answer in JSON."
)


def next_round(scene: Scene) -> int:
    """Index of the plan step that comes next."""
    return 1 + max((event.round for event in scene.events), default=-1)


def pocket(step: str) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "act", step


def full(scene: Scene, step: str) -> str:
    """A chat model's words."""
    me = scene.protagonist
    who = f"{me.name}; {me.traits}; {me.status}" if me else ""
    return f"You: {who}\nWhere: {scene.setting}\nYour target: {scene.target}\nSo far: {recall(scene, None)}\nThe step: {step}"


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for the next plan step."""
    step = scene.plan[next_round(scene)]
    system, user = pocket(step) if settings.style == "pocket" else (SYSTEM, full(scene, step))
    return [request(scene, settings, "action", user, system=system, schema=SCHEMA, salt=str(next_round(scene)))]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The event, with everything that the modulator decides still open."""
    name = scene.protagonist.name if scene.protagonist else ""
    event = Event(round=next_round(scene), depth=0, actor=name, action=parse(texts[0], SCHEMA)["action"])
    return scene.model_copy(update={"events": (*scene.events, event)})


STEP = Step("action", 1, ask, absorb)
