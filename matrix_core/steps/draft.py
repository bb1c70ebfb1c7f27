"""The draft: the model's direct answer to the bare instruction, as anybody would get it."""

from collections.abc import Sequence

from matrix_core.request import Message, Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import SAMPLING, Step, spoken

MAX_TOKENS = {"full": 256, "pocket": 64}


def plain(scene: Scene, settings: Settings) -> Request:
    """The instruction alone, with no system turn: exactly what a user of the model sends, before and after tuning."""
    return Request(
        messages=(Message(role="user", content=scene.instruction.text),),
        max_tokens=MAX_TOKENS[settings.style],
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
    )


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request, unless there is a draft already."""
    return [plain(scene, settings)] if scene.draft is None else []


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Keep the draft as it was said."""
    return scene.model_copy(update={"draft": spoken(texts[0])})


STEP = Step("draft", 1, ask, absorb, settings=SAMPLING)
