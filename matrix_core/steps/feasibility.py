"""Feasibility: the modulator decides whether an action can happen at all. What can't happen is kept as blocked, with the reason."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, obj, parse_all, request, text
from matrix_core.steps.memory import recall
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, moment, shot

SCHEMA: dict[str, Any] = obj(reason=text(240), feasible={"type": "boolean"})

SYSTEM = (
    "You are the social modulator of a scene: you decide what can happen. Can this action be done, given the place, what is at "
    "hand there, what has happened so far and common sense? Whether it is right or wrong does not matter. Give the reason "
    "first, then the verdict. Answer in JSON."
)


def pending(scene: Scene) -> list[int]:
    """Indices of the events that still wait for this verdict."""
    return [i for i, event in enumerate(scene.events) if event.feasible is None]


def pocket(scene: Scene, event: Event) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "feasible", f"{scene.setting} {recall(scene, None, 'pocket')} Now {event.actor}: {event.action}"


def full(scene: Scene, i: int) -> str:
    """A chat model's words about event `i`."""
    event = scene.events[i]
    return f"Where: {scene.setting}\nSo far: {recall(scene, None, before=i)}\nAction of {event.actor}: {event.action}"


SHOTS = [shot(full(moment(scene, i + 1), i), SCHEMA, scene.events[i]) for scene, i in ((DESK, 1), (SLUGS, 0), (BIRTHDAY, 0))]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for each event that waits."""
    out = []
    for i in pending(scene):
        system, user = pocket(scene, scene.events[i]) if settings.style == "pocket" else (SYSTEM, full(scene, i))
        out.append(request(scene, settings, "feasibility", user, system=system, shots=SHOTS, schema=SCHEMA, salt=str(i)))
    return out


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Verdict and reason; a blocked event reaches nobody and has no consequence."""
    events = list(scene.events)
    answers = parse_all(texts, [SCHEMA] * len(texts))
    for i, answer in zip(pending(scene), answers, strict=True):
        events[i] = events[i].model_copy(update=answer)
    return scene.model_copy(update={"events": tuple(events)})


STEP = Step("feasibility", 1, ask, absorb)
