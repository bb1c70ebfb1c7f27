"""Grades of single answers: what the judge sees of each turn, what becomes of points; and the prefix match."""

import json
from itertools import combinations

import pytest

from matrix_core import grading
from matrix_core.benchmarks import Item
from matrix_core.refusals import complied
from matrix_core.remarks import remarks
from matrix_core.request import Completion

ITEMS = [
    Item(id="1", category="math", turns=("What is 2 + 2?", "And doubled?"), references=("4", "")),
    Item(id="2", category="writing", turns=("Write a line.", "Write another."), references=("One line.", "Another.")),
]
ANSWERS = [["five", "ten"], ["A line.", "A second line."]]


class Engine:
    """Gives the points that stand for the last answer."""

    fingerprint = "points"

    def __init__(self, points):
        self.points, self.seen = points, []

    def generate(self, requests, progress=None, finished=None):
        self.seen += [request.messages[-1].content for request in requests]
        assert all(request.temperature == 0 for request in requests if request.messages[-1].content.startswith("["))
        return [
            Completion(text=self._told([turn.content for turn in request.messages if turn.content.startswith("[")][-1]))
            for request in requests
        ]

    def _told(self, asked):
        last = asked.rsplit("[ANSWER ", 1)[1].split("\n")[1]
        points = self.points[last]
        return json.dumps({"reason": "so", "points": points}) if points else "none"


def test_each_turn_is_graded_with_what_came_before_and_the_reference_where_one_answer_is_right():
    engine = Engine({"five": 2, "ten": 3, "A line.": 8, "A second line.": 7})
    grades = grading.grade(ITEMS, ANSWERS, engine)
    assert [(g.id, g.turn, g.points) for g in grades] == [("1", 1, 2), ("1", 2, 3), ("2", 1, 8), ("2", 2, 7)]
    first, second = engine.seen[:2]
    assert ("REFERENCE ANSWER 1" in first, "QUESTION 2" in first) == (True, False)
    assert ("five" in second, "REFERENCE ANSWER 1" in second, "REFERENCE ANSWER 2" in second) == (True, True, False)
    assert "REFERENCE" not in engine.seen[2]


def test_points_are_compared_turn_by_turn_and_what_one_model_lacks_is_left_out():
    before = grading.grade(ITEMS, ANSWERS, Engine({"five": 2, "ten": 3, "A line.": 8, "A second line.": None}))
    after = grading.grade(ITEMS, ANSWERS, Engine({"five": 4, "ten": 3, "A line.": 9, "A second line.": 7}))
    assert "3 tries" in before[3].error
    found = grading.scores(ITEMS, {"one": (before, after)})
    assert (found["n"], found["failed"]) == (2, 1)
    assert (found["points"]["before"], found["points"]["after"], found["points"]["change"]) == (13 / 3, 16 / 3, 1.0)
    assert (found["turn_2"]["n"], found["points_math"]["after"], found["points_writing"]["change"]) == (1, 3.5, 1.0)
    assert "points" not in grading.scores(ITEMS, {"one": (before[3:], after[3:])})


def test_several_judges_are_averaged_turn_by_turn_and_their_agreement_is_told():
    one = (
        grading.grade(ITEMS, ANSWERS, Engine({"five": 2, "ten": 3, "A line.": 8, "A second line.": None})),
        grading.grade(ITEMS, ANSWERS, Engine({"five": 4, "ten": 3, "A line.": 9, "A second line.": 7})),
    )
    two = (
        grading.grade(ITEMS, ANSWERS, Engine({"five": 4, "ten": 5, "A line.": 8, "A second line.": 6})),
        grading.grade(ITEMS, ANSWERS, Engine({"five": 4, "ten": None, "A line.": 7, "A second line.": 10})),
    )
    found = grading.scores(ITEMS, {"one": one, "two": two})
    # By hand: (2 + 4) / 2, 3 (the second judge lacks one), (8 + 8) / 2, 6 (the first lacks one); after 4, 3, 8, 10.
    assert (found["points"]["before"], found["points"]["after"], found["failed"]) == (20 / 4, 25 / 4, 0)
    assert found["judges"]["one"]["change"] == pytest.approx((2 + 0 + 1) / 3)
    assert found["judges"]["two"]["change"] == pytest.approx((0 - 1 + 4) / 3)
    # By hand, of the six answers that both have graded (the other two have no pair):
    pairs = [(2, 4), (3, 5), (8, 8), (4, 4), (9, 7), (7, 10)]
    values = [value for pair in pairs for value in pair]
    observed = sum((a - b) ** 2 for a, b in pairs) / 6
    expected = sum((a - b) ** 2 for a, b in combinations(values, 2)) / (12 * 11 / 2)
    assert found["agreement"] == {"raters": 2, "alpha": pytest.approx(1 - observed / expected)}
    told = " ".join(remarks({"grades": found}))
    assert "mean of 2 judges" in told
    assert "one +1.00; two +1.00" in told


def test_the_prefix_match_knows_the_usual_words_and_only_these():
    answers = ["Sure, here it is.", "I\u2019m sorry, but no.", "I CANNOT do that", "", "That would hurt people, so I leave it be."]
    assert complied(answers) == [True, False, False, False, True]
