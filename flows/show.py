"""A run as tables, a scene as a story, the quarantine with its reasons: what `matrix-align show` prints.

Everything that comes out of a run is data: it goes into `rich.text.Text`, never into markup; control characters are spelled out.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from flows.finding import find_run, suggest
from matrix_core.errors import UserError
from matrix_core.remarks import remarks
from matrix_core.scene import Scene
from tasks.inputs import printable
from tasks.scenes_io import each_of_lines, from_lines, rows_from_lines
from tasks.store import MissingError, Store
from validations.text import shorten

_LISTED = 5


def summary(store: Store, run_id: str) -> dict[str, Any]:
    """The run's `summary.json`. Raises UserError if there is no such run, or if it has none yet."""
    try:
        return dict(json.loads(store.read(find_run(store, run_id), "summary.json")))
    except MissingError as error:
        raise UserError(f"run {run_id} in {store.uri} has no summary yet: let it end, or start it again to go on") from error


def scenes(store: Store, run_id: str) -> list[Scene]:
    """The run's scenes. Raises UserError if there is no such run, or if it has none yet."""
    try:
        return from_lines(store.read(find_run(store, run_id), "scenes.jsonl"), Scene)
    except MissingError as error:
        raise UserError(f"run {run_id} in {store.uri} has no scenes yet: let it end, or start it again to go on") from error


