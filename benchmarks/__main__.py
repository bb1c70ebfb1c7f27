"""`make bench`: the figures of the README. `make bench ARGS="steps work"` measures some of them only."""

import json
import sys
from pathlib import Path

from benchmarks import endpoint, engine, faults, flow, gpu, kills, ratios, scale, served, smollm2, steps, work

ALL = {
    "setup": work.setup,
    "work": work.main,
    "steps": steps.main,
    "smollm2": smollm2.main,
    "engine": engine.main,
    "flow": flow.main,
    "endpoint": endpoint.main,
    "scale": scale.main,
    "gpu": gpu.main,
    "kills": kills.main,
    "faults": faults.main,
    "served": served.main,
}
DEFAULT = ("setup", "work", "steps")
OUT = Path("bench-results")


def main(wanted: list[str]) -> int:
    """Measure, print, and keep the numbers as JSON and all ratios in one picture."""
    unknown = sorted(set(wanted) - set(ALL))
    if unknown:
        print(f"bench: there is no {unknown[0]!r}; choose from {', '.join(ALL)}", file=sys.stderr)
        return 2
    OUT.mkdir(exist_ok=True)
    for name in wanted or DEFAULT:
        print(f"--- {name}")
        (OUT / f"{name}.json").write_text(json.dumps(ALL[name](), indent=1) + "\n")
    tables = [json.loads(file.read_text()) for file in sorted(OUT.glob("*.json"))]
    (OUT / "ratios.svg").write_text(ratios.picture(ratios.found(tables)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
