"""Arms in numbers, against cases whose answer is known."""

import json
import math

import pytest

from flows.ablate import cost
from flows.cli import main
from matrix_core import arms, statistics
from matrix_core.errors import RunError
from tasks import comparison
from tasks.memo import Spent
from tasks.play import Record
from tasks.runs import Simulated
from tasks.store import Reference, open_store
from tests.page import Page

NOWHERE = Reference(sha256="a" * 64, size=0)


def test_the_interval_of_one_seed_is_that_of_its_questions():
    row = [1.0] * 70 + [0.0] * 30
    one, plain = statistics.crossed([row]), statistics.mean(row)
    assert one.value == plain.value == 0.7
    assert math.isclose(one.low, plain.low, abs_tol=0.011)
    assert math.isclose(one.high, plain.high, abs_tol=0.011)


def test_seeds_that_differ_widen_the_interval_though_there_are_more_rows():
    same, apart = [[1.0] * 70 + [0.0] * 30] * 4, [[1.0] * n + [0.0] * (100 - n) for n in (40, 60, 80, 100)]
    narrow, wide = statistics.crossed(same), statistics.crossed(apart)
    assert narrow.value == wide.value == 0.7
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    import numpy as np

    rng = np.random.default_rng(5)
    hit = 0
    for _ in range(150):
        effect = rng.normal(0, 0.5, 8)[:, None] + rng.normal(0, 0.5, 60)[None, :]
        found = statistics.crossed((0.3 + effect + rng.normal(0, 0.5, (8, 60))).tolist())
        hit += found.low <= 0.3 <= found.high
    assert 0.86 <= hit / 150 <= 0.99


@pytest.mark.parametrize(("all_of_them", "low", "high"), [(0.0, 0.0, 0.07), (1.0, 0.93, 1.0)])
def test_where_nothing_varies_the_interval_is_no_point_and_that_of_the_difference_goes_both_ways(all_of_them, low, high):
    table = {"f": [[all_of_them] * 50] * 3}
    row = arms.compared({"MATRIX": table, "x": table}, "MATRIX")["x"]["f"]
    assert row["ci95"] == pytest.approx([low, high], abs=0.005)
    assert row["change"] == 0
    assert row["ci95_change"] == pytest.approx([-0.07, 0.07], abs=0.005)


@pytest.mark.parametrize("table", [[], [[]], [[1.0], [1.0, 0.0]]])
def test_a_table_without_entries_or_with_ragged_rows_is_refused(table):
    with pytest.raises(ValueError, match="seeds by questions"):
        statistics.crossed(table)


def test_the_difference_is_paired_so_that_hard_questions_do_not_blur_it():
    first = [[1.0, 0.0] * 50] * 2
    worse = [[0.0 if i < 10 else value for i, value in enumerate(row)] for row in first]
    row = arms.compared({"MATRIX": {"f": first}, "x": {"f": worse}}, "MATRIX")["x"]["f"]
    assert row["change"] == pytest.approx(-0.05)
    assert row["ci95_change"][1] < 0
    assert row["ci95"][1] > 0.5
    assert row["ci95_change"][1] - row["ci95_change"][0] < row["ci95"][1] - row["ci95"][0]


def test_arms_that_were_asked_other_questions_are_not_compared():
    with pytest.raises(ValueError, match="same seeds and questions"):
        arms.compared({"MATRIX": {"f": [[1.0, 0.0]]}, "x": {"f": [[1.0]]}}, "MATRIX")


def simulated(*records: Record) -> Simulated:
    cached = [(record, True) for record in records]
    return Simulated(
        scenes=NOWHERE, shards=[], count=10, instructions=10, duplicates=0, held_out=[], records=cached, seconds=0.0
    )  # fmt: skip


def test_an_arm_costs_what_it_would_by_itself_whatever_came_from_a_cache():
    drafts = Record(step="draft", asked=10, calls=10, prompt_tokens=80, completion_tokens=20, spent=Spent(10, 100, 2.0))
    taken_over = Record(step="critique", reused=10, spent=Spent(20, 400, 1.0))
    assert cost(simulated(drafts, taken_over)) == arms.Cost(3.0, 50.0, 0.3)
    assert cost(simulated(drafts, taken_over), ("critique",)) == arms.Cost(2.0, 40.0, 0.1)


