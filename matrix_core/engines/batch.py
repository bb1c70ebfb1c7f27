"""The rows that are in the model at the moment: their cache, and what each may attend to.

Rows enter with their prompt but for its last token, which is the first that `advance` is given: so rows that have just entered and
rows that are in the midst of their answers take the same step. The longest common beginning of all prompts is computed once.

    positions of a row:   [ shared beginning | padding | rest of the prompt | answer ... ]
                            held once        | in the row's place
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from matrix_core.engines.cache import ROOM, PlaceCache, Places, stepping, takes_places

SHARED = 16
"""Tokens that a shared beginning must have at least to be worth a pass of its own."""
PREFILL = 4096
"""Prompt tokens, with padding, that go through the model at once. More are no faster, and fall out of a CPU's caches."""


class Batch:
    """Rows of one model. `prompts` are all that may ever enter; `pad` is any token.

    `refills`: rows may enter while others are in the midst of their answers. Else all enter together, into an empty batch.
    `shared`: tokens that all prompts begin with, and that no row holds for itself.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], pad: int) -> None:
        self._model = model
        self._pad = pad
        self._config = model.config.get_text_config()
        self.refills = takes_places(model)
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=model.device)  # (places, positions)
        shared = common(prompts) if self.refills and len(prompts) > 1 else 0
        self.shared = shared if shared >= SHARED else 0
        self._beginning = DynamicCache(config=self._config)
        self._cache: Any = self._beginning
        if self.shared:
            ids = torch.tensor([prompts[0][: self.shared]], device=model.device)
            self._forward(ids, torch.ones_like(ids, dtype=torch.bool), self._beginning)
        if self.refills:
            self._cache = PlaceCache(self._config, self._beginning)

    def resize(self, kept: Places, places: int) -> None:
        """Go on with the rows at `kept`, in ascending order, and with `places` places in all; the last are free."""
        rows = torch.from_numpy(kept).to(self._mask.device)
        if self.refills:
            self._cache.resize(kept, places)
        elif self._mask.shape[1]:
            self._cache.reorder_cache(rows)
        self._mask = torch.nn.functional.pad(self._mask[rows], (0, 0, 0, places - len(kept)), value=False)

    def enter(self, first: int, prompts: Sequence[list[int]]) -> None:
        """Read prompts, the longest first, into the places from `first` on."""
        lengths = [len(prompt) - self.shared for prompt in prompts]
        for group in _groups(lengths) if self.refills else [range(len(prompts))]:
            self._read(slice(first + group.start, first + group.stop), [prompts[i][:-1] for i in group])

    def _read(self, places: slice, prompts: Sequence[list[int]]) -> None:
        device, shared, longest = self._mask.device, self.shared, len(max(prompts, key=len))
        ids = torch.tensor([[self._pad] * (longest - len(p)) + p[shared:] for p in prompts], device=device, dtype=torch.long)
        shown = [[True] * shared + [False] * (longest - len(p)) + [True] * (len(p) - shared) for p in prompts]
        mask = torch.tensor(shown, device=device, dtype=torch.bool)
        read = _spread(self._beginning, len(prompts)) if self.shared else DynamicCache(config=self._config)
        # A recurrent state can't be fed a prompt in pieces.
        width = max(64, PREFILL // len(prompts)) if self.refills else max(longest, 1)
        for start in range(0, longest - shared, width):
            piece = ids[:, start : start + width]
            self._forward(piece, mask[:, : shared + start + piece.shape[1]], read)
        if self.refills:
            self._cache.put(places, read, shared)
            self._see(longest - shared)
            self._mask[places] = False
            self._mask[places, : longest - shared] = mask[:, shared:]
        else:
            self._cache, self._mask = read, mask

    def advance(self, tokens: torch.Tensor, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> torch.Tensor:
        """Append one token to every row that is alive: (B,) tokens -> (B, V) logits, of no meaning for the others."""
        living = torch.from_numpy(alive).to(self._mask.device)
        cache = self._cache
        if not self.refills:
            self._mask = torch.cat([self._mask, living[:, None]], dim=1)
            return self._forward(tokens[:, None], self._mask, cache)
        cache.step(self._mask.device)
        self._see(cache.window)
        self._mask[cache.rows, cache.at] = living
        with stepping(cache):
            logits = self._forward(tokens[:, None], self._mask[:, : cache.window], cache)
        cache.filled += alive
        return logits

    def _see(self, positions: int) -> None:
        """Widen the mask."""
        missing = positions - self._mask.shape[1]
        if missing > 0:
            self._mask = torch.nn.functional.pad(self._mask, (0, missing + ROOM), value=False)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """(B, n) new tokens, (B, all that the cache holds then) mask -> (B, V) logits behind the last of them."""
        many = ids.shape[1] > 1
        position = mask.cumsum(1)[:, -ids.shape[1] :] - 1 if many else mask.sum(1, keepdim=True) - 1
        if isinstance(cache, PlaceCache):
            position = position + self.shared
        logits: torch.Tensor = self._model(
            input_ids=ids, attention_mask=mask, position_ids=position.clamp(min=0), cache=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        return logits


def common(prompts: Sequence[list[int]]) -> int:
    """Length of the longest beginning that all prompts share; each keeps at least one token of its own."""
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts)) - 1
    return next((i for i in range(shortest) if first[i] != last[i]), max(shortest, 0))


def _groups(lengths: Sequence[int]) -> Iterator[range]:
    """Ranges of prompts that are read together: of similar length, and within `PREFILL` tokens or alone."""
    start = 0
    for i, length in enumerate(lengths):
        if i > start and ((i + 1 - start) * lengths[start] > PREFILL or length * 4 < lengths[start] * 3):
            yield range(start, i)
            start = i
    yield range(start, len(lengths))


def _spread(cache: DynamicCache, rows: int) -> DynamicCache:
    """A cache that goes on for `rows` rows from the one row of `cache`, which stays as it is."""
    out = DynamicCache()
    out.layers = []
    for layer in cache.layers:
        new = DynamicLayer()
        new.lazy_initialization(layer.keys, layer.values)
        new.keys, new.values = (states.expand(rows, -1, -1, -1) for states in (layer.keys, layer.values))
        out.layers.append(new)
    return out
