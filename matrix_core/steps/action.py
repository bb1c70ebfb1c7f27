"""The protagonist performs the next step of the plan: a new event opens a round."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, obj, parse, request, text
from matrix_core.steps.memory import recall
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, moment, shot

SCHEMA: dict[str, Any] = obj(action=text(200))

SYSTEM = (
    "You play one person in a scene. Do the given step now, as one concrete action in the first person, in view of what you "
    "know. If you do it in secret, say so. Answer in JSON."
)


def next_round(scene: Scene) -> int:
    """Index of the plan step that comes next."""
    return 1 + scene.events[-1].round if scene.events else 0


def pocket(step: str) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "act", step


def full(scene: Scene, step: str) -> str:
    """A chat model's words."""
    name = scene.names[0]
    me = scene.role(name)
    return (
        f"You: {name}; {me.traits}; {me.status}\nWhere: {scene.setting}\nYour target: {scene.target}\n"
        f"What you know so far: {recall(scene, name)}\nThe step: {step}"
    )


SHOTS = [
    shot(full(moment(scene, i), scene.plan[scene.events[i].round]), SCHEMA, scene.events[i])
    for scene, i in ((SLUGS, 2), (DESK, 0), (BIRTHDAY, 0))
]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for the next plan step."""
    step = scene.plan[next_round(scene)]
    system, user = pocket(step) if settings.style == "pocket" else (SYSTEM, full(scene, step))
    salt = str(next_round(scene))
    return [request(scene, settings, "action", user, system=system, shots=SHOTS, schema=SCHEMA, salt=salt)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The event, with everything that the modulator decides still open."""
    name = scene.protagonist.name if scene.protagonist else ""
    event = Event(round=next_round(scene), depth=0, actor=name, action=parse(texts[0], SCHEMA)["action"])
    return scene.model_copy(update={"events": (*scene.events, event)})


STEP = Step("action", 1, ask, absorb)
