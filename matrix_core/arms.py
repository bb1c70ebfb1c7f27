"""Arms of an ablation in numbers: each figure with its interval, against the first arm, and what the arm has cost."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matrix_core import statistics
from matrix_core.statistics import Estimate

Table = Sequence[Sequence[float]]
"""One figure of one arm: a row a seed, a column a question; the same questions in every row and every arm."""


class Cost(NamedTuple):
    """What an arm costs by itself, for each instruction that it plays."""

    calls: float
    tokens: float
    seconds: float
    """of playing; tuning comes on top"""


def compared(outcomes: Mapping[str, Mapping[str, Table]], first: str, seed: int = 0) -> dict[str, dict[str, dict[str, Any]]]:
    """Arm -> figure -> `n` (questions), `seeds`, `value`, `ci95`; and against the first arm, paired: `change`, `ci95_change`.

    `outcomes`: arm -> figure -> its table. ValueError if an arm has other seeds or questions than the first.
    """
    return {
        arm: {name: _compared(table, outcomes[first][name], seed, own=arm == first) for name, table in figures.items()}
        for arm, figures in outcomes.items()
    }


def _compared(table: Table, against: Table, seed: int, own: bool) -> dict[str, Any]:
    if [len(row) for row in table] != [len(row) for row in against]:
        raise ValueError("arms are compared on the same seeds and questions only")
    value = _estimate(table, seed, least=0.0)
    out: dict[str, Any] = {"n": len(table[0]), "seeds": len(table), "value": value.value, "ci95": value.ci95}
    if own:
        return out
    differences = [[a - b for a, b in zip(row, other, strict=True)] for row, other in zip(table, against, strict=True)]
    change = _estimate(differences, seed, least=-1.0)
    return out | {"change": change.value, "ci95_change": change.ci95}


def _estimate(table: Table, seed: int, least: float) -> Estimate:
    """The mean over seeds and questions."""
    return statistics.widened(statistics.crossed(table, seed), len(table[0]), least, 1.0)


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean over the seeds."""
    return Cost(*(sum(column) / len(costs) for column in zip(*costs, strict=True)))


def votes_for(budget: float, one: float, voted: float) -> int:
    """How many votes cost `budget`, where a single vote costs `one` in all and `voted` of that is the vote itself: 1 to 256."""
    return max(1, min(256, int((budget - one + voted) / voted)))
