"""What an engine has used, and what it may use: tokens, money, and the troubles on the way.

A request that is on its way counts with the most that it can use, so that many at a time can't go past the budget together. What a
server charges for a request that it never answered is known to nobody but the server.
"""

import json
from collections import Counter
from dataclasses import dataclass, field

from matrix_core.request import Request

TEMPLATE = 32
"""Tokens that a chat template may add to a message."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Budget:
    """`price` is USD per million prompt and completion tokens; what may be spent is bounded in USD, in tokens, or not at all."""

    price: tuple[float, float] | None = None
    max_cost: float | None = None
    max_tokens: int | None = None

    def cost(self, prompt: int, completion: int) -> float | None:
        """USD for so many tokens; None without a price."""
        return (prompt * self.price[0] + completion * self.price[1]) / MILLION if self.price else None

    def allows(self, prompt: int, completion: int) -> bool:
        """Whether so many tokens are within the budget."""
        cost = self.cost(prompt, completion)
        fits = self.max_tokens is None or prompt + completion <= self.max_tokens
        return fits and (self.max_cost is None or cost is None or cost <= self.max_cost)


@dataclass
class Meter:
    """Counts tokens that servers reported, and how often which trouble was met."""

    budget: Budget = field(default_factory=Budget)
    prompt: int = 0
    completion: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    on_the_way: int = 0
    _held: tuple[int, int] = (0, 0)

    def hold(self, most: tuple[int, int]) -> bool:
        """Set so many (prompt, completion) tokens aside for a request; False, and nothing is set aside, if they are not left."""
        held = (self._held[0] + most[0], self._held[1] + most[1])
        if not self.budget.allows(self.prompt + held[0], self.completion + held[1]):
            return False
        self._held = held
        self.on_the_way += 1
        return True

    def release(self, most: tuple[int, int]) -> None:
        """The request is not on its way any more."""
        self._held = (self._held[0] - most[0], self._held[1] - most[1])
        self.on_the_way -= 1

    def spent(self) -> str:
        """What is used, in words, beside what may be used."""
        budget, cost = self.budget, self.budget.cost(self.prompt, self.completion)
        used = f"{self.prompt:,} prompt and {self.completion:,} completion tokens"
        used += f" of --max-tokens {budget.max_tokens:,}" if budget.max_tokens is not None else ""
        used += f", {cost:.4f} USD" if cost is not None else ""
        return used + (f" of --max-cost {budget.max_cost:g}" if budget.max_cost is not None else "")


def most(request: Request) -> tuple[int, int]:
    """(prompt, completion) tokens that a request uses at most: no tokenizer makes more tokens of a text than it has bytes."""
    texts = [message.content for message in request.messages]
    schema = json.dumps(request.json_schema) if request.json_schema is not None else ""
    return sum(len(text.encode("utf-8", "replace")) + TEMPLATE for text in texts) + len(schema), request.max_tokens
