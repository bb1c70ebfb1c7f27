"""A model under a standing system prompt: every request is asked under it, and its answers are cached apart."""

from matrix_core.engines.standing import StandingEngine
from matrix_core.request import Completion, Message, Request
from tasks.engines import Model, engine


class Echo:
    """Says what turns it was shown."""

    fingerprint, meter = "echo", None

    def generate(self, requests, progress=None, finished=None):
        return [Completion(text=" | ".join(f"{t.role}: {t.content}" for t in request.messages)) for request in requests]


def said(*turns: tuple[str, str]) -> str:
    asked = Request(messages=tuple(Message(role=role, content=content) for role, content in turns))
    return StandingEngine(Echo(), "Be kind.").generate([asked])[0].text


def test_every_request_is_asked_under_the_prompt_and_keeps_its_own_turns():
    assert said(("user", "Why?")) == "system: Be kind. | user: Why?"
    assert said(("user", "Why?"), ("assistant", "So."), ("user", "Oh?")).startswith(
        "system: Be kind. | user: Why? | assistant: So."
    )
    assert said(("system", "Judge."), ("user", "A or B?")) == "system: Be kind.\n\nJudge. | user: A or B?"


def test_its_answers_are_cached_apart_from_the_model_s_own_and_from_those_under_another_prompt():
    own = engine(Model(name="pocket"))
    kind, rude = (engine(Model(name="pocket", standing=text)) for text in ("Be kind.", "Be rude."))
    assert len({own.fingerprint, kind.fingerprint, rude.fingerprint}) == 3
    assert kind.engine is own
    assert Model(name="pocket", standing="Be kind.").label == "pocket (under principles)"


def test_a_budget_counts_what_is_asked_under_the_prompt():
    echo = Echo()
    StandingEngine(echo, "Be kind.").meter = "counting"
    assert echo.meter == "counting"
