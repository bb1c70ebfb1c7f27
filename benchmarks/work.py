"""The two commands of the README, measured as a stranger meets them: a fresh environment, then the main job with an empty store."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import ratios

ROOT = Path(__file__).parents[1]
AGAIN = 3
"""How often a finished run is started again, with all scenes and with few."""


def setup() -> dict[str, float]:
    """Seconds that a new virtual environment takes, with everything pinned."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run(["make", "setup", f"VENV={folder}/venv"], check=True, cwd=ROOT, stdout=sys.stderr)
        seconds = time.time() - began
    print(f"set-up: {seconds:.0f} s")
    return {"seconds": seconds}


def run(store: str, *options: str) -> tuple[dict[str, Any], float, float]:
    """(summary, wall seconds, peak GiB) of one `matrix-align run` in a process of its own."""
    said, seconds, peak = watched([sys.executable, "-m", "flows.cli", "run", "--store", store, *options])
    return json.loads(Path(said.strip().splitlines()[-1], "summary.json").read_text()), seconds, peak


def watched(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, float, float]:
    """(standard output, wall seconds, peak GiB) of a command.

    The peak is that of all its processes together, looked at once a second; what they share counts once.
    """
    began = time.time()
    peak = 0
    with tempfile.TemporaryFile("w+") as out, psutil.Popen(command, cwd=ROOT, stdout=out, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, [process, *process.children(recursive=True)])))
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(1)
        seconds = time.time() - began
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        out.seek(0)
        return out.read(), seconds, peak / 2**30


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has just ended
        return 0


def main() -> dict[str, Any]:
    """The main job and the same again, with few scenes too, which shows what scenes cost: seconds, peak memory, calls."""
    with tempfile.TemporaryDirectory() as store:
        summary, seconds, peak = run(store)
        few, _, _ = run(store, "--scenes", "8")
        turns = [(run(store), run(store, "--scenes", "8")) for _ in range(AGAIN)]
    again, seconds_again, _ = turns[-1][0]
    stages, stages_few = [[sum(one[0]["timing"].values()) for one in side] for side in zip(*turns, strict=True)]
    more = summary["counts"]["scenes"] - few["counts"]["scenes"]
    table: dict[str, Any] = {
        "scenes": summary["counts"]["scenes"],
        "seconds": seconds,
        "peak_gib": peak,
        "timing": summary["timing"],
        "calls": summary["tokens"]["calls"],
        "again_seconds": seconds_again,
        "again_calls": again["tokens"]["calls"],
        "again_seconds_of_stages": stages,
        "again_seconds_of_stages_8_scenes": stages_few,
    }
    print(f"work: {table['scenes']} scenes in {seconds:.0f} s, peak {peak:.2f} GiB")
    table["ratios"] = ratios.row(
        "a finished run again, seconds per 1,000 scenes",
        [1000 * (many - some) / more for many, some in zip(stages, stages_few, strict=True)],
        2.0,
        f"{ratios.seconds(stages)}: the stages of {table['scenes']} scenes, {table['again_calls']} calls",
        f"{ratios.seconds(stages_few)}: those of {few['counts']['scenes']} scenes",
        at_least=False,
    )
    return table
