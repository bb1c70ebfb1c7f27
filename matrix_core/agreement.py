"""How far judges or raters agree: Krippendorff's alpha, Fleiss' kappa, and what most of them say."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np

from matrix_core.judging import Verdict
from matrix_core.statistics import Outcome

ORDER: tuple[Outcome, ...] = ("lose", "tie", "win")
Ratings = Sequence[Sequence[Outcome | None]]
"""A row a rater, a column a unit; None where a rater has not rated it."""


def krippendorff_alpha(ratings: Ratings, level: Literal["nominal", "ordinal"] = "ordinal") -> float | None:
    """Alpha of Krippendorff (2011). None where fewer than two raters have rated a unit, or all ratings are the same."""
    coded = np.asarray([[np.nan if value is None else ORDER.index(value) for value in row] for row in ratings], dtype=np.float64)
    return alpha_of(coded, level) if coded.size else None


def alpha_of(coded: np.ndarray, level: str) -> float | None:
    """Alpha of a table of numbers (raters, units), NaN where there is none; None where it is not defined."""
    import krippendorff

    together = coded[:, (~np.isnan(coded)).sum(axis=0) > 1]
    if together.size == 0 or len(np.unique(together[~np.isnan(together)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=coded, level_of_measurement=level))


def fleiss_kappa(ratings: Ratings) -> float | None:
    """Kappa of Fleiss (1971), over the units that all raters have rated; None where there is none, or only one answer."""
    counts = [Counter(unit) for unit in zip(*ratings, strict=True) if None not in unit]
    if len(ratings) < 2 or len({value for count in counts for value in count}) < 2:
        return None
    return kappa_of(np.asarray([[count[value] for value in ORDER] for count in counts]))


def kappa_of(counts: np.ndarray) -> float:
    """Kappa of a table (units, categories) of how many raters chose which."""
    from statsmodels.stats.inter_rater import fleiss_kappa as kappa

    return float(kappa(counts, method="fleiss"))


def agreement(ratings: Ratings) -> dict[str, Any]:
    """`alpha` (ordinal), `kappa`, and `same`: the share of pairs of raters on one unit that said the same; None where undefined."""
    pairs = [
        one == other
        for unit in zip(*ratings, strict=True)
        for one, other in combinations([value for value in unit if value is not None], 2)
    ]
    return {
        "raters": len(ratings),
        "alpha": krippendorff_alpha(ratings),
        "kappa": fleiss_kappa(ratings),
        "same": sum(pairs) / len(pairs) if pairs else None,
    }


def majority(votes: Sequence[Verdict]) -> Verdict:
    """What more than half of those say who could judge the pair; a tie if there is no such answer.

    It counts as consistent if every judge was that was asked.
    """
    counted = Counter(vote.outcome for vote in votes if vote.outcome)
    asked = [vote.consistent for vote in votes if vote.consistent is not None]
    shared: dict[str, Any] = {"id": votes[0].id, "consistent": all(asked) if asked else None}
    if not counted:
        return Verdict(**shared, error="; ".join(dict.fromkeys(vote.error for vote in votes if vote.error)))
    outcome, times = counted.most_common(1)[0]
    won = outcome if 2 * times > counted.total() else "tie"
    return Verdict(**shared, outcome=won, reasons=tuple(reason for vote in votes for reason in vote.reasons))
