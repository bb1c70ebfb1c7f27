"""A key-value cache that is written in place: appending a token copies nothing."""

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""Tokens by which a full layer grows."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, (B, H, room, D), of which the first `length` tokens are filled."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, H, n, D) states; gives views of all states so far."""
        start, self.length = self.length, self.length + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (
                states.new_empty(*states.shape[:2], 0, states.shape[-1]) for states in (key_states, value_states)
            )
        if self.length > self.keys.shape[-2]:
            self.keys, self.values = (_moved(old[:, :, :start], None, self.length + _ROOM) for old in (self.keys, self.values))
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Tokens so far."""
        return self.length

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep only these rows, in this order; a row may come more than once."""
        room = self.keys.shape[-2]
        self.keys, self.values = (_moved(old[:, :, : self.length], beam_idx, room) for old in (self.keys, self.values))


def _moved(old: torch.Tensor, rows: torch.Tensor | None, room: int) -> torch.Tensor:
    """The states of these rows (None: all) in a new tensor with room for `room` tokens."""
    batch = len(old) if rows is None else len(rows)
    new = old.new_empty(batch, old.shape[1], room, old.shape[3])
    new[:, :, : old.shape[2]] = old if rows is None else old[rows]
    return new


def new_cache(config: PreTrainedConfig) -> tuple[DynamicCache, bool]:
    """An empty cache, and whether all its layers are plain attention over everything before.

    Only then may padding stand in the middle of a row: a sliding window or a recurrent state would count it.
    """
    cache = DynamicCache(config=config)
    plain = bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
    if plain:
        cache.layers = [RoomyLayer() for _ in cache.layers]
    return cache, plain
