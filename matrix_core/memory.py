"""Memory that is no longer used, given back to the system: the C library keeps what is freed, up to a gigabyte after a training."""

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """All of it, cycles of objects too."""
    gc.collect()
    trim()


def trim() -> None:
    """What has been freed by now, in some milliseconds."""
    with suppress(OSError, AttributeError):  # another C library than glibc, which has its own ways
        ctypes.CDLL(None).malloc_trim(0)
