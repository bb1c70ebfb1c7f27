"""How robust the full prompts are on a small real model: the whole path over 32 instructions with SmolLM2-135M-Instruct."""

import tempfile
from typing import Any

from benchmarks.work import run


def main() -> dict[str, Any]:
    """Scenes that passed all gates, answers asked again, seconds a scene."""
    with tempfile.TemporaryDirectory() as store:
        summary, seconds = run(store, "--model", "smollm2")
    counts, tokens = summary["counts"], summary["tokens"]
    played = counts["instructions"]
    table = {
        "instructions": played,
        "scenes": counts["scenes"],
        "re_asked": counts["re_asked"],
        "calls": tokens["calls"],
        "seconds_a_scene": summary["timing"]["simulate"] / played,
        "seconds": seconds,
    }
    print(f"smollm2: {counts['scenes']} of {played} scenes passed all gates, {table['seconds_a_scene']:.1f} s a scene")
    print(f"         {counts['re_asked']} of {tokens['calls']} answers asked again")
    return table
