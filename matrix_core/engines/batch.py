"""The rows that are in the model at the moment: their cache, and how they get into it.

Rows enter with their prompt but for its last token, which is the first that `advance` is given: so rows that have just entered and
rows that are in the midst of their answers take the same step. What prompts have in common is computed once: the beginning of all
prompts of a wave, and, among those that enter together, the stem of each family.

    a prompt:   [ beginning of all | stem of a family | rest | last token ]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from matrix_core.engines.cache import PlaceCache, Places, stepping, takes_places

SHARED = 16
"""Tokens that a shared beginning must have at least to be worth a pass of its own."""
STEM = 8
"""The same for a stem, for which no pass is made but for all stems of a group together."""
PREFILL = {"cpu": 4096, "cuda": 32_768}
"""Prompt tokens, with padding, that go through the model at once, by kind of device. More are no faster."""


class Batch:
    """Rows of one model. `prompts` are all that may ever enter; `pad` is any token.

    `refills`: rows may enter while others are in the midst of their answers. Else all enter together, into an empty batch.
    `shared`: tokens that all prompts begin with, and that no row holds for itself.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], pad: int) -> None:
        self._model = model
        self._pad = pad
        self._prefill = PREFILL[model.device.type]
        self._config = model.config.get_text_config()
        self.refills = takes_places(model)
        self._mask = self._unread(0)  # (rows, positions), for a batch that isn't refilled
        shared = common(prompts) if self.refills and len(prompts) > 1 else 0
        self.shared = shared if shared >= SHARED else 0
        self._beginning = DynamicCache(config=self._config)
        if self.shared:
            self._append(self._beginning, self._unread(1), [prompts[0][: self.shared]])
        self._cache: Any = (
            PlaceCache(self._config, self._beginning, model.dtype) if self.refills else DynamicCache(config=self._config)
        )

    def resize(self, kept: Places, places: int) -> None:
        """Go on with the rows at `kept`, in ascending order, and with `places` places in all; the last are free."""
        if self.refills:
            self._cache.resize(kept, places)
        elif len(kept):
            rows = torch.from_numpy(kept).to(self._model.device)
            self._cache.reorder_cache(rows)
            self._mask = self._mask[rows]

    def enter(self, first: int, prompts: Sequence[list[int]]) -> None:
        """Read prompts into the places from `first` on; cheapest in the order of `arranged`."""
        bodies = [prompt[:-1] for prompt in prompts]
        if not self.refills:
            self._cache = DynamicCache(config=self._config)
            self._mask = self._append(self._cache, self._unread(len(bodies)), bodies)
            return
        for group in _groups([len(body) - self.shared for body in bodies], self._prefill):
            self._read(slice(first + group.start, first + group.stop), bodies[group.start : group.stop])

    def _read(self, places: slice, bodies: Sequence[list[int]]) -> None:
        """Beginning, stems, rests."""
        behind = self.shared
        stems = families(bodies, behind + STEM)
        saved = sum((len(family) - 1) * (stem - behind) for family, stem in stems)
        starts = [behind] * len(bodies)
        if saved * 4 < sum(len(body) - behind for body in bodies):
            read, mask = self._go_on(len(bodies))
        else:
            read, mask = self._go_on(len(stems))
            mask = self._append(read, mask, [bodies[family.start][behind:stem] for family, stem in stems])
            of = torch.tensor([i for i, (family, _) in enumerate(stems) for _ in family], device=mask.device)
            read.reorder_cache(of)
            mask = mask[of]
            starts = [stem for family, stem in stems for _ in family]
        mask = self._append(read, mask, [body[start:] for body, start in zip(bodies, starts, strict=True)])
        self._cache.put(places, read, mask, behind)

    def _unread(self, rows: int) -> torch.Tensor:
        return torch.zeros(rows, 0, dtype=torch.bool, device=self._model.device)

    def _go_on(self, rows: int) -> tuple[DynamicCache, torch.Tensor]:
        """A cache of rows that have read the beginning, and its mask."""
        out = DynamicCache(config=self._config)
        for new, layer in zip(out.layers, self._beginning.layers, strict=True):
            if isinstance(layer, DynamicLayer) and layer.is_initialized:
                new.lazy_initialization(layer.keys, layer.values)
                new.keys, new.values = (states.expand(rows, -1, -1, -1) for states in (layer.keys, layer.values))
        return out, torch.ones(rows, self.shared, dtype=torch.bool, device=self._model.device)

    def _append(self, cache: DynamicCache, mask: torch.Tensor, texts: Sequence[list[int]]) -> torch.Tensor:
        """Read a text into each row, padded on the left; gives the new mask, (rows, positions)."""
        longest = max(map(len, texts))
        if not longest:
            return mask
        ids = torch.tensor([[self._pad] * (longest - len(text)) + text for text in texts], device=mask.device)
        shown = torch.tensor([[False] * (longest - len(text)) + [True] * len(text) for text in texts], device=mask.device)
        before, mask = mask.shape[1], torch.cat([mask, shown], dim=1)
        position = (mask.cumsum(1) - 1).clamp(min=0)
        # A recurrent state can't be fed a prompt in pieces.
        width = max(64, self._prefill // len(texts)) if self.refills else longest
        for start in range(before, before + longest, width):
            piece = slice(start, min(start + width, before + longest))
            self._forward(ids[:, piece.start - before : piece.stop - before], mask[:, : piece.stop], position[:, piece], cache, 0)
        return mask

    def advance(self, tokens: torch.Tensor, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> torch.Tensor:
        """Append one token to every row that is alive: (B,) tokens -> (B, V) logits, of no meaning for the others."""
        cache = self._cache
        if not self.refills:
            living = torch.from_numpy(alive).to(self._mask.device)
            self._mask = torch.cat([self._mask, living[:, None]], dim=1)
            position = (self._mask.sum(1, keepdim=True) - 1).clamp(min=0)
            return self._forward(tokens[:, None], self._mask, position, cache, 1)[:, 0]
        cache.step(tokens.device)
        with stepping(cache):
            logits = self._forward(tokens[:, None], None, cache.at[:, None] + self.shared, cache, 1)[:, 0]
        cache.filled += alive
        return logits

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, position: torch.Tensor, cache: Any, wanted: int
    ) -> torch.Tensor:
        """(B, n) new tokens at (B, n) positions, (B, all that the cache holds then) mask -> (B, wanted, V) logits of the last."""
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            cache=cache,
            use_cache=True,
            # As indices, since 0 as a number means all of them.
            logits_to_keep=torch.arange(ids.shape[1] - wanted, ids.shape[1], device=ids.device),
        ).logits
        return logits


