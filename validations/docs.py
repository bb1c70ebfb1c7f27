"""Data Docs: Great Expectations' own site over the gates of a run, one page a gate, as files that need nothing from elsewhere.

Great Expectations builds the site (`build_data_docs`) with its own renderers. Its pages load Bootstrap, jQuery, Vega, fonts and a
logo from other servers, and a script draws its index; ours are plain HTML with their style in them. Lost by that: sorting,
searching and paging of tables, and the button that hides what succeeded. What a gate quotes of data is escaped, and the pages
forbid themselves scripts.
"""

import html
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier
from great_expectations.render import RenderedDocumentContent, RenderedSectionContent, RenderedTableContent
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.renderer.content_block import ValidationResultsTableContentBlockRenderer
from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader

from validations import expectations as _ours  # noqa: F401  Great Expectations knows ours, and their words, once they are imported
from validations.suites import NAMES

SAMPLE = 10
"""How many failing rows an expectation quotes."""


def site(run: str, results: Iterable[Mapping[str, Any]], when: datetime | None = None) -> dict[str, bytes]:
    """The pages of a run's Data Docs, by file name (`index.html` is the first to open).

    `results` are `GateResult.validation`s: of every shard and wave, in any order. Those of one gate become one.
    """
    by_gate: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if result:
            by_gate.setdefault(result["meta"]["gate"]["name"], []).append(result)
    run_id = RunIdentifier(run_name=run, run_time=when or datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="matrix-align-") as scratch:
        context = gx.get_context(mode="ephemeral")
        context.update_data_docs_site("local_site", _config(scratch))
        for name in sorted(by_gate, key=NAMES.index):
            _add(context, run_id, name, merged(by_gate[name]))
        context.build_data_docs()
        # The time stands on the pages; in their names it would leave those of an earlier build beside them.
        stamp = run_id.to_tuple()[1]
        pages = {
            path.relative_to(scratch).as_posix().replace(stamp, "latest"): path.read_text("utf-8").replace(stamp, "latest").encode()
            for path in sorted(Path(scratch).rglob("*.html"))
        }
    if len(pages) != 2 * len(by_gate) + 1:
        # Great Expectations only logs what it could not render.
        raise RuntimeError(f"Data Docs has {len(pages)} pages for {len(by_gate)} gates, not two a gate and an index")
    return pages


def merged(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One validation result for all those of one gate: rows added up, samples joined, what was measured over tables as a range."""
    by_rule: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for one in result["results"]:
            by_rule.setdefault(one["expectation_config"]["meta"]["name"], []).append(one)
    rules = [_rule(some) for some in by_rule.values()]
    succeeded = sum(rule["success"] for rule in rules)
    gates = [result["meta"]["gate"] for result in results]
    return {
        "success": succeeded == len(rules),
        "results": rules,
        "suite_name": gates[0]["name"],
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(rules),
            "successful_expectations": succeeded,
            "unsuccessful_expectations": len(rules) - succeeded,
            "success_percent": 100 * succeeded / len(rules),
        },
        "meta": {
            "great_expectations_version": results[0]["meta"]["great_expectations_version"],
            "gate": {
                "name": gates[0]["name"],
                "passed": all(gate["passed"] for gate in gates),
                "tables": len(gates),
                "evaluated": sum(gate["evaluated"] for gate in gates),
                "quarantined": sum(gate["quarantined"] for gate in gates),
                "problems": [problem for gate in gates for problem in gate["problems"]],
            },
        },
    }


def _rule(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One expectation over several tables."""
    found: dict[str, Any] = {}
    counts = ("element_count", "unexpected_count", "missing_count")
    for name in counts:
        values = [one["result"][name] for one in some if name in one["result"]]
        if values:
            found[name] = sum(values)
    if "unexpected_count" in found:
        looked_at = found["element_count"] - found.get("missing_count", 0)
        found["unexpected_percent"] = 100 * found["unexpected_count"] / max(1, looked_at)
        found["unexpected_percent_nonmissing"] = found["unexpected_percent"]
        found["unexpected_percent_total"] = 100 * found["unexpected_count"] / max(1, found["element_count"])
    observed = [one["result"]["observed_value"] for one in some if one["result"].get("observed_value") is not None]
    if observed:
        low, high = min(observed), max(observed)
        found["observed_value"] = low if low == high else f"{low:.4g} to {high:.4g} ({len(observed)} tables)"
    found["partial_unexpected_list"] = [text for one in some for text in one["result"].get("partial_unexpected_list", [])][:SAMPLE]
    told = next((one for one in some if not one["success"]), some[0])
    return {**told, "success": all(one["success"] for one in some), "result": found}


def _add(context: Any, run_id: RunIdentifier, name: str, result: dict[str, Any]) -> None:
    """Put a gate's suite and its result into the context's stores."""
    suite = gx.ExpectationSuite(name=name)
    loaded = ExpectationSuiteValidationResultSchema().load(result)
    loaded.meta["run_id"] = run_id
    for one in loaded.results:
        given = one.expectation_config.kwargs
        if "regex" in given:  # control characters and odd spaces, in sight
            given["regex"] = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in given["regex"])
        suite.add_expectation_configuration(one.expectation_config)
        # Table cells are the one place where Great Expectations takes strings for HTML.
        one.result["partial_unexpected_list"] = [html.escape(text) for text in one.result["partial_unexpected_list"]]
    context.suites.add(suite)
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(name), run_id, "all")
    context.validation_results_store.set(key, loaded)


