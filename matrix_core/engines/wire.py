"""One HTTP call to an OpenAI-compatible server: a request becomes a body, a reply an answer or an error.

The `openai` client looks after addresses, keys and headers; what is asked thousands of times goes straight through HTTP clients of
its kind, since what it would add costs up to half of the throughput. The reply is read by a strict model of our own: the client's
takes anything. What may pass is a TransportError, what won't a RefusedError.
"""

import asyncio
import email.utils
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from pydantic import BaseModel, ValidationError

from matrix_core.engines.servers import Policy
from matrix_core.errors import UserError
from matrix_core.request import Request

CHECK_SECONDS = 20.0
POOL_SIZE = 32
"""Connections in one pool."""
CONGESTED = ("429", "5xx", "timeout")
"""The troubles that asking less at a time may mend. The others are "connection", "bad body" and "empty"."""

_LOG = logging.getLogger(__name__)


class TransportError(Exception):
    """What may pass: worth another try. `wait` is how many seconds the server asks for."""

    def __init__(self, kind: str, said: str, wait: float | None = None, usage: tuple[int, int] = (0, 0)) -> None:
        super().__init__(said[:400])
        self.kind, self.wait, self.usage = kind, wait, usage


class RefusedError(Exception):
    """What will not pass: the server does not want this request."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said[:400])
        self.status = status


class Answer(NamedTuple):
    """What a model said, and the (prompt, completion) tokens that the server counts for it."""

    text: str
    cut: bool
    usage: tuple[int, int]


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Reply(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class Client:
    """One server's clients. They leave repeating, and the number of connections, to their caller.

    A pool of connections looks through all of them for each request, so there are several small ones.
    """

    def __init__(self, url: str, key: str, policy: Policy) -> None:
        self._policy = policy
        self._tls = httpx2.create_ssl_context()
        self.api = AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=DefaultAsyncHttpxClient(verify=self._tls))
        told = {**self.api.default_headers, **self.api.auth_headers}.items()
        # Those that are not set are no texts; x-stainless-* tell of this machine, and would cost time with every request.
        self._headers = {name: said for name, said in told if isinstance(said, str) and not name.lower().startswith("x-stainless")}
        self._completions = httpx2.URL(f"{url.rstrip('/')}/chat/completions")
        self._pools: list[_Pool] = []

    async def complete(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the body of a chat completion, and receive the reply. Raises httpx2.RequestError."""
        pool = next((pool for pool in self._pools if pool.open < POOL_SIZE), None)
        if pool is None:
            pool = self._new_pool()
        pool.open += 1
        try:
            return await pool.http.post(self._completions, json=body)
        finally:
            pool.open -= 1

    def _new_pool(self) -> "_Pool":
        timeout = httpx2.Timeout(self._policy.read, connect=self._policy.connect, pool=None)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=POOL_SIZE)
        http = DefaultAsyncHttpxClient(timeout=timeout, limits=limits, headers=self._headers, verify=self._tls)
        self._pools.append(_Pool(http))
        return self._pools[-1]


@dataclass
class _Pool:
    """An HTTP client with its connections, and how many requests it has open."""

    http: httpx2.AsyncClient
    open: int = 0


async def check(clients: Sequence[Client], model: str) -> None:
    """Raise UserError, within half a minute, if a server doesn't serve the model, or none of them can be asked.

    One that can't while others can is warned of only: it may come back.
    """
    found = await asyncio.gather(*(_check(client, model) for client in clients), return_exceptions=True)
    dead = [error for error in found if isinstance(error, TransportError)]
    for error in found:
        if error and not isinstance(error, TransportError):
            raise error
    if len(dead) == len(clients):
        raise UserError("; ".join(map(str, dead)))
    for error in dead:
        _LOG.warning("%s (meanwhile the others are asked)", error)


async def _check(client: Client, model: str) -> None:
    """Raise TransportError if the server can't be asked now, UserError if it doesn't serve the model."""
    api = client.api.with_options(timeout=CHECK_SECONDS)
    try:
        if model not in [served.id async for served in api.models.list()]:
            # Some servers don't list all that they serve.
            await api.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
    except APIConnectionError as error:
        raise TransportError("connection", f"--endpoint {api.base_url}: can't be reached ({error}): is the server up?") from None
    except (OpenAIError, ValueError) as error:
        # Not every server says what is wrong where the client looks for it.
        said = _status(error.response) if isinstance(error, APIStatusError) else error
        if isinstance(said, TransportError):
            raise TransportError(said.kind, f"--endpoint {api.base_url}: can't be asked now: {said}") from None
        raise UserError(f"--endpoint {api.base_url}: doesn't serve {model!r}: {str(said)[:400]}") from None


async def call(client: Client, model: str, request: Request, seconds: float, **extra: Any) -> Answer:
    """Ask once, for `seconds` at most; a reply that comes later meets a closed connection. Raises TransportError, RefusedError."""
    body = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    } | ({"stop": list(request.stop)} if request.stop else {})
    try:
        async with asyncio.timeout(seconds):
            reply = await client.complete(body | extra)
    except TimeoutError:
        raise TransportError("timeout", f"no answer within {seconds:g} s") from None
    except httpx2.RequestError as error:
        raise _broken(error) from None
    if not reply.is_success:
        raise _status(reply)
    return _read(reply)


def _read(reply: httpx2.Response) -> Answer:
    """The answer in a reply with status 200. Raises TransportError if there is none."""
    try:
        said = _Reply.model_validate_json(reply.content)
    except ValidationError as error:
        raise TransportError("bad body", f"a body that is no answer ({error.errors()[0]['msg']}): {reply.text[:100]!r}") from None
    usage = (said.usage.prompt_tokens, said.usage.completion_tokens) if said.usage else (0, 0)
    if not said.choices:
        raise TransportError("empty", f"no choices: {reply.text[:200]}", usage=usage)
    choice = said.choices[0]
    cut = choice.finish_reason == "length"
    # A model that only thought until its tokens were used up has answered nothing, and would again.
    if choice.message.content is None and not cut:
        raise TransportError("empty", f"no content: {reply.text[:200]}", usage=usage)
    return Answer(choice.message.content or "", cut, usage)


def _broken(error: httpx2.RequestError) -> TransportError:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx2.DecodingError) or (isinstance(error, httpx2.RemoteProtocolError) and "message body" in str(error)):
        return TransportError("bad body", said)
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
        return TransportError("timeout", said)
    return TransportError("connection", said)


def _status(reply: httpx2.Response) -> Exception:
    said = f"{reply.status_code} {reply.text}"
    kind = {408: "timeout", 429: "429"}.get(reply.status_code, "5xx" if reply.status_code >= 500 else None)
    return TransportError(kind, said, retry_after(reply.headers)) if kind else RefusedError(reply.status_code, said)


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds to wait, from `retry-after-ms` or from `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3)."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def is_json(text: str) -> bool:
    """Whether a text is JSON at all."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
