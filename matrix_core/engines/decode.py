"""The decode loop: encoded requests through a model, each from its prompt to its end.

The batch is kept full: once an eighth of its places is free, waiting rows enter them, while the others go on with their answers.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from llguidance import LLMatcher

from matrix_core.engines.batch import Batch
from matrix_core.engines.cache import Places
from matrix_core.engines.chat import Chat
from matrix_core.engines.constraint import Grammars
from matrix_core.engines.sampling import Sampler

Bits = np.ndarray[Any, np.dtype[np.bool_]]


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
        self._vocabulary = model.config.get_text_config().vocab_size
        self._is_end = np.zeros(self._vocabulary, dtype=bool)
        self._is_end[list(ends)] = True
        self._pad = ends[0]
        self._bytes: list[bytes] | None = None

    @torch.inference_mode()
    def run(self, rows: dict[int, Row], waiting: deque[int], budget: int, most: int) -> Iterator[tuple[int, Answer]]:
        """Answers as they finish, each with the index of its row.

        Rows leave `waiting` on its left as they enter the batch, the longest prompts first at best. A batch has `most` rows
        at most, and rows times (longest prompt + longest answer), the shared beginning left out, stays within
        `budget` tokens, unless it is one row.
        """
        if not waiting:
            return
        device = self._model.device
        batch = Batch(self._model, [rows[index].prompt for index in waiting], self._pad)
        longest = max(rows[index].limit for index in waiting)
        sampler = Sampler(longest, device)
        closing, kinds = self._closing([rows[index].stop for index in waiting])
        seats = np.zeros(0, dtype=np.int64)  # which row has which place, -1: free
        steps = np.zeros(0, dtype=np.int64)  # tokens of its answer so far
        said = np.zeros((0, longest), dtype=np.int64)  # and the tokens
        limits = np.zeros(0, dtype=np.int64)
        stops = np.zeros(0, dtype=np.int64)  # which of `closing` is its own
        tokens = np.zeros(0, dtype=np.int64)  # what each place is fed next
        while True:
            # 1. Let waiting rows in, or close the gaps, once an eighth of the places is free.
            free = int((seats < 0).sum())
            if free * 8 >= len(seats):
                kept = np.flatnonzero(seats >= 0)
                entering = _entering(rows, waiting, seats, budget, most, batch.shared) if batch.refills or not len(kept) else []
                places = len(kept) + len(entering)
                if not places:
                    return
                batch.resize(kept, places)
                sampler.resize(torch.from_numpy(kept).to(device), places)
                seats, steps, said, limits, stops, tokens = (
                    _resized(old, kept, places) for old in (seats, steps, said, limits, stops, tokens)
                )
                if entering:
                    batch.enter(len(kept), [rows[index].prompt for index in entering])
                for place, index in enumerate(entering, len(kept)):
                    row = rows[index]
                    sampler.enter(place, row.temperature, row.top_p, row.seed, row.limit)
                    seats[place], limits[place], stops[place], tokens[place] = index, row.limit, kinds[row.stop], row.prompt[-1]
            # 2. Choose the next token of every row.
            alive = seats >= 0
            logits = batch.advance(torch.from_numpy(tokens).to(device), alive).float()
            bound = [
                (matcher, place) for place in np.flatnonzero(alive).tolist() if (matcher := rows[seats[place]].matcher) is not None
            ]
            self._grammars.forbid(logits, bound)
            tokens = sampler.choose(logits, torch.from_numpy(steps).to(device)).cpu().numpy()
            said[np.arange(len(seats)), steps] = tokens
            steps += alive
            # 3. See which rows end with it: by an end token, a complete or broken grammar, a stop string, or their limit.
            ended = self._is_end[tokens]
            self._grammars.accept([(matcher, int(tokens[place])) for matcher, place in bound if not ended[place]])
            natural = ended.copy()
            natural[[place for matcher, place in bound if not ended[place] and matcher.is_stopped()]] = True
            cut = {}
            for place in np.flatnonzero(closing[stops, tokens] & alive & ~ended).tolist():
                if (text := self._cut(rows[seats[place]].stop, said[place, : steps[place]])) is not None:
                    cut[place] = text
            natural[list(cut)] = True
            for place in np.flatnonzero(alive & (natural | (steps >= limits))).tolist():
                length = int(steps[place] - ended[place])
                text = cut.get(place)
                if text is None:
                    text = self._chat.decode([said[place, :length].tolist()])[0]
                yield int(seats[place]), _answer(rows[seats[place]], text, length, bool(natural[place]))
                seats[place], steps[place] = -1, 0  # it is stepped on until somebody enters, which must not lead out of `said`

    def _closing(self, stops: Sequence[tuple[str, ...]]) -> tuple[Bits, dict[tuple[str, ...], int]]:
        """(kinds of stop, vocabulary): may this token complete one of these strings? Only then is a row's text looked at.

        And which kind is whose.
        """
        kinds = {stop: i for i, stop in enumerate(dict.fromkeys(stops))}
        out = np.zeros((len(kinds), self._vocabulary), dtype=bool)
        if any(kinds) and self._bytes is None:
            self._bytes = self._grammars.token_bytes()
        for stop, i in kinds.items():
            if stop:
                last = {text.encode()[-1] for text in stop}
                out[i] = [not last.isdisjoint(token) for token in self._bytes or ()]
        return out, kinds

    def _cut(self, stop: Sequence[str], tokens: np.ndarray[Any, np.dtype[np.int64]]) -> str | None:
        """The text before the first stop string; None if there is none in it."""
        text = self._chat.decode([tokens.tolist()])[0]
        found = [place for mark in stop if (place := text.find(mark)) >= 0]
        return text[: min(found)] if found else None


def _answer(row: Row, text: str, length: int, natural: bool) -> Answer:
    if row.matcher is not None and row.matcher.is_error():
        return Answer("", length, "error", f"constrained decoding failed: {row.matcher.get_error().splitlines()[0]}")
    return Answer(text, length, "stop" if natural else "length")


def _entering(rows: dict[int, Row], waiting: deque[int], seats: Places, budget: int, most: int, shared: int) -> list[int]:
    """Take from `waiting` what fits beside the rows that have seats."""
    inside = [rows[index] for index in seats if index >= 0]
    prompt = max((len(row.prompt) for row in inside), default=0)
    limit = max((row.limit for row in inside), default=0)
    out: list[int] = []
    while waiting and len(inside) + len(out) < most:
        row = rows[waiting[0]]
        prompt, limit = max(prompt, len(row.prompt)), max(limit, row.limit)
        if (len(inside) + len(out) + 1) * (prompt - shared + limit) > budget and (inside or out):
            break
        out.append(waiting.popleft())
    return out


def _resized(old: Places, kept: Places, places: int) -> Places:
    """(places, ...): what stands at `kept`, and 0 behind it."""
    new = np.zeros((places, *old.shape[1:]), dtype=old.dtype)
    new[: len(kept)] = old[kept]
    return new
