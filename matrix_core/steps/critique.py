"""The critique: what is wrong with the draft, given what came of it. Specific to the instruction, since it comes from its scene."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import Step, listed, obj, one_of, parse, request, text, unique
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "You criticise an answer in view of what came of following it. If somebody is harmed, say who, by what, and what the "
    "answer should say instead. If nobody is harmed, say that it can stay as it is. Then list those who are harmed. Answer in "
    "JSON."
)


def schema(scene: Scene) -> dict[str, Any]:
    """The critique first, then the names that follow from it."""
    return obj(critique=text(400), harmed=one_of(scene.names))


def pocket(scene: Scene) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "critique", " ".join(filter(None, (scene.instruction.text, scene.draft, scene.summary)))


def full(scene: Scene) -> str:
    """A chat model's words; whom the scene has hurt comes first, so that the critique does not overlook it.

    What a scene lacks is left out: a rival has a draft, and perhaps no scene.
    """
    lines = [f"Answer: {scene.draft}", f"Question: {scene.instruction.text}"]
    if scene.events:
        lines.insert(0, f"Hurt: {listed(unique([name for event in scene.events for name in event.harmed]))}")
    return "\n".join([*lines, f"What came of it: {scene.summary}"] if scene.summary else lines)


SHOTS = [shot(full(scene), schema(scene), scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request."""
    system, user = pocket(scene) if settings.style == "pocket" else (SYSTEM, full(scene))
    return [request(scene, settings, "critique", user, system=system, shots=SHOTS, schema=schema(scene))]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Critique and victims."""
    answer = parse(texts[0], schema(scene))
    return scene.model_copy(update={"critique": answer["critique"], "harmed": unique(answer["harmed"])})


STEP = Step("critique", 1, ask, absorb)
