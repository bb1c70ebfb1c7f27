"""Any OpenAI-compatible server as an engine: requests over HTTP, many at a time, spread over one or more addresses.

All requests of all callers wait in one queue. One event loop in one background thread takes them from there as servers become free
(`servers.py`), sends each once (`wire.py`), and puts back what may pass, after a growing, jittered pause. A request is always
waiting, pausing or on its way; what became of it reaches its caller through a queue of the caller's own.

A JSON schema goes along as `response_format`; a server that refuses or ignores it is told the schema in words from then on.
"""

import asyncio
import hashlib
import os
import random
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from queue import SimpleQueue
from typing import cast

from matrix_core.engines import wire, words
from matrix_core.engines.base import Progress
from matrix_core.engines.budget import Meter, most
from matrix_core.engines.servers import Policy, Pool, Server
from matrix_core.errors import BudgetError, RunError, UserError
from matrix_core.request import Completion, Request


@dataclass(eq=False)
class _Batch:
    """What one caller has asked, and the queue on which it waits for completions, or for what ends the whole batch."""

    meter: Meter
    done: SimpleQueue[tuple[int, Completion] | Exception] = field(default_factory=SimpleQueue)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    over: bool = False


@dataclass(eq=False)
class _Job:
    """One request on its way to an answer; its tokens are those of all its tries."""

    batch: _Batch
    place: int
    request: Request
    most: tuple[int, int]
    tries: int = 0
    prompt: int = 0
    completion: int = 0
    avoid: Server | None = None
    """the server that it failed at last"""


