"""A run at a server that misbehaves in every fifth call: is a scene lost or changed, does the summary count what the server did.

The server gives the embedded model's own answers (`embedded_server.py`), so the run can be compared, scene by scene, with one at
the same server behaving well. Only the engine's patience is another here: a server that hangs is given up after seconds.
"""

import json
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.embedded_server import NAME, WRONG_ROLE, Counts, serving
from flows import cli
from matrix_core.engines import endpoint
from matrix_core.engines.servers import Policy
from tests.misbehaving import TROUBLE

SCENES, STEPS, SHARE, SEED = 320, 1, 0.22, 7
"""A wrong role that is drawn for a question without roles is a good answer, so that about a fifth of the calls goes wrong."""
IMPATIENT = partial(Policy, read=6.0, start=32, most=32)
"""A hang is given up after seconds and not five minutes; few at a time, so that no good answer takes as long."""


class _Left(NamedTuple):
    """What a run has left, and what its server has done for it."""

    summary: dict[str, Any]
    scenes: dict[str, str]
    quarantine: bytes
    counts: Counts
    seconds: float


def main() -> dict[str, Any]:
    """Both runs; what became of the scenes, and the counts of either side."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "Policy", IMPATIENT)
        patch.setenv("XDG_CACHE_HOME", f"{name}/cache")
        good, bad = _run(f"{name}/good", 0.0), _run(f"{name}/bad", SHARE)
    did, troubles = bad.counts.done, bad.summary["tokens"]["troubles"]
    expected: Counter[str] = Counter()
    for how, kind in TROUBLE.items():
        expected[kind] += did[how]
    wrong = {"answers": did[WRONG_ROLE], "asked_again": bad.counts.asked_again, "re_asked": bad.summary["counts"]["re_asked"]}
    table: dict[str, Any] = {
        "seed": SEED,
        "scenes": good.summary["counts"],
        "calls": sum(did.values()),
        "calls_of_the_good_server": sum(good.counts.done.values()),
        "bad_share": 1 - did["good"] / sum(did.values()),
        "server_did": dict(did),
        "summary_troubles": troubles,
        "troubles_agree": troubles == +expected,
        "wrong_roles": wrong,
        "lost": len(good.scenes.keys() - bad.scenes.keys()),
        "changed": [id_ for id_, scene in good.scenes.items() if bad.scenes.get(id_, scene) != scene],
        "same_quarantine": good.quarantine == bad.quarantine,
        "seconds": {"good": good.seconds, "bad": bad.seconds},
    }
    print(
        f"faults: {table['calls']} calls, {100 * table['bad_share']:.1f} % of them bad: of {len(good.scenes)} scenes "
        f"{table['lost']} lost, {len(table['changed'])} changed; the summary counts {troubles}, the server {dict(+expected)}"
    )
    print(
        f"wrong roles: {wrong['answers']} answers, each for all scenes that asked the same; {wrong['asked_again']} questions came "
        f"again, the summary counts {wrong['re_asked']}"
    )
    return table


def _run(store: str, share: float) -> _Left:
    with serving(share, SEED) as server:
        began = time.time()
        told = ["--model", NAME, "--endpoint", server.url, "--scenes", str(SCENES), "--steps", str(STEPS), "--run-id", "measured"]
        if cli.main(["run", "--store", store, *told]):
            raise RuntimeError(f"the run at a server that misbehaves in {share:.0%} of its calls failed")
        seconds, counts = time.time() - began, server.counts()
    folder = Path(store, "runs", "measured")
    scenes = {json.loads(line)["instruction"]["id"]: line for line in (folder / "scenes.jsonl").read_text().splitlines()}
    return _Left(
        json.loads((folder / "summary.json").read_text()), scenes, (folder / "quarantine.jsonl").read_bytes(), counts, seconds
    )
