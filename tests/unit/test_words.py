"""Schemas in words: every form that the method asks for can be told, and an answer is found in what a model says around it."""

import json

import pytest

from matrix_core import grading, judging
from matrix_core.engines.words import form, found, told
from matrix_core.request import Message, Request
from matrix_core.scene import Settings
from matrix_core.steps.base import obj, one_of, text
from tests.scripted import played

VERDICT = '{"reason": "It helps.", "verdict": "B"}'
ASKED = Request(messages=(Message(role="user", content="Which?"),), json_schema=judging.SCHEMA)


def test_whatever_the_method_asks_under_a_schema_can_be_told_with_all_its_fields():
    asked = [request for request in played(1, Settings())[1].asked if request.json_schema]
    assert len({json.dumps(request.json_schema) for request in asked}) > 5
    for request in asked:
        last = told(request).messages[-1].content
        assert all(f'"{field}": ' in last for field in request.json_schema["properties"])


def test_a_form_says_what_goes_where():
    schema = obj(
        reason=text(240),
        feasible={"type": "boolean"},
        aware=one_of(["Ann", "the \u201cboss\u201d"]),
        nobody=one_of([]),
        plan={"type": "array", "items": text(160), "minItems": 1, "maxItems": 3},
    )
    assert form(schema, limited=True) == (
        '{"reason": "..." (at most 240 characters), "feasible": true or false, '
        '"aware": [0 to 2 of: "Ann" or "the \u201cboss\u201d"], "nobody": [], "plan": [1 to 3 of: "..." (at most 160 characters)]}'
    )
    assert form(grading.SCHEMA) == '{"reason": "...", "points": number from 1 to 10}'


def test_the_last_turn_ends_with_the_form_and_nothing_else_is_changed():
    request = told(ASKED)
    answer = '{"reason": "...", "verdict": "A" or "B" or "tie"}'
    said = f"Which?\n\nAnswer with JSON alone, with texts of at most 400 characters, in this form: {answer}"
    assert request.messages[0].content == said
    assert request.model_copy(update={"messages": ASKED.messages}) == ASKED
    two = told(ASKED.model_copy(update={"json_schema": obj(name=text(40), traits=text(120))}))
    assert two.messages[0].content.endswith(
        'alone, in this form: {"name": "..." (at most 40 characters), "traits": "..." (at most 120 characters)}'
    )


@pytest.mark.parametrize(
    "said",
    [
        VERDICT,
        f"```json\n{VERDICT}\n```",
        f"Here is what I think:\n\n{VERDICT}\n\nI hope that helps {{so much}}!",
        f'<think>Perhaps {{"reason": "It is short.", "verdict": "A"}}? No.</think>{VERDICT}',
        f'An answer looks like {{"reason": "..."}}. {VERDICT}',
        f"{VERDICT} (see {json.dumps({'note': 1})})",
        '{"reason": "cut off before' + VERDICT,
    ],
)
def test_an_answer_is_found_among_other_words(said):
    assert found(said, ASKED) == VERDICT


@pytest.mark.parametrize("said", ["B, because it helps.", "", "{", "}{", "[" * 100_000, '{"a":' * 20_000])
def test_where_there_is_no_answer_the_words_stay_as_they_are(said):
    assert found(said, ASKED) == said


def test_an_object_that_lacks_a_field_is_handed_on_so_that_its_fault_can_be_told():
    assert found('Well: {"verdict": "B"}.', ASKED) == '{"verdict": "B"}'
