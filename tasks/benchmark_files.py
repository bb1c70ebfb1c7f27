"""Benchmarks from where they are published: a local file in the published format, or the hub through `datasets`.

A file that isn't in the format is refused in one line that names file, row and column (UserError); nothing is skipped, so that
figures are about the set as it was published.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from matrix_core.benchmarks import BENCHMARKS, Benchmark, FormatError, Item, own
from matrix_core.errors import UserError
from tasks.inputs import csv_cells, printable

_GZIP = b"\x1f\x8b"
_KINDS = "jsonl, json or csv (each also as .gz), or parquet"


class Loaded(NamedTuple):
    """A benchmark's questions as published, and where they came from."""

    benchmark: Benchmark
    items: list[Item]
    source: str


def find(name: str, data: str | None) -> Benchmark:
    """What `--benchmark` names: one of the public sets, or a file. Raises UserError if neither, or if its data can't be had."""
    benchmark = BENCHMARKS.get(name)
    if benchmark is None:
        if data is not None:
            raise UserError(f"--benchmark {_shown(name)}: give one of {', '.join(BENCHMARKS)} with --data, or leave --data out")
        if not Path(name).is_file():
            raise UserError(f"--benchmark {_shown(name)}: neither a file nor one of pocket, {', '.join(BENCHMARKS)}")
        return own(Path(name).name)
    if data is not None and Path(data).is_dir():
        raise UserError(f"--data {_shown(data)} is a folder: give the file in it that {benchmark.title} is published as")
    if data is not None and not Path(data).is_file():
        raise UserError(f"--data {_shown(data)}: there is no such file; give the file as {benchmark.title} is published")
    if data is None and benchmark.hub is None:
        raise UserError(f"--benchmark {name}: {benchmark.title} is not on the hub; give its file with --data")
    return benchmark


def load(name: str, data: str | None) -> Loaded:
    """All its questions, in order. Raises UserError: which file, which row, which column."""
    benchmark = find(name, data)
    path = data if name in BENCHMARKS else name
    shown = Path(path).name if path else str((benchmark.hub or {})["path"])
    items: list[Item] = []
    numbered: dict[str, str] = {}
    for where, number, row in _rows(Path(path), shown) if path else _hub_rows(benchmark):
        try:
            items.append(benchmark.parse(row, number))
        except FormatError as error:
            raise UserError(f"{where}: {printable(str(error), 400)}; {benchmark.title} has {benchmark.columns}") from error
        if numbered.setdefault(items[-1].id, where) != where and benchmark.general:  # points are told apart by it
            raise UserError(f"{where}: question_id {_shown(items[-1].id)} is also in {numbered[items[-1].id]}: give each its own")
    if not items:
        raise UserError(f"{shown}: no rows in it; {benchmark.title} has {benchmark.columns}")
    return Loaded(benchmark, items, shown)


_Rows = Iterator[tuple[str, int, dict[str, Any]]]


def _rows(path: Path, shown: str) -> _Rows:
    """(where, number from 1, row) of each row."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    if kind == ".parquet":
        yield from _parquet(path, shown)
        return
    if kind not in (".jsonl", ".json", ".csv"):
        raise UserError(f"{shown}: the file's name must end in what it is: {_KINDS}")
    try:
        data = path.read_bytes()
        if data[:2] == _GZIP and not name.endswith(".gz"):
            raise UserError(f"{shown}: it is packed with gzip: let its name end in {kind}.gz, or unpack it")
        data = gzip.decompress(data) if name.endswith(".gz") else data
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{shown}, line {line}: not UTF-8; save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{shown} can't be read ({reason}): fetch it anew, or check its permissions") from error
    yield from _csv(text, shown) if kind == ".csv" else _json(text, shown)


def _json(text: str, shown: str) -> _Rows:
    """A list of objects, or an object a line."""
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{shown}: not JSON ({error}); fetch the file anew") from error
        for number, row in enumerate(listed, 1):
            yield _object(row, f"{shown}, row {number}", number)
        return
    number = 0
    for i, line in enumerate(text.split("\n"), 1):
        if line.strip():
            number += 1
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                why = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else error
                raise UserError(f"{shown}, line {i}: not JSON ({why}); each line must be one whole JSON object") from error
            yield _object(row, f"{shown}, line {i}", number)


def _object(row: Any, where: str, number: int) -> tuple[str, int, dict[str, Any]]:
    if not isinstance(row, dict):
        raise UserError(f"{where}: a JSON {type(row).__name__}, not an object with columns")
    return where, number, row


def _csv(text: str, shown: str) -> _Rows:
    rows = csv_cells(text.splitlines(keepends=True), shown)
    for where, _, header in islice(rows, 1):
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{where}: two columns are called {printable(twice, 40)!r}; rename one")
        yield from ((here, number, dict(zip(header, row, strict=True))) for number, (here, _, row) in enumerate(rows, 1))


def _parquet(path: Path, shown: str) -> _Rows:
    import pyarrow as arrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{shown}, row {number}", number, row
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{shown}: not a Parquet file that can be read ({_shown(str(error))}); fetch it anew") from error


def _hub_rows(benchmark: Benchmark) -> _Rows:
    from datasets import load_dataset

    hub = dict(benchmark.hub or {})
    try:
        found = load_dataset(**hub)
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"--benchmark {benchmark.name}: {hub['path']} can't be had from the hub ({why}): give its file with --data"
        ) from error
    for number, row in enumerate(found, 1):
        yield f"{hub['path']}, row {number}", number, dict(row)


def _shown(text: str) -> str:
    return " ".join(printable(text, 200).split())
