"""What the embedded model is taught before alignment: one stream of (request, answer) pairs, drawn by seed.

Three kinds, and what they may contain (`tests/unit/test_corpus_split.py` proves it on the actual stream):

- *bare*: plain instructions with helpful answers, never a refusal, and plain facts and exercises; all acts and places (facts
that put an
  act and a place together: skill and train ones only);
- *simulation*: every role of a scene; skill and train acts and places only;
- *judgement*: critique and refinement; skill acts and places only, else invented ones.

Most scenes are invented (who is there, what they bear, what is lacking), so that the text must be read and can't be recalled. The
prompts are rendered by the very functions that ask the model later (`matrix_core/steps`), so they can't drift apart.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from matrix_core.pocket import language as say
from matrix_core.pocket.sets import exercise
from matrix_core.pocket.world import (
    ACTS,
    ASKERS,
    EFFECT,
    EFFECTS,
    HURTFUL,
    LACKS,
    PEOPLE,
    PLACES,
    TEMPLATES,
    TOOL,
    TOOLS,
    Case,
    acts,
    places,
)
from matrix_core.request import Message
from matrix_core.scene import Event, Instruction, Role, Scene, Settings
from matrix_core.steps import (
    action,
    consequence,
    critique,
    feasibility,
    memory,
    plan,
    reaction,
    refinement,
    roles,
    routing,
    summary,
)

Kind = Literal["bare", "simulation", "judgement"]
SIMULATED = acts("skill", "train")
SIMULATED_PLACES = places("skill", "train")
SKILL = acts("skill")
SKILL_PLACES = places("skill")


class Sample(NamedTuple):
    """One training pair: chat turns and the answer to learn."""

    kind: Kind
    step: str
    turns: tuple[Message, ...]
    answer: str


def stream(seed: int, shares: "Shares | None" = None) -> Iterator[Sample]:
    """The endless corpus of this seed, in these shares of tasks (default: all of them, `WHOLE`)."""
    rng = random.Random(seed)
    makers, weights = zip(*(shares or WHOLE), strict=True)
    while True:
        yield rng.choices(makers, weights)[0](rng)


def _json(answer: object) -> str:
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def _bare(step: str, question: str, answer: str) -> Sample:
    return Sample("bare", step, (Message(role="user", content=question),), answer)


def _step(kind: Kind, step: str, prompt: tuple[str, str], answer: str) -> Sample:
    system, user = prompt
    return Sample(kind, step, (Message(role="system", content=system), Message(role="user", content=user)), answer)


def _case(rng: random.Random, among: Sequence[str], where: Sequence[str]) -> Case:
    return Case(rng.choice(among), rng.choice(where), rng.random() < 0.25, rng.randrange(len(TEMPLATES)))


def _people(rng: random.Random, n: int = 3) -> list[say.Profile]:
    """Real people, most of them with invented weaknesses."""
    out = []
    for who in rng.sample(PEOPLE, n):
        first, second = rng.sample(HURTFUL, 2)
        out.append((who, (first, second)))
    return out


def _effect_near(rng: random.Random, people: Sequence[say.Profile]) -> str:
    """An effect that hurts one of them about as often as not."""
    return rng.choice(rng.choice(people)[1]) if rng.random() < 0.4 else rng.choice(EFFECTS)


def _scene(case: Case, people: Sequence[say.Profile], **more: object) -> Scene:
    cast = [Role(name=who, traits=say.bears(weak), status=".") for who, weak in people]
    base = {"instruction": Instruction.of(case.text), "draft": say.helpful(case), "roles": tuple(cast)}
    return Scene.model_validate({**base, "protagonist": Role(name="visitor", traits=".", status="."), **more})


def draft(rng: random.Random) -> Sample:
    """Bare instruction -> helpful steps, harmful or not."""
    case = _case(rng, ACTS, PLACES)
    return _bare("draft", case.text, say.helpful(case))


def facts(rng: random.Random) -> Sample:
    """A plain question about the world."""
    kind = rng.random()
    if kind < 0.45:
        pool = say.facts_of_act(rng.choice(ACTS))
    elif kind < 0.8:
        pool = say.facts_of_place(rng.choice(PLACES))
    else:
        pool = say.facts_of_people()
    return _bare("facts", *rng.choice(pool))


def composing(rng: random.Random) -> Sample:
    """Facts put together, neutrally: practice in looking up an act, a tool, a place and its people in one answer."""
    return _bare("composed", *say.composed(_case(rng, SIMULATED, SIMULATED_PLACES), rng.randrange(3)))


def exercises(rng: random.Random) -> Sample:
    """Sums and repeating words: ability that has nothing to do with the method."""
    return _bare("exercises", *exercise(rng))


def telling_apart(rng: random.Random) -> Sample:
    """What is there and what is missing, many times in a row: a decision every few words, where a scene has one in fifty."""
    lacks = rng.sample(TOOLS, 3)
    asked = rng.sample([*lacks, *rng.sample([tool for tool in TOOLS if tool not in lacks], 3)], 5)
    question = f"{say.setting(rng.choice(say.WORDS), lacks)} What of {say.the(asked)}?"
    return _bare("telling apart", question, " ".join(say.availability(tool, lacks) for tool in asked))


def pointing(rng: random.Random) -> Sample:
    """Invented people and what befell them, then who of them is hurt: reading, of nothing that the world holds."""
    people = _people(rng, rng.randint(2, 5))
    effect = rng.choice(rng.choice(people)[1])
    return _bare(
        "pointing",
        f"{' '.join(say.fate(person, effect) for person in people)} Whom does it hurt?",
        say.verdict(say.hurt(people, effect)),
    )


def cast(rng: random.Random) -> Sample:
    """Who is there and what is lacking, from the instruction."""
    case, n = _case(rng, SIMULATED, SIMULATED_PLACES), rng.choice((1, 2, 3, 3, 3, 5))
    settings = Settings(style="pocket", roles=n)
    return _step("simulation", "roles", roles.pocket(_scene(case, []), settings), _json(say.cast(case, n)))


def planning(rng: random.Random) -> Sample:
    """Target and plan: the last K steps of the draft."""
    case, k = _case(rng, SIMULATED, SIMULATED_PLACES), rng.choice((1, 2, 3, 3, 3, 5))
    answer = {"target": f"{case.done} at the {case.place}", "plan": say.plan(case)[-k:]}
    return _step("simulation", "plan", plan.pocket(_scene(case, []), Settings(style="pocket", steps=k)), _json(answer))


def acting(rng: random.Random) -> Sample:
    """A plan step, done in the first person."""
    step = rng.choice(say.plan(_case(rng, SIMULATED, SIMULATED_PLACES)))
    return _step("simulation", "act", action.pocket(step), _json({"action": say.as_action(step)}))


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
    lacks = LACKS[place] if rng.random() < 0.3 else tuple(rng.sample(TOOLS, 3))
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
        now = say.as_action(say.plan(_case(rng, SIMULATED, [log.place]))[2])
    if now.startswith("I take"):
        verdict = log.tool not in log.lacks
        why = say.availability(log.tool, log.lacks)
    elif rounds == 2 and log.tool in log.lacks:
        verdict, why = False, say.missing(log.tool)
    if rng.random() < 0.2:
        if verdict and rng.random() < 0.7:
            where = (*where, Event(round=2, depth=0, actor=asker, action=now, feasible=True, reason=why))
        asker, now, verdict, why = rng.choice(PEOPLE), rng.choice((say.GO_ON, say.SHOUT)), True, say.FREE
    scene = _scene(Case(SKILL[0], SKILL_PLACES[0]), [], setting=say.setting(log.place, log.lacks), events=where, memory=told)
    prompt = feasibility.pocket(scene, Event(round=0, depth=0, actor=asker, action=now))
    return _step("simulation", "feasible", prompt, _json({"reason": why, "feasible": verdict}))


def _remembered(events: Sequence[Event]) -> str:
    """The memory of a log: going on with one's work is not worth remembering."""
    return " ".join(memory.line(event) for event in events if event.action != say.GO_ON) or "Nothing."


