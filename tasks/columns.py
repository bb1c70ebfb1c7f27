"""Models of one kind as a Parquet file: a column a field, nested models as structs. Equal rows, equal bytes.

What a reader needs of a file it takes by column, without the rest. The schema follows from the model, so that it can't fall behind
it. Nothing of the writer goes in but the name of the Parquet library: no time, no schema in another form.
"""

import io
from collections.abc import Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pyarrow as arrow  # type: ignore[import-untyped]
from pyarrow import parquet
from pydantic import BaseModel, TypeAdapter, ValidationError

from matrix_core.errors import RunError

Row = TypeVar("Row", bound=BaseModel)


def to_parquet(rows: Sequence[Row], kind: type[Row], without: Sequence[str] = ()) -> bytes:
    """The rows, compressed by zstd, some columns left out. Raises RunError that names a row whose text is no valid Unicode."""
    plain = _many(kind).dump_python(list(rows))
    try:
        columns = [column for column in _schema(kind) if column.name not in without]
        table = arrow.Table.from_pylist(plain, schema=arrow.schema(columns))
    except UnicodeError as error:
        number = next(number for number, row in enumerate(plain, 1) if not _is_unicode(row))
        raise RunError(f"row {number} ({kind.__name__}) can't be written as Parquet: {error}") from error
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd", store_schema=False, write_statistics=False)
    return out.getvalue()


def from_parquet(data: bytes, kind: type[Row]) -> list[Row]:
    """The rows behind a Parquet file, validated. Raises RunError that names the row and the field."""
    try:
        plain = parquet.ParquetFile(io.BytesIO(data)).read(use_threads=False).to_pylist()
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        raise RunError(f"these {len(data)} bytes are no Parquet file: {' '.join(str(error).split())}") from error
    try:
        return _many(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        number, *field = first["loc"]
        raise RunError(
            f"row {int(number) + 1} is no {kind.__name__} of this version "
            f"({'.'.join(map(str, field))}: {first['msg']}): run again to make it anew"
        ) from error


@cache
def _many(kind: type[Row]) -> TypeAdapter[list[Row]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


@cache
def _schema(kind: type[BaseModel]) -> Any:
    """The columns of a model."""
    return arrow.schema(_struct(kind))


def _struct(kind: type[BaseModel]) -> Any:
    return arrow.struct([(name, _type(field.annotation)) for name, field in kind.model_fields.items()])


def _type(said: Any) -> Any:
    """The Arrow type of a field's annotation; every column may hold nulls."""
    origin, inner = get_origin(said), get_args(said)
    if origin in (Union, UnionType):
        (said,) = (one for one in inner if one is not NoneType)
        return _type(said)
    if origin is Literal:
        return _type(type(inner[0]))
    if origin is tuple:
        return arrow.list_(_type(inner[0]))
    if issubclass(said, BaseModel):
        return _struct(said)
    return {str: arrow.string(), int: arrow.int64(), bool: arrow.bool_()}[said]


def _is_unicode(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() or value.encode("utf-8", "replace").decode() == value
    if isinstance(value, dict):
        return all(map(_is_unicode, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_is_unicode, value))
