"""The protagonist's target, taken from the instruction, and the plan: K steps that carry the draft out."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import SAMPLING, Step, obj, opening, parse, request, text
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "Somebody asked a question, got an answer, and now does what the answer says. Say in a few words what they want (the "
    "target), and write the steps that they take, each one concrete action, in order, beginning with a verb. Answer in JSON."
)

STEP_SIZE = 200
"""Characters of the draft that are shown for each step of the plan."""


def schema(settings: Settings) -> dict[str, Any]:
    """At most K steps."""
    return obj(target=text(160), plan={"type": "array", "items": text(160), "minItems": 1, "maxItems": settings.steps})


def pocket(scene: Scene, settings: Settings) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "plan", f"{settings.steps}. {scene.instruction.text} {scene.draft}"


def full(scene: Scene, settings: Settings) -> str:
    """A chat model's words."""
    who = scene.protagonist
    name = who.name if who else "somebody"
    return (
        f"Question: {scene.instruction.text}\nWhere: {scene.setting}\nWho acts: {name}\nNumber of steps: {settings.steps}\n"
        f"Answer: {opening(scene.draft, STEP_SIZE * settings.steps)}"
    )


SHOTS = [shot(full(scene, Settings(steps=len(scene.plan))), schema(Settings()), scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request."""
    if settings.style == "pocket":
        system, user = pocket(scene, settings)
    else:
        system, user = SYSTEM, full(scene, settings)
    return [request(scene, settings, "plan", user, system=system, shots=SHOTS, schema=schema(settings))]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Target and plan."""
    answer = parse(texts[0], schema(settings))
    return scene.model_copy(update={"target": answer["target"], "plan": tuple(answer["plan"])})


STEP = Step("plan", 1, ask, absorb, settings=("steps", *SAMPLING))
