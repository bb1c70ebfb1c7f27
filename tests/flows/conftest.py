"""Real flows on the embedded model:

Prefect serves itself, the store is a folder. Small runs; the figures of real ones are `make bench`'s.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from flows import cli

QUESTIONS = 40
"""Of each benchmark, so that a run takes seconds: what is tested here is the wiring."""


class Run:
    """One finished run."""

    def __init__(self, uri: str) -> None:
        self.folder = Path(uri)
        self.id = self.folder.name
        self.store = str(self.folder.parents[1])
        self.summary = json.loads((self.folder / "summary.json").read_text())

    @property
    def hashes(self) -> dict[str, str]:
        return {
            name: artifact["sha256"] for name, artifact in self.summary["artifacts"].items() if name not in ("report", "data_docs")
        }


def simulated(capsys: pytest.CaptureFixture[str], store: Path, *options: str) -> dict[str, Any]:
    """What `matrix-align simulate` leaves, in this process."""
    assert cli.main(["simulate", "--store", str(store), *options]) == 0
    left = Path(capsys.readouterr().out.strip().splitlines()[-1], "stages", "simulate.json")
    return dict(json.loads(left.read_text()))


def start(capsys: pytest.CaptureFixture[str], store: Path, *options: str) -> Run:
    """`matrix-align run`, in this process."""
    code = cli.main(["run", "--store", str(store), "--questions", str(QUESTIONS), *options])
    out = capsys.readouterr()
    assert code == 0, out.err
    return Run(out.out.strip().splitlines()[-1])
