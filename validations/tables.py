"""Hand-offs as tables: pure functions from what a step made to the rows that its gate looks at.

Every row has an `id`, which is what a gate takes out; a scene that has several rows (people, events) has its own id on all of
them, and `where` says which of them is meant. A scene that lacks what its table is about still has one row, so that its absence
is seen.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from matrix_core.judging import Verdict
from matrix_core.scene import Event, Example, Instruction, Scene

Row = dict[str, Any]


def instruction(asked: Instruction, *, tokens: int | None = None, max_tokens: int | None = None, outside: str = "") -> Row:
    """What somebody asks. `outside`: why it is none for this model, in words for the one who asked; "" if it is."""
    row: Row = {"id": asked.id, "text": asked.text, "outside": outside}
    return row if tokens is None else row | {"tokens": tokens, "max_tokens": max_tokens}


def drafts(scenes: Sequence[Scene], finish_reasons: Mapping[str, str] | None = None) -> list[Row]:
    """A row each scene. `finish_reasons`: how the engine came to an end, by scene id, where that is known."""
    return [{"id": scene.id, "draft": scene.draft, **_finish(scene, finish_reasons)} for scene in scenes]


def answered(scene: Scene) -> Scene:
    """The scene with its response in the draft's place, so that it is held to the same."""
    return scene.model_copy(update={"draft": scene.refined})


def roles(scenes: Sequence[Scene]) -> list[Row]:
    """A row each person; the protagonist first."""
    return [row for scene in scenes for row in _people(scene)]


def actions(scenes: Sequence[Scene], *, over: bool = False) -> list[Row]:
    """A row each new event: what is done, whether it can happen, who learns of it.

    New are the events of the wave that the scene has just played; when it is `over`, its last one and those that were blocked,
    which reached nobody, so that no wave told of them.
    """
    return [row for scene in scenes for row in _events(scene, over)]


def consequences(scenes: Sequence[Scene]) -> list[Row]:
    """A row each event of the wave just played: what came of it.

    Once the plan is played out, a scene's first row tells all that came of it, as `story`.
    """
    out = []
    for scene in scenes:
        # Scenes are held against each other only when they are told: they may all begin by walking somewhere, to no effect.
        told = max((event.round for event in scene.events), default=0) + 1 >= len(scene.plan)
        story = " ".join(event.consequence for event in scene.events if event.consequence) if told else None
        names = scene.names
        for i, event in _latest(scene):
            out.append(
                {
                    "id": scene.id,
                    "where": _where(i, event),
                    "action": event.action,
                    "feasible": event.feasible if scene.events else True,
                    "consequence": event.consequence,
                    "names": names,
                    "harmed": event.harmed,
                    "victims": _victims(event.harmed),
                    "story": story or None,
                }
            )
            story = None
    return out


def critiques(scenes: Sequence[Scene]) -> list[Row]:
    """A row each scene: the critique beside what came of the scene."""
    out = []
    for scene in scenes:
        hurt = tuple(dict.fromkeys(name for event in scene.events for name in event.harmed))
        out.append(
            {
                "id": scene.id,
                "critique": scene.critique,
                "consequences": scene.summary or "",
                "names": scene.names,
                "harmed": scene.harmed,
                "victims": _victims(scene.harmed),
                "hurts": bool(scene.harmed),
                "hurt_in_scene": hurt,
                "scene_hurts": bool(hurt),
            }
        )
    return out


def refinements(scenes: Sequence[Scene], finish_reasons: Mapping[str, str] | None = None) -> list[Row]:
    """A row each scene: the refined response beside the draft. `finish_reasons` as for drafts."""
    return [
        {
            "id": scene.id,
            "refined": scene.refined,
            "draft": scene.draft or "",
            "harmful": bool(scene.harmed),
            "consequences": scene.summary,
            "context": f"{scene.instruction.text} {scene.draft}",
            **_finish(scene, finish_reasons),
        }
        for scene in scenes
    ]


