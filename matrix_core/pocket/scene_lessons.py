"""Lessons in every role of a scene: who is there, what can be done, who notices, what comes of it."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from matrix_core.pocket import language as say
from matrix_core.pocket.sample import (
    SIMULATED,
    SIMULATED_PLACES,
    SKILL,
    SKILL_PLACES,
    Sample,
    any_case,
    any_people,
    scene_of,
    step_of,
    to_json,
)
from matrix_core.pocket.world import (
    ASKERS,
    HURTFUL,
    LACKING,
    LACKS,
    PEOPLE,
    TOOL,
    TOOLS,
    Case,
)
from matrix_core.scene import Event, Role, Settings
from matrix_core.steps import action, consequence, feasibility, memory, plan, reaction, roles, routing, summary


def cast(rng: random.Random) -> Sample:
    """Who is there and what is lacking, from the instruction."""
    case, n = any_case(rng, SIMULATED, SIMULATED_PLACES), rng.choice((1, 2, 3, 3, 3, 5))
    settings = Settings(style="pocket", roles=n)
    return step_of("simulation", "roles", roles.pocket(scene_of(case, []), settings), to_json(say.cast(case, n)))


def planning(rng: random.Random) -> Sample:
    """Target and plan: the last K steps of the draft."""
    case, k = any_case(rng, SIMULATED, SIMULATED_PLACES), rng.choice((1, 2, 3, 3, 3, 5))
    answer = {"target": f"{case.done} at the {case.place}", "plan": say.plan(case)[-k:]}
    return step_of("simulation", "plan", plan.pocket(scene_of(case, []), Settings(style="pocket", steps=k)), to_json(answer))


def acting(rng: random.Random) -> Sample:
    """A plan step, done in the first person."""
    step = rng.choice(say.plan(any_case(rng, SIMULATED, SIMULATED_PLACES)))
    return step_of("simulation", "act", action.pocket(step), to_json({"action": say.as_action(step)}))


class _Log(NamedTuple):
    """The first steps of an invented scene, as the modulator remembers them."""

    place: str
    lacks: tuple[str, ...]
    tool: str
    asker: str
    events: tuple[Event, ...]


def _log(rng: random.Random, rounds: int, whole: bool = False) -> _Log:
    """Up to `rounds` of: go there, take a tool (or fail to); with some of the reactions."""
    place, asker, crowd = rng.choice(SIMULATED_PLACES), rng.choice(ASKERS), rng.sample(PEOPLE, 3)
    lacks = LACKS[place] if rng.random() < 0.3 else tuple(rng.sample(TOOLS, LACKING))
    tool = rng.choice(lacks) if rng.random() < 0.4 else rng.choice(TOOLS)
    events: list[Event] = []
    for i, step in enumerate([f"I go to the {place}.", f"I take the {tool}."][:rounds]):
        blocked = i == 1 and tool in lacks
        reason = say.availability(tool, lacks) if i == 1 else say.FREE
        events.append(Event(round=i, depth=0, actor=asker, action=step, feasible=not blocked, reason=reason))
        if not blocked:
            shouting = rng.random() < 0.1
            for who in crowd if whole or rng.random() < 0.7 else rng.sample(crowd, rng.randrange(3)):
                said = say.SHOUT if shouting and rng.random() < 0.5 else say.GO_ON
                events.append(Event(round=i, depth=1, actor=who, action=said, feasible=True, cause=0))
    return _Log(place, lacks, tool, asker, tuple(events))


def checking(rng: random.Random) -> Sample:
    """Can it be done, given what is lacking and what has happened."""
    rounds = rng.choice((0, 1, 1, 2, 2))
    log = _log(rng, rounds)
    where = log.events
    if rng.random() < 0.25 and where:
        where, told = (), _remembered(where)
    else:
        told = ""
    asker, verdict, why = log.asker, True, say.FREE
    if rounds == 0:
        now = f"I go to the {log.place}."
        if rng.random() < 0.3:
            now = f"I take the {log.tool}."
    elif rounds == 1:
        now = f"I take the {log.tool}."
    else:
        now = say.as_action(say.plan(any_case(rng, SIMULATED, [log.place]))[2])
    if now.startswith("I take"):
        verdict = log.tool not in log.lacks
        why = say.availability(log.tool, log.lacks)
    elif rounds == 2 and log.tool in log.lacks:
        verdict, why = False, say.missing(log.tool)
    if rng.random() < 0.2:
        if verdict and rng.random() < 0.7:
            where = (*where, Event(round=2, depth=0, actor=asker, action=now, feasible=True, reason=why))
        asker, now, verdict, why = rng.choice(PEOPLE), rng.choice((say.GO_ON, say.SHOUT)), True, say.FREE
    scene = scene_of(Case(SKILL[0], SKILL_PLACES[0]), [], setting=say.setting(log.place, log.lacks), events=where, memory=told)
    prompt = feasibility.pocket(scene, Event(round=0, depth=0, actor=asker, action=now))
    return step_of("simulation", "feasible", prompt, to_json({"reason": why, "feasible": verdict}))


def _remembered(events: Sequence[Event]) -> str:
    """The memory of a log: going on with one's work is not worth remembering."""
    return " ".join(memory.line(event) for event in events if event.action != say.GO_ON) or "Nothing."


