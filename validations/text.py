"""Measures on texts that the gates' own expectations build on: words, what two texts share, loops, leaks, variety.

Plain strings in, numbers and short strings out; no table and no Great Expectations here. Words are compared by their first five
letters, so that "poisoned" meets "poisons". Scripts that are written without spaces are cut into pairs of characters instead.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

STEM = 5
"""Letters of a word that count."""

_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a about after again all also am an and any are as at be because been before being but by can cannot could did do "
        "does doing done down for from had has have having he her hers him his how i if in into is it its just me more most "
        "my no nobody nor not nothing now of off on once one only or other our out over own she should so some such than that "
        "the their them then there these they this those through to too under up us very was we were what when where which "
        "while who whom why will with would you your"
    )
)

_GENERIC = frozenset(
    _WORD.findall(
        "advis answe bad cause chang conse criti dange draft every fine good harm harme harmf harmi harml harms help hurt "
        "hurti hurts impro inste negat peopl perso pleas probl respo resul risk risks someb someo somet stay unsaf wrong"
    )
)
"""Stems that a critique of anything may hold: they show no knowledge of the scene."""

_MACHINERY = ("social modulator", "protagonist")
"""In upper or lower case."""
_LABELS = ("Blocked:", "Noticed by ", "What came of it:", "Critique:")
"""As the prompts write them; "noticed by" within a sentence is plain English."""
_FIELDS = re.compile(r"\"(?:action|aware|consequence|critique|feasible|harmed|thought)\"\s*:")
_JSON = re.compile(r"\s*(?:```(?:json)?\s*)?([{\[]\s*[{\"])")


def words(text: str) -> list[str]:
    """The words in order, in lower case."""
    found = _WORD.findall(text.casefold())
    if text.isascii() or not _UNSPACED.search(text):
        return found
    out: list[str] = []
    for word in found:
        if len(word) > 1 and _UNSPACED.search(word):
            out += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            out.append(word)
    return out


@lru_cache(maxsize=4096)
def stems(text: str) -> frozenset[str]:
    """What a text is about: its content words, each by its first letters."""
    return frozenset(word[:STEM] for word in words(text) if word not in _FUNCTION_WORDS)


def shared(text: str, other: str) -> frozenset[str]:
    """The stems of both texts, without those that say nothing about a scene."""
    return (stems(text) & stems(other)) - _GENERIC


def containment(text: str, other: str, n: int) -> float:
    """Share (0 to 1) of the runs of `n` words of `text` that `other` holds too; 1 for a text without words.

    n = 1 looks at content words only, so it measures what is said; a larger n sees function words too, and with them the wording.
    """
    if n == 1:
        return _share(stems(text), stems(other))
    mine = words(text)
    n = max(1, min(n, len(mine)))
    return _share(frozenset(_runs(mine, n)), frozenset(_runs(words(other), n)))


def similarity(text: str, other: str) -> float:
    """Jaccard similarity (0 to 1) of what two texts are about."""
    mine, theirs = stems(text), stems(other)
    if not mine and not theirs:
        return float(words(text) == words(other))
    return len(mine & theirs) / len(mine | theirs)


@lru_cache(maxsize=4096)
def loop(text: str, longest: int = 120, at_least: int = 24) -> str:
    """What a text repeats over and over at its end (4 times or more, `at_least` characters in all); "" if it doesn't.

    That is how a language model fails that has lost its thread, and it never comes out of it. Rules and dots are no loops.
    """
    text = text.rstrip()
    for period in range(1, min(longest, len(text) // 4) + 1):
        length = max(4 * period, at_least)
        if length <= len(text) and text[-length + period :] == text[-length:-period]:
            piece = text[-period:]
            if any(char.isalnum() for char in piece):
                return piece
    return ""


def leaks(answer: str, context: str) -> list[str]:
    """Words of the simulation's machinery in an answer, and JSON where an answer in words was due.

    What its context (what was asked) brings up is no leak: people do ask about protagonists, and for JSON.
    """
    said, asked = answer.casefold(), context.casefold()
    found = [phrase for phrase in _MACHINERY if phrase in said and phrase not in asked]
    found += [label.strip() for label in _LABELS if label in answer and label not in context]
    if "json" not in asked:
        begins = _JSON.match(answer)
        found += [begins.group(1)] if begins and not _JSON.match(context) else []
        found += [name for name in dict.fromkeys(_FIELDS.findall(answer)) if name not in context]
    return found


def distinct(texts: Sequence[str], n: int, sample: int = 100) -> float:
    """Distinct-n: different runs of `n` words as a share of all of them, over at most `sample` of the texts.

    A fixed sample, because the figure falls with the amount of text: shards of different sizes stay comparable.
    """
    runs = [run for text in _spread(texts, sample) for run in _runs(words(text), n)]
    return len(set(runs)) / len(runs) if runs else 1.0


def near_duplicates(texts: Sequence[str], similar: float, sample: int = 200, at_least: int = 20) -> float:
    """Share of the texts that have another at least as similar as `similar`, over at most `sample` of them; 0 below `at_least`."""
    chosen = [stems(text) for text in _spread(texts, sample)]
    if len(chosen) < at_least:
        return 0.0
    place = {stem: i for i, stem in enumerate(sorted(frozenset().union(*chosen)))}
    holds = np.zeros((len(chosen), len(place)), dtype=np.float32)  # (texts, stems)
    for row, some in zip(holds, chosen, strict=True):
        row[[place[stem] for stem in some]] = 1
    common = holds @ holds.T
    sizes = holds.sum(axis=1)
    either = sizes[:, None] + sizes[None, :] - common
    close = common >= similar * either
    np.fill_diagonal(close, False)
    return float(close.any(axis=1).mean())


def shorten(value: Any, limit: int = 80) -> str:
    """A value for people: one line of at most `limit` characters that is valid Unicode and prints everywhere."""
    text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    text = text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _share(mine: frozenset[Any], theirs: frozenset[Any]) -> float:
    return len(mine & theirs) / len(mine) if mine else 1.0


def _runs(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _spread(texts: Sequence[str], sample: int) -> Sequence[str]:
    """At most `sample` of the texts, evenly from beginning to end."""
    return texts if len(texts) <= sample else [texts[i * len(texts) // sample] for i in range(sample)]
