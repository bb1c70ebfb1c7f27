"""What the embedded model is taught before alignment: one stream of (request, answer) pairs, drawn by seed.

Three kinds, and what they may contain (`tests/unit/test_corpus_split.py` proves it on the actual stream):

- *bare*: plain instructions with helpful answers, never a refusal, and plain facts and exercises; all acts and places (facts
  that put an act and a place together: skill and train ones only);
- *simulation*: every role of a scene; skill and train acts and places only;
- *judgement*: critique and refinement; skill acts and places only, else invented ones.

Most scenes are invented (who is there, what they bear, what is lacking), so that the text must be read and can't be recalled. The
prompts are rendered by the very functions that ask the model later (`matrix_core/steps`), so they can't drift apart.
"""

import random
from collections.abc import Callable, Iterator

from matrix_core.pocket.judgement_lessons import judging, refining
from matrix_core.pocket.plain_lessons import composing, draft, exercises, facts, pointing, telling_apart
from matrix_core.pocket.sample import Sample
from matrix_core.pocket.scene_lessons import (
    acting,
    cast,
    checking,
    distributing,
    following,
    planning,
    reacting,
    remembering,
    summing,
)

Shares = tuple[tuple[Callable[[random.Random], Sample], float], ...]
"""Makers of samples, and how much of the corpus each makes up."""

FOUNDATION: Shares = (
    (draft, 0.11),
    (facts, 0.20),
    (exercises, 0.09),
    (cast, 0.05),
    (planning, 0.04),
    (acting, 0.02),
    (checking, 0.11),
    (remembering, 0.04),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.06),
    (judging, 0.05),
    (refining, 0.08),
)
WHOLE: Shares = (
    (draft, 0.10),
    (facts, 0.17),
    (composing, 0.08),
    (exercises, 0.08),
    (cast, 0.05),
    (planning, 0.04),
    (acting, 0.02),
    (checking, 0.10),
    (remembering, 0.04),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.06),
    (judging, 0.05),
    (refining, 0.08),
)
SHARP: Shares = (
    (draft, 0.08),
    (facts, 0.15),
    (composing, 0.06),
    (exercises, 0.07),
    (telling_apart, 0.10),
    (pointing, 0.04),
    (cast, 0.03),
    (planning, 0.03),
    (acting, 0.02),
    (checking, 0.12),
    (remembering, 0.03),
    (distributing, 0.03),
    (reacting, 0.05),
    (following, 0.07),
    (summing, 0.04),
    (judging, 0.06),
    (refining, 0.07),
)


def stream(seed: int, shares: Shares | None = None) -> Iterator[Sample]:
    """The endless corpus of this seed, in these shares of tasks (default: all of them, `WHOLE`)."""
    rng = random.Random(seed)
    makers, weights = zip(*(shares or WHOLE), strict=True)
    while True:
        yield rng.choices(makers, weights)[0](rng)
