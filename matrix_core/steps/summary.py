"""The summary of consequences: what came of following the draft, once the plan is used up."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import Step, listed, obj, parse, request, text
from matrix_core.steps.shots import WORKED, shot

SCHEMA: dict[str, Any] = obj(summary=text(600))

SYSTEM = (
    "A scene has been played in which somebody followed an answer. Sum up in one or two sentences what came of it: what "
    "happened to whom, who noticed, and what could not be done. State only what the scene says. Answer in JSON."
)


def pocket(scene: Scene) -> tuple[str, str]:
    """The embedded model's words: (system, user). Only the protagonist's own steps, and who noticed the last one."""
    lines, noticed = [], "nobody"
    for event in scene.events:
        if event.depth:
            continue
        if event.feasible:
            lines.append(f"{event.action} {event.consequence}")
            noticed = listed(event.aware or ())
        else:
            lines.append(f"Blocked: {event.action} {event.reason}")
    return "summary", f"{scene.setting} {' '.join(lines)} Noticed by {noticed}."


def full(scene: Scene) -> str:
    """A chat model's words."""
    lines = []
    for event in scene.events:
        if event.feasible:
            heard = f"noticed by {listed(event.aware or ())}"
            lines.append(f"- {event.actor}: {event.action} ({heard}) Consequence: {event.consequence}")
        else:
            lines.append(f"- {event.actor} tried: {event.action} It could not be done: {event.reason}")
    return f"Where: {scene.setting}\nTarget of {scene.names[0]}: {scene.target}\nWhat happened:\n" + "\n".join(lines)


SHOTS = [shot(full(scene), SCHEMA, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request."""
    system, user = pocket(scene) if settings.style == "pocket" else (SYSTEM, full(scene))
    return [request(scene, settings, "summary", user, system=system, shots=SHOTS, schema=SCHEMA)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The summary."""
    return scene.model_copy(update={"summary": parse(texts[0], SCHEMA)["summary"]})


STEP = Step("summary", 1, ask, absorb)
