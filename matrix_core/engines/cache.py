"""A key-value cache of places: each row of a batch is written at a position of its own, so that rows can come and go.

What all rows begin with is held once, beside the places, and attended to by all of them in one product (as Hydragen does,
arXiv 2402.05099). The places lie in spans, each as wide as its fullest place alone: rows of different length cost what they are
long, not what the longest is.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

Places = np.ndarray[Any, np.dtype[np.int64]]

ROOM = 64
"""Tokens by which full places grow."""
SPAN = 32
"""Places of a span on a CPU; on a GPU, where a product more costs more than padding, all lie in one."""

_ATTENTION = "sdpa_places"
_STEPPING: ContextVar["PlaceCache | None"] = ContextVar("stepping", default=None)


class PlaceCache(DynamicCache):  # type: ignore[misc]
    """Places for rows, each filled from its beginning; a step writes one token into each and lets it see its own place.

    a place:   [ prompt | answer ... | not yet written ]

    `beginning` is the cache of one row that has read what all rows begin with; nothing of it is copied. `filled` counts the tokens
    of each place, and `window` is what the next step makes of the most. Rows are cheapest in the order of their length.
    """

    def __init__(self, config: PreTrainedConfig, beginning: DynamicCache, dtype: torch.dtype) -> None:
        super().__init__(config=config)
        self.filled = np.zeros(0, dtype=np.int64)
        self.window = 0
        self.room = self.capacity = 0
        self._half = dtype.itemsize < 4
        self.layers = [_PlaceLayer(self, layer) for layer in beginning.layers]

    def resize(self, kept: Places, places: int) -> None:
        """Go on with the places `kept`, in ascending order, and with empty ones behind them, `places` in all."""
        for layer in self.layers:
            layer.compact(kept)
        self.filled = np.concatenate([self.filled[kept], np.zeros(places - len(kept), dtype=np.int64)])
        self._reserve(places, self.room)

    def put(self, places: slice, read: DynamicCache, mask: torch.Tensor, behind: int) -> None:
        """Fill these places with what the rows of another cache have read, but for its first `behind` positions and its padding.

        `mask`: (rows, positions), False where padding stands.
        """
        shown = mask[:, behind:]
        counts = shown.sum(1).cpu().numpy()
        self.filled[places] = counts
        tokens = int(counts.max())
        self._reserve(len(self.filled), tokens + 1)
        if not tokens:
            return
        # Where each row's tokens stand, in order; those behind its last are never looked at.
        order = (~shown).to(torch.uint8).argsort(dim=1, stable=True)[:, None, :tokens, None] + behind
        for layer, source in zip(self.layers, read.layers, strict=True):
            layer.put(
                places,
                *(old.gather(2, order.expand(-1, *old.shape[1:2], -1, old.shape[3])) for old in (source.keys, source.values)),
            )

    def step(self, device: torch.device) -> None:
        """Make ready for the next token of each place."""
        self.window = int(self.filled.max()) + 1
        self._reserve(len(self.filled), self.window)
        self.rows = torch.arange(len(self.filled), device=device)
        self.at = torch.tensor(self.filled, device=device)
        size = SPAN if device.type == "cpu" else len(self.filled)
        self.spans = []
        for start in range(0, len(self.filled), size):
            rows = slice(start, start + size)
            window = self._wide(int(self.filled[rows].max()) + 1, device)
            hidden = torch.arange(window, device=device) > self.at[rows, None]
            self.spans.append((rows, window, hidden[:, None, None]))

    def _wide(self, window: int, device: torch.device) -> int:
        """How much of its places a span looks at: all, in half precision on a CPU, which would copy a part before it multiplies."""
        whole = device.type == "cpu" and self._half and window * 2 > self.room
        return self.room if whole else window

    def _reserve(self, places: int, room: int) -> None:
        if places > self.capacity or room > self.room:
            self.capacity = max(places, self.capacity)
            self.room = self.room if room <= self.room else room + ROOM
            for layer in self.layers:
                layer.grow()


class _PlaceLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, (capacity, H, room, D), and those that all rows begin with, (1, H, P, D)."""

    def __init__(self, cache: PlaceCache, beginning: DynamicLayer) -> None:
        super().__init__()
        # Not the cache itself: a cycle would keep all places until the garbage collector comes by, hundreds of megabytes a batch.
        self._cache = cast(PlaceCache, weakref.proxy(cache))
        self.beginning = (beginning.keys, beginning.values) if beginning.is_initialized else None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Empty places, shaped after these states."""
        size = self._cache.capacity, self._cache.room
        self.keys = key_states.new_empty(size[0], key_states.shape[1], size[1], key_states.shape[3])
        # Zero, since hidden values still take part: with weight 0, which only numbers bear.
        self.values = value_states.new_zeros(size[0], value_states.shape[1], size[1], value_states.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (B, H, 1, D) states, one into each place; gives views of the places."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self._cache
        self.keys[cache.rows, :, cache.at] = key_states[:, :, 0]
        self.values[cache.rows, :, cache.at] = value_states[:, :, 0]
        places = len(cache.rows)
        return self.keys[:places], self.values[:places]

    def get_seq_length(self) -> int:
        """Tokens before the next one in the fullest place, so that nothing that the mask shows lies in its future."""
        return max(self._cache.window - 1, 0)

    def put(self, places: slice, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write (n, H, T, D) states from the beginning of these places."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self.keys[places, :, : keys.shape[2]] = keys
        self.values[places, :, : values.shape[2]] = values

    def compact(self, kept: Places) -> None:
        """Move these places, in ascending order, to the front."""
        if not self.is_initialized:
            return
        if self.keys.device.type == "cuda":  # one move of all costs less there than a launch for each
            rows = torch.from_numpy(kept).to(self.keys.device)
            for states in (self.keys, self.values):
                states[: len(kept), :, : self._cache.window] = states[rows, :, : self._cache.window]
        else:
            for place, (old, tokens) in enumerate(zip(kept.tolist(), self._cache.filled[kept].tolist(), strict=True)):
                if place != old:
                    self.keys[place, :, :tokens] = self.keys[old, :, :tokens]
                    self.values[place, :, :tokens] = self.values[old, :, :tokens]

    def grow(self) -> None:
        """Move everything into tensors of the cache's new size."""
        if self.is_initialized:
            old = self.keys, self.values
            self.lazy_initialization(*old)
            for new, states in zip((self.keys, self.values), old, strict=True):
                new[: states.shape[0], :, : states.shape[2]] = states