def _config(folder: str) -> dict[str, Any]:
    """A site in a folder: Great Expectations' renderers for suites and results, our page, our index."""
    ours = {"module_name": __name__, "class_name": "Page"}
    tables = {"module_name": __name__, "class_name": "Rows"}
    results = {
        "module_name": __name__,
        "class_name": "GateRenderer",
        "column_section_renderer": {"class_name": "ValidationResultsColumnSectionRenderer", "table_renderer": tables},
    }
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder},
        "show_how_to_buttons": False,
        "site_section_builders": {
            "expectations": {"view": ours},
            "validations": {"view": ours, "renderer": results},
            "profiling": "none",
        },
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "renderer": {"module_name": __name__, "class_name": "Index"},
            "view": ours,
        },
    }


class Page(DefaultJinjaPageView):  # type: ignore[misc]
    """Great Expectations' page without anything from elsewhere: our frame and style around its blocks."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        left_out = dict.fromkeys(("js_script_imports.j2", "favicon.j2", "cloud-footer.j2", "page_action_card.j2"), "")
        own = FileSystemLoader(Path(__file__).parent / "templates")
        self.env.loader = ChoiceLoader([DictLoader(left_out), own, self.env.loader])


class GateRenderer(ValidationResultsPageRenderer):  # type: ignore[misc]
    """Great Expectations' page of a result, headed by the gate's verdict."""

    @classmethod
    def _render_validation_header(cls, validation_results: Any) -> Any:
        header = super()._render_validation_header(validation_results)
        gate = validation_results.meta["gate"]
        params = header.subheader.string_template["params"]
        params["data_asset"] = "Checked:"
        tables = f" in {gate['tables']} tables" if gate["tables"] > 1 else ""
        params["data_asset_name"] = f"{gate['evaluated']}{tables}, {gate['quarantined']} of them quarantined"
        params["success"] = _verdict(gate) + "".join(f"; {problem}" for problem in gate["problems"])
        if gate["passed"]:
            params["html_success_icon"] = ""
        return header


class Rows(ValidationResultsTableContentBlockRenderer):  # type: ignore[misc]
    """Great Expectations' table of expectations, with what it means if one fails."""

    @classmethod
    def _get_content_block_fn(cls, expectation_type: str, expectation_config: Any = None) -> Any:
        theirs = super()._get_content_block_fn(expectation_type, expectation_config)

        def row(**given: Any) -> list[list[Any]]:
            config = given["result"].expectation_config
            consequence = "a warning" if config.severity == "warning" else "the row is taken out, or the gate fails"
            return [[*row, html.escape(config.notes or "the value says it itself"), consequence] for row in theirs(**given)]

        return row

    @classmethod
    def _process_content_block(cls, content_block: Any, has_failed_evr: Any, render_object: Any = None) -> None:
        super()._process_content_block(content_block, has_failed_evr, render_object)
        content_block.header_row += ["What is wrong if it fails", "What comes of it"]


class Index:
    """The first page: a row a gate."""

    def __init__(self, data_context: Any) -> None:
        self._context = data_context

    def render(self, links: Mapping[str, Any]) -> RenderedDocumentContent:
        """The page, from what Great Expectations lists of the site."""
        rows = [self._row(link) for link in links.get("validations_links", [])]
        rows.sort(key=lambda row: row[0])
        table = RenderedTableContent(
            header="Gates of the run",
            header_row=["Gate", "Verdict", "Checked", "Quarantined", "Expectations met", "Suite"],
            table=[row[1:] for row in rows],
            styling={"classes": ["col-12"], "body": {"classes": ["table"]}},
        )
        sections = [RenderedSectionContent(section_name="Gates", content_blocks=[table])]
        return RenderedDocumentContent(renderer_type="SiteIndexPageRenderer", utm_medium="index-page", sections=sections)

    def _row(self, link: Mapping[str, Any]) -> list[Any]:
        name = link["expectation_suite_name"]
        key = ValidationResultIdentifier(ExpectationSuiteIdentifier(name), link["run_id"], link["batch_identifier"])
        result = self._context.validation_results_store.get(key)
        gate, statistics = result.meta["gate"], result.statistics
        met = f"{statistics['successful_expectations']} of {statistics['evaluated_expectations']}"
        return [
            NAMES.index(name),
            f'<a href="{html.escape(link["filepath"])}">{name}</a>',
            _verdict(gate),
            gate["evaluated"],
            gate["quarantined"],
            met,
            f'<a href="{html.escape(link["expectation_suite_filepath"])}">what it demands</a>',
        ]


def _verdict(gate: Mapping[str, Any]) -> str:
    return "passed" if gate["passed"] else "failed"
