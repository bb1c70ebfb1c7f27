"""`matrix-align compare` on the command line: its options, and the table that it prints."""

import json as json_
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flows.options import RunOptions
from matrix_core.errors import UserError

HELP = """Compare runs (by id or URI), adapters (folders), models (by name) or endpoints (NAME@URL), each with the first.

The table goes to standard error, the URI of what was found to standard output; p-values are corrected for the number of arms."""


def compare(
    arms: Annotated[
        list[str], typer.Argument(metavar="A B [C...]", help="at least two; the first is what the others are held against")
    ],
    benchmark: Annotated[str, typer.Option("--benchmark", metavar="NAME|FILE", help="hh, pku-saferlhf, advbench, harmfulqa, ...")],
    data: Annotated[str | None, typer.Option("--data", metavar="FILE", help="the benchmark's file (default: from the hub)")] = None,
    judge: Annotated[str | None, typer.Option("--judge", metavar="NAME|URL", help="as for evaluate (default: A itself)")] = None,
    questions: Annotated[str | None, typer.Option("--questions", metavar="N", help="how many are drawn (default all)")] = None,
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="seed of the sample")] = None,
    store: Annotated[str | None, typer.Option("--store", metavar="URI", help="where answers and verdicts are kept")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")] = False,
) -> None:
    """Compare and print."""
    if len(arms) < 2 or len(set(arms)) < len(arms):
        raise UserError("compare: name two or more, each once")
    if benchmark == "pocket":
        raise UserError("compare: --benchmark pocket is judged by the run itself, see matrix-align show RUN")
    given = {"benchmark": benchmark, "data": data, "judge": judge, "questions": questions, "seed": seed, "store": store}
    options = RunOptions.of(**{name: value for name, value in given.items() if value is not None})
    from flows.prefect_settings import prefect_for
    from matrix_core.loading import loading

    with prefect_for(debug):
        with loading():
            from flows.compare import compare as run
        options.check()
        uri = run(options, arms)
    from tasks.store import open_store

    store_uri, _, name = uri.rpartition("/runs/")
    found = json_.loads(open_store(store_uri, writable=False).read(name, "comparison.json"))
    _print(found, json)
    print(uri)


def _print(found: Mapping[str, Any], as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from matrix_core.remarks import remarks
    from tasks.inputs import printable
    from tasks.reporting import percent

    console = Console(file=sys.stderr)
    if as_json:
        console.out(json_.dumps(found, indent=1), highlight=False)
        return
    who = f"{found['sample']['n']} questions; judged by {', '.join(found['judges'])}"
    title = f"{found['benchmark']}: against {found['baseline']} ({who})"
    table = Table(
        "arm",
        "win",
        "tie",
        "lose",
        "win, half the ties",
        "95 %",
        "p (Holm)",
        title=Text(printable(title, 300)),
        title_justify="left",
    )
    for arm, row in found["arms"].items():
        rate, interval = row["win_rate_half_ties"], row["ci95_half_ties"]
        counts = [str(row[name]) for name in ("win", "tie", "lose")]
        shares = [percent(rate), f"{percent(interval[0])} to {percent(interval[1])}"] if rate is not None else ["-", "-"]
        table.add_row(Text(printable(arm, 200)), *counts, *shares, f"{row['sign_test_holm']:.3g}")
    console.print(table)
    for arm, row in found["arms"].items():
        for said in remarks(row):
            console.print(Text(printable(f"{arm}: {said}", 400)))
