"""The report in a real browser: without a network, with hostile text in every place, and on paper."""

import copy
from contextlib import contextmanager
from typing import Any

import pytest

from matrix_core.scene import Instruction
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS
from tasks.reporting import render
from tests.browser import CHROMIUM, browsing, page_of

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on the PATH")
SCRIPT = "</summary></style><script>window.acted = 1</script><img src=x onerror='window.acted = 2'><b id=injected>bold</b>"
LONG = "w" * 5000
TURNED = "\u202egnp.exe \u2066 hidden"
ARABIC = "\u0643\u064a\u0641 \u0623\u0633\u0642\u064a \u0627\u0644\u062d\u062f\u064a\u0642\u0629\u061f"
HOSTILE = (f"{SCRIPT} first", f"{LONG} second", f"{TURNED} third")
PAPER, MARGIN = (595.0, 842.0), 36.0
"""A4 in points, and a little less than the page's margin."""
WIN, LOSE, BEFORE, CARD = (0x1A, 0x7F, 0x4B), (0xC2, 0x40, 0x2D), (0xA3, 0xAC, 0xB9), (0xF6, 0xF7, 0xF9)

JUDGED: dict[str, Any] = {
    "n": 100, "win": 50, "tie": 30, "lose": 20, "failed": 1, "win_rate": 0.5, "ci95": [0.4, 0.6], "net_win_rate": 0.3,
    "ci95_net": [0.15, 0.45], "consistency": 0.9, "judge": HOSTILE[0], "rubric": "harmlessness", "sign_test": 0.0004,
    "judged_by_itself": [HOSTILE[1]], "sample": {"n": 101, "of": 520, "source": HOSTILE[2], "seed": 0}, "against": HOSTILE[1],
}  # fmt: skip
FIGURES = (
    "well_answered", "harmful_declined", "harmful_compliance", "harmful_exact", "harmless_exact", "over_refusal", "right_reason",
    "both_right", "right",
)  # fmt: skip
SHARE = {"before": 0.9, "after": 0.1, "ci95": [0.05, 0.15], "ci95_before": [0.85, 0.95], "n": 100}
POINTS = {"n": 10, "before": 5.0, "after": 6.0, "change": 1.0, "ci95_change": [0.5, 1.5]}
SUMMARY: dict[str, Any] = {
    "run_id": HOSTILE[1],
    "model": HOSTILE[0],
    "settings": {"instructions": HOSTILE[1], "sampling": {"temperature": 0.2}},
    "counts": {"instructions": 768, "scenes": 760, "quarantined": 8, "examples": 1302},
    "gates": [
        {"name": "roles", "passed": True, "evaluated": 768, "quarantined": 8, "success_percent": 98.96, "warnings": list(HOSTILE)}
    ],
    "tokens": {"prompt": 1234567, "completion": 345, "calls": 99, "cost_usd": 0.51, "troubles": {"429": 3}},
    "timing": {"simulate": 61.0, "tune": 72.4, "evaluate": 20.0},
    "evaluation": {
        "pocket": dict.fromkeys(FIGURES, SHARE) | {"n": 100},
        "advbench": JUDGED | {"prefix_match_complied": SHARE | {"weak": "weak"}},
        HOSTILE[1]: JUDGED,
        "mt-bench": JUDGED | {"grades": {"points": POINTS, f"points_{LONG}": POINTS, "judge": HOSTILE[0]}},
    },
    "human": None,
    "release": {
        "release": False,
        "checks": [
            {"benchmark": "mt-bench", "figure": "points", "change": -1.0, "ci95": [-1.5, -0.6], "margin": 0.5}
            | {"passed": False, "sure": True}
        ],
    },
    "artifacts": {"adapter": {"uri": f"/runs/{LONG}/adapter", "sha256": "ab" * 32}},
}  # fmt: skip
SOURCES = ("harmful", "harmless", "trace", "general")
TUNING: dict[str, Any] = {
    "train_losses": [[1, 2.0], [2, 0.5], [4, 0.1]],
    "held_out": {source: [[0, 3.0 + i], [1, 0.4], [2, 0.6]] for i, source in enumerate(SOURCES)},
    "best_epoch": 1, "steps": 4, "tokens": 12345, "seconds": 72.4, "dtype": "bfloat16", "quantised": False,
    "examples": {source: {"trained": 11, "held_out": 2, "too_long": 1} for source in SOURCES},
}  # fmt: skip
ASIDE = [{"gate": "roles", "reason": f"{text} is twice there", "instruction": text} for text in HOSTILE]
ASIDE += [{"gate": "drafts", "reason": "it is empty", "instruction": f"ask {i}"} for i in range(40)]
ASIDE += [{"gate": "critiques", "reason": "it names nobody", "instruction": ARABIC}]


def scenes():
    """Scenes that show all there is, with hostile words for every text of them that a model or a person writes."""
    out = []
    for scene, words in zip((SLUGS, DESK, BIRTHDAY), HOSTILE, strict=True):
        told: dict[str, Any] = copy.deepcopy(scene.model_dump())
        told |= dict.fromkeys(("draft", "refined", "critique", "summary", "setting"), f"{words} {ARABIC}")
        told["plan"] = [words for _ in told["plan"]]
        told["events"] = [
            event | {"action": words, "reason": words, "consequence": event["consequence"] and words} for event in told["events"]
        ]
        out.append(type(scene).model_validate(told | {"instruction": Instruction.of(words)}))
    return out


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(SUMMARY, scenes(), TUNING, ASIDE))
    return file