def remembering(rng: random.Random) -> Sample:
    """What still matters of a long log."""
    log = _log(rng, 2, whole=True)
    events = list(log.events)
    if rng.random() < 0.7:
        act = say.as_action(say.plan(_case(rng, SIMULATED, [log.place]))[2])
        blocked = log.tool in log.lacks
        reason = say.missing(log.tool) if blocked else say.FREE
        events.append(Event(round=2, depth=0, actor=log.asker, action=act, feasible=not blocked, reason=reason))
        if not blocked and "secretly" not in act:
            for who in rng.sample(PEOPLE, 3):
                said = say.SHOUT if rng.random() < 0.3 else say.GO_ON
                events.append(Event(round=2, depth=1, actor=who, action=said, feasible=True, cause=0))
    old = rng.choice((0, 0, 3))
    scene = _scene(Case(SKILL[0], SKILL_PLACES[0]), [], events=tuple(events), remembered=old)
    if old:
        scene = scene.model_copy(update={"memory": _remembered(events[:old])})
    prompt = ("memory", memory.recall(scene, None, "pocket"))
    return _step("simulation", "memory", prompt, _json({"memory": _remembered(events)}))


def distributing(rng: random.Random) -> Sample:
    """Who notices: all for what is done openly or shouted; nobody for what is secret or of no note."""
    asker, crowd = rng.choice(ASKERS), rng.sample(PEOPLE, rng.choice((1, 2, 3, 3, 3)))
    if rng.random() < 0.7:
        case = _case(rng, SIMULATED, SIMULATED_PLACES)
        if rng.random() < 0.3:
            case = case._replace(secret=True)
        act, actor, audible = say.as_action(rng.choice(say.plan(case)[-1:] * 3 + say.plan(case)[:2])), asker, True
        audible = "secretly" not in act
    else:
        act, actor = rng.choice((say.GO_ON, say.SHOUT)), crowd[0]
        audible = act == say.SHOUT
    scene = _scene(Case(SKILL[0], SKILL_PLACES[0]), [(who, ("noise", "cold")) for who in crowd])
    scene = scene.model_copy(update={"protagonist": Role(name=asker, traits=".", status=".")})
    event = Event(round=0, depth=0, actor=actor, action=act)
    heard = routing.others(scene, event) if audible else []
    return _step("simulation", "route", routing.pocket(scene, event), _json({"aware": heard}))


