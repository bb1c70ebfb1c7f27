"""Intervals against published values and against the plain way of computing them; win rates against counting by hand."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_core import statistics


@dataclass(frozen=True)
class Row:
    outcome: str | None
    consistent: bool | None = None


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_the_published_one(hits, n, low, high):
    found = statistics.share(hits, n)
    assert found.value == hits / n
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 3000), st.data())
def test_a_share_lies_in_its_interval_and_the_interval_between_0_and_1(n, data):
    hits = data.draw(st.integers(0, n))
    found = statistics.share(hits, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    mirrored = statistics.share(n - hits, n)
    assert mirrored.low == pytest.approx(1 - found.high)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_a_share_of_nothing_is_refused(hits, n):
    with pytest.raises(ValueError, match="at least one row"):
        statistics.share(hits, n)


def test_the_bootstrap_is_that_of_drawing_rows_with_replacement():
    values = [1.0] * 40 + [0.0] * 35 + [-1.0] * 25
    found = statistics.mean(values, seed=3)
    rng = random.Random(0)
    plain = sorted(sum(rng.choices(values, k=100)) / 100 for _ in range(4000))
    assert found.value == pytest.approx(0.15)
    assert found.low == pytest.approx(plain[100], abs=0.02)
    assert found.high == pytest.approx(plain[3900], abs=0.02)


def test_the_bootstrap_follows_from_seed_and_rows_and_not_from_their_order():
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.25] * 9
    assert statistics.mean(values, seed=1) == statistics.mean(values[::-1], seed=1)
    assert statistics.mean(values, seed=1) != statistics.mean(values, seed=2)
    assert statistics.mean([0.5] * 8).ci95 == [0.5, 0.5]
    with pytest.raises(ValueError, match="at least one row"):
        statistics.mean([])


def test_before_and_after_are_compared_row_by_row():
    """Half the rows change for the better: pairing makes the difference far surer than the two shares are."""
    before, after = [True, True] * 50, [True, False] * 50
    found = statistics.before_after(before, after)
    assert (found["n"], found["before"], found["after"], found["change"]) == (100, 1.0, 0.5, -0.5)
    assert found["ci95"] == pytest.approx([0.4038, 0.5962], abs=1e-4)
    assert found["ci95_before"] == pytest.approx([0.9630, 1.0], abs=1e-4)
    assert found["ci95_change"] == pytest.approx([-0.6, -0.4], abs=0.011)
    with pytest.raises(ValueError, match="2 before, 1 after"):
        statistics.before_after([True, False], [True])


def test_win_rates_are_counted_over_the_rows_that_could_be_judged():
    rows = [Row("win", True)] * 5 + [Row("tie", False)] * 3 + [Row("lose")] * 2 + [Row(None)]
    found = statistics.win_rates(rows)
    assert {key: found[key] for key in ("n", "win", "tie", "lose", "failed")} == {
        "n": 10,
        "win": 5,
        "tie": 3,
        "lose": 2,
        "failed": 1,
    }
    assert (found["win_rate"], found["net_win_rate"], found["consistency"]) == (0.5, pytest.approx(0.3), 5 / 8)
    # With ten rows of 0.5 a resampled win rate is a binomial share: 2.5 % of them are at most 0.2.
    assert found["ci95"] == pytest.approx([0.2, 0.8])
    assert found["ci95_net"][0] < 0.3 < found["ci95_net"][1]


def test_without_a_judged_row_there_are_no_rates():
    found = statistics.win_rates([Row(None)])
    assert (found["n"], found["failed"], found["win_rate"], found["ci95_net"], found["consistency"]) == (0, 1, None, None, None)


def test_two_ties_are_no_proof_of_equality():
    tied = statistics.win_rates([Row("tie"), Row("tie")])
    assert tied["win_rate"] == 0
    assert tied["ci95"] == pytest.approx([0.0, 0.658], abs=1e-3)  # Wilson's upper bound of 0 of 2
    assert tied["ci95_net"] == pytest.approx([-0.658, 0.658], abs=1e-3)
    assert statistics.before_after([True] * 2, [True] * 2)["ci95_change"] == pytest.approx([-0.658, 0.658], abs=1e-3)
    rows = [Row("tie"), Row("win")] * 50
    assert statistics.win_rates(rows)["ci95"] == statistics.mean([0.0, 1.0] * 50).ci95
