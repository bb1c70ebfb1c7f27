"""`matrix-align ablate`: arms against each other by a plan; and `matrix-align results`: what came of them, as Markdown."""

import json
from contextlib import suppress
from typing import Annotated, Any

import typer

from flows.finding import ABLATION, DEFAULT_STORE, find_run, locate_run
from matrix_core.errors import UserError
from tasks.store import MissingError, Store, open_store

HELP = """MATRIX against its rivals and against itself without its parts, as a plan says: a table with intervals, and a page.

Stopped at any point, the same command goes on where it was."""
RESULTS_HELP = """What ablations in a store have found, as Markdown with commands, versions, seeds and hashes.

`make results` writes it to RESULTS.md."""

_Store = Annotated[
    str, typer.Option("--store", metavar="URI", help=f"what keeps what runs make (default {DEFAULT_STORE})", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="print the table as JSON")]
_Debug = Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")]


def ablate(
    plan: Annotated[
        str, typer.Option("--plan", metavar="FILE", help="a TOML file, or one of default, order, sweeps, recipe, quick")
    ] = "default",
    store: _Store = DEFAULT_STORE,
    json_: _Json = False,
    debug: _Debug = False,
) -> None:
    """Run the plan; its table on standard error, its URI on standard output."""
    import sys

    from flows.plan import read_plan
    from flows.prefect_settings import prefect_for
    from matrix_core.loading import loading

    read = read_plan(plan)
    for arm in read.played.values():
        read.options(arm, read.seeds[0], store).check()
    with prefect_for(debug):
        with loading():
            from flows import ablate as flow
        uri = flow.ablate(read, store, plan)
    told = found(open_store(store, writable=False), uri.rpartition("/")[2])
    print_told(told, json_, sys.stderr)
    print(uri)


def results(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="ids of ablations (default: all in the store)")
    ] = None,
    store: _Store = DEFAULT_STORE,
    json_: _Json = False,
    debug: _Debug = False,
) -> None:
    """Print them as Markdown."""
    import sys

    from flows.plan import PLANS, read_plan
    from tasks.comparison import markdown

    uri, names = store, list(runs or ())
    if len(names) == 1 and "/runs/" in names[0]:
        uri, name = locate_run(names[0], None)
        names = [name]
    opened = open_store(uri, writable=False)
    told = [found(opened, find_run(opened, name)) for name in names]
    if not names:
        for name in filter(is_ablation, opened.runs()):
            with suppress(UserError):  # not over yet
                told.append(found(opened, name))
    if not told:
        raise UserError(f"no ablation in {opened.uri} that is over: matrix-align ablate makes one")
    there = {one["run_id"] for one in told}
    missing = [name for name in PLANS if read_plan(name).id not in there]
    sys.stdout.write(json.dumps(told, indent=1) + "\n" if json_ else markdown(told, missing))


def is_ablation(name: str) -> bool:
    """Whether this is the id of an ablation, not of a run."""
    return name.startswith(ABLATION)


def found(store: Store, name: str) -> dict[str, Any]:
    """What an ablation has found. Raises UserError if it is none, or not over yet."""
    try:
        return dict(json.loads(store.read(name, "ablation.json")))
    except MissingError:
        raise UserError(
            f"{name} in {store.uri} is no ablation, or none that is over: start it again with matrix-align ablate to go on"
        ) from None


def print_told(told: dict[str, Any], as_json: bool, file: Any) -> None:
    """The table, as wide as it needs to be."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tasks import comparison

    if as_json:
        print(json.dumps(told, indent=1), file=file)
        return
    table = Table(
        title=f"{told['run_id']}: in percent [95 %], and beneath it the difference to {told['first']}", title_justify="left"
    )
    shown = [name for name in comparison.AT_A_GLANCE if name in comparison.columns(told)]
    for name in ("arm", *(comparison.FIGURES[figure] for figure in shown), "calls", "tokens", "seconds", "tuning, s"):
        table.add_column(Text(name))
    for arm, row in told["arms"].items():
        values = ("\n".join(filter(None, comparison.cells(row, figure))) for figure in shown)
        table.add_row(*(Text(value) for value in (arm, *values, *comparison.costs(row))))
    console = Console(file=file)
    Console(file=file, width=console.width if console.is_terminal else 200).print(table)
