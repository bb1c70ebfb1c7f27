"""The decode loop: one batch of encoded requests through a model, each row from its prompt to its end.

The longest common beginning of all prompts is computed once and its cache shared; the rest of each prompt stands behind it, padded
on the left. Rows that are done leave the batch as soon as enough of them are.

    slots of a row:   [ shared beginning | padding | rest of the prompt | answer ... ]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from llguidance import LLMatcher

from matrix_core.engines.cache import new_cache
from matrix_core.engines.chat import Chat
from matrix_core.engines.constraint import Grammars
from matrix_core.engines.sampling import Sampler

SHARED = 16
"""Tokens that a shared beginning must have at least to be worth a pass of its own."""
PREFILL = 16_384
"""Prompt tokens of a batch that go through the model at once."""


@dataclass(frozen=True)
class Row:
    """One request, encoded: what the loop needs to know of it."""

    prompt: list[int]
    limit: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]
    matcher: LLMatcher | None


class Answer(NamedTuple):
    """What a row came to. `tokens` counts those of the answer, without the end token."""

    text: str
    tokens: int
    reason: Literal["stop", "length", "error"]
    error: str | None = None


class Decoder:
    """A model with all that is needed to read its tokens."""

    def __init__(self, model: Any, chat: Chat, grammars: Grammars, ends: Sequence[int]) -> None:
        self._model = model
        self._chat = chat
        self._grammars = grammars
        self._device = model.device
        self._vocabulary = model.config.get_text_config().vocab_size
        self._is_end = np.zeros(self._vocabulary, dtype=bool)
        self._is_end[list(ends)] = True
        self._pad = ends[0]
        self._bytes: list[bytes] | None = None

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Iterator[tuple[int, Answer]]:
        """Answers as they finish, each with the index of its row."""
        # 1. Read the prompts.
        batch = _Batch(self._model, [row.prompt for row in rows], self._pad)
        device, count = self._device, len(rows)
        sampler = Sampler(
            [row.temperature for row in rows],
            [row.top_p for row in rows],
            [row.seed for row in rows],
            [row.limit for row in rows],
            device,
        )
        limits = np.array([row.limit for row in rows])
        closes = self._closing(rows)
        said = np.zeros((count, limits.max()), dtype=np.int64)
        alive = np.arange(count)  # which row stands where in the batch
        done = np.zeros(count, dtype=bool)  # by place in the batch
        for step in range(limits.max()):
            # 2. Choose a token for every row that is still in the batch.
            logits = batch.logits.float()
            bound = [(matcher, place) for place in np.flatnonzero(~done) if (matcher := rows[alive[place]].matcher) is not None]
            if bound:
                self._grammars.forbid(logits, [(matcher, int(place)) for matcher, place in bound])
            tokens = sampler.choose(logits, step)
            chosen = tokens.cpu().numpy()
            said[alive, step] = chosen
            # 3. See which rows end with it: by an end token, a complete or broken grammar, a stop string, or their limit.
            ended = self._is_end[chosen]
            self._grammars.accept([(matcher, int(chosen[place])) for matcher, place in bound if not ended[place]])
            complete = np.zeros(len(alive), dtype=bool)
            complete[[place for matcher, place in bound if not ended[place] and matcher.is_stopped()]] = True
            stopped = {}
            for place in np.flatnonzero(closes[alive, chosen] & ~done & ~ended):
                if (text := self._cut(rows[alive[place]].stop, said[alive[place], : step + 1])) is not None:
                    stopped[int(place)] = text
            over = ended | complete | (step + 1 >= limits[alive])
            over[list(stopped)] = True
            over &= ~done
            for place in np.flatnonzero(over):
                index = int(alive[place])
                length = step + (not ended[place])
                text = stopped.get(int(place))
                if text is None:
                    text = self._chat.decode([said[index, :length].tolist()])[0]
                matcher = rows[index].matcher
                if matcher is not None and matcher.is_error():
                    yield index, Answer("", length, "error", f"constrained decoding failed: {matcher.get_error().splitlines()[0]}")
                else:
                    natural = ended[place] or complete[place] or int(place) in stopped
                    yield index, Answer(text, length, "stop" if natural else "length")
            done |= over
            # 4. Go on with the rest.
            if done.all():
                return
            if done.sum() * 4 >= len(done):
                kept = np.flatnonzero(~done)
                keep = torch.from_numpy(kept).to(device)
                batch.keep(keep)
                sampler.keep(keep)
                alive, done, tokens = alive[kept], done[kept], tokens[keep]
            batch.advance(tokens)

    def _closing(self, rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(rows, vocabulary): may this token complete a stop string of this row? Only then is the row's text looked at."""
        out = np.zeros((len(rows), self._vocabulary), dtype=bool)
        stops = {row.stop for row in rows} - {()}
        if stops and self._bytes is None:
            self._bytes = self._grammars.token_bytes()
        for stop in stops:
            last = {text.encode()[-1] for text in stop}
            closing = np.array([not last.isdisjoint(token) for token in self._bytes or ()])
            out[[i for i, row in enumerate(rows) if row.stop == stop]] = closing
        return out

    def _cut(self, stop: Sequence[str], tokens: np.ndarray[Any, np.dtype[np.int64]]) -> str | None:
        """The text before the first stop string; None if there is none in it."""
        text = self._chat.decode([tokens.tolist()])[0]
        found = [place for mark in stop if (place := text.find(mark)) >= 0]
        return text[: min(found)] if found else None


