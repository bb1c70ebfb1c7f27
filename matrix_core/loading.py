"""Large packages, imported without the garbage collector, and left out of its rounds from then on.

A round over all that torch, Prefect and Great Expectations are made of (700,000 objects) takes nearly half a second, finds nothing,
and would be done again and again: several times while they are imported, then once for every few hundred scenes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """What is loaded within is there for good. Meant for what is done once a process: other objects of that moment stay too."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
