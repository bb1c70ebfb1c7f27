"""Consequences: the modulator writes what comes of an incident, and who is harmed, whether or not they notice."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, obj, one_of, parse_all, request, text, unique
from matrix_core.steps.memory import recall
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, THANKS, moment, shot

SYSTEM = (
    "You are the social modulator of a scene: you write what comes of an action. Say in one or two sentences what happens "
    "because of it to those whom it touches, in view of their traits, even if they do not notice. Then list those who are "
    "harmed. Many actions harm nobody: then say so, and the list is empty. Answer in JSON."
)


def pending(scene: Scene) -> list[int]:
    """Indices of the events that happen and have no consequence yet."""
    return [i for i, event in enumerate(scene.events) if event.feasible and event.consequence is None]


def schema(scene: Scene) -> dict[str, Any]:
    """The consequence first, then the names that follow from it."""
    return obj(consequence=text(400), harmed=one_of(scene.names))


def pocket(scene: Scene, event: Event) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    people = " ".join(f"{role.name}: {role.traits}." for role in scene.roles)
    return "consequence", f"{people} {event.actor}: {event.action}"


def full(scene: Scene, i: int) -> str:
    """A chat model's words about event `i`."""
    event = scene.events[i]
    people = ", ".join(f"{name} ({scene.role(name).traits})" for name in scene.names)
    return (
        f"Where: {scene.setting}\nPeople: {people}\nSo far: {recall(scene, None, before=i)}\n"
        f"Action of {event.actor}: {event.action}"
    )


SHOTS = [
    shot(full(moment(scene, i + 1), i), schema(scene), scene.events[i])
    for scene, i in ((BIRTHDAY, 0), (DESK, 0), (THANKS, 1), (SLUGS, 2))
]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for each event that waits."""
    out, bound = [], schema(scene)
    for i in pending(scene):
        system, user = pocket(scene, scene.events[i]) if settings.style == "pocket" else (SYSTEM, full(scene, i))
        out.append(request(scene, settings, "consequence", user, system=system, shots=SHOTS, schema=bound, salt=str(i)))
    return out


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Consequence and victims of each event."""
    events = list(scene.events)
    for i, answer in zip(pending(scene), parse_all(texts, [schema(scene)] * len(texts)), strict=True):
        update = {"consequence": answer["consequence"], "harmed": unique(answer["harmed"])}
        events[i] = events[i].model_copy(update=update)
    return scene.model_copy(update={"events": tuple(events)})


STEP = Step("consequence", 1, ask, absorb)
