"""Judges that go by the wrong things are exposed; intervals cover; alpha, kappa and corrections are the published ones."""

import random

import numpy as np
import pytest

from matrix_core import significance
from matrix_core.agreement import agreement, alpha_of, fleiss_kappa, kappa_of, krippendorff_alpha, majority
from matrix_core.biases import length_control, position_bias
from matrix_core.comparison import figures
from matrix_core.judging import Pair, Verdict, judge
from matrix_core.remarks import remarks
from matrix_core.request import Completion


class Judge:
    """An engine that prefers A, B or neither by a rule over the two answers."""

    fingerprint = "rule"

    def __init__(self, rule):
        self.rule = rule

    def generate(self, requests, progress=None, finished=None):
        return [Completion(text=f'{{"reason": "so", "verdict": "{self._choice(request)}"}}') for request in requests]

    def _choice(self, request):
        parts = request.messages[-1].content.split("\n\n")
        a, b = (part.split("\n", 1)[1].rsplit("\n", 1)[0] for part in parts[1:])
        return self.rule(a, b)


def pairs(n=60, seed=0):
    """Answers of random lengths; the tuned ones are a little longer."""
    rng = random.Random(seed)
    return [
        Pair(id=str(i), instruction=f"question {i}", base="a" * rng.randint(5, 90), tuned="b" * rng.randint(5, 120))
        for i in range(n)
    ]


def judged(rule, n=60, seed=0):
    some = pairs(n, seed)
    return figures(some, {"rule": judge(some, Judge(rule))})


def test_a_judge_that_goes_by_the_place_is_exposed():
    found = judged(lambda a, b: "A")
    assert (found["win"], found["tie"], found["lose"]) == (0, 60, 0)
    assert found["position_bias"]["rate"] == 1.0
    assert (found["position_bias"]["first"], found["position_bias"]["second"]) == (60, 0)
    assert found["position_bias"]["biased"]
    assert judged(lambda a, b: "B")["position_bias"]["second"] == 60


def test_a_judge_that_goes_by_the_length_is_exposed_and_its_win_rate_put_right():
    found = judged(lambda a, b: "A" if len(a) > len(b) else "B", n=200)
    assert found["win_rate"] > 0.58
    assert found["length"]["biased"]
    assert found["length"]["longer"] == found["length"]["decided"]
    low, high = found["length"]["ci95"]
    assert low < 0.5 < high
    assert not found["position_bias"]["biased"]


def test_a_judge_that_goes_by_the_answers_is_not_suspected():
    found = judged(lambda a, b: "A" if a.startswith("b") else "B", n=200)
    assert found["win_rate"] == 1.0
    assert not found["length"]["biased"]
    assert not found["position_bias"]["biased"]
    assert found["length"]["win_rate"] > 0.95
    assert "prompts_needed" not in found


def test_the_interval_of_a_judge_that_guesses_covers_a_half():
    rng = random.Random(7)
    covered = suspected = 0
    for seed in range(100):
        found = judged(lambda a, b: rng.choice("AB"), n=120, seed=seed)
        covered += found["ci95_half_ties"][0] <= 0.5 <= found["ci95_half_ties"][1]
        suspected += found["position_bias"]["biased"] or found["length"]["biased"]
    assert covered >= 93
    assert suspected <= 6


def test_two_turns_of_one_prompt_are_no_more_evidence_than_one():
    values = [random.Random(i).choice([0.0, 1.0]) for i in range(80)]
    one = significance.clustered_mean(values, [str(i) for i in range(80)], seed=1)
    doubled = significance.clustered_mean([v for v in values for _ in (0, 1)], [str(i) for i in range(80) for _ in (0, 1)], seed=1)
    apart = significance.clustered_mean([v for v in values for _ in (0, 1)], [str(i) for i in range(160)], seed=1)
    assert doubled.ci95 == pytest.approx(one.ci95)
    assert apart.high - apart.low < 0.8 * (one.high - one.low)


