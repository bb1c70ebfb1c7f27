"""The endpoint engine against real servers that fail in every way that servers do: each prompt gets its own answer."""

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from matrix_core.engines.budget import Budget, Meter
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.engines.servers import Policy
from matrix_core.engines.wire import POOL_SIZE
from matrix_core.errors import BudgetError, RunError, UserError
from matrix_core.request import Completion, Message, Request
from tests.misbehaving import TROUBLE, EchoServer

CALLS, CALLERS = 300, 3
SHARE = 0.2
QUICK = Policy(read=1.5, pause=0.01, longest_pause=0.05, tries=12, probe=0.02, longest_probe=0.1)

Start = Callable[..., EchoServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers, and stops them at the end."""
    started: list[EchoServer] = []

    def begin(*how: object, **more: object) -> EchoServer:
        started.append(EchoServer(*how, **more))
        return started[-1]

    yield begin
    for server in started:
        server.stop()
    gc.collect()  # engines of finished tests, which hold their connections until then: hundreds of open files


def asks(*names: object) -> list[Request]:
    return [Request(messages=(Message(role="user", content=f"say {name}"),), max_tokens=8) for name in names]


def echoes(*names: object) -> list[str]:
    return [f"echo: say {name}" for name in names]


def once(how: str) -> Callable[[int, str], str]:
    """The first call goes wrong."""
    return lambda number, prompt: how if number == 0 else "good"


def test_with_every_fifth_call_misbehaving_nothing_is_lost_or_mixed_up_and_all_is_counted(start: Start) -> None:
    chance, lock = random.Random(7), threading.Lock()

    def behave(number: int, prompt: str) -> str:
        with lock:
            return chance.choice(list(TROUBLE)) if chance.random() < SHARE else "good"

    server = start(behave, retry_after="0.02")
    engine = EndpointEngine([server.url], "m", QUICK)
    names = [[f"{caller}-{i}" for i in range(CALLS // CALLERS)] for caller in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as callers:
        answers = list(callers.map(lambda mine: engine.generate(asks(*mine)), names))
    assert [[a.text for a in mine] for mine in answers] == [echoes(*mine) for mine in names]
    assert all(a.error is None for mine in answers for a in mine)
    expected: Counter[str] = Counter()
    for how, times in server.done.items():
        if how != "good":
            expected[TROUBLE[how]] += times
    assert set(server.done) == {"good", *TROUBLE}  # all of it has happened
    assert engine.troubles == expected
    # Also an answer without content is one that the server counts, and charges.
    charged = server.done["good"] + server.done["no choices"] + server.done["no content"]
    assert (engine.meter.prompt, engine.meter.completion) == (7 * charged, 3 * charged)
    assert sum(a.prompt_tokens for mine in answers for a in mine) == 7 * charged


@pytest.mark.parametrize("how", TROUBLE)
def test_each_trouble_is_tried_again_and_counted_under_its_name(start: Start, how: str) -> None:
    server = start(once(how))
    engine = EndpointEngine([server.url], "m", Policy(read=0.3, pause=0.01))
    (answer,) = engine.generate(asks("it"))
    assert (answer.text, answer.error) == ("echo: say it", None)
    assert engine.troubles == {TROUBLE[how]: 1}


def test_what_goes_on_failing_fails_alone_and_says_how(start: Start) -> None:
    server = start(lambda number, prompt: "500" if "bad" in prompt else "good")
    engine = EndpointEngine([server.url], "m", Policy(pause=0.01, tries=3))
    good, bad, fine = engine.generate(asks("good", "bad", "fine"))
    assert [good.text, bad.text, fine.text] == ["echo: say good", "", "echo: say fine"]
    assert bad.finish_reason == "error"
    assert server.url in bad.error
    assert "broken" in bad.error
    assert "3 times" in bad.error
    assert server.done["500"] == 3


def test_a_reply_that_comes_too_late_is_nobodys_answer(start: Start) -> None:
    server = start(once("late"))
    engine = EndpointEngine([server.url], "m", Policy(read=0.3, pause=0.01, start=1, most=1))
    answers = engine.generate(asks(*range(10)))
    assert [a.text for a in answers] == echoes(*range(10))
    assert len(server.arrivals) == 11


def test_a_try_is_given_up_after_its_total_time_however_long_each_silence_may_be(start: Start) -> None:
    server = start(once("hang"))
    engine = EndpointEngine([server.url], "m", Policy(read=60, total=0.3, pause=0.01))
    assert engine.generate(asks("it"))[0].text == "echo: say it"
    assert engine.troubles == {"timeout": 1}


def test_load_goes_to_the_server_with_the_least_to_do(start: Start) -> None:
    """One answers at once, one keeps its requests until the other has answered all the rest."""

    def keep(number: int, prompt: str) -> str:
        quick.wait(lambda: quick.done["good"] >= 96)
        return "good"

    slow, quick = start(keep), start()
    engine = EndpointEngine([slow.url, quick.url], "m", Policy(start=4, most=4))
    assert [a.text for a in engine.generate(asks(*range(100)))] == echoes(*range(100))
    assert (len(slow.arrivals), len(quick.arrivals)) == (4, 96)


def test_equal_servers_get_equal_shares(start: Start) -> None:
    """Both keep what they are asked until eight requests are there; with places for six at each, each has four."""
    meet = threading.Barrier(8, timeout=30)

    def keep(number: int, prompt: str) -> str:
        meet.wait()
        return "good"

    servers = [start(keep), start(keep)]
    engine = EndpointEngine([server.url for server in servers], "m", Policy(start=6, most=6))
    engine.generate(asks(*range(8)))
    assert [len(server.arrivals) for server in servers] == [4, 4]


def test_a_server_is_asked_as_much_at_a_time_as_it_may_be_over_no_more_connections_than_that(start: Start) -> None:
    """Each keeps the first of its requests until all places are taken."""
    places = 2 * POOL_SIZE + 3
    meet = threading.Barrier(places, timeout=30)

    def keep(number: int, prompt: str) -> str:
        if number < places:
            meet.wait()
        return "good"

    server = start(keep)
    engine = EndpointEngine([server.url], "m", Policy(start=places, most=places))
    for _ in range(3):
        assert [a.text for a in engine.generate(asks(*range(places)))] == echoes(*range(places))
    assert server.connections == places


def test_a_dead_server_is_taken_out_and_taken_back_when_it_lives(start: Start) -> None:
    alive, dead = start(), EchoServer()
    dead.stop()
    port = int(dead.url.rsplit(":", 1)[1].split("/")[0])
    patient = EndpointEngine([alive.url, dead.url], "m", Policy(pause=0.01, probe=1000))
    for _ in range(2):  # the second time nobody goes there any more
        answers = patient.generate(asks(*range(100)))
        assert [a.text for a in answers] == echoes(*range(100))
        failures = patient.troubles["connection"]
        assert failures >= Policy.strikes
    assert patient.generate(asks("it"))[0].text == "echo: say it"
    assert patient.troubles["connection"] == failures
    eager = EndpointEngine([alive.url, dead.url], "m", QUICK)
    eager.generate(asks(*range(100)))
    back = start(port=port)
    for _ in range(1000):
        eager.generate(asks("more", "and more"))
        if len(back.arrivals) > 3:
            break
    assert len(back.arrivals) > 3


def test_a_server_that_is_down_from_the_start_is_warned_of_where_another_is_up(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    # Two list another model, and can't be asked for this one.
    busy, failing = (start(model="of another name", behave=lambda number, prompt, how=how: how) for how in ("429", "500"))
    alive, dead = start(), EchoServer()
    dead.stop()
    down = [dead, busy, failing]
    EndpointEngine([alive.url, *(server.url for server in down)], "m").check()
    assert [[server.url in text for server in (alive, *down)].index(True) for text in caplog.messages] == [1, 2, 3]
    with pytest.raises(UserError) as none_up:
        EndpointEngine([server.url for server in down], "m").check()
    assert all(server.url in str(none_up.value) for server in down)


def test_with_no_server_left_the_run_fails_with_what_each_said_and_can_be_started_again(start: Start) -> None:
    dead = [EchoServer(), EchoServer()]
    for server in dead:
        server.stop()
    engine = EndpointEngine([server.url for server in dead], "m", QUICK)
    with pytest.raises(RunError, match="no server is left") as failure:
        engine.generate(asks(*range(100)))
    for server in dead:
        assert f"{server.url}: ConnectError" in str(failure.value)
    start(port=int(dead[0].url.rsplit(":", 1)[1].split("/")[0]))
    assert [a.text for a in engine.generate(asks(1, 2))] == echoes(1, 2)


def test_a_server_that_asks_for_time_gets_it(start: Start) -> None:
    """Eight come at once and are all sent away for a second; nobody comes back before that."""
    said: list[float] = []

    def busy(number: int, prompt: str) -> str:
        if number >= 8:
            return "good"
        server.wait(lambda: len(server.arrivals) >= 8)
        said.append(time.monotonic())
        return "429"

    server = start(busy, retry_after="1")
    engine = EndpointEngine([server.url], "m", Policy(start=8, pause=0.001))
    answers = engine.generate(asks(*range(20)))
    assert [a.text for a in answers] == echoes(*range(20))
    assert engine.troubles == {"429": 8}
    assert min(server.arrivals[8:]) - min(said) > 0.9


def test_another_server_takes_over_from_one_that_asks_for_time_and_with_none_the_run_fails(start: Start) -> None:
    away, here = start(lambda number, prompt: "429", retry_after="3600"), start()
    engine = EndpointEngine([away.url, here.url], "m", Policy(start=4))
    assert [a.text for a in engine.generate(asks(*range(30)))] == echoes(*range(30))
    assert len(away.arrivals) <= 4
    with pytest.raises(RunError, match="too many requests"):
        EndpointEngine([away.url], "m").generate(asks(1, 2))


def test_a_server_that_refuses_is_asked_for_less_at_a_time(start: Start) -> None:
    """Sixteen come at first. After 64 refusals it is asked for one, and a little more after each window that went well."""
    refused, crowd = 64, []

    def full(number: int, prompt: str) -> str:
        crowd.append(server.in_flight)
        if number < 16:
            server.wait(lambda: len(server.arrivals) >= 16)
        if refused <= number < refused + 15:
            with server.changed:  # time enough for as many as at first to come
                server.changed.wait_for(lambda: server.in_flight > 9, 0.2)
                crowd[number] = server.in_flight
        return "429" if number < refused else "good"

    server = start(full)
    engine = EndpointEngine([server.url], "m", Policy(start=16, pause=0.02, longest_pause=0.1, tries=100))
    assert [a.text for a in engine.generate(asks(*range(100)))] == echoes(*range(100))
    assert engine.troubles["429"] == refused
    assert max(crowd[:16]) == 16
    assert max(crowd[refused : refused + 15]) <= 9


@pytest.mark.parametrize("budget", [Budget(max_tokens=1000), Budget(price=(10.0, 30.0), max_cost=0.016)])
def test_a_budget_stops_before_it_is_overdrawn_and_a_larger_one_goes_on(start: Start, budget: Budget) -> None:
    server = start()
    engine = EndpointEngine([server.url], "m")
    engine.meter = Meter(budget)
    done: dict[int, Completion] = {}
    with pytest.raises(BudgetError, match=r"--max-(tokens 1,000|cost 0\.016) are spent"):
        engine.generate(asks(*range(120)), finished=done.__setitem__)
    assert len(done) == len(server.arrivals) > 50  # all that was paid for was handed on
    assert budget.allows(engine.meter.prompt, engine.meter.completion)
    assert {i: c.text for i, c in done.items()} == {i: echoes(i)[0] for i in done}
    engine.meter = Meter(Budget(max_tokens=10_000), engine.meter.prompt, engine.meter.completion)
    rest = [i for i in range(120) if i not in done]
    assert [a.text for a in engine.generate(asks(*rest))] == echoes(*rest)
    assert engine.meter.prompt == 7 * 120


def test_completions_are_handed_on_as_they_come_and_a_caller_may_leave(start: Start) -> None:
    release = threading.Event()

    def behave(number: int, prompt: str) -> str:
        return "good" if "first" in prompt or release.wait(30) else "500"

    server = start(behave)
    engine = EndpointEngine([server.url], "m", Policy(start=2, most=2))

    def leave(place: int, completion: Completion) -> None:
        assert (place, completion.text) == (1, "echo: say first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(asks("slow", "first", "never", "never"), finished=leave)
    # What was on its way has been given up: both places are free for others.
    (answer,) = engine.generate(asks("first of the next"))
    assert answer.text == "echo: say first of the next"
    release.set()
