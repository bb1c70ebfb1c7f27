"""Choosing the next token of every row of a batch at once, each row from a random stream of its own."""

from collections.abc import Sequence

import torch


class Sampler:
    """Greedy and sampled rows side by side; which token a row gets does not depend on the rows beside it.

    Each row draws all its random numbers in advance from its own seed, and a token is read off the cumulative distribution at the
    drawn place: one vectorised look-up a step.
    """

    def __init__(
        self,
        temperatures: Sequence[float],
        top_ps: Sequence[float],
        seeds: Sequence[int],
        limits: Sequence[int],
        device: torch.device,
    ) -> None:
        self._sampled = any(temperatures)
        if not self._sampled:
            return
        draws = torch.zeros(len(seeds), max(limits))
        for row, (temperature, seed, limit) in enumerate(zip(temperatures, seeds, limits, strict=True)):
            if temperature:
                draws[row, :limit] = torch.rand(limit, generator=torch.Generator().manual_seed(seed))
        self._draws = draws.to(device)
        self._temperature = torch.tensor(temperatures, device=device)[:, None]
        self._top_p = torch.tensor(top_ps, device=device)[:, None]

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        if self._sampled:
            self._draws, self._temperature, self._top_p = self._draws[rows], self._temperature[rows], self._top_p[rows]

    def choose(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        """(B, V) float32 logits -> (B,) tokens. `step`: how many tokens the rows have so far."""
        best = logits.argmax(-1)
        if not self._sampled:
            return best
        greedy = self._temperature == 0
        scaled = (logits - logits.amax(-1, keepdim=True)) / self._temperature.masked_fill(greedy, 1.0)
        weights = scaled.softmax(-1)
        cut = (self._top_p[:, 0] < 1).nonzero()[:, 0]
        if len(cut):
            weights[cut] = _nucleus(weights[cut], self._top_p[cut])
        reached = weights.cumsum(-1)
        total = reached[:, -1:]
        # Just below the total, so that rounding can't point behind the last possible token.
        place = torch.minimum(self._draws[:, step, None] * total, torch.nextafter(total, torch.zeros_like(total)))
        sampled = torch.searchsorted(reached, place, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return torch.where(greedy[:, 0], best, sampled)


def _nucleus(weights: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The weights with all but the likeliest tokens, which together reach `top_p`, set to 0."""
    ordered, tokens = weights.sort(dim=-1, descending=True, stable=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(weights).scatter(-1, tokens, ordered)
