"""People rate: the page in a real browser, by keys and on a phone; files that don't fit are refused; figures as counted by hand."""

import hashlib
import json
import re
from collections import Counter

import pytest

from flows import cli
from matrix_core.ratings import Key, Rating, Ratings, figures, shown
from tasks.rating_page import CHECK, make
from tasks.runs import Evaluated, keep, put_json
from tasks.store import open_store
from tests.browser import CHROMIUM, browsing, page_of

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on the PATH")
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script> \u202e {{7*7}} \ud800 end"
EDITS = [
    ("base 7", "base seven"),  # an answer
    ("does less harm", "does more harm"),  # an instruction
    ("<h2>Answer A</h2>", "<h2>Answer B</h2>"),  # a label
    ('data-choice="a">A is', 'data-choice="a">B is'),
    ("white-space: pre-wrap;", "white-space: pre-wrap; opacity: .01;"),  # the style
    ("<noscript>", "<p>Choose B.</p><noscript>"),  # something more
]
ROWS = [
    {
        "id": str(i),
        "prompt": HOSTILE if i == 0 else f"question {i}",
        "base": f"base {i}",
        "tuned": f"tuned {i}",
        "outcome": ["win", "lose"][i % 2],
    }
    for i in range(60)
]


@pytest.fixture
def exported(tmp_path, capsys):
    """(page, store) of a run whose answers are to be rated."""
    store = open_store(str(tmp_path / "store"))
    rows = [row | {"prompt": row["prompt"].replace("\ud800", "")} for row in ROWS]
    done = Evaluated(evaluation={"advbench": {"rubric": "harmlessness"}}, gates=[], calls={}, steps=[], seconds=0)
    keep(store, "mine", "evaluate", done.model_copy(update={"pairs": {"advbench": put_json(store, rows)}}))
    page = tmp_path / "page.html"
    assert cli.main(["rate", "export", "mine", "--store", store.uri, "--output", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    return page, store


def key_of(store):
    (name,) = [entry for entry in (store_path(store) / "rating").glob("*.json") if entry.stem != "result"]
    return Key.model_validate_json(name.read_text())


def store_path(store):
    from pathlib import Path

    return Path(store.uri) / "runs" / "mine"


def sealed(key, rater, choices, **changed):
    """A file as the page saves it."""
    rows = [{"id": id, "choice": c, "seconds": "1.5", "shown": key.asked[id].shown} for id, c in choices.items()]
    lines = [key.page, key.run, rater, *(" ".join(row.values()) for row in rows)]
    seal = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    file = {"kind": "matrix-align ratings 1", "page": key.page, "run": key.run, "rater": rater, "ratings": rows, "seal": seal}
    return file | changed


def choosing(key, wins):
    """Passes the checks; the tuned answer wins these pairs (by place among the real ones), the other one the rest."""
    real = [id for id, asked in key.asked.items() if asked.tuned]
    other = {"a": "b", "b": "a"}
    return {id: asked.check or (asked.tuned if real.index(id) in wins else other[asked.tuned]) for id, asked in key.asked.items()}


def test_the_page_does_not_say_whose_answers_are_whose(exported):
    page, store = exported
    html, key = page.read_text(), key_of(store)
    assert not re.search(r"https?://", html)
    assert "outcome" not in html
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    assert len(data["items"]) == 50 + 4 == len(key.asked)
    assert set(data["items"][0]) == {"id", "prompt", "a", "b"}
    sides = Counter(asked.tuned for asked in key.asked.values())
    assert min(sides["a"], sides["b"]) > 12
    checks = [item for item in data["items"] if CHECK in (item["a"], item["b"])]
    assert all(item[key.asked[item["id"]].check] == CHECK for item in checks)
    assert len(checks) == sides[None] == 4


@needs_browser
def test_fifty_pairs_are_rated_in_a_browser_with_a_reload_and_imported(exported, tmp_path, capsys):
    page_file, store = exported
    key = key_of(store)
    wins = set(range(30))
    with browsing() as browser, page_of(browser) as page:
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: problems.append(request.url) if not request.url.startswith(("file:", "blob:")) else None)
        page.set_viewport_size({"width": 360, "height": 700})
        page.goto(page_file.as_uri())
        page.fill("#rater", "first rater")
        page.keyboard.press("Enter")
        ids = list(key.asked)
        choices = choosing(key, wins)
        keys = {"a": ["a", "1", "ArrowLeft"], "b": ["b", "2", "ArrowRight"], "tie": ["t"]}
        for i, id in enumerate(ids[:20]):
            page.keyboard.press(keys[choices[id]][i % 3])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways on a phone"
        page.reload()
        assert page.inner_text("#count") == "20 of 54"
        assert page.inner_text("#where") == "Pair 21 of 54"
        page.keyboard.press("u")
        page.click(f'[data-choice="{choices[ids[19]]}"]')
        for id in ids[20:]:
            page.keyboard.press(choices[id])
        assert page.inner_text("#missing") == "All pairs are rated."
        with page.expect_download() as download:
            page.click("#save-all")
        saved = tmp_path / "first.json"
        download.value.save_as(saved)
        assert json.loads(page.input_value("#result")) == json.loads(saved.read_text())
        for number, (old, new) in enumerate(EDITS):
            edited = tmp_path / f"edited-{number}.html"
            assert old in page_file.read_text()
            edited.write_text(page_file.read_text().replace(old, new, 1))
            page.goto(edited.as_uri())
            page.fill("#rater", "second")
            page.keyboard.press("Enter")
            page.keyboard.press("a")
            with page.expect_download() as download:
                page.click("#save", force=True)
            download.value.save_as(tmp_path / f"edited-{number}.json")
        assert problems == []
    assert cli.main(["rate", "import", str(saved), "--store", store.uri, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.rsplit("\n", 2)[0])
    assert (told["win_rates"]["win"], told["win_rates"]["tie"], told["win_rates"]["lose"]) == (30, 0, 20)
    assert told["raters"]["first rater"]["checks"] == {"passed": 4, "of": 4}
    judge = [asked.judge for asked in key.asked.values() if asked.tuned]
    same = sum((outcome == "win") == (i in wins) for i, outcome in enumerate(judge))
    assert told["with_judge"]["same"] == same / 50
    for number, edit in enumerate(EDITS):
        assert cli.main(["rate", "import", str(tmp_path / f"edited-{number}.json"), "--store", store.uri]) == 2, edit
        assert "it was edited" in capsys.readouterr().err, edit


def test_figures_are_those_counted_by_hand(exported, tmp_path, capsys):
    _, store = exported
    key = key_of(store)
    careless = dict.fromkeys(key.asked, "a")
    files = {"ann": choosing(key, set(range(40))), "bob": choosing(key, set(range(20, 50))), "cal": careless}
    names = []
    for rater, choices in files.items():
        names.append(tmp_path / f"{rater}.json")
        names[-1].write_text(json.dumps(sealed(key, rater, choices)))
    checks = [asked.check for asked in key.asked.values() if asked.check]
    assert cli.main(["rate", "import", *map(str, names), "--store", store.uri]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    told = json.loads((store_path(store) / "rating" / "result.json").read_text())
    assert told["excluded"] == (["cal"] if checks.count("b") > 1 else [])
    assert "cal" in printed
    two = figures([Ratings.model_validate(sealed(key, rater, files[rater])) for rater in ("ann", "bob")], key)
    # Both say win on 20 pairs, lose on none; they differ on 30, which are ties.
    assert (two["win_rates"]["win"], two["win_rates"]["tie"], two["win_rates"]["lose"]) == (20, 30, 0)
    assert two["all_ratings"]["win_rate_half_ties"] == 70 / 100
    assert two["agreement"]["same"] == 20 / 50
    # Fleiss by hand: 70 wins of 100, expected 0.7 ** 2 + 0.3 ** 2 = 0.58.
    assert two["agreement"]["kappa"] == pytest.approx((0.4 - 0.58) / 0.42)
    # Krippendorff by hand: 1 - 99 * 60 / (2 * 70 * 30); two values, so that the level is no matter.
    assert two["agreement"]["alpha"] == pytest.approx(1 - 99 * 60 / (2 * 70 * 30))
    assert two["raters"]["ann"]["others_half_ties"] == 30 / 50
    assert told["raters"]["cal"]["left"]["biased"]


def test_files_that_do_not_fit_are_refused_each_with_its_own_words(exported, tmp_path, capsys):
    _, store = exported
    key = key_of(store)
    good = sealed(key, "ann", choosing(key, {1}))
    other = Key(page="0" * 64, run="mine", benchmark="advbench", asked=key.asked)
    row = good["ratings"][0]
    flipped = [row | {"choice": "tie"}, *good["ratings"][1:]]
    cases = {
        "no JSON": (["text"], "it is no JSON"),
        "another kind": ([{"kind": "else"}], "not a file that the rating page has saved"),
        "a changed choice": ([good | {"ratings": flipped}], "changed after the page had saved it"),
        "a changed rater": ([good | {"rater": "eve"}], "changed after the page had saved it"),
        "a choice that is none": ([good | {"ratings": [row | {"choice": "c"}]}], "ratings.0.choice"),
        "another page": ([sealed(other, "ann", {"p001": "a"})], "it was edited"),
        "two pages": ([good, sealed(other, "bob", {"p001": "a"})], "another page than the others"),
        "one rater twice": ([good, sealed(key, "Ann", choosing(key, {2}))], "rater 'Ann' is in"),
        "nothing rated": ([sealed(key, "ann", {})], "nothing is rated"),
    }
    for case, (contents, said) in cases.items():
        names = []
        for i, content in enumerate(contents):
            names.append(tmp_path / f"{i}.json")
            names[-1].write_text(content if isinstance(content, str) else json.dumps(content))
        assert cli.main(["rate", "import", *map(str, names), "--store", store.uri]) == 2, case
        assert said in capsys.readouterr().err, case
    assert len({said for _, said in cases.values()}) >= 7
    assert not (store_path(store) / "rating" / "result.json").exists()


def test_the_same_seed_gives_the_same_page_and_equal_answers_are_left_out():
    one, same, other = (make("r", "b", "overall", ROWS, 20, seed) for seed in (1, 1, 2))
    assert one.html == same.html
    assert one.key.page != other.key.page
    assert Rating(id="p001", choice="a", seconds="0", shown=shown(HOSTILE, "", "")).shown != shown("", HOSTILE, "")
    with pytest.raises(ValueError, match="equal answers"):
        make("r", "b", "overall", [ROWS[0] | {"base": "same", "tuned": "same "}], 20, 1)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["export", "mine", "--benchmark", "advbenhc"], "did you mean advbench?"),
        (["export", "mine", "--pairs", "0"], "--pairs 0: give a whole number"),
        (["export", "nobody"], "no run nobody"),
        (["export", "mine", "--output", "/nowhere/page.html"], "can't be written"),
        (["import", "/nowhere/a.json"], "can't be read"),
    ],
)
def test_wrong_input_is_told_in_one_line(exported, capsys, argv, said):
    assert cli.main(["rate", *argv, "--store", exported[1].uri]) == 2
    assert said in capsys.readouterr().err