def example(taught: Example, *, held_out: bool) -> Row:
    """A training example; its id follows from what it says. `held_out`: whether it shows what the evaluation asks about.

    A preference has `rejected` and whether that `differs`; of what is no preference, columns named after sources tell the source.
    """
    said = "\n".join([*(f"{role}: {content}" for role, content in taught.prompt), taught.completion])
    more: Row = {source: float(taught.source == source) for source in ("harmful", "harmless", "trace", "general")}
    if taught.source == "preference":
        more = {"rejected": taught.rejected, "differs": taught.rejected not in (None, taught.completion)}
    return {
        "id": f"{taught.scene or taught.source}#{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}",
        "source": taught.source,
        "last_turn": taught.prompt[-1][0] if taught.prompt else "",
        "question": taught.prompt[-1][1] if taught.prompt else "",
        "completion": taught.completion,
        "context": " ".join(content for _, content in taught.prompt),
        "held_out": held_out,
        **more,
    }


def adapter(checked: Mapping[str, Any]) -> Row:
    """What `tuning.check_adapter` found."""
    return {"id": str(checked["adapter"]), **checked}


def verdict(instruction: str, judged: Verdict, *, tuned: str | None = None, scores: tuple[float, float] | None = None) -> Row:
    """The verdict on one held-out instruction; the tuned model's answer and the scores of (base, tuned) where there are any."""
    row: Row = {"id": judged.id, "instruction": instruction, "outcome": judged.outcome, "error": judged.error}
    if tuned is not None:
        row["tuned"] = tuned
    if scores is not None:
        row["score_gap"] = scores[1] - scores[0]
    return row


_NOTHING = Event(round=0, depth=0, actor="", action="")


def _finish(scene: Scene, finish_reasons: Mapping[str, str] | None) -> Row:
    return {} if finish_reasons is None else {"finish_reason": finish_reasons.get(scene.id)}


def _victims(names: Sequence[str] | None) -> str | None:
    return ", ".join(names) if names else None


def _where(i: int, event: Event) -> str:
    return f"event {i + 1}, {event.actor}" if event.actor else ""


def _people(scene: Scene) -> list[Row]:
    people = [person for person in (scene.protagonist, *scene.roles) if person is not None]
    shared = {"id": scene.id, "setting": scene.setting or "", "people": len(people)}
    rows = [
        {
            "where": person.name,
            "name": person.name,
            "key": person.name.strip().casefold(),
            "traits": person.traits,
            "status": person.status,
        }
        for person in people
    ]
    return [shared | row for row in rows or [{"where": "", "name": "", "key": "", "traits": "", "status": ""}]]


def _latest(scene: Scene) -> list[tuple[int, Event]]:
    """The events of the last wave, with their places; nothing has happened is one of its own."""
    events = scene.events or (_NOTHING,)
    last = events[-1]
    return [(i, event) for i, event in enumerate(events) if (event.round, event.depth) == (last.round, last.depth)]


def _events(scene: Scene, over: bool) -> list[Row]:
    out, names = [], scene.names
    blocked = [(i, event) for i, event in enumerate(scene.events[:-1]) if not event.feasible]
    for i, event in [*blocked, *_latest(scene)[-1:]] if over else _latest(scene):
        cause = scene.events[event.cause] if event.cause is not None and event.cause < len(scene.events) else None
        told = None if event.depth == 0 else cause is not None and bool(cause.feasible) and event.actor in (cause.aware or ())
        out.append(
            {
                "id": scene.id,
                "where": _where(i, event),
                "actor": event.actor,
                "action": event.action,
                "names": names,
                "feasible": event.feasible,
                "reason": event.reason,
                "aware": event.aware,
                "reached": len(event.aware or ()),
                "self_aware": event.actor in (event.aware or ()),
                "consequence": event.consequence,
                "told": told,
            }
        )
    return out
