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
    return "refine", " ".join(filter(None, (scene.instruction.text, scene.draft, scene.summary, scene.critique)))


def full(scene: Scene) -> str:
    """A chat model's words. What a scene lacks is left out: in an ablation it has no critique, and a rival's has no summary."""
    told = {
        "Question": scene.instruction.text,
        "Answer": scene.draft,
        "What came of it": scene.summary,
        "Critique": scene.critique,
    }
    return "\n".join(f"{name}: {said}" for name, said in told.items() if said)


def shots(scene: Scene) -> list[tuple[str, str]]:
    """Worked examples that lack what the scene lacks."""
    lacking = {name: None for name in ("summary", "critique") if not getattr(scene, name)}
    return [(full(worked.model_copy(update=lacking)), worked.refined or "") for worked in WORKED]


def ask(scene: Scene, settings: Settings, instead: str = SYSTEM) -> list[Request]:
    """One request, in free text; `instead`: other words of the system turn."""
    system, user = pocket(scene) if settings.style == "pocket" else (instead, full(scene))
    tokens = MAX_TOKENS[settings.style]
    asked = request(scene, settings, "refinement", user, system=system, shots=shots(scene), schema=None, max_tokens=tokens)
    return [asked if settings.style == "pocket" else asked.model_copy(update={"stop": STOP})]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The refined response."""
    return scene.model_copy(update={"refined": spoken(texts[0])})


STEP = Step("refinement", 1, ask, absorb)
