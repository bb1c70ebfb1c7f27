"""What becomes of a gate's verdict: it is noted, its full validation result kept in the store; a failure ends the step.

The Prefect UI is told of a failure before it ends anything: which expectation, for how many rows, and some of them. Behind the last
hand-off comes nothing that bad rows could spoil, only the report, which tells of them: that gate ends nothing.
"""

import logging
from typing import Any

from matrix_core.errors import RunError
from tasks import showing
from tasks.scenes_io import dump_rows
from tasks.store import Store
from validations.gate import GateResult


class GateError(RunError):
    """A gate that did not pass. `noted` is the gate as a run notes it."""

    def __init__(self, message: str, noted: dict[str, Any]) -> None:
        super().__init__(message)
        self.noted = noted


VALIDATION = "validation"
"""Where a noted gate has the reference to its validation result."""


def passed(judged: GateResult, store: Store) -> dict[str, Any]:
    """The gate as a run notes it: how many rows it took out, not which (these are in the quarantine), and where the full result is.

    Raises GateError, one line with expectation, share and sample rows, if it did not pass.
    """
    if not judged.passed:
        noted = _noted(judged, store)
        showing.gate_failed(noted)
        raise GateError(judged.failure(), noted)
    return told(judged, store)


def told(judged: GateResult, store: Store) -> dict[str, Any]:
    """The gate as a run notes it, passed or not: for the hand-off to the report, which tells what did not pass."""
    if not judged.passed:
        showing.note(judged.failure(), logging.WARNING)
    elif judged.warnings:
        showing.note(f"gate {judged.name}: {len(judged.warnings)} warnings, the first: {judged.warnings[0]}")
    return _noted(judged, store)


def _noted(judged: GateResult, store: Store) -> dict[str, Any]:
    """The gate, with where the full validation result is; nowhere if there was nothing to check."""
    noted = judged.model_dump(mode="json", exclude={"quarantined", VALIDATION}) | {"quarantined": len(judged.quarantined)}
    kept = {VALIDATION: store.put(dump_rows([judged.validation]), ".jsonl.gz").model_dump()} if judged.validation else {}
    return noted | kept
