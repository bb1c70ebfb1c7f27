"""What a rival is: the steps that it plays instead of MATRIX's, in order, and for which models."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from matrix_core.request import Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps.base import Step, obj, text

FREELY = 0.7
"""The temperature at which several answers are drawn, so that they differ."""


CRITIQUE = obj(critique=text(400), harmed={"type": "array", "items": text(60), "maxItems": 6})
"""The critique first, then the names that follow from it: MATRIX's schema, but that without a scene anybody can be named."""


class Rival(NamedTuple):
    """Another way from instructions to responses to learn from. Its steps have the names of those of MATRIX that write the same."""

    steps: Mapping[str, Step]
    """name -> step, in the order in which they are played"""
    styles: tuple[Literal["full", "pocket"], ...] = ("full", "pocket")
    """the prompt styles that it has words in: the embedded model knows no prompts but those that it was taught"""
    by_votes: tuple[str, ...] = ()
    """the steps that cost as much more as there are votes"""
    pair: Callable[[Scene], tuple[str, str] | None] | None = None
    """of what learns from preferences: the better and the worse answer of a finished scene, None where neither is"""
    standing: str | None = None
    """of what tunes nothing: the system turn under which the model answers as it is"""
    also: Callable[[Scene, Settings], list[tuple[Request, str]]] | None = None
    """what is learned of a finished scene beside its response: requests, and the answers to learn"""


def steps(*played: Step) -> dict[str, Step]:
    """The steps under the names of those whose place they take."""
    return {step.name.partition(":")[0]: step for step in played}


def bare(scene: Scene) -> Scene:
    """Instruction, draft and response alone: a worked example of a method that plays no scene."""
    return Scene(instruction=scene.instruction, draft=scene.draft, critique=scene.critique, refined=scene.refined)


def drawn(request: Request, votes: int) -> list[Request]:
    """The request as often as votes are taken: as it is if only one is, else each with a seed of its own, drawn freely."""
    if votes == 1:
        return [request]
    update = {"temperature": max(request.temperature, FREELY)}
    return [request.model_copy(update=update | {"seed": (request.seed + i) % 2**32}) for i in range(votes)]


def most_frequent(answers: Sequence[str]) -> str:
    """The answer that was given most often, of several the one that came first."""
    return Counter(answers).most_common(1)[0][0]