def common(prompts: Sequence[list[int]]) -> int:
    """Length of the longest beginning that all prompts share; each keeps at least one token of its own."""
    first, last = min(prompts), max(prompts)
    return _agreeing(first, last, min(map(len, prompts)) - 1)


def arranged(prompts: Sequence[list[int]]) -> list[int]:
    """Indices in the order in which prompts should enter: families together, the longest first."""
    if not prompts:
        return []
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    found = [[order[i] for i in family] for family, _ in families([prompts[i] for i in order], STEM)]
    for family in found:
        family.sort(key=lambda i: -len(prompts[i]))
    return [i for family in sorted(found, key=lambda family: -len(prompts[family[0]])) for i in family]


def families(prompts: Sequence[list[int]], least: int) -> list[tuple[range, int]]:
    """Ranges of neighbours that share at least half of each and `least` tokens, and how many all of a range share: its stem.

    The stem of a prompt that stands alone is the whole of it.
    """
    out: list[tuple[range, int]] = []
    start, stem, longest = 0, len(prompts[0]), len(prompts[0])
    for i, prompt in enumerate(prompts[1:], 1):
        agreed = _agreeing(prompts[start], prompt, stem)
        if agreed < least or agreed * 2 < max(longest, len(prompt)):
            out.append((range(start, i), stem))
            start, stem, longest = i, len(prompt), len(prompt)
        else:
            stem, longest = agreed, max(longest, len(prompt))
    return [*out, (range(start, len(prompts)), stem)]


def _agreeing(first: Sequence[int], second: Sequence[int], most: int) -> int:
    """How many of their first tokens are the same, up to `most`."""
    most = max(min(most, len(first), len(second)), 0)
    return next((i for i in range(most) if first[i] != second[i]), most)


def _groups(lengths: Sequence[int], most: int) -> list[range]:
    """Ranges of prompts that are read together: of similar length, and within `most` tokens or alone."""
    out, start, longest = [], 0, 0
    for i, length in enumerate(lengths):
        if i > start and ((i + 1 - start) * max(longest, length) > most or length * 4 < longest * 3):
            out.append(range(start, i))
            start, longest = i, 0
        longest = max(longest, length)
    return [*out, range(start, len(lengths))]
