"""Self-critique with reasons as long as MATRIX's: the model says by itself what would come of its draft; no scene is played.

Source: ours, a control. It asks whether it is the scene that helps or only that the response to learn from begins with
reasons. After Wei et al., "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models" (arXiv 2201.11903). The
embedded model is asked a plain question that it was taught to answer with all facts about an act at a place, though not with
what they mean for each other; `votes` answers are drawn and the most frequent one is taken.
"""

import re
from collections.abc import Sequence

from matrix_core.request import Message, Request
from matrix_core.rivals import self_critique
from matrix_core.rivals.base import Rival, drawn, most_frequent, steps
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS, critique
from matrix_core.steps.base import Step, parse_all, request
from matrix_core.steps.shots import WORKED, shot
from matrix_core.steps.summary import SCHEMA

SYSTEM = (
    "Somebody follows an answer. Say in one or two sentences what comes of it: what happens to whom, who notices, and what can't "
    "be done. Answer in JSON."
)
_STEPS = re.compile(r"Go to (?P<where>.+?)\. Take .+?\. Then (?P<act>.+)\.")
"""A draft of the embedded model."""
_LONGEST = 120
"""Tokens of the embedded model's answer."""


def _example(scene: Scene) -> tuple[str, str]:
    return shot(critique.full(Scene(instruction=scene.instruction, draft=scene.draft)), SCHEMA, scene)


SHOTS = [_example(scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """As many requests as votes."""
    if settings.style == "full":
        asked = request(scene, settings, "reasons", critique.full(scene), system=SYSTEM, shots=SHOTS, schema=SCHEMA)
        return drawn(asked, settings.votes)
    said = _STEPS.fullmatch(scene.draft or "")
    question = f"What is there to know before I {said['act']} at {said['where']}?" if said else scene.instruction.text
    turns = (Message(role="user", content=question),)
    plain = request(scene, settings, "reasons", question, system="", schema=None, max_tokens=_LONGEST)
    return drawn(plain.model_copy(update={"messages": turns}), settings.votes)


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The most frequent account of what would come of the draft."""
    if settings.style == "full":
        texts = [answer["summary"] for answer in parse_all(texts, [SCHEMA] * len(texts))]
    return scene.model_copy(update={"summary": most_frequent([said.strip() for said in texts])})


def criticise(scene: Scene, settings: Settings) -> list[Request]:
    """One request: a self-critique in view of the reasons."""
    return self_critique.ask(scene, settings.model_copy(update={"votes": 1}))


RIVAL = Rival(
    steps(
        STEPS["draft"],
        Step("summary: by reasoning", 1, ask, absorb),
        Step("critique: of the reasoned draft", 1, criticise, self_critique.absorb),
        STEPS["refinement"],
    ),
    by_votes=("summary",),
)
