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
from matrix_core.pocket.plain_lessons import asking, composing, draft, exercises, facts, pointing, telling_apart
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

READING: Shares = ((exercises, 0.4), (telling_apart, 0.6))
"""Repeating what stands in the text, and nothing to remember: learned in 300 steps when it comes first, and then at hand for all
that needs it. Among everything else from the start it was still a guess after 2,500."""
WHOLE: Shares = (
    (draft, 0.09),
    (facts, 0.12),
    (asking, 0.08),
    (composing, 0.08),
    (exercises, 0.09),
    (telling_apart, 0.05),
    (pointing, 0.04),
    (cast, 0.05),
    (planning, 0.03),
    (acting, 0.02),
    (checking, 0.07),
    (remembering, 0.03),
    (distributing, 0.03),
    (reacting, 0.04),
    (following, 0.07),
    (summing, 0.05),
    (judging, 0.05),
    (refining, 0.06),
)
_MORE: dict[Callable[[random.Random], Sample], float] = {reacting: 0.12, remembering: 0.09, exercises: 0.12, pointing: 0.06}
SHARP: Shares = tuple((make, _MORE.get(make, share)) for make, share in WHOLE)
"""More of what is learned last."""


def stream(seed: int, shares: Shares = WHOLE) -> Iterator[Sample]:
    """The endless corpus of this seed, in these shares of tasks."""
    rng = random.Random(seed)
    makers, weights = zip(*shares, strict=True)
    while True:
        yield rng.choices(makers, weights)[0](rng)
