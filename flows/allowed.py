"""What options may be: ranges of numbers, names of steps, and one line about whatever is something else."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from matrix_core.tuning import Mixed, check_shares
from tasks.inputs import printable

RANGES = {
    "scenes": (1, 1_000_000),
    "roles": (1, 12),
    "steps": (1, 12),
    "questions": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "max_tokens": (1, 10**15),
}
HINTS = {
    "price": "give USD per million prompt and completion tokens, like 0.15,0.60",
    "max_cost": "give USD, more than 0, like 2.50",
}

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _whole(shares: dict[Mixed, float]) -> dict[Mixed, float]:
    check_shares(shares)
    return shares


Shares = Annotated[dict[Mixed, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_whole)]
"""Source -> what part of the examples it makes up; 1 in all."""

Refreshable = Literal[
    "instructions",
    "draft",
    "roles",
    "plan",
    "action",
    "feasibility",
    "routing",
    "consequence",
    "reaction",
    "memory",
    "summary",
    "critique",
    "refinement",
    "examples",
    "fine-tune",
    "answers",
    "verdicts",
    "ability",
]
"""Everything that is cached by itself."""


def count(name: str, default: int | None, description: str) -> Any:
    """A field for a whole number within its range."""
    low, high = RANGES[name]
    return Field(default, ge=low, le=high, description=f"{description}; {low} to {high}")


def wrong(problem: Any) -> str:
    """One line about one wrong value, from pydantic's account of it."""
    name = str(problem["loc"][0]) if problem["loc"] else "options"
    option = f"--{name.replace('_', '-')}"
    if name in HINTS:
        return f"{option}: {HINTS[name]}, not {printable(str(problem['input']), 60)}"
    if name in RANGES:
        low, high = RANGES[name]
        return f"{option} {printable(str(problem['input']), 60)}: give a whole number from {low} to {high}"
    return f"{option} {printable(str(problem.get('ctx', {}).get('error', problem['msg'])), 300)}"
