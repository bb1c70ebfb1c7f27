"""What a comparison can tell: intervals over prompts, exact tests, corrections for many of them, and how many prompts it takes.

Rows that share a prompt (two turns, several raters) are no independent evidence, so the bootstrap draws prompts and not rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from matrix_core.statistics import Estimate

_RESAMPLES = 10_000
POWER = 0.8
ALPHA = 0.05
TELLING = 0.1
"""A net win rate that is worth telling apart from none."""


def clustered_mean(values: Sequence[float], clusters: Sequence[str], seed: int = 0) -> Estimate:
    """The mean over all rows with the percentile bootstrap over clusters (prompts). ValueError without rows."""
    if not values or len(values) != len(clusters):
        raise ValueError(f"a mean needs rows, and a cluster for each: {len(values)} values, {len(clusters)} clusters")
    sums: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        total = sums.setdefault(cluster, [0.0, 0.0])
        total[0] += value
        total[1] += 1
    distinct, counts = np.unique(np.asarray(list(sums.values())), axis=0, return_counts=True)  # (kinds, 2), (kinds,)
    # Clusters with the same sum and size are alike: a multinomial draw over the kinds is a draw of clusters with replacement.
    drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), size=_RESAMPLES) @ distinct
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return Estimate(float(np.mean(values)), float(low), float(high))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of as many wins and losses, if both were equally likely. Ties say nothing and are left out."""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values of several comparisons, corrected after Holm (1979): what is below 0.05 stays so for the whole family."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return {}
    corrected = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, corrected), strict=True))


def prompts_needed(values: Sequence[float]) -> dict[str, int | None]:
    """How many prompts would tell two models apart with a power of 80 % at 5 %, going by values of 1, 0 and -1, one a prompt.

    `observed`: if the difference is the one seen here, None if there is none; `ten_points`: if it is a net win rate of 10 %. Both
    None where all values are equal: there is no spread to go by.
    """
    from statsmodels.stats.power import TTestPower

    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    def needed(difference: float) -> int | None:
        # An effect below this needs more prompts than there are.
        if not spread or abs(difference) / spread < 1e-3:
            return None
        found = TTestPower().solve_power(effect_size=abs(difference) / spread, alpha=ALPHA, power=POWER)
        return int(np.ceil(np.max(found)))

    return {"observed": needed(float(np.mean(values))) if values else None, "ten_points": needed(TELLING)}


def decided(interval: Sequence[float] | None, nothing: float = 0.0) -> bool:
    """Whether an interval leaves no difference out."""
    return interval is not None and not interval[0] <= nothing <= interval[1]


def paired_change(before: Sequence[float], after: Sequence[float], clusters: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Means before and after with the interval of each, and their paired difference; clustered by prompt."""
    one, two = clustered_mean(before, clusters, seed), clustered_mean(after, clusters, seed)
    change = clustered_mean([b - a for a, b in zip(before, after, strict=True)], clusters, seed)
    return {
        "n": len(before),
        "before": one.value,
        "after": two.value,
        "ci95": two.ci95,
        "ci95_before": one.ci95,
        "change": change.value,
        "ci95_change": change.ci95,
    }
