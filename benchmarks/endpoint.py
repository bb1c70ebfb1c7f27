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

from benchmarks import ratios
from benchmarks.work import ROOT
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.engines.servers import Policy
from matrix_core.request import Message, Request

CALLS, TURNS = 2000, 9
OPEN = (16, 64)
PORT = 8917
URL = f"http://127.0.0.1:{PORT}/v1"


def main() -> list[dict[str, Any]]:
    """Print and return the rows."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.slow_server:app", "--port", str(PORT), "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            until_up(server, f"http://127.0.0.1:{PORT}/")
            requests = [Request(messages=(Message(role="user", content=f"Is {i} a number?"),)) for i in range(CALLS)]
            return [row for at_once in OPEN for row in rows("a server of 50 ms", URL, "m", requests, at_once)]
        finally:
            server.terminate()


def rows(where: str, url: str, model: str, requests: list[Request], at_once: int, turns: int = TURNS) -> list[dict[str, Any]]:
    """Answers a second of the engine beside each client, with as many requests open."""
    engine = EndpointEngine([url], model, Policy(start=at_once, most=at_once))
    sides: dict[str, Callable[[], object]] = {
        "engine": lambda: engine.generate(requests),
        "AsyncOpenAI": lambda: asyncio.run(_openai(url, model, requests, at_once)),
        "httpx2": lambda: asyncio.run(_bare(url, model, requests, at_once)),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            rates[name].append(len(requests) / (time.perf_counter() - began))
    said = {name: f"{statistics.median(measured):.4g}/s: {name}" for name, measured in rates.items()}
    return [
        ratios.row(
            f"answers a second from {where}, {at_once} requests open, beside {name}",
            [ours / theirs for ours, theirs in zip(rates["engine"], rates[name], strict=True)],
            0.95,
            f"{said['engine']}, {len(requests)} calls a turn, {turns} turns",
            said[name],
        )
        for name in ("AsyncOpenAI", "httpx2")
    ]


async def _openai(url: str, model: str, requests: list[Request], at_once: int) -> None:
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        free = asyncio.Semaphore(at_once)

        async def ask(request: Request) -> None:
            async with free:
                await client.chat.completions.create(model=model, messages=_messages(request), max_tokens=request.max_tokens)  # type: ignore[arg-type]

        await asyncio.gather(*map(ask, requests))


async def _bare(url: str, model: str, requests: list[Request], at_once: int) -> None:
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=at_once), timeout=600) as client:
        free = asyncio.Semaphore(at_once)

        async def ask(request: Request) -> None:
            async with free:
                body = {"model": model, "messages": _messages(request), "max_tokens": request.max_tokens}
                (await client.post(f"{url}/chat/completions", json=body)).raise_for_status().json()

        await asyncio.gather(*map(ask, requests))


def _messages(request: Request) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in request.messages]


def until_up(server: "subprocess.Popen[bytes]", url: str, limit: float = 30) -> None:
    """Wait until it answers there. Raises httpx2.HTTPError if it doesn't within `limit` seconds, or ends."""
    until = time.monotonic() + limit
    while True:
        try:
            httpx2.get(url)
            return
        except httpx2.HTTPError:
            if time.monotonic() > until or server.poll() is not None:
                raise
            time.sleep(0.1)
