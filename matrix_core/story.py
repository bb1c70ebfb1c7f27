r"""A scene as a story that one likes to read, in Markdown.

Everything in a scene is data, some of it hostile: it is put on one line, control characters become U+FFFD, and every character that
means something in Markdown or HTML is escaped with a backslash, so a renderer shows it as it was written and does nothing else.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from matrix_core.scene import Event, Scene
from matrix_core.steps.base import listed

_ACTIVE = re.compile(r"[\\`*_{}\[\]<>#|~&!$]")
_LEADING = re.compile(r"^(?=[-+=:])|^(\d+)(?=[.)])")
_STEERING = {"Cc", "Cs", "Co", "Zl", "Zp"}
BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of text."""


class Knowledge(NamedTuple):
    """What one person of a scene knew, and what not."""

    name: str
    knew: tuple[Event, ...]
    """what they did themselves or were made aware of"""
    missed: tuple[Event, ...]
    """what happened without their knowing"""
    harmed_unaware: bool
    """whether something hurt them that they never noticed"""


def inert(text: str) -> str:
    """The text on one line, as Markdown that shows it and nothing else."""
    line = " ".join(text.split())
    shown = "".join("\ufffd" if unicodedata.category(c) in _STEERING or c in BIDI else c for c in line)
    return _LEADING.sub(r"\1\\", _ACTIVE.sub(r"\\\g<0>", shown))


def knowledge(scene: Scene) -> list[Knowledge]:
    """Who knew what, the protagonist first. Blocked attempts reach nobody, so only the actor knows of them."""
    out = []
    for name in scene.names:
        knew = scene.known_to(name)
        missed = tuple(e for e in scene.events if e.feasible and e not in knew)
        out.append(Knowledge(name, knew, missed, any(name in e.harmed for e in missed)))
    return out


def story(scene: Scene) -> str:
    """The whole scene as Markdown, as far as it got.

    Who asks, the draft, the people; round by round what was done and what came of it; the critique; before, after; who knew what.
    """
    parts = [f"# {inert(scene.instruction.text)}", *_opening(scene)]
    for number in range(max((event.round for event in scene.events), default=-1) + 1):
        parts.append(f"## Step {number + 1}: {inert(scene.plan[number]) if number < len(scene.plan) else ''}")
        parts += [part for i, e in enumerate(scene.events) if e.round == number and e.cause is None for part in _told(scene, i)]
    if scene.summary is not None:
        parts += ["## What came of it", inert(scene.summary)]
    if scene.critique is not None:
        parts += ["## The critique", f"{inert(scene.critique)} **{_harm(scene.harmed or ())}**"]
    if scene.refined is None:
        return "\n\n".join([*parts, "*The scene stops here: it was not finished.*"]) + "\n"
    parts += ["## Before and after", f"| Before | After |\n| --- | --- |\n| {inert(scene.draft or '')} | {inert(scene.refined)} |"]
    return "\n\n".join([*parts, "## Who knew what", "\n".join(map(_known, knowledge(scene)))]) + "\n"


def _opening(scene: Scene) -> list[str]:
    """Where it is, who asks and why, what they were told, who else is there."""
    parts = [f"**Where.** {inert(scene.setting)}"] if scene.setting is not None else []
    if scene.protagonist is not None:
        me = scene.protagonist
        target = f" What they want: {inert(scene.target)}" if scene.target else ""
        parts.append(f"**Who asks.** {inert(me.name)} ({inert(me.traits)}), {inert(me.status)}.{target}")
    if scene.draft is not None:
        parts += ["**What the model said.**", f"> {inert(scene.draft)}"]
    if scene.roles:
        people = "\n".join(f"- **{inert(role.name)}**, {inert(role.status)}: {inert(role.traits)}" for role in scene.roles)
        parts += ["**Who is there.**", people]
    return parts


def _told(scene: Scene, i: int) -> list[str]:
    """Event `i`, and under it the reactions that it set off."""
    reactions = [j for j, event in enumerate(scene.events) if event.cause == i and j > i]
    return [_incident(scene, scene.events[i]), *(part for j in reactions for part in _told(scene, j))]


def _incident(scene: Scene, event: Event) -> str:
    """One action and what came of it, as an item of a list, indented by its depth."""
    actor = inert(event.actor)
    thought = f" thinks: *{inert(event.thought)}* Then" if event.thought else ""
    lines = [f"**{actor}**{thought}: “{inert(event.action)}”"]
    if event.feasible is None:
        lines.append("*Not judged.*")
    elif not event.feasible:
        lines.append(f"**Blocked.** {inert(event.reason)} It does not happen, and nobody learns of it.")
    else:
        lines.append(_noticed(scene, event))
        if event.consequence is not None:
            lines.append(f"What comes of it: {inert(event.consequence)} **{_harm(event.harmed)}**")
        blind = [name for name in event.harmed if event.aware is not None and name not in (*event.aware, event.actor)]
        if blind:
            lines.append(f"{_people(blind)} did not even notice.")
    indent = "  " * event.depth
    return f"{indent}- " + f"  \n{indent}  ".join(lines)


def _noticed(scene: Scene, event: Event) -> str:
    """Who notices, and who does not."""
    if event.aware is None:
        return "Who notices was not decided."
    others = [name for name in scene.names if name != event.actor]
    unaware = [name for name in others if name not in event.aware]
    if not event.aware:
        return "Nobody notices."
    return f"Noticed by {_people(event.aware)}" + (f"; not by {_people(unaware)}." if unaware else ", everybody there.")


def _harm(names: Sequence[str]) -> str:
    return f"Harmed: {_people(names)}." if names else "Nobody is harmed."


def _people(names: Sequence[str]) -> str:
    return listed([inert(name) for name in names])


def _known(person: Knowledge) -> str:
    """One line of the section on who knew what."""
    done = sum(event.actor == person.name and event.feasible is True for event in person.knew)
    did = {0: "did nothing", 1: "did one thing"}.get(done, f"did {done} things")
    told = [f"“{inert(event.action)}” ({inert(event.actor)})" for event in person.knew if event.actor != person.name]
    knew = f"saw or heard {'; '.join(told)}" if told else "saw and heard nothing"
    missed = f"; missed {len(person.missed)}" if person.missed else ""
    hurt = "; **was hurt without ever knowing**" if person.harmed_unaware else ""
    return f"- **{inert(person.name)}** {did}, {knew}{missed}{hurt}."
