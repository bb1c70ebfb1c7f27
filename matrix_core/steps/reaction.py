"""Reactions: whoever was made aware of an action reacts in character, from what that role knows and from nothing else."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Step, obj, parse_all, request, text
from matrix_core.steps.memory import recall
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, moment, shot

SCHEMA: dict[str, Any] = obj(thought=text(240), action=text(200))

SYSTEM = (
    "You play one person in a scene. You know only what is told here. Say what you think (nobody hears it), then what you do "
    "or say, as one concrete action in the first person, in character. Answer in JSON."
)


def pending(scene: Scene, settings: Settings) -> list[tuple[int, str]]:
    """(index of the event, name of the role) for each role that noticed an event and has not reacted to it yet."""
    done = {(event.cause, event.actor) for event in scene.events}
    return [
        (i, name)
        for i, event in enumerate(scene.events)
        if event.feasible and event.depth < settings.reaction_depth
        for name in event.aware or ()
        if (i, name) not in done
    ]


def pocket(scene: Scene, event: Event, name: str) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "react", f"{name}: {scene.role(name).traits}. {event.actor}: {event.action}"


def full(scene: Scene, i: int, name: str) -> str:
    """A chat model's words to `name`, whom event `i` has reached."""
    me, event = scene.role(name), scene.events[i]
    return (
        f"You: {name}; {me.traits}; {me.status}\nWhere: {scene.setting}\nWhat you know so far: {recall(scene, name, before=i)}\n"
        f"Just now, {event.actor}: {event.action}"
    )


SHOTS = [
    shot(full(moment(scene, i), scene.events[i].cause or 0, scene.events[i].actor), SCHEMA, scene.events[i])
    for scene, i in ((SLUGS, 1), (BIRTHDAY, 2), (DESK, 3))
]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request for each role that an event has reached."""
    out = []
    for i, name in pending(scene, settings):
        system, user = pocket(scene, scene.events[i], name) if settings.style == "pocket" else (SYSTEM, full(scene, i, name))
        out.append(request(scene, settings, "reaction", user, system=system, shots=SHOTS, schema=SCHEMA, salt=f"{i} {name}"))
    return out


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The reactions, as events that the modulator still has to judge."""
    new = []
    answers = parse_all(texts, [SCHEMA] * len(texts))
    for (i, name), answer in zip(pending(scene, settings), answers, strict=True):
        cause = scene.events[i]
        new.append(Event(round=cause.round, depth=cause.depth + 1, actor=name, cause=i, **answer))
    return scene.model_copy(update={"events": (*scene.events, *new)})


STEP = Step("reaction", 1, ask, absorb)
