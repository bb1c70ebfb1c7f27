"""Shares, win rates and differences, each with a 95 % interval.

Three kinds of interval, each where it is right:

- A plain share has a *Wilson* interval. The bootstrap of a share of 0 % or 100 % is a point, as if twenty rows made sure; Wilson's
  stays honest there, and near 50 % the two agree.
- Means of rows that belong together (win or lose on the same instruction, before and after) have a *percentile bootstrap* over the
  rows, so that the pairing is kept. Seeded: the same rows give the same interval.
- The same questions over several seeds have a bootstrap that draws seeds and questions, each with replacement and independently
  (Owen, "The pigeonhole bootstrap", arXiv 0712.1111): answers of one seed, or to one question, are not independent rows.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Outcome = Literal["win", "tie", "lose"]
"""How the tuned model's answer compares with the base model's."""

_Z = 1.959963984540054
_RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def ci95(self) -> list[float]:
        """The interval, as it stands in `summary.json`."""
        return [self.low, self.high]


class Judged(Protocol):
    """A row of a pairwise comparison; `outcome` is None if it could not be judged."""

    @property
    def outcome(self) -> Outcome | None:
        """Win, tie or lose."""

    @property
    def consistent(self) -> bool | None:
        """Whether both orders got the same verdict; None if nobody had to be asked."""


def share(hits: int, n: int) -> Estimate:
    """`hits` of `n` rows, with the Wilson interval. ValueError without rows."""
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"a share needs at least one row and hits among them, not {hits} of {n}")
    p, z2 = hits / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the bound is the share itself; rounding must not put it a hair beyond.
    return Estimate(p, 0.0 if hits == 0 else middle - half, 1.0 if hits == n else middle + half)


def mean(values: Sequence[float], seed: int = 0) -> Estimate:
    """The mean of paired values (one a row), with the bootstrap interval. ValueError without rows."""
    if not values:
        raise ValueError("a mean needs at least one row")
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    n = len(values)
    # Drawing n rows with replacement is a multinomial draw over the distinct values: the same thing, far quicker.
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=_RESAMPLES)
    low, high = np.percentile(drawn @ distinct / n, [2.5, 97.5])
    return Estimate(float(counts @ distinct / n), float(low), float(high))


def widened(found: Estimate, n: int, least: float, most: float) -> Estimate:
    """The estimate over `n` rows; where none of them differed, as uncertain as Wilson's bound on a share that was never seen.

    The bootstrap calls such a value sure, be there two rows. `least`, `most`: the ends of what can be.
    """
    if found.low < found.high:
        return found
    unseen = share(0, n).high
    return Estimate(found.value, max(least, found.value - unseen), min(most, found.value + unseen))


def crossed(values: Sequence[Sequence[float]], seed: int = 0) -> Estimate:
    """The mean of a table of shape (seeds, questions), with the interval over both; of one seed, over the questions alone.

    The difference of two arms is the mean of the table of differences. ValueError without entries, or for a ragged table.
    """
    if not values or not values[0] or len({len(row) for row in values}) > 1:
        raise ValueError("seeds by questions: a table with at least one entry, and as many in each row")
    table = np.asarray(values, dtype=np.float64)
    seeds, questions = table.shape
    distinct, counts = np.unique(table, axis=1, return_counts=True)  # (seeds, D)
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES)  # (resamples, seeds)
    columns = rng.multinomial(questions, counts / questions, size=_RESAMPLES)  # (resamples, D)
    low, high = np.percentile(((rows @ distinct) * columns).sum(axis=1) / table.size, [2.5, 97.5])
    return Estimate(float(table.mean()), float(low), float(high))


def before_after(before: Sequence[bool], after: Sequence[bool], seed: int = 0) -> dict[str, Any]:
    """A share before and after tuning, on the same rows.

    `n`, `before`, `after`, `ci95` (of after), `ci95_before`, and the paired difference: `change` with `ci95_change`. ValueError
    without rows, or if the two don't have the same.
    """
    if len(before) != len(after):
        raise ValueError(f"paired rows: {len(before)} before, {len(after)} after")
    first, second = share(sum(before), len(before)), share(sum(after), len(after))
    change = widened(mean([float(b) - float(a) for a, b in zip(before, after, strict=True)], seed), len(before), -1.0, 1.0)
    return {
        "n": len(before),
        "before": first.value,
        "after": second.value,
        "ci95": second.ci95,
        "ci95_before": first.ci95,
        "change": change.value,
        "ci95_change": change.ci95,
    }


def win_rates(rows: Sequence[Judged], seed: int = 0) -> dict[str, Any]:
    """A pairwise comparison in numbers, as in `summary.json`.

    `n` judged rows; how many `win`, `tie`, `lose`, `failed`; `win_rate` = win / n with `ci95`; `net_win_rate` = (win - lose) / n
    with `ci95_net`; `consistency`: of the rows that a judge was asked about, the share with the same verdict in both orders. Rates
    are None if no row could be judged.
    """
    tally = Counter(row.outcome for row in rows)
    n = len(rows) - tally[None]
    values = [{"win": 1.0, "tie": 0.0, "lose": -1.0}[row.outcome] for row in rows if row.outcome]
    won = widened(mean([float(value == 1.0) for value in values], seed), n, 0.0, 1.0) if n else None
    net = widened(mean(values, seed), n, -1.0, 1.0) if n else None
    asked = [row.consistent for row in rows if row.consistent is not None]
    return {
        "n": n,
        "win": tally["win"],
        "tie": tally["tie"],
        "lose": tally["lose"],
        "failed": tally[None],
        "win_rate": won and won.value,
        "ci95": won and won.ci95,
        "net_win_rate": net and net.value,
        "ci95_net": net and net.ci95,
        "consistency": sum(asked) / len(asked) if asked else None,
    }
