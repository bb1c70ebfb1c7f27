"""Our own expectations, where Great Expectations has none, as its custom expectations for pandas tables.

Each is a metric (what is measured, from `validations.text`) and an expectation over it. Rows with a null are passed over, as in
Great Expectations' own. `explain`, where there is one, says of a failing row's values what is wrong with them. Importing this
module loads Great Expectations: some seconds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pandas as pd  # type: ignore[import-untyped]
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnAggregateExpectation,
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.metrics import ColumnAggregateMetricProvider, column_aggregate_value
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    ColumnPairMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    column_pair_condition_partial,
    multicolumn_condition_partial,
)
from great_expectations.expectations.row_conditions import deserialize_row_condition
from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer

from validations import text


def _each(judge: Callable[..., bool], keys: Iterable[str], given: dict[str, Any], *columns: Any) -> Any:
    """A boolean series: what `judge` says of each row's values."""
    chosen = {key: given[key] for key in keys}
    return pd.Series([judge(*values, **chosen) for values in zip(*columns, strict=True)], index=columns[0].index, dtype=bool)


def _column(judge: Callable[..., bool], *keys: str) -> Any:
    def metric(cls: Any, column: Any, **given: Any) -> Any:
        return _each(judge, keys, given, column)

    return column_condition_partial(engine=PandasExecutionEngine)(metric)


def _pair(judge: Callable[..., bool], *keys: str) -> Any:
    def metric(cls: Any, a: Any, b: Any, **given: Any) -> Any:
        return _each(judge, keys, given, a, b)

    return column_pair_condition_partial(engine=PandasExecutionEngine)(metric)


def _strangers(some: Any, everybody: Any) -> list[str]:
    return [name for name in ((some,) if isinstance(some, str) else some) if name not in everybody]


class _Said:
    """Tells in Data Docs what is checked: `says`, with the expectation's arguments in place of their names after `$`."""

    says: ClassVar[str]

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)  # type: ignore[untyped-decorator]
    def _prescriptive_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None
    ) -> list[RenderedStringTemplateContent]:
        given = {name: field.default for name, field in cls.__fields__.items()} | configuration.kwargs  # type: ignore[attr-defined]
        shown = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in given.items()}
        words = cls.says
        if given["mostly"] != 1:
            words = f"{words[:-1]}; at least a share of $mostly of them."
        if given.get("row_condition"):
            shown["condition"] = repr(deserialize_row_condition(given["row_condition"]))
            words = f"If $condition: {words}"
        styling = (runtime_configuration or {}).get("styling")
        return [RenderedStringTemplateContent(string_template={"template": words, "params": shown, "styling": styling})]


class _NotLoop(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.not_loop"
    _pandas = _column(lambda value: not text.loop(value))


class ExpectColumnValuesToNotLoop(_Said, ColumnMapExpectation):  # type: ignore[misc]
    """Texts that don't end in the same words over and over."""

    says: ClassVar[str] = "$column must not end in the same words over and over."
    map_metric = "column_values.not_loop"

    @staticmethod
    def explain(value: str) -> str:
        """What is repeated."""
        return text.loop(value)


class _PairExpectation(_Said, ColumnPairMapExpectation):  # type: ignore[misc]
    ignore_row_if: str = "either_value_is_missing"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "ignore_row_if")


