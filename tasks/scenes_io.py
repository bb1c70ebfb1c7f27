"""Instructions, scenes, examples and plain rows as bytes. Equal rows, equal bytes.

The first three lie in the store as Parquet; scenes also as JSON lines, for people, and while they are being played: what is written
after every wave is read by nothing but the next. Plain rows, of which no two need have the same fields, are JSON lines everywhere,
gzipped for the store.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import pyarrow as arrow  # type: ignore[import-untyped]
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from matrix_core.errors import RunError
from matrix_core.scene import Example, Instruction, Scene
from tasks.columns import from_parquet, to_parquet

Row = TypeVar("Row", bound=BaseModel)

PARQUET = ".parquet"
"""The suffix of instructions, scenes and examples in the store."""
PLAYING = ".jsonl.zst"
"""The suffix of scenes that are being played."""
_ZSTD = b"\x28\xb5\x2f\xfd"
"""How every file of that kind begins (RFC 8878, section 3.1.1)."""


def to_lines(rows: Iterable[BaseModel | Mapping[str, Any]]) -> bytes:
    """One JSON object a line, UTF-8. Raises RunError for a model whose text is no valid Unicode."""
    out = []
    for number, row in enumerate(rows, 1):
        try:
            out.append(_serializer(type(row)).dump_json(row) if isinstance(row, BaseModel) else json.dumps(row).encode())
        except PydanticSerializationError as error:
            raise RunError(f"row {number} ({type(row).__name__}) can't be written as JSON: {error}") from error
    return b"".join(b"%b\n" % line for line in out)


@cache
def _serializer(kind: type[BaseModel]) -> TypeAdapter[BaseModel]:
    return TypeAdapter(kind)


def from_lines(data: bytes, kind: type[Row]) -> list[Row]:
    """The rows behind JSON lines, validated. Raises RunError that names the line and the field."""
    return list(each_of_lines(data, kind))


def each_of_lines(data: bytes, kind: type[Row]) -> Iterator[Row]:
    """`from_lines`, one row after the other."""
    for number, line in _numbered(data):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise RunError(
                f"line {number} is no {kind.__name__} of this version ({where}: {first['msg']}): run again to make it anew"
            ) from error


def rows_from_lines(data: bytes) -> list[dict[str, Any]]:
    """The plain rows behind JSON lines. Raises RunError that names the line."""
    rows = []
    for number, line in _numbered(data):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"line {number} is not JSON ({error}): run again to make it anew") from error
    return rows


def dump_rows(rows: Iterable[BaseModel | Mapping[str, Any]]) -> bytes:
    """`to_lines`, gzipped without a time, so that the hash depends on the rows alone."""
    return gzip.compress(to_lines(rows), mtime=0)


def load_rows(data: bytes) -> list[dict[str, Any]]:
    """The plain rows that `dump_rows` packed."""
    return rows_from_lines(_unpacked(data))


def dump_scenes(scenes: Sequence[Scene]) -> bytes:
    """Scenes, packed for the store."""
    return to_parquet(scenes, Scene)


def pack_lines(lines: bytes) -> bytes:
    """JSON lines of scenes that are being played, packed for the store."""
    out = arrow.BufferOutputStream()
    with arrow.CompressedOutputStream(out, "zstd") as packed:
        packed.write(lines)
    packed_lines: bytes = out.getvalue().to_pybytes()
    return packed_lines


def load_scenes(data: bytes) -> list[Scene]:
    """The scenes that `dump_scenes` or `pack_lines` packed."""
    if not data.startswith(_ZSTD):
        return from_parquet(data, Scene)
    try:
        lines = arrow.CompressedInputStream(arrow.BufferReader(data), "zstd").read()
    except (arrow.ArrowException, OSError) as error:
        raise RunError(f"these {len(data)} bytes are no whole scenes: {' '.join(str(error).split())}") from error
    return from_lines(lines, Scene)


def dump_instructions(instructions: Sequence[Instruction]) -> bytes:
    """Instructions, packed for the store."""
    return to_parquet(instructions, Instruction)


def load_instructions(data: bytes) -> list[Instruction]:
    """The instructions that `dump_instructions` packed."""
    return from_parquet(data, Instruction)


def dump_examples(examples: Sequence[Example]) -> bytes:
    """Training examples, packed for the store. Where no answer is rejected there is no such column: equal examples, equal bytes."""
    paired = any(example.rejected is not None for example in examples)
    return to_parquet(examples, Example, without=() if paired else ("rejected",))


def load_examples(data: bytes) -> list[Example]:
    """The examples that `dump_examples` packed."""
    return from_parquet(data, Example)


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    # Only \n ends a row: a text may hold other characters that str.splitlines takes for ends of lines.
    lines = (line.removesuffix(b"\n") for line in io.BytesIO(data))
    return ((number, line) for number, line in enumerate(lines, 1) if line)


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"these {len(data)} bytes are no gzipped JSON lines: {error}") from error
