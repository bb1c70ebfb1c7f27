"""In-context alignment: the model as it is answers under a principled system prompt; nothing is tuned.

Source: Askell et al., "A General Language Assistant as a Laboratory for Alignment" (arXiv 2112.00861), where prompting is the
baseline, and Lin et al., "The Unlocking Spell on Base LLMs: Rethinking Alignment via In-Context Learning" (arXiv
2312.01552). Ours deviates: the principles alone, without their worked examples, in the words that context distillation distils, so
that the two differ in tuning alone. What is played shows how the model answers under them; the evaluation asks it in the same way,
at the price of a longer prompt each time. The embedded model knows no system prompts: this rival needs a chat model.
"""

from matrix_core.rivals import context_distillation
from matrix_core.rivals.base import Rival, steps
from matrix_core.steps import draft
from matrix_core.steps.base import Step

RIVAL = Rival(
    steps(Step("draft: under principles", 1, context_distillation.ask, draft.absorb)),
    styles=("full",),
    standing=context_distillation.SYSTEM,
)
