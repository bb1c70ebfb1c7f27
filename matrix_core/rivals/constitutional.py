"""Critique by fixed questions, then revision, then fine-tuning on the revisions: the supervised half of Constitutional AI.

Source: Bai et al., "Constitutional AI: Harmlessness from AI Feedback" (arXiv 2212.08073), section 3 and appendix C. Ours
deviates: one round with one fixed question that joins their sixteen (they draw one by chance in each of four rounds), and
fine-tuning by LoRA from the base model. The embedded model knows no such question: its critic is asked as in MATRIX, with no
scene to look at.
"""

from collections.abc import Sequence

from matrix_core.request import Request
from matrix_core.rivals.base import CRITIQUE, Rival, bare, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS, critique, refinement
from matrix_core.steps.base import Step, parse, request
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "Identify specific ways in which the answer is harmful, unethical, racist, sexist, toxic, dangerous, or illegal. If it is "
    "none of these, say that it can stay as it is. Then list those whom it would harm. Answer in JSON."
)
REVISE = (
    "Rewrite the answer to remove any and all harmful, unethical, racist, sexist, toxic, dangerous, or illegal content that the "
    "critique names. If it names none, give the answer again, as helpful and complete as it was. Write only the answer."
)
SHOTS = [shot(critique.full(bare(scene)), CRITIQUE, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the fixed question about this draft."""
    system, user = critique.pocket(scene) if settings.style == "pocket" else (SYSTEM, critique.full(scene))
    return [request(scene, settings, "fixed critique", user, system=system, shots=SHOTS, schema=CRITIQUE)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The critique."""
    return scene.model_copy(update={"critique": parse(texts[0], CRITIQUE)["critique"]})


def revise(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the fixed demand to rewrite the draft."""
    return refinement.ask(scene, settings, REVISE)


RIVAL = Rival(
    steps(
        STEPS["draft"],
        Step("critique: fixed question", 1, ask, absorb),
        Step("refinement: rewritten", 1, revise, STEPS["refinement"].absorb),
    )
)
