"""A suite made ready once: what its rules have measured, and in which order, so that a table costs what is measured over it.

Great Expectations works that out anew for every table, which for some hundred rows takes longer than measuring. What is measured,
and what comes of it, is the same: its metrics, its expectations, its results. Loading this module loads Great Expectations.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import great_expectations
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import Expectation
from great_expectations.validator.validation_graph import ValidationGraph
from great_expectations.validator.validation_statistics import calc_validation_statistics


class PreparedSuite:
    """The expectations of a suite, over one table after another; `asked` is the result format."""

    def __init__(self, suite: Any, asked: Mapping[str, Any]) -> None:
        self._name, self._asked = suite.name, asked
        # Metrics are called the same for every table: none of one may be taken for another's.
        self._engine = PandasExecutionEngine(caching=False)
        self._engine.get_domain_records = self._once_a_table(self._engine.get_domain_records)
        self._records: dict[str, Any] = {}
        self._configurations = {id(expectation): expectation.configuration for expectation in suite.expectations}
        graph = ValidationGraph(self._engine)
        self._needs = []
        for expectation in suite.expectations:
            needed = expectation.get_validation_dependencies(self._engine, self._runtime()).metric_configurations
            for metric in needed.values():
                graph.build_metric_dependency_graph(metric, self._runtime())
            self._needs.append((expectation, {name: metric.id for name, metric in needed.items()}))
        self._waves = _waves(graph)

    def validate(self, table: Any) -> ExpectationSuiteValidationResult:
        """What the suite says of a data frame. Raises what a metric raises that can't be computed."""
        self._records.clear()
        self._engine.load_batch_data(self._name, table)
        metrics: dict[Any, Any] = {}
        with self._configured():
            for wave in self._waves:
                metrics |= self._engine.resolve_metrics(wave, metrics, self._runtime())
            results = [self._result(expectation, needed, metrics) for expectation, needed in self._needs]
        statistics = calc_validation_statistics(results)._asdict()
        return ExpectationSuiteValidationResult(
            success=statistics.pop("success"),
            results=results,
            suite_name=self._name,
            statistics=statistics,
            meta={"great_expectations_version": great_expectations.__version__},
        )

    def _result(self, expectation: Any, needed: Mapping[str, Any], metrics: Mapping[Any, Any]) -> Any:
        measured = {name: metrics[metric] for name, metric in needed.items()}
        return expectation._build_evr(expectation._validate(measured, self._runtime(), self._engine))

    def _runtime(self) -> dict[str, Any]:
        return {"result_format": copy.copy(self._asked)}

    def _once_a_table(self, records: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """The rows that a rule is about, found once a table for all its metrics; for one about a column they don't depend on it."""

        def known(domain_kwargs: dict[str, Any]) -> Any:
            key = repr({name: value for name, value in domain_kwargs.items() if name != "column"})
            if key not in self._records:
                self._records[key] = records(domain_kwargs)
            return self._records[key]

        return known

    @contextmanager
    def _configured(self) -> Iterator[None]:
        """Expectations know their configuration meanwhile, instead of making it each time that they look something up in it."""
        made = Expectation.configuration
        Expectation.configuration = property(lambda this: self._configurations.get(id(this)) or made.fget(this))
        try:
            yield
        finally:
            Expectation.configuration = made


def _waves(graph: ValidationGraph) -> list[list[Any]]:
    """The metrics, each behind all that it depends on."""
    measured: dict[Any, Any] = {}
    waves: list[list[Any]] = []
    while ready := graph._parse(measured)[0]:
        measured |= dict.fromkeys(metric.id for metric in ready)
        waves.append(list(ready))
    return waves
