"""Decoding under a JSON schema: which tokens may come next, for every row of a batch.

The JSON is compact, as `json.dumps(value, separators=(",", ":"), ensure_ascii=False)` writes it. Once it is complete nothing may
follow but the end of the answer.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


class SchemaError(ValueError):
    """A schema that decoding can't be bound to."""


class Grammars:
    """Grammars for one tokenizer and vocabulary; each schema is compiled once."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        self._tokens: LLTokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))
        self._executor = LLExecutor()
        self._vocabulary = vocabulary
        self._compiled = lru_cache(maxsize=512)(self._compile)

    def matcher(self, schema: dict[str, Any]) -> LLMatcher:
        """A fresh matcher at the beginning of an answer. Raises SchemaError."""
        # Not sorted: the order of properties is the order in which they are written.
        return self._compiled(json.dumps(schema)).deep_copy()

    def _compile(self, schema: str) -> LLMatcher:
        matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_json_schema(schema, overrides=_COMPACT))
        if matcher.is_error():
            raise SchemaError(f"the JSON schema can't be decoded under: {matcher.get_error().splitlines()[0][:300]}")
        return matcher

    def forbid(self, logits: torch.Tensor, matchers: Sequence[tuple[LLMatcher, int]]) -> None:
        """Set to -inf, in place, what a row's matcher doesn't allow next. (B, V) logits; pairs of (matcher, row)."""
        if not matchers:
            return
        mask = allocate_token_bitmask(len(logits), self._vocabulary)
        fill_next_token_bitmask_par(self._executor, list(matchers), mask)
        allowed = _unpacked(mask.view(np.uint8), self._vocabulary, logits.device)
        logits.masked_fill_(allowed == 0, float("-inf"))

    def accept(self, matchers: Sequence[tuple[LLMatcher, int]]) -> None:
        """Move each matcher past the token chosen for it; pairs of (matcher, token). A refused one is left in error."""
        if not matchers:
            return
        self._executor.consume_token_par(list(matchers))

    def token_bytes(self) -> list[bytes]:
        """What each token of the vocabulary writes."""
        return [self._tokens.decode_bytes([token]) for token in range(self._vocabulary)]


def _unpacked(mask: np.ndarray[Any, np.dtype[np.uint8]], vocabulary: int, device: torch.device) -> torch.Tensor:
    """(B, bytes) of eight tokens each, the lowest bit first -> (B, V) of 0 and 1, on the device."""
    if device.type == "cpu":
        return torch.from_numpy(np.unpackbits(mask, axis=1, count=vocabulary, bitorder="little"))
    bits = torch.from_numpy(mask).to(device)[..., None] >> torch.arange(8, dtype=torch.uint8, device=device) & 1
    return bits.flatten(1)[:, :vocabulary]
