"""A key-value cache of places: every row of a batch is written at a position of its own, so that rows can come and go."""

from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens by which full places grow."""


class PlaceCache(DynamicCache):  # type: ignore[misc]
    """Places for rows, each filled from its beginning; a step writes one token into each.

    places of a row:   [ prompt, as it was read | answer ... | not yet written ]

    What a row may attend to is for the caller's mask to say: what was never written is zero, and seen by nobody. `filled` counts
    the tokens of each place. `rows` and `at` are where the next token of each goes, and `window` is how far any of them reaches.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config=config)
        self.room = 0
        self.places = 0
        self.filled = np.zeros(0, dtype=np.int64)
        self.layers = [_PlaceLayer(self) for _ in self.layers]
        self.rows = self.at = torch.zeros(0, dtype=torch.long)
        self.window = 0

    def aim(self, device: torch.device) -> None:
        """The next token of each place goes behind what it holds."""
        self.window = int(self.filled.max()) + 1
        self.reserve(self.window)
        self.rows = torch.arange(self.places, device=device)
        self.at = torch.tensor(self.filled, device=device)

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` tokens in every place."""
        if tokens > self.room:
            self.room = tokens + ROOM
            self._rebuild(np.arange(self.places), self.places)

    def resize(self, kept: np.ndarray[Any, np.dtype[np.int64]], places: int) -> None:
        """Go on with the places `kept`, in this order, and with empty ones behind them, `places` in all."""
        self.filled = np.concatenate([self.filled[kept], np.zeros(places - len(kept), dtype=np.int64)])
        self.places = places
        self._rebuild(kept, places)

    def put(self, places: np.ndarray[Any, np.dtype[np.int64]], read: DynamicCache) -> None:
        """Fill these places with the rows of a cache that has read their prompts."""
        tokens = read.get_seq_length()
        self.filled[places] = tokens
        self.reserve(tokens + 1)
        for layer, source in zip(self.layers, read.layers, strict=True):
            if source.is_initialized:
                layer.put(torch.from_numpy(places).to(source.keys.device), source.keys, source.values)

    def _rebuild(self, kept: np.ndarray[Any, np.dtype[np.int64]], places: int) -> None:
        for layer in self.layers:
            layer.rebuild(torch.from_numpy(kept), places, self.room)


class _PlaceLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, (places, H, room, D)."""

    def __init__(self, cache: PlaceCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Empty places, shaped after these states."""
        self.keys, self.values = (
            new.new_zeros(self._cache.places, new.shape[1], self._cache.room, new.shape[3]) for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (B, H, 1, D) states where the cache aims; gives views as far as its window."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self._cache
        self.keys[cache.rows, :, cache.at] = key_states[:, :, 0]
        self.values[cache.rows, :, cache.at] = value_states[:, :, 0]
        return self.keys[:, :, : cache.window], self.values[:, :, : cache.window]

    def get_seq_length(self) -> int:
        """Tokens before the one that comes next, in the fullest place: nothing that the mask shows is in its future."""
        return max(self._cache.window - 1, 0)

    def put(self, places: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write (n, H, T, D) states from the beginning of these places."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self.keys[places, :, : keys.shape[2]] = keys
        self.values[places, :, : values.shape[2]] = values

    def rebuild(self, kept: torch.Tensor, places: int, room: int) -> None:
        """Move these places into a new tensor."""
        if self.is_initialized:
            self.keys, self.values = (_moved(old, kept.to(old.device), places, room) for old in (self.keys, self.values))


def _moved(old: torch.Tensor, kept: torch.Tensor, places: int, room: int) -> torch.Tensor:
    new = old.new_zeros(places, old.shape[1], room, old.shape[3])
    new[: len(kept), :, : old.shape[2]] = old[kept]
    return new


def takes_places(config: PreTrainedConfig) -> bool:
    """Whether rows of this model can stand at positions of their own, with padding anywhere in between.

    A sliding window or a recurrent state would count the padding, and without rotary embeddings a position may be something else
    than what `position_ids` say.
    """
    layers = DynamicCache(config=config).layers
    return bool(layers and all(type(layer) is DynamicLayer for layer in layers) and getattr(config, "rope_parameters", None))


def spread(cache: DynamicCache, rows: int) -> DynamicCache:
    """A cache that goes on for `rows` rows from the one row of `cache`, which stays as it is."""
    out = DynamicCache()
    out.layers = []
    for layer in cache.layers:
        new = DynamicLayer()
        if layer.is_initialized:
            new.lazy_initialization(layer.keys, layer.values)
            new.keys, new.values = (states.expand(rows, -1, -1, -1) for states in (layer.keys, layer.values))
        out.layers.append(new)
    return out
