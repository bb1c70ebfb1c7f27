"""The rows that are in the model at the moment: their cache, and what each may attend to.

Rows enter with their prompt but for its last token, which is the first that `advance` is given: so rows that have just entered and
rows that are in the midst of their answers take the same step. The longest common beginning of all prompts is computed once.

    positions of a row:   [ shared beginning | padding | rest of the prompt | answer ... ]
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from matrix_core.engines.cache import PlaceCache, spread, takes_places

Places = np.ndarray[Any, np.dtype[np.int64]]

SHARED = 16
"""Tokens that a shared beginning must have at least to be worth a pass of its own."""
PREFILL = 4096
"""Prompt tokens, with padding, that go through the model at once. More are no faster, and fall out of a CPU's caches."""


class Batch:
    """Rows of one model. `prompts` are all that may ever enter; `pad` is any token.

    `refills`: rows may enter while others are in the midst of their answers. Else all enter together, into an empty batch.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], pad: int) -> None:
        self._model = model
        self._pad = pad
        config = model.config.get_text_config()
        self.refills = takes_places(config)
        self._cache: Any = PlaceCache(config) if self.refills else DynamicCache(config=config)
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=model.device)  # (places, positions)
        shared = common(prompts) if self.refills and len(prompts) > 1 else 0
        self._shared = shared if shared >= SHARED else 0
        self._beginning = DynamicCache(config=config)
        if self._shared:
            ids = torch.tensor([prompts[0][: self._shared]], device=model.device)
            self._forward(ids, torch.ones_like(ids, dtype=torch.bool), self._beginning)

    def resize(self, kept: Places, places: int) -> None:
        """Go on with the rows at `kept`, in this order, and with `places` places in all; the others are free."""
        rows = torch.from_numpy(kept).to(self._mask.device)
        if self.refills:
            self._cache.resize(kept, places)
        elif self._mask.shape[1]:
            self._cache.reorder_cache(rows)
        mask = self._mask.new_zeros(places, self._mask.shape[1])
        mask[: len(kept)] = self._mask[rows]
        self._mask = mask

    def enter(self, places: Places, prompts: Sequence[list[int]]) -> None:
        """Read prompts, the longest first, into places that are free."""
        for group in _groups([len(prompt) - self._shared for prompt in prompts]) if self.refills else [range(len(prompts))]:
            self._read(places[group.start : group.stop], [prompts[i][:-1] for i in group])

    def _read(self, places: Places, prompts: Sequence[list[int]]) -> None:
        device, shared, longest = self._mask.device, self._shared, len(max(prompts, key=len))
        ids = torch.tensor([[self._pad] * (longest - len(p)) + p[shared:] for p in prompts], device=device, dtype=torch.long)
        shown = [[True] * shared + [False] * (longest - len(p)) + [True] * (len(p) - shared) for p in prompts]
        mask = torch.tensor(shown, device=device, dtype=torch.bool)
        read = spread(self._beginning, len(prompts)) if self.refills else DynamicCache(config=self._model.config.get_text_config())
        # A recurrent state can't be fed a prompt in pieces.
        width = max(64, PREFILL // len(prompts)) if self.refills else max(longest, 1)
        for start in range(0, longest - shared, width):
            piece = ids[:, start : start + width]
            self._forward(piece, mask[:, : shared + start + piece.shape[1]], read)
        if self.refills:
            self._cache.put(places, read)
            self._see(longest)
            rows = torch.from_numpy(places).to(device)
            self._mask[rows] = False
            self._mask[rows, :longest] = mask
        else:
            self._cache, self._mask = read, mask

    def advance(self, tokens: torch.Tensor, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> torch.Tensor:
        """Append one token to every row that is alive: (B,) tokens -> (B, V) logits, of no meaning for the others."""
        living = torch.from_numpy(alive).to(self._mask.device)
        if self.refills:
            self._cache.aim(self._mask.device)
            self._see(self._cache.room)
            self._mask[self._cache.rows, self._cache.at] = living
            mask = self._mask[:, : self._cache.window]
            self._cache.filled += alive
        else:
            mask = self._mask = torch.cat([self._mask, living[:, None]], dim=1)
        return self._forward(tokens[:, None], mask, self._cache)

    def _see(self, positions: int) -> None:
        """Widen the mask."""
        missing = positions - self._mask.shape[1]
        if missing > 0:
            self._mask = torch.nn.functional.pad(self._mask, (0, missing), value=False)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """(B, n) new tokens, (B, all so far) mask -> (B, V) logits behind the last of them."""
        position = mask.cumsum(1)[:, -ids.shape[1] :] - 1 if ids.shape[1] > 1 else mask.sum(1, keepdim=True) - 1
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
