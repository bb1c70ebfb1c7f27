"""Choosing the next token of every row of a batch at once, each row from a random stream of its own."""

import torch


class Sampler:
    """Greedy and sampled rows side by side; which token a row gets does not depend on the rows beside it.

    Each row draws all its random numbers in advance from its own seed, and a token is read off the cumulative distribution at the
    drawn place: one vectorised look-up a step.
    """

    def __init__(self, longest: int, device: torch.device) -> None:
        """`longest`: tokens that any row may come to."""
        self._temperature, self._top_p = torch.zeros(0, 1, device=device), torch.ones(0, 1, device=device)
        self._draws = torch.zeros(0, longest, device=device)
        self._sampled = False

    def resize(self, kept: torch.Tensor, places: int) -> None:
        """Go on with these rows, in this order, and with `places` places in all."""
        more = (0, 0, 0, places - len(kept))
        self._temperature, self._top_p, self._draws = (
            torch.nn.functional.pad(old[kept], more) for old in (self._temperature, self._top_p, self._draws)
        )

    def enter(self, place: int, temperature: float, top_p: float, seed: int, limit: int) -> None:
        """A new row at this place."""
        self._temperature[place], self._top_p[place] = temperature, top_p
        if temperature:
            self._sampled = True
            self._draws[place, :limit] = torch.rand(limit, generator=torch.Generator().manual_seed(seed)).to(self._draws.device)

    def choose(self, logits: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """(B, V) float32 logits -> (B,) tokens. `steps`: (B,), how many tokens each row has so far."""
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
        place = torch.minimum(self._draws.gather(1, steps[:, None]) * total, torch.nextafter(total, torch.zeros_like(total)))
        sampled = torch.searchsorted(reached, place, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return torch.where(greedy[:, 0], best, sampled)


def _nucleus(weights: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The weights with all but the likeliest tokens, which together reach `top_p`, set to 0."""
    ordered, tokens = weights.sort(dim=-1, descending=True, stable=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(weights).scatter(-1, tokens, ordered)
