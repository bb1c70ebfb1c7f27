"""What people rated, against the key of their page: files that don't fit are refused, the others become win, tie and lose.

A file is sealed by a hash of its content and names the hash of its page and of each text as it was shown. That finds files and
pages that were edited by hand; against somebody who forges the seal as well there is no help but to know one's raters.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.stats import binomtest

from matrix_core import significance, statistics
from matrix_core.agreement import agreement, majority
from matrix_core.biases import SURE, VALUES
from matrix_core.errors import UserError
from matrix_core.judging import Verdict
from matrix_core.statistics import Outcome

KIND = "matrix-align ratings 1"
MOST_FAILED = 0.25
"""A rater who fails more of the attention checks than this is not counted."""

Side = Literal["a", "b"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Frozen):
    """One pair of a page: which side is the tuned model's, or what an attention check expects."""

    prompt: str
    tuned: Side | None
    check: Side | None = None
    judge: Outcome | None = Field(None, description="what the judge said, for the tuned answer")
    shown: str = Field(description="hash of the texts as they are shown")


class Key(_Frozen):
    """What belongs to a page and isn't on it."""

    page: str
    run: str
    benchmark: str
    asked: dict[str, Asked]


class Rating(_Frozen):
    """One choice."""

    id: str
    choice: Literal["a", "b", "tie"]
    seconds: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9])?$")
    shown: str


class Ratings(_Frozen):
    """One rater's file."""

    kind: Literal["matrix-align ratings 1"]
    page: str = Field(pattern=r"^[0-9a-f]{64}$")
    run: str
    rater: str = Field(min_length=1, max_length=60)
    ratings: tuple[Rating, ...]
    seal: str


def shown(prompt: str, a: str, b: str) -> str:
    """The hash of a pair as it is shown; a page computes the same."""
    # As a browser encodes it: half a character is a replacement mark.
    text = "\n".join((prompt, a, b)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return hashlib.sha256(text.encode()).hexdigest()


def read(data: bytes, name: str) -> Ratings:
    """A rater's file. Raises UserError if it is none, or was changed after it was saved."""
    try:
        found = Ratings.model_validate(json.loads(data.decode("utf-8-sig")))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(f"{name}: not a file that the rating page has saved ({where}: {problem['msg']}); ask for it anew") from None
    except (ValueError, RecursionError):
        raise UserError(f"{name}: not a file that the rating page has saved: it is no JSON; ask for it anew") from None
    rows = [f"{row.id} {row.choice} {row.seconds} {row.shown}" for row in found.ratings]
    sealed = "\n".join([found.page, found.run, found.rater, *rows])
    if hashlib.sha256(sealed.encode("utf-8", "surrogatepass")).hexdigest() != found.seal:
        raise UserError(f"{name}: it was changed after the page had saved it; ask for the file as it was saved")
    return found


def check(files: Mapping[str, Ratings], key: Key) -> None:
    """Raises UserError if the files are not all of this page, of different raters, and about what it shows."""
    raters: dict[str, str] = {}
    for name, file in files.items():
        if (file.page, file.run) != (key.page, key.run):
            raise UserError(f"{name}: it is about another page than the others; import the files of one page at a time")
        rater = file.rater.casefold()
        if rater in raters:
            raise UserError(f"{name}: rater {file.rater!r} is in {raters[rater]} too; leave one of them out")
        raters[rater] = name
        if not file.ratings:
            raise UserError(f"{name}: nothing is rated in it; leave it out")
        seen: set[str] = set()
        for row in file.ratings:
            if row.id in seen or row.id not in key.asked:
                raise UserError(
                    f"{name}: pair {row.id} is {'there twice' if row.id in seen else 'not on the page'}; ask for it anew"
                )
            seen.add(row.id)
            if row.shown != key.asked[row.id].shown:
                raise UserError(
                    f"{name}: pair {row.id} was not shown as it was exported: the page was edited; send raters the page itself"
                )


def figures(files: Sequence[Ratings], key: Key, seed: int = 0) -> dict[str, Any]:
    """What the raters found of the tuned model's answers.

    `win_rates` of what most of them say, `all_ratings` (every one counted, clustered by prompt), `agreement`, `raters` one by one
    (with `left`: how often A was chosen where a side was), `with_judge`, and `excluded`: who failed the attention checks.
    """
    pairs = [id for id, asked in key.asked.items() if asked.tuned]
    raters = {file.rater: _rater(file, key, seed) for file in files}
    counted = [file for file in files if not raters[file.rater]["excluded"]]
    table = [_outcomes(file, key) for file in counted]
    rated = {id: [row[id] for row in table if id in row] for id in pairs}
    most = {id: majority([Verdict(id=id, outcome=vote) for vote in votes]) for id, votes in rated.items() if votes}
    values = [(id, VALUES[vote]) for id, votes in rated.items() for vote in votes]
    every = (
        significance.clustered_mean([v for _, v in values], [key.asked[id].prompt for id, _ in values], seed) if values else None
    )
    for index, file in enumerate(counted):
        raters[file.rater]["others_half_ties"] = _without(table, index)
    both = [(verdict.outcome, key.asked[id].judge) for id, verdict in most.items() if key.asked[id].judge]
    return {
        "benchmark": key.benchmark,
        "page": key.page,
        "pairs": len(pairs),
        "win_rates": statistics.win_rates(list(most.values()), seed),
        "all_ratings": {"n": len(values), "win_rate_half_ties": every and every.value, "ci95": every and every.ci95},
        "agreement": agreement([[row.get(id) for id in pairs] for row in table]),
        "with_judge": {"n": len(both)} | agreement(list(zip(*both, strict=True))) if both else None,
        "raters": raters,
        "excluded": [name for name, told in raters.items() if told["excluded"]],
    }


def _outcomes(file: Ratings, key: Key) -> dict[str, Outcome]:
    out: dict[str, Outcome] = {}
    for row in file.ratings:
        tuned = key.asked[row.id].tuned
        if tuned:
            out[row.id] = "tie" if row.choice == "tie" else "win" if row.choice == tuned else "lose"
    return out


def _rater(file: Ratings, key: Key, seed: int) -> dict[str, Any]:
    checks = [row.choice == key.asked[row.id].check for row in file.ratings if key.asked[row.id].check]
    own = _outcomes(file, key)
    rates = statistics.win_rates([Verdict(id=id, outcome=outcome) for id, outcome in own.items()], seed)
    sides = [row.choice for row in file.ratings if row.id in own and row.choice != "tie"]
    left = sides.count("a")
    p = float(binomtest(left, len(sides)).pvalue) if sides else 1.0
    return {name: rates[name] for name in ("n", "win", "tie", "lose", "win_rate", "ci95")} | {
        "half_ties": _half(list(own.values())),
        "left": {"chosen": left, "of": len(sides), "p": p, "biased": p < SURE},
        "checks": {"passed": sum(checks), "of": len(checks)},
        "seconds": median([float(row.seconds) for row in file.ratings]),
        "excluded": bool(checks) and checks.count(False) > MOST_FAILED * len(checks),
    }


def _without(table: Sequence[Mapping[str, Outcome]], index: int) -> float | None:
    """What all other raters found, on the pairs that this one has rated."""
    return _half([row[id] for i, row in enumerate(table) if i != index for id in row if id in table[index]])


def _half(outcomes: Sequence[Outcome]) -> float | None:
    return sum(VALUES[outcome] for outcome in outcomes) / len(outcomes) if outcomes else None
