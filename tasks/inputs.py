"""Instructions from people's files: JSON lines, CSV, Parquet, plain text, or standard input.

A file that isn't what it should be is refused in one line that says where (UserError). A row whose text no model should see (NUL
bytes, control characters, broken Unicode) is set aside with the reason and the rest goes on. Files are read line by line.
"""

import codecs
import csv
import gzip
import itertools
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from matrix_core.errors import UserError
from matrix_core.scene import Instruction

COLUMNS = ("instruction", "prompt", "question", "goal", "turns", "chosen")
"""Where the text is looked for, in this order. `turns` is a list whose first is taken; `chosen` a dialogue as in HH-RLHF."""

LONGEST_TEXT = 100_000
_LONGEST_LINE = 8 * 2**20
_SHOWN = 2_000
_KINDS = "jsonl, csv, txt (each also as .gz) or parquet"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# What could steer a terminal or turn the reading direction of what stands around it.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Stream(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class Rejected(NamedTuple):
    """A row that was set aside: its line or row in the file, its text made printable, and the reason."""

    line: int
    text: str
    reason: str


@dataclass(frozen=True)
class Inputs:
    """What a file held: its instructions in order, each text once, and what was left out."""

    instructions: list[Instruction]
    duplicates: int = 0
    rejected: list[Rejected] = field(default_factory=list)


def printable(text: str, limit: int = _SHOWN) -> str:
    r"""The text with control characters as `\x1b` and the like, cut at `limit` characters; line ends and tabs are kept."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return _STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), cut)


def read_instructions(source: str) -> Inputs:
    """The instructions in a file, or on standard input for `-`. Raises UserError: what, where, what to do."""
    if source == "-":
        return _collect(_stdin_rows(), "standard input")
    path = Path(source)
    name = _quoted(source)
    try:
        if not source or not path.exists():
            raise UserError(f"--instructions {name}: there is no such file; check the path, or leave it out for the embedded set")
        if not path.is_file():
            raise UserError(f"--instructions {name}: not a file; name a file: {_KINDS}")
        lower = path.name.lower()
        kind = Path(lower.removesuffix(".gz")).suffix
        if lower.endswith(".parquet"):
            return _collect(_parquet_rows(path, name), name)
        if kind not in _READERS:
            raise UserError(f"--instructions {name}: the file's name must end in what it is: {_KINDS}")
        with path.open("rb") as plain:
            stream: _Stream = gzip.GzipFile(fileobj=plain) if lower.endswith(".gz") else plain
            return _collect(_READERS[kind](_lines(stream, name), name), name)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--instructions {name} can't be read ({reason}): check the file and its permissions") from error


def _collect(rows: Iterable[tuple[int, str]], name: str) -> Inputs:
    out = Inputs([], 0, [])
    seen: set[str] = set()
    duplicates = 0
    for line, text in rows:
        reason = _unfit(text)
        if reason:
            out.rejected.append(Rejected(line, printable(text), reason))
            continue
        instruction = Instruction.of(text)
        if instruction.id in seen:
            duplicates += 1
            continue
        seen.add(instruction.id)
        out.instructions.append(instruction)
    if out.rejected and not out.instructions:
        first = out.rejected[0]
        raise UserError(
            f"{name}: none of the {len(out.rejected)} instructions can be used; the first, line {first.line}: {first.reason}"
        )
    if not out.instructions:
        raise UserError(f"{name}: no instructions in it; put in at least one")
    return Inputs(out.instructions, duplicates, out.rejected)


def _unfit(text: str) -> str | None:
    """Why no model should see this text, or None."""
    if match := _CONTROL.search(text):
        what = "a NUL byte" if match[0] == "\0" else f"control character U+{ord(match[0]):04X}"
        return f"{what} at character {match.start() + 1}"
    if match := _SURROGATE.search(text):
        return f"half of a surrogate pair, U+{ord(match[0]):04X}, at character {match.start() + 1}"
    if len(text) > LONGEST_TEXT:
        return f"longer than {LONGEST_TEXT:,} characters"
    if not any(character.isprintable() and not character.isspace() for character in text):
        return "no visible character in it"
    return None


def _lines(stream: _Stream, name: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line, decoded strictly; a byte order mark at the start is skipped."""
    offset = 0
    for number in itertools.count(1):
        raw = stream.readline(_LONGEST_LINE + 1)
        if not raw:
            return
        if len(raw) > _LONGEST_LINE:
            raise UserError(f"{name}, line {number}: longer than {_LONGEST_LINE >> 20} MiB; put one instruction on a line")
        if offset == 0 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UserError(f"{name}, line 1: UTF-16, not UTF-8; save the file as UTF-8")
        skipped = len(codecs.BOM_UTF8) if offset == 0 and raw.startswith(codecs.BOM_UTF8) else 0
        try:
            yield number, raw[skipped:].decode()
        except UnicodeDecodeError as error:
            at = skipped + error.start
            raise UserError(
                f"{name}, line {number}: not UTF-8 (byte 0x{raw[at]:02x} at offset {offset + at}); save the file as UTF-8"
            ) from error
        offset += len(raw)


