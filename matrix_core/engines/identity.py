"""What the in-process engine is called in the keys of what it answers, known without torch, transformers or the engine itself.

A run that is started again finds everything done, and must not wait for packages that only a model needs.
"""

import hashlib
from pathlib import Path

from matrix_core import models
from matrix_core.models import ModelSpec

VERSION = 2
"""Raise it when the same request to the same weights gets another answer."""


def fingerprint(spec: ModelSpec, adapter: Path | None = None) -> str:
    """SHA-256 over `VERSION`, the model's fingerprint and its adapter's. Raises UserError for an adapter that isn't one."""
    tuned = models.adapter_hash(adapter) if adapter else ""
    return hashlib.sha256(f"local {VERSION} {spec.fingerprint} {tuned}".encode()).hexdigest()