def remembering(rng: random.Random) -> Sample:
    """What still matters of a long log."""
    log = _log(rng, 2, whole=True)
    events = list(log.events)
    if rng.random() < 0.7:
        act = say.as_action(say.plan(any_case(rng, SIMULATED, [log.place]))[2])
        blocked = log.tool in log.lacks
        reason = say.missing(log.tool) if blocked else say.FREE
        events.append(Event(round=2, depth=0, actor=log.asker, action=act, feasible=not blocked, reason=reason))
        if not blocked and "secretly" not in act:
            for who in rng.sample(PEOPLE, 3):
                said = say.SHOUT if rng.random() < 0.3 else say.GO_ON
                events.append(Event(round=2, depth=1, actor=who, action=said, feasible=True, cause=0))
    old = rng.choice((0, 0, 3))
    scene = scene_of(Case(SKILL[0], SKILL_PLACES[0]), [], events=tuple(events), remembered=old)
    if old:
        scene = scene.model_copy(update={"memory": _remembered(events[:old])})
    prompt = ("memory", memory.recall(scene, None, "pocket"))
    return step_of("simulation", "memory", prompt, to_json({"memory": _remembered(events)}))


def distributing(rng: random.Random) -> Sample:
    """Who notices: all for what is done openly or shouted; nobody for what is secret or of no note."""
    asker, crowd = rng.choice(ASKERS), rng.sample(PEOPLE, rng.choice((1, 2, 3, 3, 3)))
    if rng.random() < 0.7:
        case = any_case(rng, SIMULATED, SIMULATED_PLACES)
        if rng.random() < 0.3:
            case = case._replace(secret=True)
        act, actor, audible = say.as_action(rng.choice(say.plan(case)[-1:] * 3 + say.plan(case)[:2])), asker, True
        audible = "secretly" not in act
    else:
        act, actor = rng.choice((say.GO_ON, say.SHOUT)), crowd[0]
        audible = act == say.SHOUT
    scene = scene_of(Case(SKILL[0], SKILL_PLACES[0]), [(who, ("noise", "cold")) for who in crowd])
    scene = scene.model_copy(update={"protagonist": Role(name=asker, traits=".", status=".")})
    event = Event(round=0, depth=0, actor=actor, action=act)
    heard = routing.others(scene, event) if audible else []
    return step_of("simulation", "route", routing.pocket(scene, event), to_json({"aware": heard}))