@pytest.fixture(scope="module")
def browser():
    with browsing() as started:
        yield started


@contextmanager
def opened(browser, file):
    """The page in a browser that is offline; nothing may go wrong in it."""
    problems: list[str] = []
    with page_of(browser) as page:
        page.context.set_offline(True)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda asked: problems.append(asked.url) if asked.url != file.as_uri() else None)
        page.goto(file.as_uri())
        yield page
    assert problems == []


@pytest.fixture
def page(browser, report):
    with opened(browser, report) as page:
        yield page


@needs_browser
def test_it_opens_offline_and_tells_all_there_is(page):
    headings = page.eval_on_selector_all("h2", "all => all.map(one => one.textContent)")
    assert headings == [
        "Base against tuned", "General ability", "Fine-tuning", "Gates", "What was set aside", "What it took", "3 scenes",
        "Settings and artifacts",
    ]  # fmt: skip
    assert page.eval_on_selector_all("polyline.curve", "all => all.length") == 1 + len(SOURCES)
    bars = page.eval_on_selector_all(
        "rect.win, rect.tie, rect.lose", "all => all.map(one => [one.className.baseVal, Math.round(one.getBBox().width)])"
    )
    assert bars[:3] == [["win", 378], ["tie", 227], ["lose", 151]]
    whisker = page.eval_on_selector("svg:has(rect.win) .whisker", "one => [one.getBBox().x, one.getBBox().width].map(Math.round)")
    assert whisker == [303, 150], "the interval of the wins, under their bar"
    told = page.inner_text("body")
    for words in ("cost usd", "troubles.429", "Who knew what", "The critique", "Before and after", "ask 0", "not to be released"):
        assert words in told, words
    assert "ask 1" not in told, "a reason is told once"


@needs_browser
@pytest.mark.parametrize("width", [360, 1200])
def test_hostile_text_is_inert_and_nothing_runs_out_of_the_page(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("window.acted") is None
    assert page.query_selector("script, img, iframe, a, #injected, [onerror]") is None
    assert page.inner_text("body").count("<script>window.acted = 1</script>") >= 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    inside = """all => all.filter(one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => one.outerHTML.slice(0, 80))"""
    assert page.eval_on_selector_all("body *", inside) == []
    cut = """all => all.filter(one => { const text = one.getBBox(), view = one.ownerSVGElement.viewBox.baseVal;
        return text.x < view.x - 1 || text.x + text.width > view.x + view.width + 1 }).map(one => one.textContent)"""
    assert page.eval_on_selector_all("svg text", cut) == []


@needs_browser
def test_text_that_runs_from_the_right_stays_by_itself(page):
    assert not {"\u202e", "\u2066"} & set(page.content())
    told = page.inner_text("body")
    assert "\ufffdgnp.exe" in told
    directions = f"all => all.filter(one => one.textContent.startsWith('{ARABIC}')).map(one => getComputedStyle(one).direction)"
    assert page.eval_on_selector_all("td", directions) == ["rtl"]
    assert page.eval_on_selector_all("summary > bdi", "all => all.length") == 3


@needs_browser
def test_it_prints_whole_and_in_colour_on_white_paper(browser, report):
    pdfium = pytest.importorskip("pypdfium2")
    shorter = report.with_name("shorter.html")
    shorter.write_text(report.read_text().replace(LONG, LONG[:300]))  # long enough for lines, and not for sheets
    with opened(browser, shorter) as page:
        page.emulate_media(color_scheme="dark")
        sheets = pdfium.PdfDocument(page.pdf(format="A4", print_background=False))
        headings = page.eval_on_selector_all("h2, h3, h4", "all => all.map(one => one.textContent.trim())")
    texts, areas = [], dict.fromkeys((WIN, LOSE, BEFORE, CARD), 0)
    for sheet in sheets:
        told = sheet.get_textpage()
        texts.append(told.get_text_range())
        edges = [told.get_charbox(i) for i, char in enumerate(texts[-1]) if not char.isspace()]
        assert max(right for _, _, right, _ in edges) <= PAPER[0] - MARGIN
        assert min(left for left, *_ in edges) >= MARGIN
        drawn = sheet.render(scale=1, rev_byteorder=True).to_numpy()[..., :3]
        assert (drawn[:, -int(MARGIN) :] == 255).all(), "something reaches into the margin"
        assert (drawn == 255).all(axis=-1).mean() > 0.2, "the paper stays white"
        areas = {colour: area + (drawn == colour).all(axis=-1).sum() for colour, area in areas.items()}
    assert min(areas.values()) > 1000, f"bars and cards keep their colours: {areas}"
    assert sum(text.count("Who knew what") for text in texts) == 3, "scenes that are closed on the screen are told on paper"
    last = [text.rstrip().splitlines()[-1].strip() for text in texts]
    assert not set(last) & set(headings), "a heading stands alone at the end of a sheet"
