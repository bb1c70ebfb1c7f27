"""The rivals of MATRIX, each made of the same pieces: requests, scenes, steps.

A rival has no scene to play, so it is a short list of steps; sampling, caching, tuning and evaluation are those of MATRIX.
"""

from matrix_core.rivals import (
    best_of_n,
    constitutional,
    context_distillation,
    in_context,
    mistake_analysis,
    reasoned,
    rlaif,
    rlcd,
    self_align,
    self_critique,
)
from matrix_core.rivals.base import Rival
from matrix_core.scene import Method

RIVALS: dict[Method, Rival] = {
    "constitutional": constitutional.RIVAL,
    "self-critique": self_critique.RIVAL,
    "reasoned": reasoned.RIVAL,
    "best-of-n": best_of_n.RIVAL,
    "mistake-analysis": mistake_analysis.RIVAL,
    "in-context": in_context.RIVAL,
    "context-distillation": context_distillation.RIVAL,
    "self-align": self_align.RIVAL,
    "rlaif": rlaif.RIVAL,
    "rlcd": rlcd.RIVAL,
}


def mixes(method: Method) -> bool:
    """Whether a method is tuned on a mix of sources: one that learns from preferences, or tunes nothing, is not."""
    rival = RIVALS.get(method)
    return rival is None or (rival.pair is None and rival.standing is None)


__all__ = ["RIVALS", "Rival", "mixes"]
