"""What somebody should know who reads a win rate, in sentences: who judged, what the judge went by, what the interval can tell."""

from collections.abc import Mapping
from typing import Any


def remarks(figures: Mapping[str, Any]) -> list[str]:
    """One sentence each, the gravest first; of the figures of `comparison.figures` and who made them."""
    out = []
    if itself := figures.get("judged_by_itself"):
        out.append(f"The judge is one of the judged models ({', '.join(itself)}): this proves little.")
    if why := figures.get("why_failed"):
        asked = figures["n"] + figures["failed"]
        out.append(f"{figures['failed']} of {asked} pairs could not be judged, most often: {' '.join(why.split())[:200]}.")
    if found := figures.get("perplexity"):
        low, high = found["ci95_ratio"]
        times = f"{found['ratio']:.3f} times as much ({low:.3f} to {high:.3f})"
        out.append(f"Perplexity {found['base']:.2f} before, {found['tuned']:.2f} after: {times}.")
    position = figures.get("position_bias")
    if position:
        place = "first" if position["first"] > position["second"] else "second"
        changed = f"{_percent(position['rate'])} of verdicts changed with the order of the answers and count as ties"
        bias = f"; the judge favours the {place} answer (p {position['p']:.2g})" if position["biased"] else ""
        out.append(f"Position: {changed}{bias}.")
    length = figures.get("length")
    if length and length["decided"]:
        bias = f"the judge favours longer answers ({length['longer']} of {length['decided']}, p {length['p']:.2g}); "
        told = f"wins and half the ties at equal length {_percent(length['win_rate'])} ({_interval(length['ci95'])})"
        out.append(f"Length: {bias if length['biased'] else ''}{told}.")
    if needed := figures.get("prompts_needed"):
        sizes = [f"{needed['observed']:,} prompts to tell a difference like this one"] if needed["observed"] else []
        sizes += [f"{needed['ten_points']:,} to tell a net win rate of 10 % from none"] if needed["ten_points"] else []
        why = f": it would take {', '.join(sizes)} (power 80 %)" if sizes else ""
        out.append(f"The interval can't tell the two apart{why}.")
    if agreed := figures.get("agreement"):
        same = "" if agreed["same"] is None else f", the same verdict {_percent(agreed['same'])}"
        out.append(f"Judges: {agreed['raters']}, alpha {_two(agreed['alpha'])}, kappa {_two(agreed['kappa'])}{same}.")
    grades = figures.get("grades") or {}
    if why := grades.get("why_failed"):
        turns = "1 turn" if grades["failed"] == 1 else f"{grades['failed']} turns"
        out.append(f"{turns} could not be graded, most often: {' '.join(why.split())[:200]}.")
    if agreed := grades.get("agreement"):
        each = "; ".join(f"{name} {row['change']:+.2f}" for name, row in grades["judges"].items())
        out.append(f"Points are the mean of {agreed['raters']} judges, alpha {_two(agreed['alpha'])}; change by each: {each}.")
    return out


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(ci95: list[float]) -> str:
    return f"{_percent(ci95[0])} to {_percent(ci95[1])}"


def _two(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
