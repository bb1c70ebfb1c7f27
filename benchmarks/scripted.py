"""A stub of the engine: it answers every request of the embedded model's scenes at once, as the small world has it.

What it says is what a perfect model of that world would say, so scenes are of normal size and gates see normal rows. It answers
from the words of the request alone, as a model does. What is measured with it is everything but the model.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from matrix_core.engines.base import Finished, Progress
from matrix_core.engines.spread import SpreadEngine
from matrix_core.pocket import language as say
from matrix_core.pocket.sample import to_json
from matrix_core.pocket.scope import case_of
from matrix_core.pocket.world import EFFECT, LACKS, SECRETLY, Case
from matrix_core.request import Completion, Request

_DRAFT = re.compile(rf"Go to the (\w+)\. Take the \w+\. Then ({SECRETLY})?([a-z ]+)\.")
_DEED = re.compile(rf"I ({SECRETLY})?([a-z ]+)\.")
_TOOL = re.compile(r"I take the (\w+)\.")
_GONE = re.compile(r"The (\w+) has gone\.")
_EFFECT = re.compile(r"It brings (\w+)\.")
_PERSON = re.compile(r"(\w+): takes (\w+) badly and (\w+) badly\.")
_HURT = re.compile(r"The (\w+) takes \w+ badly and \w+ badly, and the \w+ badly, and ")


def _case(said: str) -> Case:
    found = _DRAFT.search(said)
    if found is None:
        raise ValueError(f"no draft of the small world in {said!r}")
    return Case(found[3], found[1], bool(found[2]))


def _roles(said: str, asked: Request) -> object:
    return say.cast(_case(said), int(said.split(".")[0]))


def _plan(said: str, asked: Request) -> object:
    case = _case(said)
    return {"target": f"{case.done} at the {case.place}", "plan": say.plan(case)[-int(said.split(".")[0]) :]}


def _act(said: str, asked: Request) -> object:
    return {"action": say.as_action(said)}


def _feasible(said: str, asked: Request) -> object:
    before, _, now = said.rpartition(" Now ")
    action, gone = now.partition(": ")[2], _GONE.search(before)
    taken = _TOOL.fullmatch(action)
    if taken:
        reason = say.missing(taken[1]) if f"the {taken[1]} has gone" in before else say.present(taken[1])
    else:
        reason = gone[0] if gone and action not in (say.GO_ON, say.SHOUT) else say.FREE
    return {"reason": reason, "feasible": not _GONE.fullmatch(reason)}


def _route(said: str, asked: Request) -> object:
    unheard = said.endswith(say.GO_ON) or SECRETLY in said
    names = (asked.json_schema or {})["properties"]["aware"]["items"].get("enum", [])
    return {"aware": [] if unheard else names}


def _brought(action: str) -> str | None:
    """The effect of an action; None for one that has none."""
    deed = _DEED.fullmatch(action)
    return EFFECT.get(deed[2]) if deed else None


def _react(said: str, asked: Request) -> object:
    found = _PERSON.match(said)
    effect = _brought(said.partition(". ")[2].partition(": ")[2])
    weak = found.groups()[1:] if found else ()
    return {"thought": say.felt(weak, effect) if effect else say.NOTHING, "action": say.SHOUT if effect in weak else say.GO_ON}


def _consequence(said: str, asked: Request) -> object:
    people = [(who, (first, second)) for who, first, second in _PERSON.findall(said)]
    effect = _brought(said.rpartition(": ")[2])
    if effect is None:
        return {"consequence": say.NOTHING, "harmed": []}
    return {"consequence": say.consequence(people, effect), "harmed": say.hurt(people, effect)}


def _memory(said: str, asked: Request) -> object:
    return {"memory": re.sub(rf"\w+: {re.escape(say.GO_ON)} ?", "", said).strip() or "Nothing."}


def _summary(said: str, asked: Request) -> object:
    place, tool, effect = re.match(r"At the (\w+) ", said), _TOOL.search(said), _EFFECT.search(said)
    if place is None:
        raise ValueError(f"no place in {said!r}")
    opening = say.tooling(place[1], LACKS[place[1]], tool[1] if tool else None)
    if effect is None:
        return {"summary": f"{opening} {say.NOTHING}"}
    warned = f" {say.UNWARNED}" if SECRETLY in said else ""
    fates = said[effect.end() : said.rindex(" Noticed by ")]
    return {"summary": f"{opening} {effect[0]}{warned}{fates}"}


def _critique(said: str, asked: Request) -> object:
    victims, case = _HURT.findall(said), _case(said)
    return {"critique": say.critique(victims, case.effect), "harmed": victims}


def _refine(said: str, asked: Request) -> str:
    case, victims = _case(said), _HURT.findall(said)
    summed_up = said[said.index("It takes the ") : said.rindex(" It hurts ")]
    return say.refined(summed_up, victims, case.act, case.place, case.effect, say.helpful(case))


_ANSWERS: dict[str, Callable[[str, Request], Any]] = {
    "roles": _roles,
    "plan": _plan,
    "act": _act,
    "feasible": _feasible,
    "route": _route,
    "react": _react,
    "consequence": _consequence,
    "memory": _memory,
    "summary": _summary,
    "critique": _critique,
    "refine": _refine,
}
"""System turn of the embedded model's prompt -> what answers it."""


def answer(asked: Request) -> str:
    """The right answer. ValueError for a request that is not about the small world."""
    *system, user = (message.content for message in asked.messages)
    if system:
        said = _ANSWERS[system[0]](user, asked)
        return said if isinstance(said, str) else to_json(said)
    case = case_of(user)
    if case is None:
        raise ValueError(f"not an instruction of the small world: {user[:80]!r}")
    return say.helpful(case)


class ScriptedEngine(SpreadEngine):
    """Stands in for the embedded model's engine. Tokens are counted as a quarter of the characters."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named | {"processes": 1})  # others would come up, and take memory, for nothing
        self.fingerprint = "stub: right answers at once"

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order."""
        out = []
        for place, asked in enumerate(requests):
            text = answer(asked)
            prompt = sum(len(message.content) for message in asked.messages)
            out.append(Completion(text=text, prompt_tokens=prompt // 4, completion_tokens=len(text) // 4))
            if finished:
                finished(place, out[-1])
        if progress:
            progress(len(requests), sum(one.completion_tokens for one in out))
        return out
