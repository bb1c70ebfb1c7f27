"""Which of several servers may be asked now: the one with the least to do, within what it bears, while it is alive.

How much a server bears is found out as TCP does it, in windows of as many requests as it is asked at a time. After a window that
used it all, with answers no slower than usual, it is asked for a little more; and for less by half the share of requests that it
refused, broke or let time out (the rule of DCTCP, RFC 8257: a stray error costs little, a window of nothing but 429 costs half).
A server that can't be connected to several times in a row is out; after a growing pause one request tries whether it is back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STEP = 4.0
"""How many requests more at a time after a good window."""
SLOWER = 2.0
"""Answers that take so many times as long as usual are no reason to ask for more at a time."""
MEMORY = 0.1
"""The weight of the last window in what is usual, when it was slower."""


@dataclass(frozen=True)
class Policy:
    """How patient an endpoint engine is. Times are seconds."""

    connect: float = 10.0
    read: float = 300.0
    """longest silence of a server that was asked; most send nothing before the answer is complete"""
    total: float = 600.0
    """longest time for one try in all"""
    tries: int = 8
    pause: float = 0.5
    """before the second try; twice as long before each further one"""
    longest_pause: float = 30.0
    longest_wait: float = 600.0
    """with every server asking for a longer wait (Retry-After), the run fails instead"""
    start: int = 64
    """requests at a time for each server, in the beginning"""
    most: int = 256
    strikes: int = 5
    """failed connections in a row after which a server is out"""
    probe: float = 1.0
    """before it is tried again; twice as long before each further probe"""
    longest_probe: float = 60.0
    probes: int = 3
    """with every server out and so many probes of each failed, the run fails"""


class Server:
    """One address: what it is doing, what it bears, whether it is alive. All times are those of one monotonic clock."""

    def __init__(self, url: str, policy: Policy) -> None:
        self.url = url
        self.in_flight = 0
        self.limit = float(policy.start)
        self.out = False
        self.failed_probes = 0
        self.closed_until = 0.0
        self.said = "nothing yet"
        self._policy = policy
        self._strikes = 0
        self._usual: float | None = None
        self._asked, self._bad, self._seconds, self._full = 0, 0, 0.0, False

    def free(self, now: float) -> bool:
        """Whether it may be asked one more; a server that is out takes one at a time."""
        return now >= self.closed_until and self.in_flight < (1 if self.out else int(self.limit))

    def begin(self) -> None:
        """It is asked."""
        self.in_flight += 1
        self._full = self._full or self.in_flight >= int(self.limit)

    def answered(self, seconds: float) -> None:
        """It has given an answer after so many seconds."""
        self.replied()
        self._seconds += seconds
        self._count(bad=False)

    def failed(self, said: str, congested: bool) -> None:
        """It has not answered; `congested`: asking it less at a time may help."""
        self.said = said
        if congested:
            self._count(bad=True)

    def replied(self) -> None:
        """It has sent something, whatever it was: it is alive."""
        self.out, self.failed_probes, self._strikes = False, 0, 0

    def unreachable(self, said: str, now: float, probe: bool) -> None:
        """No connection, or one that broke. `probe`: it was out when it was asked."""
        self.said = said
        self._strikes += 1
        if probe:
            self.failed_probes += 1
        elif self.out or self._strikes < self._policy.strikes:
            return
        self.out = True
        self.closed_until = now + min(self._policy.longest_probe, self._policy.probe * 2.0**self.failed_probes)

    def close(self, until: float) -> None:
        """It asks to be left alone for a while."""
        self.closed_until = max(self.closed_until, until)

    def revive(self) -> None:
        """Try it again at once if it is out."""
        if self.out:
            self.failed_probes, self.closed_until = 0, 0.0

    def _count(self, bad: bool) -> None:
        self._asked += 1
        self._bad += bad
        if self._asked >= int(self.limit):
            limit = self.limit * (1 - self._bad / self._asked / 2)
            if self._asked > self._bad and self._holds(self._seconds / (self._asked - self._bad)) and self._full:
                limit += STEP
            self.limit = min(float(self._policy.most), max(1.0, limit))
            self._asked, self._bad, self._seconds, self._full = 0, 0, 0.0, False

    def _holds(self, mean: float) -> bool:
        """Whether answers come as fast as usual; what is usual follows at once when they come faster, slowly when slower."""
        usual = mean if self._usual is None else self._usual
        self._usual = min(mean, usual + MEMORY * (mean - usual))
        return mean <= SLOWER * usual


class Pool:
    """All servers of an engine."""

    def __init__(self, servers: Sequence[Server], policy: Policy) -> None:
        self.servers = tuple(servers)
        self._policy = policy
        self._turn = 0

    def pick(self, now: float, avoid: Server | None) -> Server | None:
        """The free server with the least in flight, another than `avoid` if there is one; None if none is free."""
        free = [server for server in self.servers if server.free(now)]
        free = [server for server in free if server is not avoid] or free
        if not free:
            return None
        self._turn += 1  # of equals each in turn
        least = min(server.in_flight for server in free)
        equals = [server for server in free if server.in_flight == least]
        return equals[self._turn % len(equals)]

    @property
    def closed_until(self) -> float:
        """Until when no server may be asked; in the past if one may be."""
        return min(server.closed_until for server in self.servers)

    def next_opening(self, now: float) -> float | None:
        """When the next server that must not be asked now may be asked again."""
        return min((server.closed_until for server in self.servers if server.closed_until > now), default=None)

    @property
    def dead(self) -> bool:
        """Whether none is left."""
        return all(server.out and server.failed_probes >= self._policy.probes for server in self.servers)

    def said(self) -> str:
        """What each of them said last."""
        return "; ".join(f"{server.url}: {server.said}" for server in self.servers)
