"""What `make bench` holds us to: ratios of two sides that took turns, each with its bound, as lines and as a picture."""

import platform
import statistics
from collections.abc import Sequence
from math import log10
from typing import Any

import torch
from jinja2 import Environment

PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1180 {{ 44 * rows|length + 40 }}"
 font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/>
<line x1="800" x2="800" y1="8" y2="{{ 44 * rows|length + 12 }}" stroke="#888" stroke-dasharray="4 3"/>
<text x="800" y="{{ 44 * rows|length + 30 }}" text-anchor="middle" fill="#555">the bound: right is better</text>
{% for row in rows %}
<g transform="translate(0 {{ 44 * loop.index0 + 10 }})">
<title>{{ row.ours }} | {{ row.theirs }}</title>
<text x="8" y="14">{{ row.what }}</text>
<text x="8" y="30" fill="#777" font-size="11">{{ row.device }}</text>
<line x1="{{ row.low }}" x2="{{ row.high }}" y1="14" y2="14" stroke="{{ row.colour }}" stroke-width="3"/>
<circle cx="{{ row.middle }}" cy="14" r="5" fill="{{ row.colour }}"/>
<text x="1056" y="18" font-weight="600" fill="{{ row.colour }}">{{ row.said }}</text>
</g>
{% endfor %}
</svg>
"""


def device() -> str:
    """What a model runs on here, as people call it."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def row(what: str, ratios: Sequence[float], bound: float, ours: str, theirs: str, at_least: bool = True) -> dict[str, Any]:
    """Print and return one ratio, the median over its turns; `bound` is the least that will do, or the most."""
    ratio = statistics.median(ratios)
    reached = ratio >= bound if at_least else ratio <= bound
    limit = f"at {'least' if at_least else 'most'} {bound:g}"
    print(f"{what}: {ratio:.3g} ({min(ratios):.3g} to {max(ratios):.3g}), {limit}: {'reached' if reached else 'MISSED'}")
    print(f"    ours    {ours}\n    theirs  {theirs}", flush=True)
    return {
        "what": what,
        "ratio": ratio,
        "ratios": list(ratios),
        "bound": bound,
        "at_least": at_least,
        "reached": reached,
        "ours": ours,
        "theirs": theirs,
        "device": device(),
    }


def found(table: Any) -> list[dict[str, Any]]:
    """All ratios somewhere in what a benchmark left."""
    if isinstance(table, list):
        return [one for part in table for one in found(part)]
    if not isinstance(table, dict):
        return []
    return [table] if "bound" in table and "ratios" in table else found([*table.values()])


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """An SVG: each ratio beside its bound, from a tenth to ten times of it, on a logarithmic scale."""
    return Environment(autoescape=True).from_string(PICTURE).render(rows=[row | _place(row) for row in rows])


def _place(row: dict[str, Any]) -> dict[str, Any]:
    def at(ratio: float) -> float:
        better = log10(max(ratio, 1e-9) / row["bound"]) * (1 if row["at_least"] else -1)
        return round(800 + 240 * max(-1.0, min(1.0, better)), 1)

    ends = sorted(map(at, row["ratios"]))
    return {
        "low": ends[0],
        "high": ends[-1],
        "middle": at(row["ratio"]),
        "colour": "#1a7f4b" if row["reached"] else "#b3261e",
        "said": f"{row['ratio']:.3g} {'≥' if row['at_least'] else '≤'} {row['bound']:g}",
    }


def seconds(measured: Sequence[float]) -> str:
    """The median, for people."""
    return f"{statistics.median(measured):.3g} s"
