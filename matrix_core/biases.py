"""What a judge goes by besides the answers: where they stand, and how long they are.

Position: both orders of a pair are asked, and a judge that names the same place twice went by the place. Length: the win rate is
regressed on the difference in length and told as it would be for answers of one length, in the manner of AlpacaEval 2
(arXiv 2404.04475).
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from matrix_core import statistics
from matrix_core.judging import Verdict
from matrix_core.statistics import Outcome

SURE = 0.01
"""A judge is called biased below this p-value."""
VALUES: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "lose": 0.0}


def position_bias(verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    """How often the order decided, or None if nobody was asked.

    `asked` pairs; `rate`, the share of them whose verdict changed with the order, with `ci95`; `first` and `second`: pairs on which
    that place won in both orders; `p` of that split by chance; `biased`.
    """
    asked = [verdict for verdict in verdicts if verdict.consistent is not None]
    if not asked:
        return None
    changed = statistics.share(sum(not verdict.consistent for verdict in asked), len(asked))
    # The base answer stands first in the first order, the tuned one in the second.
    first = sum(verdict.orders == ("lose", "win") for verdict in asked)
    second = sum(verdict.orders == ("win", "lose") for verdict in asked)
    p = float(binomtest(first, first + second).pvalue) if first + second else 1.0
    return {
        "asked": len(asked),
        "rate": changed.value,
        "ci95": changed.ci95,
        "first": first,
        "second": second,
        "p": p,
        "biased": p < SURE,
    }


def length_control(outcomes: Sequence[Outcome], base: Sequence[int], tuned: Sequence[int]) -> dict[str, Any] | None:
    """Whether length decided, and the win rate without it; lengths in characters, one of each a prompt. None without rows.

    `longer`: of the `decided` pairs (won or lost, by answers of different length) how many the longer one won. `p`: Fisher's exact
    test of whether a side wins more often where it is the longer one, so that a model that wins always, or is longer always, is no
    sign of it; `biased`. `win_rate` with `ci95`: wins and half the ties, at equal length.
    """
    if not outcomes:
        return None
    gap = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    value = np.asarray([VALUES[outcome] for outcome in outcomes])
    decisive = (value != 0.5) & (gap != 0)
    won, longer = value[decisive] == 1.0, gap[decisive] > 0
    table = [[int(np.sum(won & longer)), int(np.sum(won & ~longer))], [int(np.sum(~won & longer)), int(np.sum(~won & ~longer))]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    rate, interval = _at_equal_length(value, gap)
    favoured = int(np.sum(won == longer))
    return {"decided": len(won), "longer": favoured, "p": p, "biased": p < SURE, "win_rate": rate, "ci95": interval}


def _at_equal_length(value: np.ndarray, gap: np.ndarray) -> tuple[float, list[float]]:
    """The logistic regression of outcomes on tanh(gap / its spread), at gap 0, with a robust interval.

    Two rows of half a win, one at each coefficient alone, keep both finite where one side wins always or length decides all: the
    log-F(1,1) prior of Greenland and Mansournia (2015), Statistics in Medicine 34, by augmenting the data.
    """
    import statsmodels.api as sm

    spread = float(np.std(gap)) or 1.0
    length = np.tanh(gap / spread)
    design = np.vstack([np.column_stack([np.ones_like(length), length]), np.eye(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a perfect fit, where all are ties
        fitted = sm.GLM(np.append(value, [0.5, 0.5]), design, family=sm.families.Binomial()).fit(cov_type="HC1")
    at, error = float(fitted.params[0]), float(fitted.bse[0])
    low, high = at - 1.96 * error, at + 1.96 * error
    return _logistic(at), [_logistic(low), _logistic(high)]


def _logistic(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
