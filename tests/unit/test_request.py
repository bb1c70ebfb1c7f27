"""What tells requests apart."""

import pytest

from matrix_core.request import Message, Request

ASKED = Request(messages=(Message(role="user", content="Is it so?"),), seed=1)


def test_cold_requests_are_the_same_whatever_is_drawn() -> None:
    assert ASKED.identity == ASKED.model_copy(update={"seed": 2, "top_p": 0.5}).identity
    warm = ASKED.model_copy(update={"temperature": 0.7})
    assert len({ASKED.identity, warm.identity, warm.model_copy(update={"seed": 2}).identity}) == 3


@pytest.mark.parametrize(
    "change",
    [{"messages": (Message(role="user", content="Isn't it?"),)}, {"max_tokens": 3}, {"stop": ("\n",)}, {"json_schema": {}}],
)
def test_a_changed_copy_is_another_request(change: dict[str, object]) -> None:
    before = ASKED.identity  # known by now, so that a copy could carry it along
    assert ASKED.model_copy(update=change).identity != before
    assert ASKED.model_copy().identity == before


def test_half_a_character_has_an_identity_too() -> None:
    broken = [ASKED.model_copy(update={"messages": (Message(role="user", content=text),)}) for text in ("\ud83d", "\ud83e")]
    assert len({request.identity for request in broken}) == 2
