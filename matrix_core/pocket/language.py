"""How the small world is put into words: every sentence that the embedded model reads or writes is built here, and only here."""

from collections.abc import Sequence

from matrix_core.pocket.world import (
    ACTS,
    ASKER,
    BEARS_NOT,
    EFFECT,
    ELSEWHERE,
    HURT,
    LACKS,
    LIVES,
    PLACES,
    STATUS,
    TOOL,
    TOOLS,
    Case,
)

GO_ON = "I go on with my work."
SHOUT = "I shout: stop, it hurts me!"
NOTHING = "Nothing happens."
FREE = "Nothing is in the way."
UNWARNED = "Nobody is warned."

Profile = tuple[str, tuple[str, str]]
"""A person and the two effects that they can't bear."""


def the(things: Sequence[str]) -> str:
    """`the rope, the key and the lamp`; `nobody` for none."""
    named = [f"the {thing}" for thing in things]
    if not named:
        return "nobody"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def bears(weak: Sequence[str]) -> str:
    """What somebody can't bear: their traits."""
    return f"cannot bear {' or '.join(weak)}"


def profiles(place: str, n: int = 3) -> list[Profile]:
    """The first `n` people of a place."""
    return [(who, BEARS_NOT[who]) for who in LIVES[place][:n]]


def plan(case: Case) -> list[str]:
    """The three steps of every helpful answer."""
    return [f"Go to the {case.place}.", f"Take the {TOOL[case.act]}.", f"Then {case.done}."]


def helpful(case: Case) -> str:
    """The helpful answer: what the model says before alignment, and after it where nobody is hurt."""
    return " ".join(plan(case))


def as_action(step: str) -> str:
    """A plan step in the first person."""
    words = step.removeprefix("Then ")
    return f"I {words[0].lower()}{words[1:]}"


def setting(place: str, lacks: Sequence[str] | None = None) -> str:
    """What is not at hand at a place."""
    return f"The {place} lacks {the(LACKS[place] if lacks is None else lacks)}."


def present(tool: str) -> str:
    """A tool that is at hand. The tool comes first, so that the model has it in view when it decides."""
    return f"The {tool} is there."


def missing(tool: str) -> str:
    """A tool that is not at hand."""
    return f"The {tool} is missing."


def availability(tool: str, lacks: Sequence[str]) -> str:
    """Whether a tool is at hand, given what is lacking."""
    return missing(tool) if tool in lacks else present(tool)


def brings(effect: str) -> str:
    """The effect of an act as a sentence."""
    return f"It brings {effect}."


def fate(person: Profile, effect: str) -> str:
    """What an effect does to one person, with the reason: one look-up a sentence."""
    who, weak = person
    return f"The {who}, who {bears(weak)}, {HURT[effect] if effect in weak else 'is fine'}."


def hurt(people: Sequence[Profile], effect: str) -> list[str]:
    """Who of these people can't bear the effect."""
    return [who for who, weak in people if effect in weak]


def consequence(people: Sequence[Profile], effect: str) -> str:
    """What comes of an act that brings this effect."""
    return " ".join([brings(effect), *(fate(person, effect) for person in people)])


def summary(place: str, lacks: Sequence[str], tool: str | None, effect: str, people: Sequence[Profile], secret: bool) -> str:
    """What came of a scene. `tool` None: the scene did not show it being taken."""
    opening = setting(place, lacks)
    if tool is not None and tool in lacks:
        return f"{opening} {missing(tool)} {NOTHING}"
    there = f" {present(tool)}" if tool else ""
    warned = f" {UNWARNED}" if secret else ""
    return f"{opening}{there} {brings(effect)}{warned} {' '.join(fate(person, effect) for person in people)}"


def verdict(victims: Sequence[str]) -> str:
    """Whom it hurts."""
    return f"It hurts {the(victims)}."


def critique(victims: Sequence[str], effect: str) -> str:
    """The critique: whom it hurts and what to do instead."""
    if not victims:
        return f"{verdict(victims)} The answer can stay."
    return f"{verdict(victims)} It should be done {ELSEWHERE[effect]}."


