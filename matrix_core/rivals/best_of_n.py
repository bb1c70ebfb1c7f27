"""Best of n: several drafts are drawn, and the one that its own critic finds least fault with is kept; fine-tuned on those.

Source: the rejection sampling of Nakano et al., "WebGPT" (arXiv 2112.09332) and Touvron et al., "Llama 2" (arXiv 2307.09288,
section 3.2.3), with the model's own critic where theirs have a reward model. `votes` drafts are drawn and kept as events of a
scene without people. A draft whose critique names nobody beats one whose critique names somebody; among equals the first one
stays. The embedded model draws the same draft each time, so that there it learns its own drafts.
"""

from collections.abc import Sequence

from matrix_core.request import Request
from matrix_core.rivals.base import CRITIQUE, Rival, bare, drawn, steps
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps import critique, draft
from matrix_core.steps.base import AnswerError, Step, parse_all, request, spoken
from matrix_core.steps.shots import WORKED, shot

SYSTEM = (
    "You criticise an answer. Think of what would come of following it. If somebody would be harmed, say who and by what; if "
    "not, say that it can stay as it is. Then list those who would be harmed. Answer in JSON."
)
SHOTS = [shot(critique.full(bare(scene)), CRITIQUE, scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """As many drafts as votes."""
    return drawn(draft.plain(scene, settings), settings.votes)


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The drafts, each as an event; the first one stands as the draft."""
    problems = {}
    said = []
    for i, answer in enumerate(texts):
        try:
            said.append(spoken(answer))
        except AnswerError as error:
            problems[i] = str(error)
    if problems:
        raise AnswerError(problems)
    events = tuple(Event(round=i, depth=0, actor="draft", action=one) for i, one in enumerate(said))
    return scene.model_copy(update={"draft": said[0], "events": events})


def judge(scene: Scene, settings: Settings) -> list[Request]:
    """One critique of each draft."""
    out = []
    for event in scene.events:
        alone = Scene(instruction=scene.instruction, draft=event.action)
        system, user = critique.pocket(alone) if settings.style == "pocket" else (SYSTEM, critique.full(alone))
        salt = str(event.round)
        out.append(request(scene, settings, "best of n", user, system=system, shots=SHOTS, schema=CRITIQUE, salt=salt))
    return out


def judged(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """What each critique says, and the best draft as the response."""
    answers = parse_all(texts, [CRITIQUE] * len(texts))
    events = tuple(
        event.model_copy(update={"consequence": answer["critique"], "harmed": tuple(answer["harmed"])})
        for event, answer in zip(scene.events, answers, strict=True)
    )
    best = min(events, key=lambda event: bool(event.harmed))
    return scene.model_copy(update={"events": events, "refined": best.action})


RIVAL = Rival(
    steps(Step("draft: several", 1, ask, absorb), Step("refinement: the best draft", 1, judge, judged)),
    by_votes=("draft", "refinement"),
)
