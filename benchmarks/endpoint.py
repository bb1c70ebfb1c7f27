"""The endpoint engine beside bare asyncio clients with as many requests open, on a server that takes 50 ms an answer."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx2
from openai import AsyncOpenAI

from benchmarks.work import ROOT
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.engines.servers import Policy
from matrix_core.request import Message, Request

CALLS, TURNS = 1500, 5
OPEN = (16, 64)
PORT = 8917
URL = f"http://127.0.0.1:{PORT}/v1"


def main() -> dict[str, Any]:
    """Answers a second of each, in turns; the median ratio of the turns and their spread."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.slow_server:app", "--port", str(PORT), "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            _until_up()
            return {f"{at_once} open": _row(at_once) for at_once in OPEN}
        finally:
            server.terminate()


def _row(at_once: int) -> dict[str, Any]:
    engine = EndpointEngine([URL], "m", Policy(start=at_once, most=at_once))
    requests = [Request(messages=(Message(role="user", content=f"Is {i} a number?"),)) for i in range(CALLS)]
    sides: dict[str, Callable[[], object]] = {
        "engine": lambda: engine.generate(requests),
        "AsyncOpenAI": lambda: asyncio.run(_openai(requests, at_once)),
        "httpx2": lambda: asyncio.run(_bare(requests, at_once)),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            rates[name].append(CALLS / (time.perf_counter() - began))
    row: dict[str, Any] = {
        "calls": CALLS,
        "turns": TURNS,
        "answers_per_second": {n: statistics.median(r) for n, r in rates.items()},
    }
    for name in ("AsyncOpenAI", "httpx2"):
        ratios = [ours / theirs for ours, theirs in zip(rates["engine"], rates[name], strict=True)]
        row[f"to_{name}"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        print(f"endpoint, {at_once} open: {row[f'to_{name}']['median']:.2f} times {name} ({min(ratios):.2f} to {max(ratios):.2f})")
    return row


async def _openai(requests: list[Request], at_once: int) -> None:
    async with AsyncOpenAI(base_url=URL, api_key="none", max_retries=0) as client:
        free = asyncio.Semaphore(at_once)

        async def ask(request: Request) -> None:
            async with free:
                await client.chat.completions.create(model="m", messages=_messages(request), max_tokens=request.max_tokens)  # type: ignore[arg-type]

        await asyncio.gather(*map(ask, requests))


async def _bare(requests: list[Request], at_once: int) -> None:
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=at_once), timeout=60) as client:
        free = asyncio.Semaphore(at_once)

        async def ask(request: Request) -> None:
            async with free:
                body = {"model": "m", "messages": _messages(request), "max_tokens": request.max_tokens}
                (await client.post(f"{URL}/chat/completions", json=body)).raise_for_status().json()

        await asyncio.gather(*map(ask, requests))


def _messages(request: Request) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in request.messages]


def _until_up() -> None:
    until = time.monotonic() + 30
    while True:
        try:
            httpx2.get(f"http://127.0.0.1:{PORT}/")
            return
        except httpx2.HTTPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
