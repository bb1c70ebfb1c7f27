"""`matrix-align journal`: which completions wait for their runs to go on, by engine; and all of them as JSON lines."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.finding import DEFAULT_STORE
from flows.store_commands import print_table
from matrix_core.errors import UserError

HELP = """Completions that models have given and no finished task holds yet: what an interrupted run goes on from.

Each store has a journal, in the user's cache on this machine. Completions leave it once their task's result is in the store."""

_Export = Annotated[str | None, typer.Option("--export", metavar="FILE", help="write all as JSON lines, the oldest first")]


def journal(
    store: Annotated[
        str, typer.Option("--store", metavar="URI", help=f"whose journal (default {DEFAULT_STORE})", show_default=False)
    ] = DEFAULT_STORE,
    export: _Export = None,
    json_: Annotated[bool, typer.Option("--json", help="print the table as JSON")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")] = False,
) -> None:
    """Print the table; write the file first, if one is wanted."""
    from matrix_core.engines import journal_file
    from tasks.journals import journal_file as file_of

    path = file_of(store)
    shares = journal_file.shares(path)
    if export is not None:
        _export(path, Path(export))
    completions, size = sum(share.completions for share in shares), sum(share.bytes for share in shares)
    if json_:
        engines = [share._asdict() for share in shares]
        print(json.dumps({"journal": str(path), "completions": completions, "bytes": size, "engines": engines}, indent=1))
        return
    rows = [(share.engine[:12], f"{share.completions:,}", f"{share.bytes:,}") for share in shares]
    print_table(f"Journal {path}", ("engine", "completions", "bytes"), [*rows, ("in all", f"{completions:,}", f"{size:,}")])


def _export(path: Path, to: Path) -> None:
    from matrix_core.engines.journal_file import entries

    try:
        with to.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries(path))
    except OSError as error:
        raise UserError(f"--export {to}: can't be written ({error}): name a file in a folder where you can write") from error
