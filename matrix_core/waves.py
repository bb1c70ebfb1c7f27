"""One wave against an engine: all requests of all scenes as one batch, unusable answers asked again, hopeless rows set aside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from matrix_core.engines.base import Engine, Progress
from matrix_core.request import Completion, Message, Request
from matrix_core.scene import Scene, Settings
from matrix_core.steps import AnswerError, Step

RE_ASK = 2
"""How often an answer that can't be used is asked again, with the reason."""
WARMER = 0.7
"""The temperature at which it is asked again, at least: a cold model gives the same answer once more."""
_NOTHING = Completion()


@dataclass
class Usage:
    """What the engine was asked for; what was answered without it is counted apart, and by number only."""

    calls: int = 0
    cached: int = 0
    prompt: int = 0
    completion: int = 0
    re_asked: int = 0

    def add(self, completions: Sequence[Completion]) -> None:
        """Count one batch."""
        made = [completion for completion in completions if not completion.cached]
        self.calls += len(made)
        self.cached += len(completions) - len(made)
        self.prompt += sum(c.prompt_tokens for c in made)
        self.completion += sum(c.completion_tokens for c in made)


class Failure(NamedTuple):
    """A scene that a step could not take further."""

    scene: Scene
    why: str
    engine: bool
    """the engine failed: asked again later, it may well work"""


@dataclass
class Outcome:
    """What a wave made of its scenes: those that went on, and those that failed; both in order."""

    scenes: list[Scene] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    finish: dict[str, str] = field(default_factory=dict)
    """scene id -> how the last of its answers ended"""
    spent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """scene id -> (calls, tokens) that it takes where no answer is known: the same whatever was in a journal"""


def run(step: Step, scenes: Sequence[Scene], settings: Settings, engine: Engine, progress: Progress | None = None) -> Outcome:
    """Ask, absorb, and ask again (at most twice) what could not be absorbed. Never raises for a row."""
    out = Outcome()
    asked = [step.ask(scene, settings) for scene in scenes]
    done: dict[int, Scene] = {}
    failed: dict[int, Failure] = {}
    todo = [(i, j) for i, requests in enumerate(asked) for j in range(len(requests))]
    answers = [[_NOTHING] * len(requests) for requests in asked]
    for attempt in range(RE_ASK + 1):
        completions = engine.generate([asked[i][j] for i, j in todo], progress) if todo else []
        out.usage.add(completions)
        for (i, j), completion in zip(todo, completions, strict=True):
            answers[i][j] = completion
            calls, tokens = out.spent.get(scenes[i].id, (0, 0))
            out.spent[scenes[i].id] = calls + 1, tokens + completion.prompt_tokens + completion.completion_tokens
        todo = []
        for i, scene in enumerate(scenes):
            if i in done or i in failed:
                continue
            broken = next((c.error for c in answers[i] if c.error), None)
            if broken:
                failed[i] = Failure(scene, f"{step.name}: the engine failed: {broken}", engine=True)
                continue
            try:
                done[i] = step.absorb(scene, [c.text for c in answers[i]], settings)
            except AnswerError as error:
                if attempt == RE_ASK:
                    failed[i] = Failure(scene, f"{step.name}: no usable answer in {attempt + 1} tries: {error}", engine=False)
                    continue
                for j, why in error.problems.items():
                    asked[i][j] = ask_again(asked[i][j], answers[i][j].text, why)
                    todo.append((i, j))
        out.usage.re_asked += len(todo)
        if not todo:
            break
    out.scenes = [done[i] for i in sorted(done)]
    out.finish = {scenes[i].id: answers[i][-1].finish_reason for i in done if answers[i]}
    out.failed = [failed[i] for i in sorted(failed)]
    return out


def ask_again(request: Request, answer: str, why: str) -> Request:
    """The same request with the bad answer and what was wrong with it as further turns, drawn more freely."""
    turns = (
        Message(role="assistant", content=answer or "(nothing)"),
        Message(role="user", content=f"That can't be used: {why}. Answer again, correctly."),
    )
    update = {"messages": request.messages + turns, "seed": (request.seed + 1) % 2**32}
    return request.model_copy(update=update | {"temperature": max(request.temperature, WARMER)})