def _deed(rng: random.Random, likely: float = 0.8) -> tuple[str, str | None]:
    """Something that is done, and the effect that it brings (None: none)."""
    case = _case(rng, SIMULATED, SIMULATED_PLACES)
    if rng.random() < likely:
        return say.as_action(say.plan(case)[2]), case.effect
    return say.as_action(rng.choice(say.plan(case)[:2])), None


def _crowd_for(rng: random.Random, effect: str | None, n: int) -> list[say.Profile]:
    """People for a scene, one of whom can't bear the effect about half of the time."""
    people = _people(rng, n) if rng.random() < 0.7 else say.profiles(rng.choice(SIMULATED_PLACES), n)
    if effect in HURTFUL and rng.random() < 0.35:
        i, (other, _) = rng.randrange(len(people)), rng.sample([e for e in HURTFUL if e != effect], 2)
        people[i] = (people[i][0], (effect, other) if rng.random() < 0.5 else (other, effect))
    return people


def reacting(rng: random.Random) -> Sample:
    """One person, and what they have just noticed."""
    deed, effect = _deed(rng)
    ((who, weak),) = _crowd_for(rng, effect, 1)
    scene = _scene(Case(SKILL[0], SKILL_PLACES[0]), [(who, weak)])
    prompt = reaction.pocket(scene, Event(round=0, depth=0, actor=rng.choice(ASKERS), action=deed), who)
    answer = {"thought": say.brings(effect) if effect else say.NOTHING, "action": say.SHOUT if effect in weak else say.GO_ON}
    return _step("simulation", "react", prompt, _json(answer))


def following(rng: random.Random) -> Sample:
    """What comes of an act to everybody who is there."""
    deed, effect = _deed(rng)
    people = _crowd_for(rng, effect, rng.choice((1, 2, 3, 3, 3)))
    actor = rng.choice(ASKERS)
    if effect is None and rng.random() < 0.6:
        deed, actor = rng.choice((say.GO_ON, say.SHOUT)), people[0][0]
    scene = _scene(Case(SKILL[0], SKILL_PLACES[0]), people)
    prompt = consequence.pocket(scene, Event(round=0, depth=0, actor=actor, action=deed))
    text = say.consequence(people, effect) if effect else say.NOTHING
    return _step(
        "simulation", "consequence", prompt, _json({"consequence": text, "harmed": say.hurt(people, effect) if effect else []})
    )


