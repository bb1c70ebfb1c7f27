"""Any OpenAI-compatible server as an engine: requests over HTTP, many at a time, spread over one or more addresses.

The `openai` client repeats what may pass (no connection, 429, 5xx) three times, with a growing, jittered pause. A JSON schema goes
along as `response_format`; a server that refuses or ignores it is told the schema in words from then on.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from matrix_core.engines.base import Finished, Progress
from matrix_core.errors import UserError
from matrix_core.request import Completion, Request

if TYPE_CHECKING:
    from openai import OpenAI

AT_ONCE = 16
"""Open requests for each address."""
RETRIES = 3
SECONDS = 300.0
CHECK_SECONDS = 20.0

_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)


class EndpointEngine:
    """Answers requests through servers that all serve `model` at `urls` (each ending in `/v1`).

    The API key comes from the environment variable OPENAI_API_KEY and from nowhere else. Raises UserError for what is no address.
    """

    def __init__(self, urls: Sequence[str], model: str) -> None:
        from openai import OpenAI

        for url in urls:
            if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
                raise UserError(f"--endpoint {url!r} is no address: give one like http://localhost:8000/v1")
        key = os.environ.get("OPENAI_API_KEY") or "none"  # servers at home want none, the client wants one
        self._model = model
        self._clients = [OpenAI(base_url=url, api_key=key, max_retries=RETRIES, timeout=SECONDS) for url in urls]
        self._in_words = [False] * len(urls)
        self.fingerprint = hashlib.sha256(f"endpoint {model} {sorted(set(urls))}".encode()).hexdigest()

    def check(self) -> None:
        """Raise UserError, within half a minute, if an address can't be reached or doesn't serve the model."""
        from openai import APIConnectionError, OpenAIError

        for patient in self._clients:
            client = patient.with_options(max_retries=0, timeout=CHECK_SECONDS)
            try:
                served = [model.id for model in client.models.list()]
                if self._model not in served:
                    # Some servers don't list all that they serve.
                    client.chat.completions.create(model=self._model, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
            except APIConnectionError as error:
                raise UserError(f"--endpoint {client.base_url}: can't be reached ({error}): is the server up?") from None
            except (OpenAIError, ValueError) as error:
                raise UserError(f"--endpoint {client.base_url}: doesn't serve {self._model!r}: {_reason(error)}") from None

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order; a request that fails for good gets one with an error."""
        out = [Completion()] * len(requests)
        with ThreadPoolExecutor(AT_ONCE * len(self._clients)) as pool:
            try:
                asked = {pool.submit(self._answer, i % len(self._clients), request): i for i, request in enumerate(requests)}
                for future in as_completed(asked):
                    out[asked[future]] = future.result()
                    if progress:
                        progress(1, future.result().completion_tokens)
                    if finished:
                        finished(asked[future], future.result())
            finally:
                pool.shutdown(cancel_futures=True)
        return out

    def _answer(self, server: int, request: Request) -> Completion:
        from openai import BadRequestError, OpenAIError, UnprocessableEntityError

        client = self._clients[server]
        try:
            if request.json_schema is None:
                return self._call(client, request)
            if not self._in_words[server]:
                named = {"type": "json_schema", "json_schema": {"name": "answer", "schema": request.json_schema}}
                try:
                    answer = self._call(client, request, response_format=named)
                    if answer.finish_reason != "stop" or _is_json(answer.text):
                        return answer
                except (BadRequestError, UnprocessableEntityError):
                    pass
                answer = self._call(client, _told(request))
                self._in_words[server] = True
            else:
                answer = self._call(client, _told(request))
            fenced = _FENCE.fullmatch(answer.text)
            return answer.model_copy(update={"text": fenced[1]}) if fenced else answer
        except (OpenAIError, ValueError) as error:
            return Completion(finish_reason="error", error=_reason(error))

    def _call(self, client: "OpenAI", request: Request, **extra: Any) -> Completion:
        """One HTTP request, repeated by the client if need be. Raises OpenAIError, or ValueError for an answer that is none."""
        if request.stop:
            extra["stop"] = list(request.stop)
        reply = client.chat.completions.create(
            model=self._model,
            messages=[{"role": message.role, "content": message.content} for message in request.messages],  # type: ignore[misc]
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            **extra,
        )
        if not reply.choices or reply.choices[0].message.content is None:
            raise ValueError("the server sent no answer")
        usage = reply.usage
        return Completion(
            text=reply.choices[0].message.content,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            finish_reason="length" if reply.choices[0].finish_reason == "length" else "stop",
        )


def _reason(error: Exception) -> str:
    """What the server said, which not every server says where the client looks for it."""
    from openai import APIStatusError

    said = f"{error.status_code} {error.response.text}" if isinstance(error, APIStatusError) else str(error)
    return f"{type(error).__name__}: {said}"[:400]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _told(request: Request) -> Request:
    """The request with the schema in words at the end of its last turn."""
    *earlier, last = request.messages
    words = f"{last.content}\n\nAnswer with JSON alone, valid under this JSON schema: {json.dumps(request.json_schema)}"
    return request.model_copy(update={"messages": (*earlier, last.model_copy(update={"content": words}))})
