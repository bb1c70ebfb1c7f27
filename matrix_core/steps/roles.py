"""Role initialisation: imagine who asks this and where, and whom it touches if the draft is followed (section 3.1 of the paper)."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Role, Scene, Settings
from matrix_core.steps.base import SAMPLING, AnswerError, Step, obj, opening, parse, request, text
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS, shot

_ROLE = obj(name=text(40), traits=text(120), status=text(120))

SYSTEM = (
    "You set up a small social scene. Imagine where the question is asked and what is at hand there, who asks it (the "
    "protagonist), and which other people are touched if the answer is followed. Each is a different person, with traits of "
    "their own and something that they are doing now. Answer in JSON."
)


def schema(settings: Settings) -> dict[str, Any]:
    """At most `settings.roles` people besides the protagonist; at least as many, up to three."""
    people = {"type": "array", "items": _ROLE, "minItems": min(settings.roles, 3), "maxItems": settings.roles}
    return obj(setting=text(300), protagonist=_ROLE, roles=people)


def pocket(scene: Scene, settings: Settings) -> tuple[str, str]:
    """The embedded model's words: (system, user)."""
    return "roles", f"{settings.roles}. {scene.instruction.text} {scene.draft}"


def full(scene: Scene, settings: Settings) -> str:
    """A chat model's words."""
    return (
        f"Answer: {opening(scene.draft, 400)}\nQuestion: {scene.instruction.text}\n"
        f"Name {settings.roles + 1} different people: who asks, somebody close, somebody near by, somebody else."
    )


SHOTS = [shot(full(scene, Settings(roles=len(scene.roles))), schema(Settings()), scene) for scene in (SLUGS, BIRTHDAY, DESK)]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request."""
    if settings.style == "pocket":
        system, user = pocket(scene, settings)
    else:
        system, user = SYSTEM, full(scene, settings)
    return [request(scene, settings, "roles", user, system=system, shots=SHOTS, schema=schema(settings), max_tokens=400)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Setting, protagonist and roles. Two people of one name can't be told apart: asked again, unless enough others remain.

    A small chat model names somebody twice more often than not; whom it names twice is one person then.
    """
    answer = parse(texts[0], schema(settings))
    people = [Role(**answer["protagonist"]), *(Role(**role) for role in answer["roles"])]
    keys = [" ".join(person.name.split()).casefold() for person in people]
    once: dict[str, Role] = {}
    for key, person in zip(keys, people, strict=True):
        once.setdefault(key, person)
    if len(once) < len(people):
        if settings.style == "pocket" or len(once) < 2:
            twice = next(person.name for key, person in zip(keys, people, strict=True) if keys.count(key) > 1)
            raise AnswerError({0: f"two people are called {twice!r}; give everybody a name of their own"})
        people = list(once.values())
    return scene.model_copy(update={"setting": answer["setting"], "protagonist": people[0], "roles": tuple(people[1:])})


STEP = Step("roles", 1, ask, absorb, settings=("roles", *SAMPLING))
