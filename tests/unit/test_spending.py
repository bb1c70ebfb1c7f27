"""A budget is the run's: what it has used is noted in its folder, and the next command goes on from there."""

import pytest

from matrix_core.engines.budget import Budget, Meter, most
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.request import Message, Request
from tasks.spending import Spent, metered, spent
from tasks.store import open_store


def test_what_a_run_has_used_is_noted_and_goes_on_in_its_next_command(tmp_path):
    store, budget = open_store(str(tmp_path / "store")), Budget(max_tokens=5000)
    engine = EndpointEngine(["http://a/v1"], "m")
    assert spent(store, "mine") == Spent()

    def interrupted():
        with metered(store, "mine", engine, budget) as note:
            engine.meter.prompt, engine.meter.completion = 100, 10
            engine.troubles["429"] += 2
            note()
            assert spent(store, "mine").prompt_tokens == 100
            engine.meter.prompt += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert spent(store, "mine") == Spent(prompt_tokens=101, completion_tokens=10, troubles={"429": 2})
    with metered(store, "mine", engine, budget):
        assert (engine.meter.prompt, engine.meter.completion, engine.meter.budget) == (101, 10, budget)
        engine.troubles["429"] += 1
    assert spent(store, "mine").troubles == {"429": 3}
    with metered(store, "other", engine, budget):
        assert engine.meter.prompt == 0


def test_an_engine_without_a_meter_is_left_alone(tmp_path):
    store = open_store(str(tmp_path / "store"))
    with metered(store, "mine", object(), Budget()) as note:
        note()
    assert store.runs() == []


def test_what_is_on_its_way_counts_with_the_most_that_it_can_use():
    request = Request(messages=(Message(role="user", content="ä" * 34),), max_tokens=50)
    assert most(request) == (100, 50)
    meter = Meter(Budget(price=(1.0, 2.0), max_cost=0.000_400))
    assert meter.hold(most(request))
    assert meter.hold(most(request))
    assert not meter.hold(most(request))
    meter.release(most(request))
    meter.prompt += 10
    assert not meter.hold((100, 50))
    assert meter.hold((90, 50))
    assert meter.on_the_way == 2
    assert meter.spent() == "10 prompt and 0 completion tokens, 0.0000 USD of --max-cost 0.0004"
