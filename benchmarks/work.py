"""The two commands of the README, measured as a stranger meets them: a fresh environment, then the main job with an empty store."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def setup() -> dict[str, float]:
    """Seconds that a new virtual environment takes, with everything pinned."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "--editable", ".[dev]"]
        subprocess.run(pip, check=True, cwd=ROOT, stdout=sys.stderr)
        seconds = time.time() - began
    print(f"set-up: {seconds:.0f} s")
    return {"seconds": seconds}


def run(store: str, *options: str) -> tuple[dict[str, Any], float]:
    """(summary, wall seconds) of one `matrix-align run` in a process of its own."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "--store", store, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.time() - began
    return json.loads(Path(done.stdout.strip().splitlines()[-1], "summary.json").read_text()), seconds


def main() -> dict[str, Any]:
    """The main job and the same again, with few scenes too, which shows what scenes cost: seconds, peak memory, calls."""
    with tempfile.TemporaryDirectory() as store:
        summary, seconds = run(store)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        again, seconds_again = run(store)
        few, _ = run(store, "--scenes", "8")
        _, seconds_few = run(store, "--scenes", "8")
    table = {
        "scenes": summary["counts"]["scenes"],
        "seconds": seconds,
        "peak_gib": peak,
        "timing": summary["timing"],
        "calls": summary["tokens"]["calls"],
        "again_seconds": seconds_again,
        "again_calls": again["tokens"]["calls"],
        "again_seconds_of_8_scenes": seconds_few,
        "again_seconds_per_1000_scenes": 1000
        * (seconds_again - seconds_few)
        / (summary["counts"]["scenes"] - few["counts"]["scenes"]),
    }
    print(f"work: {table['scenes']} scenes in {seconds:.0f} s, peak {peak:.2f} GiB")
    print(f"again: {seconds_again:.0f} s, {table['again_calls']} calls; {seconds_few:.0f} s with 8 scenes")
    return table
