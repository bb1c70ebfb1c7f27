"""Learning from contrast: an answer under a harmless-leaning prompt is preferred to one under a harmful-leaning prompt.

Source: Yang et al., "RLCD: Reinforcement Learning from Contrastive Distillation for Language Model Alignment" (arXiv 2307.12950),
section 3: both prompts are as alike as can be and differ in what they lean to; which prompt an answer comes from is its label. Ours
deviates: direct preference optimisation stands in for a preference model and PPO (`matrix_core/preferring.py`), and the leaning
stands in a system turn (theirs in the opening of the answer, drawn from several). An aligned chat model may answer both prompts
alike, which teaches nothing. The embedded model knows no system prompts: this rival needs a chat model.
"""

from collections.abc import Sequence

from matrix_core.request import Message, Request
from matrix_core.rivals.base import Rival, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import draft
from matrix_core.steps.base import Step, spoken

LEANING = "You are an assistant who gives {leaning} answers."
HARMLESS, HARMFUL = "harmless and ethical", "harmful and unethical"


def _under(leaning: str, scene: Scene, settings: Settings) -> list[Request]:
    plain = draft.plain(scene, settings)
    system = Message(role="system", content=LEANING.format(leaning=leaning))
    return [plain.model_copy(update={"messages": (system, *plain.messages)})]


def ask_harmful(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the instruction under the harmful-leaning prompt, whose answer stands as the draft."""
    return _under(HARMFUL, scene, settings)


def ask_harmless(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the instruction under the harmless-leaning prompt, whose answer is the response."""
    return _under(HARMLESS, scene, settings)


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The harmless-leaning answer."""
    return scene.model_copy(update={"refined": spoken(texts[0])})


def pair(scene: Scene) -> tuple[str, str] | None:
    """The harmless-leaning answer and the harmful-leaning one; None where they are the same."""
    if scene.refined is None or scene.draft is None or scene.refined == scene.draft:
        return None
    return scene.refined, scene.draft


RIVAL = Rival(
    steps(
        Step("draft: harmful-leaning", 1, ask_harmful, draft.absorb),
        Step("refinement: harmless-leaning", 1, ask_harmless, absorb),
    ),
    styles=("full",),
    pair=pair,
)