def _deed(rng: random.Random, likely: float = 0.8) -> tuple[str, str | None]:
    """Something that is done, and the effect that it brings (None: none)."""
    case = any_case(rng, SIMULATED, SIMULATED_PLACES)
    if rng.random() < likely:
        return say.as_action(say.plan(case)[2]), case.effect
    return say.as_action(rng.choice(say.plan(case)[:2])), None


def _crowd_for(rng: random.Random, effect: str | None, n: int) -> list[say.Profile]:
    """People for a scene, one of whom can't bear the effect about half of the time."""
    people = any_people(rng, n) if rng.random() < 0.7 else say.profiles(rng.choice(SIMULATED_PLACES), n)
    if effect in HURTFUL and rng.random() < 0.35:
        i, (other, _) = rng.randrange(len(people)), rng.sample([e for e in HURTFUL if e != effect], 2)
        people[i] = (people[i][0], (effect, other) if rng.random() < 0.5 else (other, effect))
    return people


def reacting(rng: random.Random) -> Sample:
    """One person, and what they have just noticed."""
    deed, effect = _deed(rng)
    ((who, weak),) = _crowd_for(rng, effect, 1)
    scene = scene_of(Case(SKILL[0], SKILL_PLACES[0]), [(who, weak)])
    prompt = reaction.pocket(scene, Event(round=0, depth=0, actor=rng.choice(ASKERS), action=deed), who)
    answer = {"thought": say.felt(weak, effect) if effect else say.NOTHING, "action": say.SHOUT if effect in weak else say.GO_ON}
    return step_of("simulation", "react", prompt, to_json(answer))


def following(rng: random.Random) -> Sample:
    """What comes of an act to everybody who is there."""
    deed, effect = _deed(rng)
    people = _crowd_for(rng, effect, rng.choice((1, 2, 3, 3, 3)))
    actor = rng.choice(ASKERS)
    if effect is None and rng.random() < 0.6:
        deed, actor = rng.choice((say.GO_ON, say.SHOUT)), people[0][0]
    scene = scene_of(Case(SKILL[0], SKILL_PLACES[0]), people)
    prompt = consequence.pocket(scene, Event(round=0, depth=0, actor=actor, action=deed))
    text = say.consequence(people, effect) if effect else say.NOTHING
    return step_of(
        "simulation", "consequence", prompt, to_json({"consequence": text, "harmed": say.hurt(people, effect) if effect else []})
    )


def summing(rng: random.Random) -> Sample:
    """The scene as a whole: what is lacking, whether it could be done, what it brought to whom, who was warned."""
    case = any_case(rng, SIMULATED, SIMULATED_PLACES)
    people = _crowd_for(rng, case.effect, rng.choice((1, 2, 3, 3, 3)))
    lacks = LACKS[case.place] if rng.random() < 0.4 else tuple(rng.sample(TOOLS, LACKING))
    k = rng.choice((1, 2, 3, 3, 3, 3))
    tool = TOOL[case.act] if k > 1 else None
    if tool and rng.random() < 0.15:
        tool = rng.choice(lacks)
    steps = [say.as_action(step) for step in say.plan(case)[-k:]]
    if tool:
        steps[-2] = f"I take the {tool}."
    blocked = tool in lacks
    crowd = tuple(who for who, _ in people)
    events = []
    for i, step in enumerate(steps):
        event = Event(round=i, depth=0, actor="visitor", action=step, feasible=True, consequence=say.NOTHING, aware=crowd)
        if blocked and i >= k - 2:
            event = Event(round=i, depth=0, actor="visitor", action=step, feasible=False, reason=say.missing(tool or ""))
        elif i == k - 1:
            event = event.model_copy(
                update={"consequence": say.consequence(people, case.effect), "aware": () if case.secret else crowd}
            )
        events.append(event)
    scene = scene_of(case, people, setting=say.setting(case.place, lacks), events=tuple(events))
    answer = say.summary(case.place, lacks, tool, case.effect, people, case.secret)
    return step_of("simulation", "summary", summary.pocket(scene), to_json({"summary": answer}))
