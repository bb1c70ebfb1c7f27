"""The in-process engine: a transformers model, with or without an adapter, that answers requests in batches.

Identical requests are answered once. The rest enters one batch that is kept full, within a token budget for its cache; where memory
does not suffice all the same, the rows inside start again in a batch of half the size. One batch runs at a time in a process. It
knows nothing of scenes.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from matrix_core import models
from matrix_core.engines.base import Finished, Progress
from matrix_core.engines.batch import arranged
from matrix_core.engines.chat import Chat, ChatError
from matrix_core.engines.constraint import Grammars, SchemaError
from matrix_core.engines.decode import Answer, Decoder, Row
from matrix_core.engines.identity import fingerprint
from matrix_core.models import ModelSpec
from matrix_core.request import Completion, Request

CACHE_BYTES = 2**30
"""Memory for the cache of a batch on a CPU; on a GPU half of what is free."""
ROWS = {"cpu": 256, "cuda": 1024}
"""Rows of a batch at most, by kind of device: more are no faster, on a CPU because they outgrow its caches."""

_RUNNING = threading.Lock()
_LOG = logging.getLogger(__name__)


class LocalEngine:
    """Answers requests with the model of `spec`, or with a tuned copy of it.

    `adapter` is a folder that PEFT wrote; `token_budget` bounds rows times (longest prompt + longest answer) inside, by default
    to what fits into `CACHE_BYTES`. The weights are loaded with the first request. Raises UserError for an adapter that isn't one.
    """

    def __init__(self, spec: ModelSpec, adapter: Path | None = None, token_budget: int | None = None) -> None:
        self._spec = spec
        self._adapter = adapter
        self._token_budget = token_budget
        self.fingerprint = fingerprint(spec, adapter)
        self._context = models.context_length(spec)

    def count_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Lengths of the prompts in tokens. Raises ValueError if the model's template can't render one of them."""
        lengths = []
        for ids in _chat(self._spec).encode([request.messages for request in requests]):
            if isinstance(ids, ChatError):
                raise ids
            lengths.append(len(ids))
        return lengths

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order; a request that fails gets one with an error."""
        places: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.identity, []).append(place)
        groups = list(places.values())
        out = [Completion()] * len(requests)
        with _RUNNING:
            for group, completion in self._answer([requests[group[0]] for group in groups]):
                for place in groups[group]:
                    out[place] = completion
                    if finished:
                        finished(place, completion)
                if progress:
                    progress(len(groups[group]), completion.completion_tokens)
        return out

    def _answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Completions as they are ready, each with the index of its request."""
        model, _ = models.load_tuned(self._spec, self._adapter) if self._adapter else models.load(self._spec)
        if model.device.type == "cpu":
            # A setting of the calling thread alone; numbers next to zero make a CPU many times slower.
            torch.set_flush_denormal(True)
        chat = _chat(self._spec)
        grammars = _grammars(self._spec, model.config.get_text_config().vocab_size, _ends(model, self._spec))
        decoder = Decoder(model, chat, grammars, _ends(model, self._spec))
        rows: dict[int, Row] = {}
        for index, (request, prompt) in enumerate(zip(requests, chat.encode([r.messages for r in requests]), strict=True)):
            row = self._row(request, prompt, chat, grammars)
            if isinstance(row, Row):
                rows[index] = row
            else:
                yield index, row
        indices = list(rows)
        waiting = deque(indices[i] for i in arranged([rows[index].prompt for index in indices]))
        budget = self._token_budget or _budget(model)
        most = ROWS[model.device.type]
        left = dict.fromkeys(waiting)
        while waiting:
            try:
                for index, answer in decoder.run(rows, waiting, budget, most):
                    left.pop(index)
                    yield index, _completion(rows[index], answer)
            except Exception as error:  # nothing that goes wrong in a batch may take the run along
                begun = len(waiting) < len(left)
                if not begun:  # what all of them share can't be read
                    waiting.clear()
                inside = [*left][: len(left) - len(waiting)]
                _LOG.warning("a batch of %d requests failed: %s", len(inside), error)
                for index in inside:
                    matcher = rows[index].matcher
                    if matcher is not None:
                        matcher.reset()
                if _out_of_memory(error) and begun and len(inside) > 1:
                    waiting.extendleft(reversed(inside))
                    most = (len(inside) + 1) // 2
                    continue
                most = ROWS[model.device.type]
                for index in inside:
                    left.pop(index)
                    yield index, _failed(f"{type(error).__name__}: {error}", len(rows[index].prompt))

    def _row(self, request: Request, prompt: list[int] | ChatError, chat: Chat, grammars: Grammars) -> Row | Completion:
        """The request as the decoder takes it, or the error that it ends with."""
        if isinstance(prompt, ChatError):
            return _failed(str(prompt), 0)
        room = self._context - len(prompt)
        if room < 1:
            return _failed(
                f"the prompt has {len(prompt)} tokens, {self._spec.name} takes {self._context} with the answer", len(prompt)
            )
        try:
            matcher = grammars.matcher(request.json_schema) if request.json_schema is not None else None
        except SchemaError as error:
            return _failed(str(error), len(prompt))
        stop = tuple(text for text in (*request.stop, *chat.stops) if text)
        return Row(prompt, min(request.max_tokens, room), request.temperature, request.top_p, request.seed, stop, matcher)


def _completion(row: Row, answer: Answer) -> Completion:
    return Completion(
        text=answer.text,
        prompt_tokens=len(row.prompt),
        completion_tokens=answer.tokens,
        finish_reason=answer.reason,
        error=answer.error,
    )


def _failed(error: str, prompt_tokens: int) -> Completion:
    return Completion(prompt_tokens=prompt_tokens, finish_reason="error", error=error[:500])


def _budget(model: Any) -> int:
    """Tokens whose cached keys and values fit into the memory that is meant for them."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    free = torch.cuda.mem_get_info(model.device)[0] // 2 if model.device.type == "cuda" else CACHE_BYTES
    return int(free // token)


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError that names its allocator.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


def _ends(model: Any, spec: ModelSpec) -> tuple[int, ...]:
    """The tokens that end an answer, as the model's generation config, its config and its tokenizer name them."""
    found: dict[int, None] = {}
    for source in (getattr(model, "generation_config", None), model.config.get_text_config(), models.tokenizer(spec)):
        named = getattr(source, "eos_token_id", None)
        found |= dict.fromkeys([named] if isinstance(named, int) else named or [])
    return tuple(found)


@lru_cache(maxsize=4)
def _chat(spec: ModelSpec) -> Chat:
    return Chat(models.tokenizer(spec))


@lru_cache(maxsize=4)
def _grammars(spec: ModelSpec, vocabulary: int, ends: tuple[int, ...]) -> Grammars:
    return Grammars(models.tokenizer(spec), vocabulary, ends)
