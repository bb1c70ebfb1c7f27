"""Great Expectations, at arm's length: the rules of a suite over rows of plain values.

It is loaded with the first use (some seconds), not with this module, and sends no telemetry unless the environment asks for it.
Uses from several threads queue for it, since it is not made for them.
"""

import logging
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from matrix_core.loading import loading
from validations.rules import Rule, Style
from validations.suites import suite as suite_of
from validations.text import shorten

_LOCK = threading.Lock()
_ASKED = {
    "result_format": "COMPLETE",
    # Positions of failing rows only: texts are looked up in `rows`, since Great Expectations names at most 200 of them.
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
    "return_unexpected_index_query": False,
}
_SURROGATE = re.compile("[\ud800-\udfff]")


class Seen(NamedTuple):
    """What Great Expectations says of one rule. `rows`: the positions of failing rows; None for a rule about the table."""

    success: bool
    rows: list[int] | None
    percent: float
    observed: float | str | None
    error: str


def validate(
    name: str, style: Style, rules: tuple[Rule, ...], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Seen], dict[str, Any]]:
    """What Great Expectations says of each rule; and its validation result as JSON, without rows and values of data."""
    with _LOCK:
        import pandas as pd  # type: ignore[import-untyped]

        columns = dict.fromkeys(column for rule in rules for column in rule.columns)
        # As objects: pandas would make its own of columns that mix texts, numbers and nulls.
        table = pd.DataFrame({column: pd.Series(_column(rows, column), dtype=object) for column in columns})
        whole = _validated(table, name, style, tuple(rule.name for rule in rules))
    seen = {result.expectation_config.meta["name"]: _seen(result) for result in whole.results}
    return seen, _document(whole)


def _validated(table: Any, *suite: Any) -> Any:
    try:
        return _prepared(*suite).validate(table)
    except Exception:  # Great Expectations' ordinary way tells which rules could not be checked, and why
        return _batches().get_batch({"dataframe": table}).validate(_expectations(*suite), result_format=_ASKED)


def _document(whole: Any) -> dict[str, Any]:
    """The result, such that an `ExpectationSuiteValidationResult` can be loaded from it. Equal tables give equal documents."""
    for result in whole.results:
        (result.result or {}).pop("unexpected_index_list", None)  # by now known, and may be as long as the table
    document: dict[str, Any] = whole.to_json_dict()
    for result in document["results"]:
        result["expectation_config"]["kwargs"].pop("batch_id", None)
        for raised in _raised(result["exception_info"]):
            raised["exception_traceback"] = None  # it names folders of this machine
    document["meta"] = {"great_expectations_version": document["meta"]["great_expectations_version"]}
    return document


def _seen(result: Any) -> Seen:
    error = next(_errors(result.exception_info), "")
    found = result.result or {}
    indices, percent = found.get("unexpected_index_list"), found.get("unexpected_percent")
    if percent is None:
        percent = 0.0 if result.success or indices is not None else 100.0
    observed = found.get("observed_value")
    if observed is not None:
        observed = round(float(observed), 4)
        observed = observed if math.isfinite(observed) else str(observed)  # JSON has no infinity
    return Seen(bool(result.success), None if indices is None else [int(i) for i in indices], float(percent), observed, error)


def _errors(info: dict[str, Any] | None) -> Iterator[str]:
    """What was raised while an expectation was computed: Great Expectations tells it flat, or one for each metric."""
    for one in _raised(info or {}):
        yield shorten(one["exception_message"] or "an exception without words", 200)


def _raised(info: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in [info] if "raised_exception" in info else info.values():
        if one["raised_exception"]:
            yield one


def _column(rows: Sequence[Mapping[str, Any]], column: str) -> list[Any]:
    """A column's values, each clean. Most columns are as they are: plain English, or no text at all."""
    values = [row.get(column) for row in rows]
    kinds = set(map(type, values))
    texts = [value for value in values if type(value) is str]
    texts += chain.from_iterable(value for value in values if type(value) is tuple) if tuple in kinds else ()
    plain = not kinds & {list, dict} and set(map(type, texts)) <= {str} and all(map(str.isascii, texts))
    return values if plain else [_clean(value) for value in values]


def _clean(value: Any) -> Any:
    """The value as it can stand in a table: lists as tuples, and broken Unicode, which Arrow refuses, as a non-character."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffe", value)
    return tuple(_clean(item) for item in value) if isinstance(value, (list, tuple)) else value


@cache
def _prepared(name: str, style: Style, chosen: tuple[str, ...]) -> Any:
    """The suite of these rules, ready for tables."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with loading():
        from validations import expectations  # noqa: F401 - what the rules name
        from validations.prepared import PreparedSuite

    # The second sets its own level when it is imported.
    for module in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(module).setLevel(logging.ERROR)
    return PreparedSuite(_expectations(name, style, chosen), _ASKED)


@cache
def _batches() -> Any:
    """One context, data source and asset a process."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context.data_sources.add_pandas("hand-offs").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")


@cache
def _expectations(name: str, style: Style, chosen: tuple[str, ...]) -> Any:
    """The rules as a suite of Great Expectations."""
    import great_expectations as gx
    from great_expectations.expectations.row_conditions import Column

    built = []
    for rule in suite_of(name, style).rules:
        if rule.name not in chosen:
            continue
        given = dict(rule.given)
        if rule.when:
            column, sign, value = rule.when
            given["row_condition"] = Column(column) == value if sign == "==" else Column(column) != value
        built.append(kind_of(rule)(severity=rule.severity, meta={"name": rule.name}, notes=rule.reason or None, **given))
    return gx.ExpectationSuite(name=f"{name} ({style})", expectations=built)


def kind_of(rule: Rule) -> Any:
    """The class of a rule's expectation."""
    import great_expectations.expectations as theirs

    from validations import expectations as ours

    return getattr(ours, rule.kind, None) or getattr(theirs, rule.kind)
