"""The in-process engine in several processes, real ones, on the embedded model."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from matrix_core import models
from matrix_core.engines import spread
from matrix_core.engines.local import LocalEngine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.pocket import sets
from matrix_core.request import Completion, Message, Request

POCKET = models.resolve("pocket")
REQUESTS = [
    Request(messages=(Message(role="user", content=case.text),), max_tokens=40) for case in sets.cases("train", 3 * spread.SHARE)
]


def test_what_its_answers_are_kept_by_is_known_before_torch_is_imported():
    program = (
        "import sys\n"
        "import flows.simulate\n"
        "from tasks.engines import Model, engine\n"
        "print(engine(Model(name='pocket')).fingerprint, not {'torch', 'transformers'} & set(sys.modules))"
    )
    known = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert known.split() == [LocalEngine(POCKET).fingerprint, "True"]


@pytest.fixture(scope="module")
def alone() -> list[Completion]:
    return LocalEngine(POCKET).generate(REQUESTS)


@pytest.fixture
def engine(alone):
    """An engine whose helper is up."""
    engine = SpreadEngine(POCKET, processes=2)
    assert engine.generate(REQUESTS) == alone  # by this process alone: the other one is only starting
    deadline = time.monotonic() + 120
    while not spread._helpers[0].is_up():
        assert time.monotonic() < deadline, "it does not come up"
        time.sleep(0.05)
    yield engine
    spread.rest()


def helper() -> psutil.Process:
    (child,) = [child for child in psutil.Process(os.getpid()).children() if "matrix_core.engines.helper" in child.cmdline()]
    return child


def test_each_process_answers_its_share_and_the_answers_are_the_same(engine, alone):
    told: dict[int, Completion] = {}
    counted = []
    used = helper().cpu_times().user
    answers = engine.generate(REQUESTS, lambda *done: counted.append(done), told.__setitem__)
    assert answers == alone == [told[index] for index in range(len(REQUESTS))]
    assert [sum(numbers) for numbers in zip(*counted, strict=True)] == [len(alone), sum(c.completion_tokens for c in alone)]
    assert helper().cpu_times().user > used


def test_a_process_that_dies_takes_no_answer_along(engine, alone):
    killed = []

    def kill(index: int, completion: Completion) -> None:
        if not killed:
            killed.append(index)
            helper().kill()

    assert engine.generate(REQUESTS, finished=kill) == alone
    assert killed
    assert engine.generate(REQUESTS) == alone


def test_what_a_callback_raises_ends_it_and_the_next_call_is_not_answered_with_what_was_left(engine, alone):
    def fail(index: int, completion: Completion) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        engine.generate(REQUESTS, finished=fail)
    other = REQUESTS[::-1]
    assert engine.generate(other) == alone[::-1]


def test_when_this_process_is_killed_the_other_ends_by_itself():
    program = (
        "from tests.unit.test_spread_engine import *\n"
        "engine = SpreadEngine(POCKET, processes=2)\n"
        "engine.generate(REQUESTS)\n"
        "print(helper().pid, flush=True)\n"
        "while True: engine.generate(REQUESTS)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        other = psutil.Process(int(asking.stdout.readline()))
        asking.kill()
    other.wait(60)


def test_counting_many_prompts_starts_the_other_process_and_counting_few_does_not():
    engine = SpreadEngine(POCKET, processes=2)
    engine.count_tokens(REQUESTS[: 2 * spread.SHARE - 1])
    assert spread._helpers == []
    engine.count_tokens(REQUESTS)
    assert helper().is_running()
    spread.rest()


def test_few_requests_and_large_models_stay_in_this_process(alone, monkeypatch):
    few = REQUESTS[: 2 * spread.SHARE - 1]
    assert SpreadEngine(POCKET, processes=2).generate(few) == alone[: len(few)]
    monkeypatch.setattr(spread, "SMALL_BYTES", 1000)
    assert SpreadEngine(POCKET, processes=2).generate(REQUESTS) == alone
    assert spread._helpers == []