def test_what_an_earlier_version_did_not_note_is_no_cost_of_zero():
    with pytest.raises(RunError, match=r"'draft' cost was not noted .* take another --store"):
        cost(simulated(Record(step="draft", asked=10, calls=10)))


def test_votes_are_as_many_as_cost_as_much():
    assert arms.votes_for(1000, one=100, voted=50) == 19
    assert arms.votes_for(60, one=100, voted=50) == 1
    assert arms.votes_for(10**9, one=100, voted=50) == 256


def told(name="MATRIX"):
    tables = {"pocket.well_answered": [[1.0, 1.0, 0.0, 1.0]] * 2}
    figures = arms.compared({name: tables, "1 role": tables, "base": {"pocket.well_answered": [[0.0, 1.0, 0.0, 1.0]] * 2}}, name)
    rows = {arm: {"arm": {}, "runs": [], "figures": found} for arm, found in figures.items()}
    for arm, tokens in ((name, 4000.0), ("1 role", 900.0)):
        rows[arm] |= {
            "runs": ["pocket-1", "pocket-2"],
            "cost": {"calls": 40.0, "tokens": tokens, "seconds": 0.1},
            "votes": [1, 1],
            "scenes": [16, 16],
            "examples": [20, 20],
            "tuning_seconds": 12.0,
            "hashes": {"scenes": ["b" * 64] * 2, "adapters": ["c" * 64, None]},
        }
    rows["1 role"]["arm"] = {"roles": 1}
    rows["base"]["arm"] = {"method": "base"}
    plan = {"model": "pocket", "scenes": 16, "roles": 3, "steps": 3, "seeds": [0, 1]}
    return {
        "run_id": "ablation-1", "first": name, "plan": plan, "arms": rows, "command": "matrix-align ablate --plan quick",
        "device": "two cores", "seconds": 61.0, "commit": "d" * 40, "model": "e" * 64, "versions": {"torch": "2"},
    }  # fmt: skip


def test_the_page_is_whole_shows_every_arm_and_is_inert_whatever_arms_are_called():
    hostile = '<script>alert("x")</script>'
    page = Page(comparison.render(told(hostile)))
    assert not [tag for tag, attrs in page.tags if tag in ("script", "img", "iframe", "link") or "src" in attrs]
    assert comparison.render(told()).count("<svg") == 3


def test_the_sweep_takes_the_plain_arm_at_the_plans_own_number():
    points = comparison.sweep_plot(told(), "roles")["points"]
    assert [point["at"] for point in points] == [1, 3]
    assert comparison.sweep_plot(told(), "steps") is None


def test_the_markdown_has_every_value_with_its_interval_and_what_it_takes_to_get_it_again():
    text = comparison.markdown([told()], missing=["default"])
    row = next(line for line in text.splitlines() if line.startswith("| base |"))
    assert row.startswith("| base | 50.0 [")
    assert "<br>-25.0 [" in row
    for proof in (
        "matrix-align ablate --plan quick",
        "seeds 0, 1",
        "bbbbbbbbbbbb",
        "cccccccccccc, none",
        "torch 2",
        "d" * 40,
        "Not run yet, so without figures here: `default`",
    ):
        assert proof in text


def test_results_pass_over_an_ablation_that_still_goes_on_and_name_one_that_is_asked_for(tmp_path, capsys):
    store = open_store(str(tmp_path))
    store.write("ablation-2", "plan.json", b"{}")
    assert main(["results", "--store", str(tmp_path)]) == 2
    assert "no ablation in" in capsys.readouterr().err
    store.write("ablation-1", "ablation.json", json.dumps(told()).encode())
    assert main(["results", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("\n## ") == 1
    assert main(["results", "ablation-2", "--store", str(tmp_path)]) == 2
    assert "ablation-2 in" in capsys.readouterr().err
