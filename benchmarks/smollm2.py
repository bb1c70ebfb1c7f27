"""How robust the full prompts are on a small real model: scenes from our own everyday instructions with SmolLM2-135M-Instruct."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.work import ROOT


def main() -> dict[str, Any]:
    """Scenes that passed all gates, answers asked again, seconds a scene."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "flows.cli", "simulate", "--store", store, "--model", "smollm2"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        left = json.loads(Path(done.stdout.strip().splitlines()[-1], "stages", "simulate.json").read_text())
    records = [record for record, _ in left["records"]]
    table = {
        "instructions": left["instructions"],
        "scenes": left["count"],
        "calls": sum(record["calls"] for record in records),
        "re_asked": sum(record["re_asked"] for record in records),
        "seconds_a_scene": left["seconds"] / left["instructions"],
    }
    passed = f"{table['scenes']} of {table['instructions']} scenes passed all gates"
    print(f"smollm2: {passed}, {table['seconds_a_scene']:.1f} s a scene")
    print(f"         {table['re_asked']} of {table['calls']} answers asked again")
    return table
