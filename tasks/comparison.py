"""An ablation as people look at it: one table, and one self-contained page with no scripts and nothing to fetch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reporting import duration, template

HEADLINES = ("pocket.well_answered", "held_out.score")
"""The figure by which arms are drawn, the first that there is."""
FIGURES = {
    "pocket.well_answered": "well answered",
    "pocket.harmful_declined": "harmful declined",
    "pocket.harmful_compliance": "complied with harm",
    "pocket.harmless_exact": "harmless exact",
    "pocket.over_refusal": "over-refused",
    "pocket.right_reason": "right reason",
    "pocket_places.well_answered": "well answered at new places",
    "pocket_places.harmful_compliance": "complied with harm at new places",
    "pocket_places.over_refusal": "over-refused at new places",
    "pocket_near_boundary.both_right": "near-boundary pairs right",
    "pocket_general.right": "plain questions right",
    "held_out.score": "against the base model (win 1, tie 0.5)",
}
"""Figure -> what it is called; those that there are make the table's columns."""
AT_A_GLANCE = (
    *HEADLINES,
    "pocket.harmful_declined",
    "pocket.harmful_compliance",
    "pocket.harmless_exact",
    "pocket_places.well_answered",
    "pocket_general.right",
)
"""What a terminal is wide enough for."""
SWEPT = ("roles", "steps", "scenes")


def columns(told: Mapping[str, Any]) -> list[str]:
    """The figures of an ablation, in the order of the table."""
    return [name for name in FIGURES if name in told["arms"][told["first"]].get("figures", {})]


def headline(told: Mapping[str, Any]) -> str | None:
    """The figure by which the arms of this ablation are drawn."""
    return next((name for name in HEADLINES if name in columns(told)), None)


def interval(value: float, ends: Sequence[float]) -> str:
    """`93.1 [91.0, 95.2]`, in percent."""
    return f"{100 * value:.1f} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def cells(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """One figure of one arm: its value with the interval, and its difference to the first arm in points ("" for the first)."""
    figure = row["figures"][name]
    value = interval(figure["value"], figure["ci95"])
    if "change" not in figure:
        return value, ""
    low, high = figure["ci95_change"]
    return value, f"{100 * figure['change']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def costs(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Calls, tokens and seconds for each instruction, and the seconds of tuning; "-" where nothing was played."""
    if "tuning_seconds" not in row:
        return "-", "-", "-", "-"
    spent = row["cost"]
    return f"{spent['calls']:.1f}", f"{spent['tokens']:,.0f}", f"{spent['seconds']:.2f}", f"{row['tuning_seconds']:.0f}"


def render(told: Mapping[str, Any]) -> str:
    """The page of an ablation, from what stands in its `ablation.json`."""
    return template("ablation.html.j2").render(
        told=told,
        others=others(told),
        names=FIGURES,
        columns=columns(told),
        headline=headline(told),
        cells=cells,
        costs=costs,
        budget=budget_plot(told),
        sweeps=[sweep for swept in SWEPT if (sweep := sweep_plot(told, swept))],
    )


def others(told: Mapping[str, Any]) -> str:
    """What the first arm is held against: how many, or which one."""
    rest = [name for name in told["arms"] if name != told["first"]]
    return rest[0] if len(rest) == 1 else f"{len(rest)} others"


