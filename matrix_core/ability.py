"""General ability without a judge: how well a model foretells plain text, and which of four answers it finds likeliest.

For any model whose weights are at hand. A right answer is the option with the lowest loss a character, as lm-evaluation-harness
counts `acc_norm`: it is neither drawn nor worded by the model, so that a change of manner alone changes nothing.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from matrix_core import statistics
from matrix_core.errors import RunError

ROWS = 16
"""Texts in one forward pass."""


class Choice(NamedTuple):
    """A question with options, one of them right."""

    question: str
    options: tuple[str, ...]
    right: int


class Measured(NamedTuple):
    """What was found of one model."""

    passages: list[float]
    """the loss of a token, in nats, passage by passage"""
    right: list[bool]
    """question by question"""


def read_passages(file: Path) -> list[str]:
    """One a line: `{"text": ...}`."""
    return [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]


def read_choices(file: Path) -> list[Choice]:
    """One a line: `{"question": ..., "options": [...], "right": place}`."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Choice(row["question"], tuple(row["options"]), row["right"]) for row in rows]


def measure(model: Any, tokenizer: Any, passages: Sequence[str], choices: Sequence[Choice]) -> Measured:
    """Both, of a transformers model. Raises RunError if its losses are no numbers."""
    told = losses(model, tokenizer, [("", passage) for passage in passages])
    asked = [(f"Question: {one.question}\nAnswer:", f" {option}") for one in choices for option in one.options]
    heard = iter(losses(model, tokenizer, asked))
    right = []
    for one in choices:
        scores = [next(heard)[0] / len(option) for option in one.options]
        right.append(min(range(len(scores)), key=scores.__getitem__) == one.right)
    return Measured([total / tokens for total, tokens in told], right)


def losses(model: Any, tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
    """(sum of the losses in nats, tokens) of each text, given what comes before it: pairs of (before, text).

    The very first token of all has nothing before it, and isn't counted.
    """
    rows = []
    for before, text in texts:
        ids = tokenizer(before + text).input_ids
        rows.append((ids, max(1, len(tokenizer(before).input_ids)) if before else 1))
    out = []
    for first in range(0, len(rows), ROWS):
        batch = rows[first : first + ROWS]
        longest = max(len(ids) for ids, _ in batch)
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch], device=model.device)  # (B, T)
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch], device=model.device)
        with torch.no_grad():
            logits = model(input_ids=padded, attention_mask=mask).logits[:, :-1].float()  # (B, T - 1, V)
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), padded[:, 1:], reduction="none")  # (B, T - 1)
        for row, (ids, start) in zip(each, batch, strict=True):
            own = row[start - 1 : len(ids) - 1]
            out.append((own.sum().item(), len(own)))
    if not all(math.isfinite(total) for total, _ in out):
        raise RunError("the model's losses on plain text are no finite numbers: its weights are broken")
    return out


def figures(before: Measured, after: Measured, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Benchmark -> figures, as in `summary.json`.

    `plain_text`: `n` passages and `perplexity` (`base`, `tuned`, their `ratio` with `ci95_ratio`, paired by passage; means are over
    passages). `multiple_choice`: `n` questions and `right` before and after.
    """
    change = statistics.mean([b - a for a, b in zip(before.passages, after.passages, strict=True)], seed)
    base, tuned = (math.exp(sum(one.passages) / len(one.passages)) for one in (before, after))
    perplexity = {"base": base, "tuned": tuned, "ratio": math.exp(change.value), "ci95_ratio": [math.exp(x) for x in change.ci95]}
    return {
        "plain_text": {"n": len(before.passages), "perplexity": perplexity},
        "multiple_choice": {"n": len(before.right), "right": statistics.before_after(before.right, after.right, seed)},
    }