@contextmanager
def stepping(cache: PlaceCache) -> Iterator[None]:
    """A step of this cache: the attention of this thread sees its spans and its beginning."""
    token = _STEPPING.set(cache)
    try:
        yield
    finally:
        _STEPPING.reset(token)


def takes_places(model: Any) -> bool:
    """Whether rows of this model can stand in places; from then on it uses our attention, which elsewhere is transformers' SDPA.

    A sliding window or a recurrent state would count the padding, without rotary embeddings a position may be something else than
    what `position_ids` say, and a model with an attention of its own would not see the shared beginning.
    """
    config = model.config.get_text_config()
    layers = DynamicCache(config=config).layers
    able = (
        bool(layers)
        and all(type(layer) is DynamicLayer for layer in layers)
        and getattr(config, "rope_parameters", None)
        and not getattr(config, "attn_logit_softcapping", None)
        and getattr(model, "_supports_attention_backend", False)
    )
    if able and config._attn_implementation == "sdpa":
        model.set_attn_implementation(_ATTENTION)
    return bool(able and config._attn_implementation == _ATTENTION)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """One step of all places: (B, heads, 1, D) queries -> (B, 1, heads, D)."""
    cache = _STEPPING.get()
    if cache is None:
        out: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return out
    batch, heads, _, width = query.shape
    groups = key.shape[1]
    query = query.reshape(batch, groups, heads // groups, width) * (scaling if scaling is not None else width**-0.5)
    beginning = cache.layers[module.layer_idx].beginning
    seen = beginning[0].shape[2] if beginning else 0
    # 1. Scores of the shared beginning, for all rows in one product.
    if beginning:
        stacked = query.transpose(0, 1).reshape(groups, -1, width)
        first = (stacked @ beginning[0][0].transpose(1, 2)).view(groups, batch, -1, seen).transpose(0, 1)
    out_places, shares = [], []
    # 2. The places, span by span; the softmax is over both.
    for rows, window, hidden in cache.spans:
        scores = query[rows] @ key[rows, :, :window].transpose(2, 3)
        scores.masked_fill_(hidden, float("-inf"))
        if beginning:
            scores = torch.cat([first[rows], scores], dim=-1)
        weights = scores.softmax(-1)
        out_places.append(weights[..., seen:] @ value[rows, :, :window])
        shares.append(weights[..., :seen])
    mixed = torch.cat(out_places)
    # 3. The values of the shared beginning.
    if beginning:
        stacked = torch.cat(shares).transpose(0, 1).reshape(groups, -1, seen)
        mixed = mixed + (stacked @ beginning[1][0]).view(groups, batch, -1, mixed.shape[-1]).transpose(0, 1)
    return mixed.reshape(batch, 1, heads, -1), None


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