class _Batch:
    """Prompts and answers of a batch inside the model: its cache, what may be attended to, and the logits of what comes next."""

    logits: torch.Tensor  # (B, V)

    def __init__(self, model: Any, prompts: Sequence[list[int]], pad: int) -> None:
        self._model = model
        device, config = model.device, model.config.get_text_config()
        self._cache, plain = new_cache(config)
        # Padding behind the shared beginning is right only where a position is what position_ids say.
        shared = common(prompts) if plain and getattr(config, "rope_parameters", None) and len(prompts) > 1 else 0
        shared = shared if shared >= SHARED else 0
        if shared:
            self._forward(
                torch.tensor([prompts[0][:shared]], device=device), torch.ones(1, shared, device=device, dtype=torch.bool)
            )
            self._cache.reorder_cache(torch.zeros(len(prompts), dtype=torch.long, device=device))
        longest = max(map(len, prompts))
        padded = [[pad] * (longest - len(p)) + list(p[shared:]) for p in prompts]
        holes = [[True] * shared + [False] * (longest - len(p)) + [True] * (len(p) - shared) for p in prompts]
        ids, self._mask = torch.tensor(padded, device=device), torch.tensor(holes, device=device)
        # A recurrent state can't be fed a prompt in pieces.
        width = max(64, PREFILL // len(prompts)) if plain else longest
        for start in range(0, longest - shared, width):
            piece = ids[:, start : start + width]
            self._forward(piece, self._mask[:, : shared + start + piece.shape[1]])

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """(B, n) new tokens, (B, all so far) mask."""
        position = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :] if ids.shape[1] > 1 else mask.sum(1, keepdim=True) - 1
        self.logits = self._model(
            input_ids=ids, attention_mask=mask, position_ids=position, cache=self._cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]

    def advance(self, tokens: torch.Tensor) -> None:
        """Append one token to every row."""
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=True)
        self._forward(tokens[:, None], self._mask)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._cache.reorder_cache(rows)
        self._mask = self._mask[rows]


def common(prompts: Sequence[list[int]]) -> int:
    """Length of the longest beginning that all prompts share; each keeps at least one token of its own."""
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts)) - 1
    return next((i for i in range(shortest) if first[i] != last[i]), max(shortest, 0))