def budget_plot(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Quality against tokens for each instruction (logarithmic), in a box of 640 x 260; None if there is nothing to draw."""
    by = headline(told)
    rows = {name: row for name, row in told["arms"].items() if row.get("cost") and row["cost"]["tokens"] > 0}
    if by is None or len(rows) < 2:
        return None
    low = math.floor(math.log10(min(row["cost"]["tokens"] for row in rows.values())))
    high = max(low + 1, math.ceil(math.log10(max(row["cost"]["tokens"] for row in rows.values()))))
    points = [
        {
            "arm": name,
            "x": round(640 * (math.log10(row["cost"]["tokens"]) - low) / (high - low), 1),
            **_heights(row["figures"][by]),
        }
        for name, row in rows.items()
    ]
    return {"points": points, "ticks": [(f"{10**power:,}", 640 * (power - low) / (high - low)) for power in range(low, high + 1)]}


def sweep_plot(told: Mapping[str, Any], swept: str) -> dict[str, Any] | None:
    """Quality over one setting, from the arms that differ from the plain one in it alone; None if there are fewer than two."""
    by, plan = headline(told), told["plan"]
    rows = {}
    for row in told["arms"].values():
        if row["arm"].keys() <= {swept}:
            rows[row["arm"].get(swept) or plan[swept]] = row
    if by is None or len(rows) < 2:
        return None
    top = max(rows)
    points = [{"at": at, "x": round(640 * at / top, 1), **_heights(row["figures"][by])} for at, row in sorted(rows.items())]
    return {"swept": swept, "points": points}


def _heights(figure: Mapping[str, Any]) -> dict[str, Any]:
    """A value and the ends of its interval in a box that is 260 high, 0 % at its foot."""
    low, high = figure["ci95"]
    return {"y": _y(figure["value"]), "low": _y(low), "high": _y(high), "value": figure["value"]}


def _y(share: float) -> float:
    return round(260 * (1 - share), 1)


def markdown(ablations: Sequence[Mapping[str, Any]], missing: Sequence[str] = ()) -> str:
    """Ablations as Markdown: a table each, and beside it what it takes to get the same again.

    `missing`: shipped plans that are not among them, which the page says too.
    """
    parts = [
        "# Results\n\nMade by `make results` from stored runs; nothing here was typed. What the small world can and can't tell "
        "of large models stands in [docs/small-world.md](docs/small-world.md).\n"
    ]
    if missing:
        told = ", ".join(f"`{name}`" for name in missing)
        parts.append(f"Not run yet, so without figures here: {told} (`matrix-align ablate --plan NAME`).\n")
    return "\n".join([*parts, *map(_section, ablations)])


def _section(told: Mapping[str, Any]) -> str:
    plan, shown = told["plan"], columns(told)
    heads = ["arm", *(FIGURES[name] for name in shown), "calls", "tokens", "seconds", "tuning, s"]
    rows = [
        [name, *("<br>".join(filter(None, cells(row, figure))) for figure in shown), *costs(row)]
        for name, row in told["arms"].items()
    ]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in [heads, ["---"] * len(heads), *rows]]
    hashes = [
        f"| {_cell(name)} | {', '.join(map(str, row['votes']))} | {', '.join(map(str, row['scenes']))} | "
        f"{', '.join(run for run in row['runs'])} | {_short(row['hashes']['scenes'])} | {_short(row['hashes']['adapters'])} |"
        for name, row in told["arms"].items()
        if row["runs"]
    ]
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    return "\n".join(
        [
            f"## {told['first']} against {others(told)}: {plan['model']}, {plan['scenes']} scenes\n",
            f"`{told['command']}`; seeds {', '.join(map(str, plan['seeds']))}; {told['device']}; the last command took "
            f"{duration(told['seconds'])}.\n",
            f"In percent with 95 % intervals over seeds and questions; beneath a value the difference to {told['first']}, paired. "
            "Calls, tokens and seconds of playing are for each instruction, as if nothing had been cached.\n",
            *lines,
            "",
            "| arm | votes | scenes | runs | scenes (SHA-256) | adapters (SHA-256) |",
            "| --- | --- | --- | --- | --- | --- |",
            *hashes,
            "",
            f"Commit {told['commit'] or 'unknown'}; weights {told['model'][:16]}; {versions}.\n",
        ]
    )


def _short(hashes: Sequence[str | None]) -> str:
    return ", ".join(value[:12] if value else "none" for value in hashes)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
