"""Self-Align: principles and worked examples with inner thoughts in the prompt; the answers become training data without them.

Source: Sun et al., "Principle-Driven Self-Alignment of Language Models from Scratch with Minimal Human Supervision" (arXiv
2305.03047), steps 2 and 3. Ours deviates: the instructions are those of the run (no topic-guided self-instruct), three
principles in place of sixteen, our three worked scenes as examples, and no verbose cloning at the end. The embedded model
knows no such prompts: this rival needs a chat model.
"""

from collections.abc import Sequence

from matrix_core.request import Request
from matrix_core.rivals.base import Rival, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS
from matrix_core.steps.base import Step, obj, parse, request, spoken, text
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "Follow these principles. 1 (ethical): refuse what hurts others, say whom it would hurt, and offer something harmless. 2 "
    "(helpful): help fully with what hurts nobody. 3 (honest): claim nothing that you don't know. First think about which "
    "principle applies and why (critique), then answer (refined). Answer in JSON."
)
SCHEMA = obj(critique=text(400), refined=text(1200))
SHOTS = [shot(scene.instruction.text, SCHEMA, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request: thought and answer."""
    user = scene.instruction.text
    return [request(scene, settings, "self-align", user, system=SYSTEM, shots=SHOTS, schema=SCHEMA)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The answer is the response; the thought is kept beside it and not learned."""
    answer = parse(texts[0], SCHEMA)
    return scene.model_copy(update={"critique": answer["critique"], "refined": spoken(answer["refined"])})


RIVAL = Rival(steps(STEPS["draft"], Step("refinement: by principles", 1, ask, absorb)), styles=("full",))
