"""`matrix-align rate export` and `rate import`: pairs of a run for people to rate, and what they found."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.finding import DEFAULT_STORE, find_run, locate_run, suggest
from matrix_core.errors import UserError
from tasks.store import MissingError, Store, open_store

app = typer.Typer(help="Have people rate the answers of a run: one page to send around, and the files that come back.")
_MOST = 10_000

_Store = Annotated[str | None, typer.Option("--store", metavar="URI", help=f"the store (default {DEFAULT_STORE})")]
_Debug = Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")]


@app.command("export", help="Write one self-contained page with pairs to rate; it needs no network and doesn't say which is whose.")
def _export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="id of the run, or its URI")],
    benchmark: Annotated[str | None, typer.Option("--benchmark", metavar="NAME", help="whose pairs (default: the first)")] = None,
    pairs: Annotated[str, typer.Option("--pairs", metavar="N", help="how many pairs are drawn")] = "50",
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="seed of the draw, the order and the sides")] = "0",
    output: Annotated[str | None, typer.Option("--output", metavar="FILE", help="the page (default rate-RUN.html)")] = None,
    store: _Store = None,
    debug: _Debug = False,
) -> None:
    n, drawn = _count("--pairs", pairs, 1), _count("--seed", seed, 0)
    uri, run_id = locate_run(run, store)
    opened = open_store(uri)
    find_run(opened, run_id)
    from tasks.rating_page import make
    from tasks.runs import Evaluated, recall

    done = recall(opened, run_id, "evaluate", Evaluated).whole
    if not done.pairs:
        raise UserError(f"run {run_id} has no pairs of answers: run `matrix-align evaluate {run_id}` for it first")
    name = benchmark or next(iter(done.pairs))
    if name not in done.pairs:
        raise UserError(f"run {run_id} has no pairs of {name!r}: {suggest(name, list(done.pairs), 'it has none')}")
    rubric = done.evaluation[name].get("rubric") or "overall"
    try:
        page = make(run_id, name, rubric, json.loads(opened.get(done.pairs[name])), n, drawn)
    except ValueError as error:
        raise UserError(f"run {run_id}, {name}: {error}; there is nothing to rate") from error
    file = Path(output or f"rate-{run_id}.html")
    try:
        file.write_text(page.html, "utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"--output {file}: can't be written ({error.strerror or error}); name another file") from error
    opened.write(run_id, f"rating/{page.key.page}.json", page.key.model_dump_json(indent=1).encode())
    print(
        f"{len(page.key.asked)} pairs of {name}, checks included; send the page to raters, then: rate import FILES", file=sys.stderr
    )
    print(file)


@app.command("import", help="Read raters' files of one page, and tell what they found. Files that were changed are refused.")
def _import(
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="what the page has saved, one file a rater")],
    store: _Store = None,
    json_: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
    debug: _Debug = False,
) -> None:
    from matrix_core.ratings import check, figures, read
    from tasks.runs import RATED

    found = {name: read(_bytes(name), name) for name in files}
    first_name, first = next(iter(found.items()))
    opened = open_store(store or DEFAULT_STORE)
    key = _key(opened, first.run, first.page, first_name)
    check(found, key)
    told = figures(list(found.values()), key)
    opened.write(key.run, RATED, json.dumps(told, indent=1, ensure_ascii=False).encode())
    if json_:
        print(json.dumps(told, indent=1))
    else:
        _print(told)
    print(f"{opened.uri}/runs/{key.run}/{RATED}")


def _key(opened: Store, run: str, page: str, name: str) -> Any:
    from matrix_core.ratings import Key

    try:
        return Key.model_validate_json(opened.read(find_run(opened, run), f"rating/{page}.json"))
    except MissingError:
        raise UserError(
            f"{name}: run {run} in {opened.uri} has no such page: it was edited, or exported into another --store; "
            "send raters the page itself"
        ) from None


def _bytes(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: can't be read ({error.strerror or error}); name files that the rating page has saved") from error


def _count(option: str, value: str, low: int) -> int:
    if not (value.isascii() and value.isdigit() and low <= int(value[:9]) <= _MOST):
        raise UserError(f"{option} {value}: give a whole number from {low} to {_MOST}")
    return int(value)


def _print(told: Mapping[str, Any]) -> None:
    from flows.store_commands import print_table
    from tasks.reporting import percent

    def shown(value: float | None, interval: list[float] | None = None) -> str:
        if value is None:
            return "-"
        return percent(value) + (f" ({percent(interval[0])} to {percent(interval[1])})" if interval else "")

    rates, every, agreed = told["win_rates"], told["all_ratings"], told["agreement"]
    print_table(
        f"What most raters say of {told['pairs']} pairs of {told['benchmark']}",
        ("win", "tie", "lose", "win rate", "all ratings, half the ties"),
        [
            (
                str(rates["win"]),
                str(rates["tie"]),
                str(rates["lose"]),
                shown(rates["win_rate"], rates["ci95"]),
                shown(every["win_rate_half_ties"], every["ci95"]),
            )
        ],
    )
    rows = [
        (
            name,
            str(row["n"]),
            shown(row["half_ties"]),
            shown(row.get("others_half_ties")),
            f"{row['left']['chosen']} of {row['left']['of']}" + (" (biased)" if row["left"]["biased"] else ""),
            f"{row['checks']['passed']} of {row['checks']['of']}" + (" (not counted)" if row["excluded"] else ""),
        )
        for name, row in told["raters"].items()
    ]
    print_table("Raters", ("rater", "rated", "half the ties", "the others", "chose A", "checks passed"), rows)
    alphas = [("raters among themselves", agreed)] + ([("raters and judge", told["with_judge"])] if told["with_judge"] else [])
    print_table(
        "Agreement",
        ("", "Krippendorff's alpha", "Fleiss' kappa", "same"),
        [(name, _two(one["alpha"]), _two(one["kappa"]), shown(one["same"])) for name, one in alphas],
    )


def _two(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
