"""`matrix-align store check` and `store prune`: whether a store can do what runs need, and what of it may go."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from flows.finding import DEFAULT_STORE
from matrix_core.errors import UserError
from tasks.store import open_store

app = typer.Typer(help="Try out a store, or delete what is no longer wanted.")

_MOST = 1_000_000


@app.command("check", help="Try to write, read, verify, list and delete in a store. Leaves nothing behind.")
def _check(
    uri: Annotated[str, typer.Argument(metavar="URI", help="a folder, or s3://bucket/prefix")],
    json_: Annotated[bool, typer.Option("--json", help="print the table as JSON")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")] = False,
) -> None:
    from dataclasses import asdict

    from tasks.store_check import check_store

    findings = check_store(uri)
    fine = all(finding.works for finding in findings if finding.needed)
    if json_:
        print(json.dumps({"store": uri, "fine": fine, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        rows = [
            (
                finding.name,
                "yes" if finding.works else "no" if finding.needed else "no (can do without)",
                f"{finding.seconds * 1000:,.0f} ms",
                finding.said,
            )
            for finding in findings
        ]
        print_table(f"Store {uri}", ("what", "works", "took", ""), rows)
        print("fine: runs can use this store" if fine else "runs can't use this store")
    if not fine:
        raise typer.Exit(1)


_PRUNE = """Delete old runs, and the objects and cached results that no kept run refers to.

Shows what would go, and asks. Without a terminal it only shows, unless --yes is given.
Nothing that was written or used within the last hour goes, nor runs that are not finished and were written to within a day:
it may be used beside running flows."""


@app.command("prune", help=_PRUNE)
def _prune(
    keep_runs: Annotated[str, typer.Option("--keep-runs", metavar="N", help="keep the N runs that were written to last")],
    store: Annotated[
        str, typer.Option("--store", metavar="URI", help=f"the store (default {DEFAULT_STORE})", show_default=False)
    ] = DEFAULT_STORE,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")] = False,
) -> None:
    if not (keep_runs.isascii() and keep_runs.isdigit() and int(keep_runs) <= _MOST):
        raise UserError(f"--keep-runs {keep_runs}: give a whole number from 0 to {_MOST}")
    keep = int(keep_runs)
    opened = open_store(store)
    from tasks.pruning import carry_out, plan

    planned = plan(opened, keep)
    _show(planned, opened.uri)
    if not planned.all:
        print("nothing to delete" if planned.kept else f"nothing to delete: there are no runs in {opened.uri}")
        return
    if not yes:
        if not sys.stdin.isatty():
            print("nothing was deleted: give --yes to delete this")
            return
        if not typer.confirm("Delete this?", err=True):
            print("nothing was deleted")
            return
    gone = carry_out(opened, planned, keep)
    print(f"deleted {len(gone.all):,} files, {_size(gone.all)}")


def _show(planned: Any, uri: str) -> None:
    listed = ", ".join(planned.runs[:10]) + (", ..." if len(planned.runs) > 10 else "")
    rows = [
        ("runs", f"{len(planned.runs):,}", _size(planned.files), listed),
        ("cached results", f"{len(planned.cached):,}", _size(planned.cached), ""),
        ("objects", f"{len(planned.objects):,}", _size(planned.objects), ""),
        ("in all", "", _size(planned.all), f"{len(planned.kept):,} runs stay"),
    ]
    print_table(f"Would go from {uri}", ("what", "count", "size", ""), rows)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; texts are shown as they are, but for what a terminal would obey."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tasks.inputs import printable

    table = Table(title=Text(printable(title, 300)), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell, 600)) for cell in row))
    Console(file=sys.stdout).print(table)


def _size(entries: Any) -> str:
    return f"{sum(entry.size for entry in entries) / 1e6:,.1f} MB"
