"""What a server is asked for, with plain numbers: how much at a time, and for how long it is left alone."""

import email.utils
import time

import httpx2
import pytest

from matrix_core.engines.servers import Policy, Pool, Server
from matrix_core.engines.wire import retry_after


def window(server: Server, seconds: float | None) -> float:
    """As many requests as it is asked at a time, all answered after so many seconds, or none; returns its new limit."""
    n = int(server.limit)
    for _ in range(n):
        server.begin()
    for _ in range(n):
        server.in_flight -= 1
        server.failed("429", congested=True) if seconds is None else server.answered(seconds)
    return server.limit


def test_more_at_a_time_while_answers_come_as_fast_and_less_on_refusals() -> None:
    server = Server("a", Policy(start=64, most=72))
    assert [window(server, 0.1) for _ in range(3)] == [68, 72, 72]
    assert [window(server, None) for _ in range(2)] == [36, 18]
    assert window(server, 0.1) == 22
    assert window(server, 0.5) == 22  # slower: no more
    for _ in range(20):
        window(server, None)
    assert server.limit == 1
    assert window(server, 0.1) == 5


def test_a_stray_error_costs_little_and_idle_places_earn_nothing() -> None:
    server = Server("a", Policy(start=100, most=200))
    for i in range(100):
        server.failed("500", congested=True) if i == 0 else server.answered(0.1)
    assert server.limit == pytest.approx(99.5)


def test_a_server_is_out_after_failures_in_a_row_and_probed_after_growing_pauses() -> None:
    server = Server("a", Policy(strikes=3, probe=1, longest_probe=5, probes=3))
    pool = Pool([server], Policy(probes=3))
    server.unreachable("refused", 0.0, probe=False)
    server.unreachable("refused", 0.0, probe=False)
    server.replied()
    for _ in range(2):
        server.unreachable("refused", 0.0, probe=False)
    assert server.free(0.0)
    server.unreachable("refused", 0.0, probe=False)
    pauses, now = [], 0.0
    for _ in range(5):
        assert not server.free(now)
        pauses.append(server.closed_until - now)
        now = server.closed_until
        assert server.free(now)
        server.begin()
        assert not server.free(now)  # one at a time
        server.in_flight -= 1
        server.unreachable("refused", now, probe=True)
    assert pauses == [1, 2, 4, 5, 5]
    assert pool.dead
    server.replied()
    assert not pool.dead


def test_what_retry_after_says() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after(httpx2.Headers({"retry-after": "3"})) == 3
    assert retry_after(httpx2.Headers({"retry-after": "3", "retry-after-ms": "250"})) == 0.25
    assert retry_after(httpx2.Headers({"retry-after": date})) == pytest.approx(100, abs=20)
    for nothing in ({}, {"retry-after": "soon"}, {"retry-after": "nan"}, {"retry-after": "inf"}):
        assert retry_after(httpx2.Headers(nothing)) is None
