"""The general-ability gate: an adapter that has made its model less able than a set margin is marked not to be released."""

from collections.abc import Mapping
from typing import Any

MARGINS = {"points": 0.5, "net_win_rate": 0.1, "right": 0.05, "perplexity": 0.1}
"""How much may be lost: of 10 points (MT-Bench), of the net win rate (Vicuna-Bench), of plain questions answered right; and by what
share the perplexity of plain text may rise."""


def decide(evaluation: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whether the adapter may be released: `release` (None if no general ability was measured), and each of the `checks`.

    A comparison of which no more pairs could be judged than could not checks nothing. A check fails by the value measured; `sure`
    says whether its whole interval lies beyond the margin, or within.
    """
    checks = []
    for name, figures in evaluation.items():
        change, interval, what = None, None, ""
        if points := (figures.get("grades") or {}).get("points"):
            change, interval, what = points["change"], points["ci95_change"], "points"
        elif figures.get("general") and figures["n"] > figures["failed"]:
            change, interval, what = figures["net_win_rate"], figures["ci95_net"], "net_win_rate"
        elif name in ("pocket_general", "multiple_choice"):
            change, interval, what = figures["right"]["change"], figures["right"]["ci95_change"], "right"
        elif found := figures.get("perplexity"):
            change, interval, what = 1 - found["ratio"], [1 - found["ci95_ratio"][1], 1 - found["ci95_ratio"][0]], "perplexity"
        if change is not None and interval is not None:
            margin = MARGINS[what]
            passed = change >= -margin
            sure = interval[0] >= -margin if passed else interval[1] < -margin
            checks.append(
                {"benchmark": name, "figure": what, "change": change, "ci95": interval, "margin": margin, "passed": passed}
                | {"sure": sure}
            )
    return {"release": all(check["passed"] for check in checks) if checks else None, "checks": checks}
