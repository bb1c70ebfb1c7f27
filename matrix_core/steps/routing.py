"""Message routing: the modulator decides who can be aware of an action. Whoever is not told does not know of it."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, listed, obj, one_of, parse_all, request, unique
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, shot

SYSTEM = (
    "You are the social modulator of a scene: you decide who learns of an action. Name those who are present and can see, hear "
    "or otherwise notice it now. What is done secretly reaches nobody. Answer in JSON."
)


def pending(scene: Scene) -> list[int]:
    """Indices of the events that happen and have not been routed."""
    return [i for i, event in enumerate(scene.events) if event.feasible and event.aware is None]


def others(scene: Scene, event: Event) -> list[str]:
    """Everybody but the actor: those whom the message can reach."""
    return [name for name in scene.names if name != event.actor]


def schema(scene: Scene, event: Event) -> dict[str, Any]:
    """Names are bound to the scene's, so that no message is lost to another spelling."""
    return obj(aware=one_of(others(scene, event)))


def pocket(scene: Scene, event: Event) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "route", f"{listed(others(scene, event))}. {event.actor}: {event.action}"


def full(scene: Scene, event: Event) -> str:
    """A chat model's words."""
    people = "; ".join(f"{name} ({scene.role(name).status})" for name in others(scene, event))
    return f"Where: {scene.setting}\nPeople: {people}\nAction of {event.actor}: {event.action}"


SHOTS = [
    shot(full(scene, scene.events[i]), schema(scene, scene.events[i]), scene.events[i])
    for scene, i in ((SLUGS, 0), (DESK, 0), (BIRTHDAY, 0))
]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for each event that waits."""
    out = []
    for i in pending(scene):
        event = scene.events[i]
        system, user = pocket(scene, event) if settings.style == "pocket" else (SYSTEM, full(scene, event))
        asked = request(scene, settings, "routing", user, system=system, shots=SHOTS, schema=schema(scene, event), salt=str(i))
        out.append(asked)
    return out


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Who is aware of each event."""
    events = list(scene.events)
    waiting = pending(scene)
    for i, answer in zip(waiting, parse_all(texts, [schema(scene, events[i]) for i in waiting]), strict=True):
        events[i] = events[i].model_copy(update={"aware": unique(answer["aware"])})
    return scene.model_copy(update={"events": tuple(events)})


STEP = Step("routing", 1, ask, absorb)
