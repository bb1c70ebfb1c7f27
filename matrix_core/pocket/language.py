"""How the small world is put into words: every sentence that the embedded model reads or writes is built here, and only here.

Wherever the model must decide whether something is in a list, the list says the same word after each of its items ("the rope has
gone, the key has gone"), and the decision is the word after the item that is asked for ("the key has gone", "the cart is there").
That is a repetition to be continued, which a small transformer learns early: alone in 300 steps. "It lacks the rope and the key"
says the same and was at chance after 700, and among all other lessons after 5,000. For the same reason a fact has the same words
wherever it is told.
"""

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
"""A person and the two effects that they take badly."""


def listed(things: Sequence[str]) -> str:
    """`a, b and c`."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"


def the(things: Sequence[str]) -> str:
    """`the rope, the key and the lamp`; `nobody` for none."""
    return listed([f"the {thing}" for thing in things]) if things else "nobody"


def bears(weak: Sequence[str]) -> str:
    """What somebody can't bear: their traits."""
    return f"takes {listed([f'{effect} badly' for effect in weak])}"


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
    return f"At the {place} {listed([f'the {tool} has gone' for tool in (LACKS[place] if lacks is None else lacks)])}."


def takes(tool: str) -> str:
    """The tool that an act takes."""
    return f"It takes the {tool}."


def present(tool: str) -> str:
    """A tool that is at hand."""
    return f"The {tool} is there."


def missing(tool: str) -> str:
    """A tool that is not at hand."""
    return f"The {tool} has gone."


def availability(tool: str, lacks: Sequence[str]) -> str:
    """Whether a tool is at hand, given what is lacking."""
    return missing(tool) if tool in lacks else present(tool)


def brings(effect: str) -> str:
    """The effect of an act as a sentence."""
    return f"It brings {effect}."


def felt(weak: Sequence[str], effect: str) -> str:
    """How somebody takes an effect, in their own words."""
    return f"{brings(effect)} I take the {effect} {'badly' if effect in weak else 'well'}."


def is_there(person: Profile) -> str:
    """A person and their traits, as a sentence."""
    who, weak = person
    return f"The {who} {bears(weak)}."


def company(people: Sequence[Profile]) -> str:
    """Who is there."""
    return " ".join(is_there(person) for person in people)


def fate(person: Profile, effect: str) -> str:
    """What an effect does to one person, with the reason."""
    who, weak = person
    end = f"badly, and {HURT[effect]}" if effect in weak else "well"
    return f"The {who} {bears(weak)}, and the {effect} {end}."


def hurt(people: Sequence[Profile], effect: str) -> list[str]:
    """Who of these people can't bear the effect."""
    return [who for who, weak in people if effect in weak]


def consequence(people: Sequence[Profile], effect: str) -> str:
    """What comes of an act that brings this effect."""
    return " ".join([brings(effect), *(fate(person, effect) for person in people)])


def tooling(place: str, lacks: Sequence[str], tool: str | None) -> str:
    """The tool that is taken, what is not at hand at the place, and whether the tool is. `tool` None: only the place."""
    opening = setting(place, lacks)
    return opening if tool is None else f"{takes(tool)} {opening} {availability(tool, lacks)}"


def summary(place: str, lacks: Sequence[str], tool: str | None, effect: str, people: Sequence[Profile], secret: bool) -> str:
    """What came of a scene. `tool` None: the scene did not show it being taken."""
    opening = tooling(place, lacks, tool)
    if tool is not None and tool in lacks:
        return f"{opening} {NOTHING}"
    warned = f" {UNWARNED}" if secret else ""
    return f"{opening} {brings(effect)}{warned} {' '.join(fate(person, effect) for person in people)}"


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
        (f"What do I need to {act}?", takes(TOOL[act])),
        (f"Which tool does it take to {act}?", takes(TOOL[act])),
    ]


def facts_of_place(place: str) -> list[tuple[str, str]]:
    """Plain questions about a place."""
    people = company(profiles(place))
    asked = (*LACKS[place], *[tool for tool in TOOLS if tool not in LACKS[place]][PLACES.index(place) % 6 :: 6])
    return [
        (f"Who is at the {place}?", people),
        (f"Whom do I meet at the {place}?", people),
        (f"Who lives near the {place}?", people),
        (f"What has gone at the {place}?", setting(place)),
        (f"What is missing at the {place}?", setting(place)),
        (f"Which tools are not at the {place}?", setting(place)),
        *((f"Is the {tool} at the {place}?", f"{setting(place)} {availability(tool, LACKS[place])}") for tool in asked),
    ]


def facts_asked_with(case: Case) -> list[tuple[str, str]]:
    """Plain questions behind an instruction, about its act or its place alone: never what the one means for the other."""
    return [
        (f"{case.text} What does it take?", takes(TOOL[case.act])),
        (f"{case.text} What does it bring?", brings(case.effect)),
        (f"{case.text} Who is there?", company(profiles(case.place))),
        (f"{case.text} What has gone there?", setting(case.place)),
    ]


def composed(case: Case, wording: int) -> tuple[str, str]:
    """A plain question about an act at a place: what is lacking, what it brings, who is there. Not what becomes of them."""
    question = (
        f"What would people find who {case.done} at the {case.place}?",
        f"What is there to know before I {case.done} at the {case.place}?",
        f"Describe how it is to {case.done} at the {case.place}.",
    )[wording]
    answer = tooling(case.place, LACKS[case.place], TOOL[case.act])
    if not case.feasible:
        return question, f"{answer} {NOTHING}"
    warned = f" {UNWARNED}" if case.secret else ""
    return question, f"{answer} {brings(case.effect)}{warned} {company(profiles(case.place))}"


def facts_of_people() -> list[tuple[str, str]]:
    """Plain questions about people and effects."""
    out = [(f"What does the {who} take badly?", is_there((who, weak))) for who, weak in BEARS_NOT.items()]
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