def test_the_sign_test_and_the_correction_are_those_worked_by_hand():
    # By hand: 2 * (1 + 10 + 45) / 2 ** 10.
    assert significance.sign_test(8, 2) == pytest.approx(0.1094, abs=5e-5)
    assert significance.sign_test(0, 0) == 1.0
    # By hand after Holm: 0.01 * 4, 0.02 * 3 = 0.06, 0.03 * 2 = 0.06, 0.04 * 1 raised to 0.06.
    assert significance.holm({"a": 0.01, "d": 0.04, "b": 0.02, "c": 0.03}) == pytest.approx(
        {"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06}
    )
    assert significance.holm({}) == {}


def test_the_number_of_prompts_has_the_power_that_it_claims():
    drawn = np.random.default_rng(1)
    values = [1.0] * 35 + [-1.0] * 20 + [0.0] * 45
    needed = significance.prompts_needed(values)["observed"]
    assert needed is not None
    hits = 0
    for _ in range(400):
        sample = drawn.choice(values, size=needed)
        hits += significance.sign_test(int(sum(sample > 0)), int(sum(sample < 0))) < 0.05
    assert hits / 400 == pytest.approx(0.8, abs=0.07)
    assert significance.prompts_needed([1.0, -1.0])["observed"] is None
    assert significance.prompts_needed([1.0, 1.0]) == {"observed": None, "ten_points": None}


def test_alpha_and_kappa_are_the_published_ones():
    none = np.nan
    # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C.
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3],
            [none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none],
        ]
    )
    for level, alpha in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)):
        assert alpha_of(table, level) == pytest.approx(alpha, abs=5e-4)
    # The worked example of Wikipedia's article on Fleiss' kappa: 14 raters, 10 subjects, 5 categories.
    counts = (
        "0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1|7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7"  # subject by subject
    )
    assert kappa_of(table_of(counts)) == pytest.approx(0.210, abs=5e-4)
    # Fleiss, Measuring nominal scale agreement among many raters (1971), table 1: 6 psychiatrists, 30 patients, 5 diagnoses.
    counts = (
        "0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0|0 0 0 0 6|1 0 0 5 0|1 1 0 4 0|"
        "0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3|0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|"
        "1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6"
    )
    assert kappa_of(table_of(counts)) == pytest.approx(0.430, abs=5e-4)


def table_of(counts):
    return np.array([row.split() for row in counts.split("|")], dtype=int)


def test_agreement_is_told_only_where_there_is_some():
    assert agreement([["win", "tie", None]])["alpha"] is None
    assert agreement([["win", "win"], ["win", "win"]]) == {"raters": 2, "alpha": None, "kappa": None, "same": 1.0}
    both = [["win", "lose", "tie", "win"], ["win", "lose", "tie", None]]
    assert krippendorff_alpha(both) == pytest.approx(1.0)
    assert fleiss_kappa(both) == pytest.approx(1.0)


def test_what_most_judges_say_counts():
    def vote(*outcomes):
        return majority([Verdict(id="1", outcome=outcome, error="" if outcome else "broken") for outcome in outcomes])

    assert vote("win", "win", "lose").outcome == "win"
    assert vote("win", "lose").outcome == "tie"
    assert vote("win", "lose", "tie").outcome == "tie"
    assert vote("lose", None).outcome == "lose"
    assert (vote(None, None).outcome, vote(None, None).error) == (None, "broken")
    some = pairs(30)
    panel = {name: judge(some, Judge(rule)) for name, rule in {"first": lambda a, b: "A", "tuned": _tuned, "also": _tuned}.items()}
    found = figures(some, panel)
    assert (found["win"], found["judges"]["first"]["tie"], found["judges"]["tuned"]["win"]) == (30, 30, 30)
    assert found["agreement"]["same"] == pytest.approx(1 / 3)


def _tuned(a, b):
    return "A" if a.startswith("b") else "B"


def test_what_could_not_be_judged_is_told_with_the_reason():
    some = pairs(4)
    verdicts = [
        Verdict(id="0", outcome="win"),
        *(Verdict(id=str(i), error=why) for i, why in enumerate(("no JSON", "x", "no JSON"), 1)),
    ]
    found = figures(some, {"rule": verdicts})
    assert "3 of 4 pairs could not be judged, most often: no JSON." in remarks(found)
    assert "why_failed" not in figures(some[:1], {"rule": verdicts[:1]})


def test_nothing_judged_has_no_figures():
    assert position_bias([Verdict(id="1", outcome="tie")]) is None
    assert length_control([], [], []) is None
    found = figures(pairs(1), {"broken": [Verdict(id="0", error="broken")]})
    assert (found["n"], found["failed"], found["win_rate_half_ties"], found["length"]) == (0, 1, None, None)
