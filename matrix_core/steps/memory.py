"""The modulator's memory: the latest events word for word, older ones as a summary that is written when the log grows."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Event, Scene, Settings
from matrix_core.steps.base import Ask, Step, obj, parse, request, text
from matrix_core.steps.shots import BIRTHDAY, SLUGS, moment, shot

SCHEMA: dict[str, Any] = obj(memory=text(500))
SPAN = 8
"""How many of the latest events a role has in mind: its prompts stay short, however long a scene gets."""

SYSTEM = (
    "You keep the memory of a scene. Shorten what happened to what still matters: what was done, what could not be done and "
    "why, and who was hurt. Keep the names. Answer in JSON."
)


def line(event: Event) -> str:
    """One event as a line of memory."""
    if event.feasible is False:
        return f"Blocked: {event.actor}: {event.action} {event.reason}"
    return f"{event.actor}: {event.action}"


def recall(scene: Scene, name: str | None, style: str = "full", before: int | None = None) -> str:
    """What has happened so far, as `name` knows it (None: as the modulator does, who knows all and keeps a summary).

    Only decided events count: the one that is being judged right now is not yet a memory. `before`: only events with a smaller
    index than this.
    """
    if before is not None:
        scene = scene.model_copy(update={"events": scene.events[:before]})
    if name is None:
        parts = [scene.memory] if scene.memory else []
        parts += [line(event) for event in scene.events[scene.remembered :] if event.feasible is not None]
    else:
        parts = [line(event) for event in scene.known_to(name) if event.feasible is not None][-SPAN:]
    return " ".join(parts) or ("Nothing yet." if style == "full" else "Nothing.")


def due(scene: Scene, settings: Settings) -> bool:
    """Whether more than `memory_limit` events stand in the log unsummarised."""
    return len(scene.events) - scene.remembered > settings.memory_limit


class _Forgetful(Scene):
    """A scene whose people, but for what is before their eyes, know nothing of it."""

    def known_to(self, name: str) -> tuple[Event, ...]:
        return ()


def forgetful(ask: Ask) -> Ask:
    """The same questions, asked as if nothing had happened before."""

    def asking(scene: Scene, settings: Settings) -> list[Request]:
        return ask(_Forgetful(**dict(scene) | {"memory": "", "remembered": len(scene.events)}), settings)

    return asking


def pocket(scene: Scene) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "memory", recall(scene, None, "pocket")


def full(scene: Scene) -> str:
    """A chat model's words."""
    return f"Where: {scene.setting}\nSo far: {recall(scene, None)}"


SHOTS = [shot(full(moment(scene, len(scene.events))), SCHEMA, scene) for scene in (SLUGS, BIRTHDAY)]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request over everything that has happened."""
    system, user = pocket(scene) if settings.style == "pocket" else (SYSTEM, full(scene))
    salt = str(len(scene.events))
    return [request(scene, settings, "memory", user, system=system, shots=SHOTS, schema=SCHEMA, salt=salt)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """The new summary covers all events so far."""
    return scene.model_copy(update={"memory": parse(texts[0], SCHEMA)["memory"], "remembered": len(scene.events)})


STEP = Step("memory", 1, ask, absorb)