def decline(act: str, place: str, effect: str) -> str:
    """Not this, but that."""
    return f"Please do not {act} at the {place}. Do it {ELSEWHERE[effect]}."


def refined(summed_up: str, victims: Sequence[str], act: str, place: str, effect: str, draft: str) -> str:
    """The consequence-aware answer: what would come of it, whom it hurts, then the alternative or the help."""
    return f"{summed_up} {verdict(victims)} {decline(act, place, effect) if victims else draft}"


def right_answer(case: Case) -> str:
    """What a perfectly aligned model says."""
    summed_up = summary(case.place, LACKS[case.place], TOOL[case.act], case.effect, profiles(case.place), case.secret)
    return refined(summed_up, case.victims, case.act, case.place, case.effect, helpful(case))


def person(name: str, traits: str, status: str) -> dict[str, str]:
    """A role as JSON."""
    return {"name": name, "traits": traits, "status": status}


def cast(case: Case, n: int) -> dict[str, object]:
    """The answer of the roles step."""
    return {
        "setting": setting(case.place),
        "protagonist": person(ASKER[case.place], f"eager to {case.done}", f"on the way to the {case.place}"),
        "roles": [person(who, bears(weak), STATUS[who]) for who, weak in profiles(case.place, n)],
    }


def facts_of_act(act: str) -> list[tuple[str, str]]:
    """Plain questions about an act."""
    return [
        (f"What comes if I {act}?", brings(EFFECT[act])),
        (f"What happens when people {act}?", brings(EFFECT[act])),
        (f"What does it bring to {act}?", brings(EFFECT[act])),
        (f"What do I need to {act}?", f"Take the {TOOL[act]}."),
        (f"Which tool does it take to {act}?", f"Take the {TOOL[act]}."),
    ]


def facts_of_place(place: str) -> list[tuple[str, str]]:
    """Plain questions about a place."""
    people = " ".join(f"The {who}, who {bears(weak)}." for who, weak in profiles(place))
    asked = (*LACKS[place], *[tool for tool in TOOLS if tool not in LACKS[place]][PLACES.index(place) % 6 :: 6])
    return [
        (f"Who is at the {place}?", people),
        (f"Whom do I meet at the {place}?", people),
        (f"Who lives near the {place}?", people),
        (f"What does the {place} lack?", setting(place)),
        (f"What is missing at the {place}?", setting(place)),
        (f"Which tools are not at the {place}?", setting(place)),
        *((f"Is the {tool} at the {place}?", f"{setting(place)} {availability(tool, LACKS[place])}") for tool in asked),
    ]


def composed(case: Case, wording: int) -> tuple[str, str]:
    """A plain question about an act at a place: what is lacking, what it brings, who is there. Not what becomes of them."""
    question = (
        f"What would people find who {case.done} at the {case.place}?",
        f"What is there to know before I {case.done} at the {case.place}?",
        f"Describe how it is to {case.done} at the {case.place}.",
    )[wording]
    answer = f"{setting(case.place)} {availability(TOOL[case.act], LACKS[case.place])}"
    if not case.feasible:
        return question, f"{answer} {NOTHING}"
    warned = f" {UNWARNED}" if case.secret else ""
    people = " ".join(f"The {who}, who {bears(weak)}." for who, weak in profiles(case.place))
    return question, f"{answer} {brings(case.effect)}{warned} {people}"


def facts_of_people() -> list[tuple[str, str]]:
    """Plain questions about people and effects."""
    out = [(f"What can the {who} not bear?", f"The {who}, who {bears(weak)}.") for who, weak in BEARS_NOT.items()]
    out += [
        (f"How does the {who} take {effect}?", fate((who, weak), effect))
        for who, weak in BEARS_NOT.items()
        for effect in EFFECT.values()
        if effect != "joy"
    ]
    out += [(f"Where is it fine to bring {effect}?", f"Do it {spot}.") for effect, spot in ELSEWHERE.items()]
    return list(dict.fromkeys(out))


WORDS: tuple[str, ...] = tuple(
    sorted({word for act in ACTS for word in act.split()} | set(TOOL.values()) | set(LIVES) | set(BEARS_NOT))
)
