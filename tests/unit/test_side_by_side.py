"""Work in threads of one flow: results in order, the first failure tells, the others stop."""

import threading

import pytest

from tasks import progress
from tasks.calling import side_by_side


def test_results_come_in_order_of_the_items_however_they_finish():
    second_is_over = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_over.wait(20)
        if item == 1:
            second_is_over.set()
        return item * 10

    assert side_by_side(work, range(5), 2) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_one_that_fails_stops_the_others_and_is_what_is_raised(failure):
    begun, seen = threading.Event(), []

    def work(item: int) -> None:
        seen.append(item)
        if item == 1:
            assert begun.wait(20)
            raise failure
        try:
            while True:
                progress.tick(0, 0)
                begun.set()
        except progress.StoppedError:
            seen.append("stopped")
            raise

    with pytest.raises(type(failure)), progress.stage("test", 1):
        side_by_side(work, range(6), 2)
    begun_at_all = [item for item in seen if item != "stopped"]
    assert seen.count("stopped") == len(begun_at_all) - 1  # all but the one that failed
    assert len(begun_at_all) <= 3  # a free thread may have taken one more
    progress.tick(0, 0)  # the next stage is not stopped
