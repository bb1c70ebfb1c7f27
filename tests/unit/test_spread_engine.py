"""The in-process engine in several processes, real ones, on the embedded model."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from matrix_core import models
from matrix_core.engines import spread
from matrix_core.engines.local import LocalEngine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.pocket import sets
from matrix_core.request import Completion, Message, Request

POCKET = models.resolve("pocket")
CASES = sets.cases("train", 3 * spread.MANY // 2)
REQUESTS = [Request(messages=(Message(role="user", content=case.text),), max_tokens=40) for case in CASES]


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
    """An engine whose helpers are up."""
    engine = SpreadEngine(POCKET, processes=2)
    assert engine.generate(REQUESTS) == alone  # by this process: the others are only starting
    assert all(helper.is_up(wait=120) for helper in spread._helpers), "they do not come up"
    yield engine
    spread.rest()


def helpers() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children()
    return [child for child in children if "matrix_core.engines.helper" in child.cmdline()]


def worked(helper: psutil.Process) -> float:
    return float(helper.cpu_times().user)


def test_each_process_answers_its_share_and_the_answers_are_the_same(engine, alone):
    told: dict[int, Completion] = {}
    counted = []
    before = {helper: worked(helper) for helper in helpers()}
    answers = engine.generate(REQUESTS, lambda *done: counted.append(done), told.__setitem__)
    assert answers == alone == [told[index] for index in range(len(REQUESTS))]
    assert [sum(numbers) for numbers in zip(*counted, strict=True)] == [len(alone), sum(c.completion_tokens for c in alone)]
    assert len(before) == 2
    assert all(worked(helper) > used for helper, used in before.items())


def test_a_process_with_many_open_files_has_helpers_too():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= before[1] < 4096:
        pytest.skip(f"no process may have more than {before[1]} files open here")
    if 0 <= before[0] < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    try:
        with ExitStack() as opened:
            for _ in range(1024):
                opened.enter_context(Path(os.devnull).open("rb"))
            SpreadEngine(POCKET, processes=2).count_tokens(REQUESTS)
            assert all(helper.is_up(wait=120) for helper in spread._helpers)
    finally:
        spread.rest()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_few_requests_are_answered_by_one_of_the_processes_that_are_up(engine, alone):
    before = {helper: worked(helper) for helper in helpers()}
    few = 2 * spread.SHARE - 1
    assert engine.generate(REQUESTS[:few]) == alone[:few]
    assert [worked(helper) > used for helper, used in before.items()].count(True) == 1


def test_callers_at_the_same_time_get_their_own_answers(engine, alone):
    with ThreadPoolExecutor(3) as pool:
        slices = [slice(0, None), slice(0, 100), slice(100, 110)]
        asked = [pool.submit(engine.generate, REQUESTS[part]) for part in slices]
        assert [one.result() for one in asked] == [alone[part] for part in slices]


def test_a_process_that_dies_takes_no_answer_along(engine, alone):
    killed = []

    def kill(index: int, completion: Completion) -> None:
        if not killed:
            killed.append(index)
            helpers()[0].kill()

    assert engine.generate(REQUESTS, finished=kill) == alone
    assert killed
    assert engine.generate(REQUESTS) == alone


def test_what_a_callback_raises_ends_its_own_call_and_no_other_is_answered_with_what_was_left(engine, alone):
    def fail(index: int, completion: Completion) -> None:
        raise RuntimeError("enough")

    other = REQUESTS[::-1]
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(engine.generate, REQUESTS, finished=fail)
        beside = pool.submit(engine.generate, other)
        with pytest.raises(RuntimeError, match="enough"):
            failing.result()
        assert beside.result() == alone[::-1]
    assert engine.generate(other) == alone[::-1]


def test_when_this_process_is_killed_the_others_end_by_themselves():
    program = (
        "from tests.unit.test_spread_engine import *\n"
        "engine = SpreadEngine(POCKET, processes=2)\n"
        "engine.generate(REQUESTS)\n"
        "print(*[helper.pid for helper in helpers()], flush=True)\n"
        "while True: engine.generate(REQUESTS)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        others = [psutil.Process(int(pid)) for pid in asking.stdout.readline().split()]
        asking.kill()
    assert len(others) == 2
    assert psutil.wait_procs(others, timeout=60)[1] == []


def test_counting_many_prompts_starts_the_other_processes_and_counting_few_does_not():
    engine = SpreadEngine(POCKET, processes=2)
    engine.count_tokens(REQUESTS[: spread.MANY - 1])
    assert spread._helpers == []
    engine.count_tokens(REQUESTS)
    assert len(helpers()) == 2
    spread.rest()


def test_few_requests_and_large_models_stay_in_this_process(alone, monkeypatch):
    few = REQUESTS[: spread.MANY - 1]
    assert SpreadEngine(POCKET, processes=2).generate(few) == alone[: len(few)]
    monkeypatch.setattr(spread, "SMALL_BYTES", 1000)
    assert SpreadEngine(POCKET, processes=2).generate(REQUESTS) == alone
    assert spread._helpers == []
