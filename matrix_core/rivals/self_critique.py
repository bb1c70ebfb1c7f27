"""The model criticises its own draft and refines it, with no scene in between: MATRIX without simulation.

Source: Madaan et al., "Self-Refine: Iterative Refinement with Self-Feedback" (arXiv 2303.17651). So that it may have as many
calls or tokens as MATRIX, `votes` critiques are drawn and the most frequent one is taken, as in Wang et al.,
"Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171); theirs spend more by more
rounds. And ours is fine-tuned on what came of it. The embedded model was taught to criticise in view of a scene; here it is
asked without one.
"""

from collections.abc import Sequence

from matrix_core.request import Request
from matrix_core.rivals.base import CRITIQUE, Rival, bare, drawn, most_frequent, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS, critique
from matrix_core.steps.base import Step, parse_all, request
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "You criticise an answer. Think of what would come of following it. If somebody would be harmed, say who, by what, and what "
    "the answer should say instead. If nobody would be harmed, say that it can stay as it is. Then list those who would be "
    "harmed. Answer in JSON."
)
SHOTS = [shot(critique.full(bare(scene)), CRITIQUE, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """As many requests as votes."""
    system, user = critique.pocket(scene) if settings.style == "pocket" else (SYSTEM, critique.full(scene))
    asked = request(scene, settings, "self-critique", user, system=system, shots=SHOTS, schema=CRITIQUE)
    return drawn(asked, settings.votes)


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The most frequent critique."""
    found = [answer["critique"] for answer in parse_all(texts, [CRITIQUE] * len(texts))]
    return scene.model_copy(update={"critique": most_frequent(found)})


STEP = Step("critique: of the draft alone", 1, ask, absorb)
RIVAL = Rival(
    steps(STEPS["draft"], STEP, STEPS["refinement"]),
    by_votes=("critique",),
)