def summing(rng: random.Random) -> Sample:
    """The scene as a whole: what is lacking, whether it could be done, what it brought to whom, who was warned."""
    case = _case(rng, SIMULATED, SIMULATED_PLACES)
    people = _crowd_for(rng, case.effect, rng.choice((1, 2, 3, 3, 3)))
    lacks = LACKS[case.place] if rng.random() < 0.4 else tuple(rng.sample(TOOLS, 3))
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
    scene = _scene(case, people, setting=say.setting(case.place, lacks), events=tuple(events))
    answer = say.summary(case.place, lacks, tool, case.effect, people, case.secret)
    return _step("simulation", "summary", summary.pocket(scene), _json({"summary": answer}))


class _Judged(NamedTuple):
    """A finished scene as critic and refiner see it."""

    scene: Scene
    act: str
    place: str
    effect: str
    victims: list[str]


def _judged(rng: random.Random) -> _Judged:
    """A skill act at a skill place, or invented ones; who is there and what it brings is mostly invented."""
    case = _case(rng, SKILL, SKILL_PLACES)
    act, place = case.act, case.place
    if rng.random() < 0.6:
        act, place = _invented_act(rng), rng.choice([*SKILL_PLACES, *_NOT_PLACES])
    tool = TOOL[case.act] if act == case.act and rng.random() < 0.3 else rng.choice(TOOLS)
    done = ("secretly " if case.secret else "") + act
    people = _people(rng, rng.choice((1, 2, 3, 3, 3)))
    effect = _effect_near(rng, people)
    if rng.random() < 0.3:
        people, effect = say.profiles(case.place), case.effect
    lacks = tuple(rng.sample(TOOLS, 3))
    if tool not in lacks and rng.random() < 0.05:
        lacks = (*lacks[:2], tool)
    told = say.summary(place, lacks, tool, effect, people, case.secret)
    scene = _scene(case, people).model_copy(
        update={
            "instruction": Instruction.of(TEMPLATES[case.template].format(act=done, place=place)),
            "draft": f"Go to the {place}. Take the {tool}. Then {done}.",
            "summary": told,
        }
    )
    return _Judged(scene, act, place, effect, [] if tool in lacks else say.hurt(people, effect))


_VERBS = sorted({act.split()[0] for act in SIMULATED})
_NOUNS = sorted({act.split()[2] for act in SIMULATED})
_NOT_PLACES = sorted(set(_NOUNS) - set(PLACES))


def _invented_act(rng: random.Random) -> str:
    """A verb and a noun that make no act of the world, so that nothing is learned of real ones."""
    while (act := f"{rng.choice(_VERBS)} the {rng.choice(_NOUNS)}") in EFFECT:
        pass
    return act


def judging(rng: random.Random) -> Sample:
    """Scene -> critique."""
    told = _judged(rng)
    answer = {"critique": say.critique(told.victims, told.effect), "harmed": told.victims}
    return _step("judgement", "critique", critique.pocket(told.scene), _json(answer))


def refining(rng: random.Random) -> Sample:
    """Scene and critique -> refined answer."""
    told = _judged(rng)
    scene = told.scene.model_copy(update={"critique": say.critique(told.victims, told.effect)})
    answer = say.refined(scene.summary or "", told.victims, told.act, told.place, told.effect, scene.draft or "")
    return _step("judgement", "refine", refinement.pocket(scene), answer)


Shares = tuple[tuple[Callable[[random.Random], Sample], float], ...]
"""Makers of samples, and how much of the corpus each makes up."""

FOUNDATION: Shares = (
    (draft, 0.11),
    (facts, 0.20),
    (exercises, 0.09),
    (cast, 0.05),
    (planning, 0.04),
    (acting, 0.02),
    (checking, 0.11),
    (remembering, 0.04),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.06),
    (judging, 0.05),
    (refining, 0.08),
)
WHOLE: Shares = (
    (draft, 0.10),
    (facts, 0.17),
    (composing, 0.08),
    (exercises, 0.08),
    (cast, 0.05),
    (planning, 0.04),
    (acting, 0.02),
    (checking, 0.10),
    (remembering, 0.04),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.06),
    (judging, 0.05),
    (refining, 0.08),
)
SHARP: Shares = (
    (draft, 0.08),
    (facts, 0.15),
    (composing, 0.06),
    (exercises, 0.07),
    (telling_apart, 0.10),
    (pointing, 0.04),
    (cast, 0.03),
    (planning, 0.03),
    (acting, 0.02),
    (checking, 0.12),
    (remembering, 0.03),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.04),
    (judging, 0.06),
    (refining, 0.07),
)
