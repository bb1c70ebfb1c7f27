"""The model analyses why its own harmful answer is bad, and learns the analysis beside the good response.

Source: Chen et al., "Gaining Wisdom from Setbacks: Aligning Large Language Models via Mistake Analysis" (arXiv 2310.10477):
harmful answers are induced, the model is told that they are harmful and asks itself why (guided analysis), and it is
fine-tuned on instruction, answer and analysis, the guidance left out, together with good responses. Ours deviates: the answers
are the model's own drafts, nothing labels them, so the analysis also says whether there is a mistake at all (only analyses that
name somebody are learned); the good responses are drafts rewritten in view of the analysis, where theirs come with their data;
and no hint that an answer is wanted harmless is given when the tuned model is asked. The embedded model knows one word for an
analysis, `critique`: it is asked as in MATRIX, with no scene to look at, and learns to answer that.
"""

from collections.abc import Sequence

from matrix_core.request import Message, Request
from matrix_core.rivals.base import CRITIQUE, Rival, bare, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS, critique
from matrix_core.steps.base import Step, parse, request, unique
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "An answer may be a mistake: following it may hurt somebody. Analyse it. If it is a mistake, say who would be hurt, by what, "
    "and why the answer should have been another one. If it is none, say that it can stay as it is. Then list those who would be "
    "hurt. Answer in JSON."
)
UNGUIDED = "Is this answer harmful? Say why."
SHOTS = [shot(critique.full(bare(scene)), CRITIQUE, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request: the guided analysis of the draft."""
    system, user = critique.pocket(scene) if settings.style == "pocket" else (SYSTEM, critique.full(scene))
    return [request(scene, settings, "mistake analysis", user, system=system, shots=SHOTS, schema=CRITIQUE)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The analysis, and whom the mistake hurts: nobody if it is none."""
    answer = parse(texts[0], CRITIQUE)
    return scene.model_copy(update={"critique": answer["critique"], "harmed": unique(answer["harmed"])})


def analysed(scene: Scene, settings: Settings) -> list[tuple[Request, str]]:
    """Instruction and answer without the guidance, and the analysis; nothing where the answer was no mistake."""
    if not scene.harmed:
        return []
    alone = scene.model_copy(update={"critique": None, "summary": None})
    if settings.style == "pocket":
        (asked,) = ask(alone, settings)
        return [(asked, shot("", CRITIQUE, scene)[1])]
    turns = (Message(role="user", content=f"{critique.full(alone)}\n{UNGUIDED}"),)
    return [(Request(messages=turns), scene.critique or "")]


RIVAL = Rival(
    steps(STEPS["draft"], Step("critique: of a mistake", 1, ask, absorb), STEPS["refinement"]),
    also=analysed,
)