class _Subset(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.a_subset_of_b"
    _pandas = _pair(lambda a, b: not _strangers(a, b))


class ExpectColumnPairAToBeSubsetOfB(_PairExpectation):
    """Column A holds one name or several; all of them are among those of column B."""

    says: ClassVar[str] = "$column_A must be among $column_B."
    map_metric = "column_pair_values.a_subset_of_b"

    @staticmethod
    def explain(a: Any, b: Any) -> str:
        """Who isn't among them."""
        return ", ".join(_strangers(a, b))


class _ShareWords(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.share_words"
    _pandas = _pair(lambda a, b: bool(text.shared(a, b)))


class ExpectColumnPairTextsToShareWords(_PairExpectation):
    """The texts have a content word in common, such as a name or a thing: the one is about what the other tells."""

    says: ClassVar[str] = "$column_A and $column_B must have a content word in common."
    map_metric = "column_pair_values.share_words"

    @staticmethod
    def explain(a: str, b: str) -> str:
        """What it says instead."""
        return a


class _Containment(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.containment"
    condition_value_keys = ("n", "min_value", "max_value")
    _pandas = _pair(
        lambda a, b, n, min_value, max_value: min_value <= text.containment(a, b, n) <= max_value, *condition_value_keys
    )


class ExpectColumnPairContainmentToBeBetween(_PairExpectation):
    """The share of A's runs of `n` words that B holds too lies between the limits (`text.containment`)."""

    says: ClassVar[str] = "$column_B must hold a share between $min_value and $max_value of $column_A's runs of $n words."
    n: int = 1
    min_value: float = 0.0
    max_value: float = 1.0
    map_metric = "column_pair_values.containment"
    success_keys = ("n", "min_value", "max_value", "mostly", "ignore_row_if")

    @staticmethod
    def explain(a: str, b: str) -> str:
        """The text that holds too much or too little."""
        return b


class _NotLeak(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.not_leak"
    _pandas = _pair(lambda a, b: not text.leaks(a, b))


class ExpectColumnPairToNotLeak(_PairExpectation):
    """Answers (A) that hold nothing of the simulation's vocabulary, unless what was asked (B) brought it up."""

    says: ClassVar[str] = "$column_A must hold no word of the simulation, unless $column_B brought it up."
    map_metric = "column_pair_values.not_leak"

    @staticmethod
    def explain(a: str, b: str) -> str:
        """The words that don't belong."""
        return ", ".join(text.leaks(a, b))


class _DifferWithinGroup(MulticolumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "multicolumn_values.differ_within_group"
    condition_value_keys = ("similar",)

    def _differ(cls, table: Any, *, similar: float, **_: Any) -> Any:  # noqa: N805
        """Compare each different text of a group once; mark those that different speakers have too much alike."""
        groups: dict[Any, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
        for group, speaker, said in table.itertuples(index=False, name=None):
            groups[group][said].add(speaker)
        alike: set[tuple[Any, str]] = set()
        for group, texts in groups.items():
            alike |= {(group, said) for said, speakers in texts.items() if len(speakers) > 1}
            several = list(texts)
            for i, one in enumerate(several):
                for other in several[:i]:
                    if len(texts[one] | texts[other]) > 1 and text.similarity(one, other) >= similar:
                        alike |= {(group, one), (group, other)}
        keys = zip(table.iloc[:, 0], table.iloc[:, 2], strict=True)
        return pd.Series([key not in alike for key in keys], index=table.index, dtype=bool)

    _pandas = multicolumn_condition_partial(engine=PandasExecutionEngine)(_differ)


class ExpectTextsToDifferWithinGroup(_Said, MulticolumnMapExpectation):  # type: ignore[misc]
    """`column_list` is (group, speaker, text): no two speakers of a group have texts at least as similar as `similar`."""

    says: ClassVar[str] = "In $column_list (group, speaker, text): speakers of a group must differ, by a similarity below $similar."
    ignore_row_if: str = "any_value_is_missing"
    similar: float = 0.8
    map_metric = "multicolumn_values.differ_within_group"
    success_keys = ("similar", "mostly")


class _DistinctRuns(ColumnAggregateMetricProvider):  # type: ignore[misc]
    metric_name = "column.distinct_runs"
    value_keys = ("n",)

    def _distinct(cls, column: Any, *, n: int, **_: Any) -> float:  # noqa: N805
        return text.distinct(list(column.dropna()), n)

    _pandas = column_aggregate_value(engine=PandasExecutionEngine)(_distinct)


class ExpectColumnTextsToBeVaried(_Said, ColumnAggregateExpectation):  # type: ignore[misc]
    """Distinct-n of the column's texts (`text.distinct`) is at least `min_value`."""

    says: ClassVar[str] = "$column must be varied: of its runs of $n words at least a share of $min_value must be different ones."
    n: int = 2
    min_value: float = 0.0
    metric_dependencies = ("column.distinct_runs",)
    success_keys = ("n", "min_value")

    def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:
        observed = metrics["column.distinct_runs"]
        return {"success": observed >= self.min_value, "result": {"observed_value": observed}}


class _NearDuplicates(ColumnAggregateMetricProvider):  # type: ignore[misc]
    metric_name = "column.near_duplicates"
    value_keys = ("similar",)

    def _share(cls, column: Any, *, similar: float, **_: Any) -> float:  # noqa: N805
        return text.near_duplicates(list(column.dropna()), similar)

    _pandas = column_aggregate_value(engine=PandasExecutionEngine)(_share)


class ExpectColumnNearDuplicatesToBeAtMost(_Said, ColumnAggregateExpectation):  # type: ignore[misc]
    """The share of the column's texts that nearly repeat another one (`text.near_duplicates`) is at most `max_value`."""

    says: ClassVar[str] = "At most a share of $max_value of $column may nearly repeat another one (similarity from $similar on)."
    similar: float = 0.8
    max_value: float = 1.0
    metric_dependencies = ("column.near_duplicates",)
    success_keys = ("similar", "max_value")

    def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:
        observed = metrics["column.near_duplicates"]
        return {"success": observed <= self.max_value, "result": {"observed_value": observed}}