def _json_rows(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str]]:
    column = None
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            # Not strict: a bare control character within a text is the text's fault, not the file's.
            row = json.loads(line.rstrip("\r\n"), strict=False)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}, column {error.colno}: not JSON ({error.msg}); each line must be one whole JSON object"
            ) from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: JSON that can't be read ({error}); each line must be one plain JSON object") from error
        if not isinstance(row, dict):
            raise UserError(f'{where}: a JSON {_kind(row)}, not an object; write it as {{"instruction": ...}}')
        column = column or _column(list(row), where)
        if column not in row:
            raise UserError(f"{where}: no {column!r}, unlike the lines before (found: {_listed(row)}); name it alike on all lines")
        yield number, _text(row[column], column, where)


def csv_cells(lines: Iterable[str], name: str) -> Iterator[tuple[str, int, list[str]]]:
    """(where, line, cells) of each row of a CSV file, the header first. Raises UserError that names the line."""
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        where = f"{name}, line {start}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{where}: not CSV ({error}); quote texts with commas, quotes or line ends, and double their quotes"
            ) from error
        if row is None:
            return
        if not row:
            continue
        if header is None:
            header = row = [cell.strip() for cell in row]
        elif len(row) != len(header):
            raise UserError(f"{where}: {len(row)} cells under {len(header)} columns; quote texts that hold commas")
        yield where, start, row


def _csv_rows(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str]]:
    rows = csv_cells((text for _, text in lines), name)
    for where, _, header in itertools.islice(rows, 1):
        column = _column(header, where)
        place = header.index(column)
        yield from ((line, _text(row[place], column, here)) for here, line, row in rows)


def _text_rows(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str]]:
    return ((number, line.strip()) for number, line in lines if line.strip())


_READERS = {".jsonl": _json_rows, ".csv": _csv_rows, ".txt": _text_rows}


def _stdin_rows() -> Iterator[tuple[int, str]]:
    """JSON lines if the first line that isn't blank begins with a brace, else plain lines."""
    name = "standard input"
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("--instructions -: nothing is piped into standard input; pipe a file in, or name one")
    lines = _lines(sys.stdin.buffer, name)
    head: list[tuple[int, str]] = []
    for line in lines:
        head.append(line)
        if line[1].strip():
            break
    reader = _json_rows if head and head[-1][1].lstrip().startswith("{") else _text_rows
    return reader(itertools.chain(head, lines), name)


def _parquet_rows(path: Path, name: str) -> Iterator[tuple[int, str]]:
    import pyarrow as arrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        column = _column(file.schema_arrow.names, name)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=[column]):
            for cell in batch.column(0):
                number += 1
                yield number, _text(cell.as_py(), column, f"{name}, row {number}")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}, row {number}: not UTF-8; write the file anew with valid text") from error
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a Parquet file that can be read ({_quoted(str(error))}); write it anew") from error


def _column(found: list[str], where: str) -> str:
    for column in COLUMNS:
        if found.count(column) > 1:
            raise UserError(f"{where}: {found.count(column)} columns are called {column!r}; rename all but one")
        if column in found:
            return column
    raise UserError(f"{where}: no column with instructions (found: {_listed(found)}); call it 'instruction'")


def _text(value: Any, column: str, where: str) -> str:
    """The text in a cell, without blanks around it. Raises UserError."""
    if value is None:
        raise UserError(f"{where}: {column!r} is null; fill it in or drop the row")
    if column == "turns":
        if not isinstance(value, list) or not value:
            raise UserError(f"{where}: 'turns' must be a list of texts, not {_kind(value)}; the first is the instruction")
        value = value[0]
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} must be text, not {_kind(value)}; put it in quotes")
    if column == "chosen":
        turns = re.split(r"\n\n(Human|Assistant):", value)
        if len(turns) < 3 or turns[0].strip() or turns[1] != "Human":
            raise UserError(
                f"{where}: 'chosen' must be a dialogue that begins with '\\n\\nHuman:'; or call the column 'instruction'"
            )
        value = turns[2]
    text: str = value.strip()
    if not text:
        raise UserError(f"{where}: {column!r} is blank; fill it in or drop the row")
    return text


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true/false", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(_quoted(name, 40) for name in names[:8])
    return (shown + (", ..." if len(names) > 8 else "")) or "none"


def _quoted(text: str, limit: int = 200) -> str:
    """As part of a one-line message."""
    return " ".join(printable(text, limit).split())
