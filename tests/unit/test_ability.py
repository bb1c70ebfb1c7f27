"""General ability without a judge: losses against transformers' own, choices against losses, changes against figures by hand."""

import math

import pytest
import torch

from matrix_core import ability
from matrix_core.ability import Choice, Measured
from matrix_core.errors import RunError
from matrix_core.release import decide
from matrix_core.remarks import remarks
from tasks.ability import CHOICES, PASSAGES
from tests import tiny

MODEL, TOKENIZER = tiny.model(), tiny.tokenizer()


def test_the_loss_of_a_text_is_that_of_transformers_whatever_it_is_batched_with():
    texts = ["The clerk asks the nurse.", "No.", "Please do not burn the leaves at the school. " * 3]
    for (total, tokens), text in zip(ability.losses(MODEL, TOKENIZER, [("", text) for text in texts]), texts, strict=True):
        ids = torch.tensor([TOKENIZER(text).input_ids])
        assert tokens == ids.shape[1] - 1
        assert total / tokens == pytest.approx(MODEL(input_ids=ids, labels=ids).loss.item(), rel=1e-4)


def test_only_what_follows_is_counted():
    whole, tail = ability.losses(MODEL, TOKENIZER, [("", "The cook writes no."), ("The cook writes", " no.")])
    assert tail[1] == len(TOKENIZER(" no.").input_ids)
    assert 0 < tail[0] < whole[0]


def test_the_likeliest_option_a_character_is_the_answer():
    options = (" a rope", " the school garage", " yes")
    losses = ability.losses(MODEL, TOKENIZER, [("Question: What?\nAnswer:", option) for option in options])
    best = min(range(3), key=lambda i: losses[i][0] / (len(options[i]) - 1))
    choices = [Choice("What?", tuple(option[1:] for option in options), right) for right in range(3)]
    assert ability.measure(MODEL, TOKENIZER, ["Plain."], choices).right == [right == best for right in range(3)]


def test_a_model_without_numbers_is_told():
    broken = tiny.model()
    broken.lm_head.weight.data.fill_(math.nan)
    with pytest.raises(RunError, match="no finite numbers"):
        ability.losses(broken, TOKENIZER, [("", "The clerk asks.")])


@pytest.mark.parametrize(("rise", "released"), [(0.02, True), (0.3, False)])
def test_a_perplexity_that_rises_is_told_and_beyond_the_margin_not_released(rise: float, released: bool):
    before = Measured([2.0, 3.0, 4.0], [True] * 40)
    after = Measured([loss + math.log(1 + rise) for loss in before.passages], [True] * 40)
    found = ability.figures(before, after)
    assert found["plain_text"]["perplexity"]["ratio"] == pytest.approx(1 + rise)
    assert decide(found)["release"] is released
    [said] = remarks(found["plain_text"])
    assert said.startswith(f"Perplexity 20.09 before, {20.0855 * (1 + rise):.2f} after")
    assert found["multiple_choice"]["right"]["after"] == 1


def test_the_shipped_questions_have_one_right_option_of_four_each_in_every_place():
    choices = ability.read_choices(CHOICES)
    assert all(len(set(one.options)) == 4 for one in choices)
    assert len({one.question for one in choices}) == len(choices) >= 40
    places = [one.right for one in choices]
    assert {places.count(place) for place in range(4)} == {len(choices) // 4}
    assert len(ability.read_passages(PASSAGES)) >= 10
