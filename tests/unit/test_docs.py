"""Data Docs, by the real Great Expectations: a page a gate, in words, whole without a network, and inert whatever the data says."""

import logging
import posixpath
from urllib.parse import unquote

import pytest

from tests.page import Page
from tests.unit.test_gates_good import good
from validations import docs, gate, suites

HOSTILE = '<script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)> $status_title & ${column}'


def result(name, style="full", **changed):
    """What a gate says of its good rows, the first of them changed."""
    first, *others = good(name, style)
    return gate.check(name, [first | changed, *others], style).validation


@pytest.fixture(scope="module")
def logged():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("great_expectations").addHandler(handler)
    yield records
    logging.getLogger("great_expectations").removeHandler(handler)


@pytest.fixture(scope="module")
def site(logged):
    results = [result(name) for name in suites.NAMES]
    results += [result("drafts", draft=f"{HOSTILE}\x00"), result("drafts", "pocket")]
    return docs.site("pocket-1", results)


def of(site, name):
    return Page(site[f"validations/{name}/pocket-1/latest/all.html"].decode())


def test_every_gate_has_its_page_and_the_index_links_it(site):
    links = [attrs.get("href") for tag, attrs in Page(site["index.html"].decode()).tags if tag == "a"]
    for name in suites.NAMES:
        assert f"validations/{name}/pocket-1/latest/all.html" in links
        assert f"expectations/{name}.html" in links


def test_great_expectations_could_render_everything(site, logged):
    assert [record.getMessage() for record in logged if record.levelno >= logging.WARNING] == []


def test_every_link_leads_to_a_page_of_the_site_and_nothing_is_loaded_from_elsewhere(site):
    for name, data in site.items():
        for tag, attrs in Page(data.decode()).tags:
            assert tag not in ("script", "img", "iframe", "object", "form", "base")
            assert not [key for key in attrs if key.startswith("on") or key == "src"]
            href = attrs.get("href") or "#"
            if tag == "link":
                assert href == "data:,"
            elif not href.startswith("#"):
                assert posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(href))) in site
        assert b"url(" not in data
        assert b"@import" not in data


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drafts", "draft must not end in the same words over and over."),
        ("roles", "at least a share of 0.95 of them"),
        ("actions", "actor must be among names"),
        ("consequences", "of its runs of 2 words at least a share of 0.15 must be different ones"),
        ("consequences", "At most a share of 0.5 of story may nearly repeat another one (similarity from 0.8 on)"),
        ("critiques", "If hurts == True : critique and consequences must have a content word in common"),
        ("refinements", "refined must hold a share between 0.0 and 0.8 of draft 's runs of 3 words"),
        ("examples", "If source != trace : completion must hold no word of the simulation, unless context brought it up"),
    ],
)
def test_our_own_expectations_say_what_they_check(site, name, words):
    page, suite = of(site, name), Page(site[f"expectations/{name}.html"].decode())
    assert words.replace(" ", "") in page.text.replace(" ", "")
    assert words.replace(" ", "") in suite.text.replace(" ", "")
    assert "$" not in page.text.replace("$status_title", "").replace("${column}", "")


def test_a_row_that_was_taken_out_is_quoted_with_the_reason_and_cannot_act(site):
    page = of(site, "drafts")
    assert "the draft holds control characters or broken Unicode: <script>alert(" in page.text
    assert "<script" not in site["validations/drafts/pocket-1/latest/all.html"].decode()
    assert b"default-src 'none'" in site["index.html"]


def test_shards_and_waves_of_a_gate_are_one_page_with_their_sums(site):
    rows = [len(good("drafts", style)) for style in ("full", "full", "pocket")]
    assert f"Checked: {sum(rows)} in 3 tables, 1 of them quarantined" in of(site, "drafts").text
    assert f"1 unexpected values found. ≈{100 / sum(rows):.4g}" in of(site, "drafts").text


def test_what_was_measured_over_several_tables_is_a_range():
    one, two = result("examples"), gate.check("examples", good("examples", "full")[:2], "full").validation
    merged = docs.merged([one, two])
    observed = {r["expectation_config"]["meta"]["name"]: r["result"].get("observed_value") for r in merged["results"]}
    assert observed["share_of_trace"] == "0 to 0.2 (2 tables)"
    assert merged["statistics"]["evaluated_expectations"] == len(one["results"])


def test_a_gate_that_failed_says_so_and_why():
    bad = gate.check("drafts", [{"id": f"s{i}", "draft": f"{HOSTILE}\x00"} for i in range(8)])
    site = docs.site("r", [bad.validation])
    page = Page(site["validations/drafts/r/latest/all.html"].decode())
    assert "failed; 0 of 8 scenes passed (0.0 %) and 4 must: draft_readable took 8 (100.0 %)" in page.text
    assert "<script>alert(" in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert "failed" in Page(site["index.html"].decode()).text


def test_equal_rows_give_equal_documents():
    assert result("roles") == result("roles")
