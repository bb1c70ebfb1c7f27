"""Great Expectations, at arm's length: the rules of a suite over rows of plain values. Nothing else in the gates knows of it.

It is loaded with the first use (some seconds), not with this module, and sends no telemetry unless the environment asks for it.
There is one ephemeral context a process; uses from several threads queue for it, since it is not made for them.
"""

import hashlib
import json
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from matrix_core.loading import loading
from validations.rules import Rule, Style
from validations.suites import suite as suite_of
from validations.text import shorten

_LOCK = threading.Lock()
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

        batches = _batches()
        columns = dict.fromkeys(column for rule in rules for column in rule.columns)
        # As objects: pandas would make its own of columns that mix texts, numbers and nulls.
        table = pd.DataFrame({column: pd.Series(_column(rows, column), dtype=object) for column in columns})
        # Positions of failing rows only: texts are looked up in `rows`, since Great Expectations names at most 200 of them.
        asked = {
            "result_format": "COMPLETE",
            "exclude_unexpected_values": True,
            "partial_unexpected_count": 0,
            "return_unexpected_index_query": False,
        }
        expectations = _expectations(name, style, tuple(rule.name for rule in rules))
        with _quickly():
            whole = batches.get_batch({"dataframe": table}).validate(expectations, result_format=asked)
    seen = {result.expectation_config.meta["name"]: _seen(result) for result in whole.results}
    return seen, _document(whole)


@contextmanager
def _quickly() -> Iterator[None]:
    """What Great Expectations works out over and over for a rule, done once: it is nearly half of a gate of some hundred rows.

    Nothing of this changes while a table is checked: an expectation's configuration, the expectation of a configuration, the rows
    that a rule is about. And arguments that are JSON as they are get their id without being looked through; it is the same.
    """
    from great_expectations.core.id_dict import IDDict
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    to_id = IDDict.to_id

    def straight(arguments: Any, *given: Any, **named: Any) -> Any:
        if given or named or arguments._id_ignore_keys or len(arguments) < 2:
            return to_id(arguments, *given, **named)
        try:
            plain = json.dumps(arguments, sort_keys=True)
        except TypeError:
            return to_id(arguments)
        return hashlib.md5(plain.encode(), usedforsecurity=False).hexdigest()

    theirs: list[tuple[Any, str, Any]] = [
        (Expectation, "configuration", property(_once(Expectation.configuration.fget))),
        (ExpectationConfiguration, "to_domain_obj", _once(ExpectationConfiguration.to_domain_obj)),
        (PandasExecutionEngine, "get_domain_records", _once(PandasExecutionEngine.get_domain_records)),
        (IDDict, "to_id", straight),
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in theirs]
    for owner, name, quick in theirs:
        setattr(owner, name, quick)
    try:
        yield
    finally:
        for owner, name, slow in before:
            setattr(owner, name, slow)


def _once(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, called once for each object and each value of its arguments."""
    known: dict[tuple[int, str], tuple[Any, Any]] = {}  # with the object itself, so that nothing else gets its id meanwhile

    def asked(this: Any, *given: Any, **named: Any) -> Any:
        key = id(this), f"{given}{named}" if given or named else ""
        if key not in known:
            known[key] = this, method(this, *given, **named)
        return known[key][1]

    return asked


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
def _batches() -> Any:
    """One context, data source and asset a process."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with loading():
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        from validations import expectations  # noqa: F401 - what the rules name

    # The second sets its own level when it is imported.
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.ERROR)

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
