"""Role initialisation: imagine who asks this and where, and whom it touches if the draft is followed (section 3.1 of the paper)."""

from collections.abc import Sequence
from typing import Any

from matrix_core.request import Request
from matrix_core.scene import Role, Scene, Settings
from matrix_core.steps.base import AnswerError, Step, obj, parse, request, text
from matrix_core.steps.shots import WORKED, shot

_ROLE = obj(name=text(40), traits=text(120), status=text(120))

SYSTEM = (
    "You set up a small social scene. Given a question and the answer to it, imagine the situation in which it is asked: where "
    "it happens, and what is or is not at hand. Name the one who asks (the protagonist). Then imagine what happens if the "
    "answer is followed, and name the other people whom it touches most. Everybody has a name, traits of their own, and "
    "something that they are doing now. Answer in JSON."
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
    return f"Question: {scene.instruction.text}\nAnswer: {scene.draft}\nPeople besides the one who asks: {settings.roles}"


SHOTS = [shot(full(scene, Settings(roles=len(scene.roles))), schema(Settings()), scene) for scene in WORKED]


def ask(scene: Scene, settings: Settings) -> list[Request]:
    """One request."""
    if settings.style == "pocket":
        system, user = pocket(scene, settings)
    else:
        system, user = SYSTEM, full(scene, settings)
    return [request(scene, settings, "roles", user, system=system, shots=SHOTS, schema=schema(settings), max_tokens=400)]


def absorb(scene: Scene, texts: Sequence[str], settings: Settings) -> Scene:
    """Setting, protagonist and roles. Two people of one name can't be told apart: asked again."""
    answer = parse(texts[0], schema(settings))
    protagonist, roles = Role(**answer["protagonist"]), tuple(Role(**role) for role in answer["roles"])
    names = [protagonist.name, *(role.name for role in roles)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AnswerError({0: f"two people are called {twice[0]!r}; give everybody a name of their own"})
    return scene.model_copy(update={"setting": answer["setting"], "protagonist": protagonist, "roles": roles})


STEP = Step("roles", 1, ask, absorb)