class EndpointEngine:
    """Answers requests through servers that all serve `model` at `urls` (each ending in `/v1`).

    The API key comes from the environment variable OPENAI_API_KEY and from nowhere else. `meter` counts what is used, and holds the
    budget; replace it before `generate` to give another. Raises UserError for what is no address.
    """

    def __init__(self, urls: Sequence[str], model: str, policy: Policy | None = None) -> None:
        for url in urls:
            if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
                raise UserError(f"--endpoint {url!r} is no address: give one like http://localhost:8000/v1")
        key = os.environ.get("OPENAI_API_KEY") or "none"  # servers at home want none, the client wants one
        self.meter = Meter()
        self.fingerprint = hashlib.sha256(f"endpoint {model} {sorted(set(urls))}".encode()).hexdigest()
        self._model = model
        self._policy = policy or Policy()
        self._pool = Pool([Server(url, self._policy) for url in urls], self._policy)
        self._clients = {server: wire.Client(server.url, key, self._policy) for server in self._pool.servers}
        self._in_words: set[Server] = set()
        self._waiting: deque[_Job] = deque()
        self._batches: set[_Batch] = set()
        self._at_work: dict[asyncio.Task[None], tuple[_Job, Server]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = _background_loop()

    @property
    def troubles(self) -> Counter[str]:
        """How often each kind of trouble was met: 429, 5xx, timeout, connection, bad body, empty."""
        return self.meter.troubles

    def check(self) -> None:
        """Raise UserError, within half a minute, if an address doesn't serve the model, or none of them can be asked.

        One that can't while others can is warned of only: it may come back.
        """
        asyncio.run_coroutine_threadsafe(wire.check([*self._clients.values()], self._model), self._loop).result()

    def generate(
        self,
        requests: Sequence[Request],
        progress: Progress | None = None,
        finished: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """One completion a request, in the same order; a request that fails for good gets one with an error.

        `finished` is given each with its place as soon as it is there, in the caller's own thread. Raises BudgetError when the next
        request could go past the budget, and RunError when no server is left; all that was answered has been handed on by then.
        """
        batch, out = _Batch(self.meter), [Completion()] * len(requests)
        self._loop.call_soon_threadsafe(
            self._add, batch, [_Job(batch, i, request, most(request)) for i, request in enumerate(requests)]
        )
        try:
            for _ in requests:
                got = batch.done.get()
                if isinstance(got, Exception):
                    raise got
                place, out[place] = got
                if finished:
                    finished(*got)
                if progress:
                    progress(1, out[place].completion_tokens)
        finally:
            self._loop.call_soon_threadsafe(self._end, batch)
        return out

    # All below runs in the background loop.

    def _add(self, batch: _Batch, jobs: list[_Job]) -> None:
        if self._pool.dead:
            for server in self._pool.servers:
                server.revive()
        self._batches.add(batch)
        self._waiting += jobs
        self._send()

    def _end(self, batch: _Batch) -> None:
        """Nobody waits for this batch any more."""
        batch.over = True
        self._batches.discard(batch)
        for task in batch.tasks:
            task.cancel()

    def _fail(self, error: Exception, meter: Meter | None = None) -> None:
        """End all batches (of this meter) with the error, after what they have already been given."""
        for batch in [batch for batch in self._batches if meter in (None, batch.meter)]:
            batch.done.put(error)
            self._end(batch)

    def _send(self) -> None:
        """Send what waits, first come, first served, as far as servers are free and the budget goes."""
        while found := self._next():
            task = self._loop.create_task(self._work(*found))
            self._take(task, *found)
            task.add_done_callback(self._rest)

    def _next(self) -> tuple[_Job, Server] | None:
        """What is to be sent now, and where to; None if nothing waits, no server is free, or the budget has no room."""
        while self._waiting:
            job, now = self._waiting[0], self._loop.time()
            if job.batch.over:
                self._waiting.popleft()
                continue
            server = self._pool.pick(now, job.avoid)
            if server is None:
                if self._pool.closed_until - now > self._policy.longest_wait:
                    self._fail(RunError(f"no server can be asked for a long time: {self._pool.said()}; try again later"))
                    continue
                self._wake(self._pool.next_opening(now))
                return None
            if not job.batch.meter.hold(job.most):
                if job.batch.meter.on_the_way:
                    return None  # what is on its way may use less than it could
                self._fail(_used_up(job), job.batch.meter)
                continue
            self._waiting.popleft()
            server.begin()
            return job, server
        return None

    def _wake(self, when: float | None) -> None:
        """Send again then. Where servers are merely busy, the end of what they are busy with does it."""
        if self._alarm:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._send) if when else None

    async def _work(self, job: _Job, server: Server) -> None:
        """Try this one, then whatever is next, in one task: a new one each time would wait for its turn in the loop."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        found: tuple[_Job, Server] | None = job, server
        while found:
            try:
                await self._try(*found)
            except Exception as error:  # what nobody foresaw ends the request alone
                told = f"{found[1].url}: {type(error).__name__}: {error}"[:500]
                self._hand_on(found[0], Completion(finish_reason="error", error=told))
            self._put_down(task)
            if found := self._next():
                self._take(task, *found)
                self._send()  # a good window may have made room for more than this one

    async def _try(self, job: _Job, server: Server) -> None:
        """Ask the server once, and hand the answer on or put the request back."""
        probe = server.out
        try:
            answer = await self._ask(job, server)
        except wire.TransportError as trouble:
            self._note(trouble, job, server, probe)
        except wire.RefusedError as refused:
            self._hand_on(job, Completion(finish_reason="error", error=f"{server.url}: {refused}"))
        else:
            if answer is None:
                self._waiting.appendleft(job)
            else:
                self._hand_on(job, Completion(text=answer.text, finish_reason="length" if answer.cut else "stop"))

    def _take(self, task: asyncio.Task[None], job: _Job, server: Server) -> None:
        self._at_work[task] = job, server
        job.batch.tasks.add(task)

    def _put_down(self, task: asyncio.Task[None]) -> None:
        job, server = self._at_work.pop(task)
        server.in_flight -= 1
        job.batch.meter.release(job.most)
        job.batch.tasks.discard(task)

    def _rest(self, task: asyncio.Task[None]) -> None:
        """Tidy up after a task: one that was cancelled, perhaps before it began, has not put down what it had taken."""
        if task in self._at_work:
            self._put_down(task)
        self._send()

    async def _ask(self, job: _Job, server: Server) -> wire.Answer | None:
        """The server's answer, its schema obeyed or told in words; None if the budget has no room for the words."""
        schema = job.request.json_schema
        if schema is None:
            return await self._call(job, server, job.request)
        if server not in self._in_words:
            named = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
            try:
                answer = await self._call(job, server, job.request, response_format=named)
                if answer.cut or wire.is_json(answer.text):
                    return answer
            except wire.RefusedError as refusal:
                if refusal.status not in (400, 422):
                    raise
            if not job.batch.meter.hold(job.most):
                return None
            try:
                answer = await self._call(job, server, words.told(job.request))
            finally:
                job.batch.meter.release(job.most)
            self._in_words.add(server)
        else:
            answer = await self._call(job, server, words.told(job.request))
        return answer._replace(text=words.found(answer.text, job.request))

    async def _call(self, job: _Job, server: Server, request: Request, **extra: object) -> wire.Answer:
        """One HTTP request. What the server counts for it is counted, whatever came of it."""
        began, usage = self._loop.time(), (0, 0)
        try:
            answer = await wire.call(self._clients[server], self._model, request, self._policy.total, **extra)
            usage = answer.usage
            server.answered(self._loop.time() - began)
            return answer
        except wire.TransportError as trouble:
            usage = trouble.usage
            if trouble.kind not in ("connection", "timeout"):
                server.replied()
            raise
        except wire.RefusedError:
            server.replied()
            raise
        finally:
            for counted in (job, job.batch.meter):
                counted.prompt += usage[0]
                counted.completion += usage[1]

    def _note(self, trouble: wire.TransportError, job: _Job, server: Server, probe: bool) -> None:
        """Count a trouble, at the server too, and let the request try again, unless it has tried often enough."""
        now, policy = self._loop.time(), self._policy
        job.batch.meter.troubles[trouble.kind] += 1
        job.tries, job.avoid = job.tries + 1, server
        if trouble.kind == "connection" or (probe and trouble.kind == "timeout"):
            server.unreachable(str(trouble), now, probe)
            if self._pool.dead:
                self._fail(RunError(f"no server is left: {self._pool.said()}; start them and give the same command again"))
                return
        server.failed(str(trouble), congested=trouble.kind in wire.CONGESTED)
        if job.tries >= policy.tries:
            error = f"{server.url}: {trouble.kind}: {trouble} (tried {job.tries} times)"
            self._hand_on(job, Completion(finish_reason="error", error=error))
        elif trouble.wait is not None:
            server.close(now + trouble.wait)
            self._waiting.appendleft(job)  # another server may take it at once
        else:
            pause = min(policy.longest_pause, policy.pause * 2.0 ** (job.tries - 1))
            self._loop.call_later(random.uniform(pause / 2, pause), self._again, job)

    def _again(self, job: _Job) -> None:
        self._waiting.appendleft(job)
        self._send()

    def _hand_on(self, job: _Job, completion: Completion) -> None:
        tokens = {"prompt_tokens": job.prompt, "completion_tokens": job.completion}
        if not job.batch.over:
            job.batch.done.put((job.place, completion.model_copy(update=tokens)))


@cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all engines, in a thread that ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="endpoints", daemon=True).start()
    return loop


def _used_up(job: _Job) -> BudgetError:
    return BudgetError(
        f"the budget has no room for a request of up to {sum(job.most):,} tokens: {job.batch.meter.spent()} are spent; "
        "what is finished is kept, and the same command with a larger budget goes on from there"
    )
