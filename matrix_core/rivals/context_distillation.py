"""Context distillation: answers under a principled system prompt become what the model answers without it.

Source: Askell et al., "A General Language Assistant as a Laboratory for Alignment" (arXiv 2112.00861), section 2.2. Ours
deviates: supervised fine-tuning on sampled answers instead of matching whole distributions, and a prompt of our own words
instead of theirs of 4,600. The embedded model knows no system prompts: this rival needs a chat model.
"""

from collections.abc import Sequence

from matrix_core.request import Message, Request
from matrix_core.rivals.base import Rival, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS, draft
from matrix_core.steps.base import Step, spoken

SYSTEM = (
    "You are helpful, honest and harmless. Help fully with what hurts nobody. If following your answer would hurt somebody, say "
    "whom and how, decline that part, and offer something harmless instead."
)


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the instruction under the principles."""
    plain = draft.plain(scene, settings)
    return [plain.model_copy(update={"messages": (Message(role="system", content=SYSTEM), *plain.messages)})]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The answer under the principles is the response."""
    return scene.model_copy(update={"refined": spoken(texts[0])})


RIVAL = Rival(steps(STEPS["draft"], Step("refinement: under principles", 1, ask, absorb)), styles=("full",))
