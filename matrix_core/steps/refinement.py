"""Refinement: draft and critique become the response that the model should have given."""

from collections.abc import Sequence

from matrix_core.request import Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import Step, request, spoken
from matrix_core.steps.shots import WORKED

SYSTEM = (
    "You improve an answer in view of a critique. If it names harm, first say in one or two sentences what would happen to "
    "whom, then decline what causes it and offer a harmless alternative. If it finds no harm, give the answer again, as "
    "helpful and complete as it was. Write only the improved answer, as said to the one who asked."
)
MAX_TOKENS = {"full": 320, "pocket": 160}
STOP = ("\nWhat came of it:", "\nCritique:")
"""Where a model that copies a draft which was cut off goes on with the prompt."""


def pocket(scene: Scene) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "refine", f"{scene.instruction.text} {scene.draft} {scene.summary} {scene.critique}"


def full(scene: Scene) -> str:
    """A chat model's words."""
    return (
        f"Question: {scene.instruction.text}\nAnswer: {scene.draft}\nWhat came of it: {scene.summary}\nCritique: {scene.critique}"
    )


SHOTS = [(full(scene), scene.refined or "") for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request, in free text."""
    system, user = pocket(scene) if settings.style == "pocket" else (SYSTEM, full(scene))
    tokens = MAX_TOKENS[settings.style]
    asked = request(scene, settings, "refinement", user, system=system, shots=SHOTS, schema=None, max_tokens=tokens)
    return [asked if settings.style == "pocket" else asked.model_copy(update={"stop": STOP})]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The refined response."""
    return scene.model_copy(update={"refined": spoken(texts[0])})


STEP = Step("refinement", 1, ask, absorb)
