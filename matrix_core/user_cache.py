"""Where this program keeps what it may lose: a folder in the user's cache, on this machine."""

import os
from pathlib import Path


def user_cache() -> Path:
    """The folder; it need not exist yet. `XDG_CACHE_HOME` moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matrix-align"