def quarantine(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The rows that gates took out: gate, id, reason, expectation, instruction. Raises UserError if there is no such run."""
    try:
        return rows_from_lines(store.read(find_run(store, run_id), "quarantine.jsonl"))
    except MissingError:
        return []


def find_scene(store: Store, run_id: str, wanted: str) -> Scene:
    """The scene with this id, the beginning of one, or this number (from 1, in the run's order). Raises UserError."""
    there = scenes(store, run_id)
    exact = [scene for scene in there if scene.id == wanted]
    if exact:
        return exact[0]
    if re.fullmatch(r"[0-9]{1,7}", wanted) and 1 <= int(wanted) <= len(there):
        return there[int(wanted) - 1]
    starting = [scene for scene in there if wanted and scene.id.startswith(wanted)]
    if len(starting) == 1:
        return starting[0]
    if starting:
        ids = ", ".join(scene.id for scene in starting[:5])
        raise UserError(f"{len(starting)} scenes of run {run_id} begin with {wanted!r}: {ids}; give more of the id")
    for row in quarantine(store, run_id):
        if row.get("id") == wanted:
            where = f"at {row.get('gate')}: {row.get('reason')}"
            raise UserError(f"scene {wanted} was quarantined {where}; see matrix-align show {run_id} --quarantine")
    close = suggest(wanted, [scene.id for scene in there], f"it has none, see matrix-align show {run_id} --quarantine")
    raise UserError(f"no scene {wanted!r} in run {run_id}: {close}" + (f" Or give a number, 1 to {len(there)}." if there else ""))


def show_run(store: Store, run_id: str, console: Console, as_json: bool = False) -> None:
    """Print a run: counts, gates, tokens, time, evaluation, artifacts, and its first scenes."""
    told = summary(store, run_id)
    if as_json:
        _print_json(told, console)
        return
    parts: list[RenderableType] = [
        _pairs(f"Run {run_id}", {"model": told.get("model"), **_flat(told.get("settings"))}),
        Columns(
            [
                _pairs(title, _flat(told.get(key)))
                for title, key in (("Counts", "counts"), ("Tokens", "tokens"), ("Seconds", "timing"))
            ]
        ),
        *_gates(told.get("gates") or ()),
    ]
    if told.get("evaluation"):
        parts += _evaluation(told["evaluation"])
    parts.append(_table("Artifacts", ("name", "uri"), [{"name": name} | it for name, it in told.get("artifacts", {}).items()]))
    parts.append(_first_scenes(store, run_id))
    console.print(Group(*parts))


def show_scene(store: Store, run_id: str, wanted: str, console: Console, as_json: bool = False) -> None:
    """Print one scene as a story, or as it is stored."""
    scene = find_scene(store, run_id, wanted)
    if as_json:
        _print_json(scene.model_dump(mode="json"), console)
        return
    from matrix_core.story import story

    text = printable(story(scene), limit=10**6)
    # Links are written out, so that no text of a model becomes something to click on.
    if console.is_terminal:
        console.print(Markdown(text, hyperlinks=False))
    else:
        console.out(text, highlight=False)


def show_quarantine(store: Store, run_id: str, console: Console, as_json: bool = False) -> None:
    """Print what the gates took out, and why."""
    rows = quarantine(store, run_id)
    if as_json:
        _print_json(rows, console)
    elif rows:
        console.print(_table(f"Quarantine of run {run_id}: {len(rows)}", ("gate", "id", "reason", "instruction"), rows))
    else:
        console.print(Text(f"Nothing of run {run_id} is in quarantine."))


def _first_scenes(store: Store, run_id: str) -> RenderableType:
    try:
        lines = store.read(find_run(store, run_id), "scenes.jsonl")
    except (UserError, MissingError):
        return Text("No scenes yet.")
    rows = [
        {"no": number, "id": scene.id, "instruction": scene.instruction.text, "harmed": ", ".join(scene.harmed or ())}
        for number, scene in enumerate(islice(each_of_lines(lines, Scene), _LISTED), 1)
    ]
    count = lines.count(b"\n")
    table = _table(f"Scenes: {count}", ("no", "id", "instruction", "harmed"), rows)
    table.caption = Text(f"matrix-align show {run_id} 1 tells the first; --quarantine lists what gates took out")
    return table


def _gates(noted: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What each gate took out; under the table, since a sentence needs more than a column, what they found."""
    found = [
        f"{gate['name']}: {shorten(said, 240)}"
        for gate in noted
        for what in ("problems", "warnings")
        for said in gate.get(what) or ()
    ]
    table = _table("Gates", ("name", "passed", "evaluated", "quarantined", "success_percent"), noted)
    return [table, *(Text(said) for said in found)]


def _evaluation(benchmarks: Mapping[str, Mapping[str, Any]]) -> list[RenderableType]:
    """Comparisons of answers pair by pair, shares before and after the tuning, and what to know when reading them."""
    pairs = [{"benchmark": name} | dict(figures) for name, figures in benchmarks.items() if "win_rate" in figures]
    shares = [
        {"benchmark": name, "figure": figure} | dict(share)
        for name, figures in benchmarks.items()
        for figure, share in figures.items()
        if isinstance(share, Mapping) and "before" in share
    ]
    points = [
        {"benchmark": name, "points of 10": figure.replace("_", " ")} | dict(row)
        for name, figures in benchmarks.items()
        for figure, row in (figures.get("grades") or {}).items()
        if isinstance(row, Mapping) and "before" in row
    ]
    tables = [
        _table("Tuned against base", ("benchmark", "n", "win", "tie", "lose", "win_rate", "ci95", "judge"), pairs),
        _table("Shares before and after tuning", ("benchmark", "figure", "before", "after", "ci95"), shares),
        _table("Points before and after tuning", ("benchmark", "points of 10", "before", "after", "change", "ci95_change"), points),
    ]
    return [
        *(table for table in tables if table.row_count),
        *(Text(printable(f"{name}: {said}", 600)) for name, figures in benchmarks.items() for said in remarks(figures)),
    ]


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names: {"a": {"b": 1}} as {"a.b": 1}."""
    out: dict[str, Any] = {}
    for key, value in dict(values or {}).items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def _pairs(title: str, values: Mapping[str, Any]) -> RenderableType:
    table = Table(title=_cell(title), title_justify="left", show_header=False, box=None)
    for key, value in values.items():
        table.add_row(_cell(key), _cell(value))
    return table


def _table(title: str, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Table:
    columns = list(columns)
    table = Table(title=_cell(title), title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: Any) -> Text:
    """A value as inert text."""
    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, list | tuple):
        return Text(", ".join(_cell(part).plain for part in value))
    return Text(printable(str(value), 300))


def _print_json(value: Any, console: Console) -> None:
    # ASCII, so that nothing in it can steer a terminal; for jq it is the same.
    console.out(json.dumps(value, indent=1), highlight=False)
