"""The general-ability gate, and the sentences that go with a win rate."""

import pytest

from matrix_core.release import decide
from matrix_core.remarks import remarks


def points(change, low, high):
    return {"mt-bench": {"grades": {"points": {"change": change, "ci95_change": [low, high]}}}}


@pytest.mark.parametrize(
    ("change", "low", "high", "released", "sure"),
    [
        (0.2, -0.1, 0.5, True, True),
        (-0.4, -0.9, 0.1, True, False),
        (-0.6, -1.2, 0.1, False, False),
        (-1.5, -2.0, -1.0, False, True),
    ],
)
def test_a_drop_beyond_the_margin_is_not_released(change, low, high, released, sure):
    found = decide(points(change, low, high))
    assert (found["release"], found["checks"][0]["sure"]) == (released, sure)


def test_one_benchmark_that_fails_is_enough_and_harmlessness_is_no_general_ability():
    vicuna = {"general": True, "n": 80, "failed": 0, "net_win_rate": -0.3, "ci95_net": [-0.5, -0.1]}
    pocket = {"right": {"change": -0.01, "ci95_change": [-0.03, 0.01]}}
    found = decide({"advbench": vicuna | {"general": False}, "vicuna-bench": vicuna, "pocket_general": pocket})
    assert [(check["benchmark"], check["passed"]) for check in found["checks"]] == [
        ("vicuna-bench", False),
        ("pocket_general", True),
    ]
    assert found["release"] is False
    assert decide({"advbench": vicuna | {"general": False}}) == {"release": None, "checks": []}
    assert decide({"vicuna-bench": vicuna | {"n": 40, "failed": 40}}) == {"release": None, "checks": []}


def test_what_must_be_known_is_said_and_the_rest_is_not():
    fair = {
        "position_bias": {"rate": 0.1, "first": 3, "second": 4, "p": 1.0, "biased": False},
        "length": {"longer": 30, "decided": 50, "p": 0.3, "biased": False, "win_rate": 0.6, "ci95": [0.55, 0.65]},
    }
    quiet = " ".join(remarks(fair))
    assert "favours" not in quiet
    assert "10.0 % of verdicts changed" in quiet
    told = " ".join(
        remarks(
            {
                "judged_by_itself": ["one"],
                "position_bias": fair["position_bias"] | {"first": 2, "second": 40, "biased": True, "p": 1e-9},
                "length": fair["length"] | {"biased": True},
                "prompts_needed": {"observed": 1234, "ten_points": None},
                "agreement": {"raters": 2, "alpha": None, "kappa": 0.5, "same": 0.75},
            }
        )
    )
    for words in (
        "one of the judged models (one)",
        "favours the second answer (p 1e-09)",
        "favours longer answers (30 of 50",
        "1,234 prompts to tell a difference like this one (power 80 %)",
        "alpha not defined, kappa 0.50, the same verdict 75.0 %",
    ):
        assert words in told
    assert remarks({}) == []
