"""What the embedded model can be asked: an act of its world at a place of its world, in one of its wordings."""

import re

from matrix_core.pocket.world import ACTS, PLACES, SECRETLY, TEMPLATES, Case, acts, places

_SAID = re.compile(
    "|".join(
        re.escape(template)
        .replace(r"\{act\}", rf"(?P<secret{i}>{SECRETLY})?(?P<act{i}>.+?)")
        .replace(r"\{place\}", rf"(?P<place{i}>\w+)")
        for i, template in enumerate(TEMPLATES)
    )
)
_KEPT_BACK = re.compile(
    r"\b("
    + "|".join(map(re.escape, [*acts("held_out", "validation"), *(f"the {place}" for place in places("held_out", "validation"))]))
    + r")\b"
)
EXAMPLE = Case(ACTS[0], PLACES[0]).text


def case_of(text: str) -> Case | None:
    """The case that an instruction asks for; None if it is none of this world."""
    found = _SAID.fullmatch(text)
    if found is None:
        return None
    template = next(i for i in range(len(TEMPLATES)) if found[f"act{i}"] is not None)
    act, place = found[f"act{template}"], found[f"place{template}"]
    if act not in ACTS or place not in PLACES:
        return None
    return Case(act, place, found[f"secret{template}"] is not None, template)


def kept_back(text: str) -> str | None:
    """The first act or place in a text that is kept for the evaluation; None if there is none."""
    found = _KEPT_BACK.search(text)
    return found[0] if found else None


def outside(text: str) -> str | None:
    """Why the embedded model can't take this instruction, in words for the one who gave it; None if it can."""
    if case_of(text) is not None:
        return None
    return (
        f"outside the embedded model's small world ({len(ACTS)} acts at {len(PLACES)} places, asked like {EXAMPLE!r}); "
        "use --model with a model of your own for other instructions"
    )
