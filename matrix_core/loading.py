"""Large packages, imported without the garbage collector, and left out of its rounds from then on.

A round over all that torch, Prefect and Great Expectations are made of (700,000 objects) takes nearly half a second, finds nothing,
and would be done again and again: several times while they are imported, then once for every few hundred scenes. Scenes and
requests hold no cycles either, so rounds are made rarer than Python has them: they took about a tenth of a wave without a model.
"""

import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# TRL and PEFT still use names that transformers calls old: nothing that a user could act upon.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)


_RARELY = (100_000, 50, 100)
"""How many new objects begin a round over the youngest (Python has 700), and after how many rounds older ones join."""


@contextmanager
def loading() -> Iterator[None]:
    """If anything is imported within, it is there for good, and so is whatever else the process holds at that moment."""
    collecting, there = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > there:
            gc.freeze()
            gc.set_threshold(*_RARELY)
        if collecting:
            gc.enable()
