"""What a scene costs in a large run against a small one, with a stub for the model (`scripted.py`): time and peak memory.

The real flow, gates, store, journal and Prefect, each run in a process of its own. A shard of `SHARD_SIZE` scenes has its fixed
costs too (a task and a gate a wave), so three sizes are measured: 100 scenes, one full shard, and 10,000.
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any

from benchmarks import ratios
from benchmarks.work import watched

FEW, SHARD, MANY = 100, 1000, 10_000
REPEATS = 3
"""Of each run but the largest; medians count."""


class Stopwatch:
    """Seconds in each of some functions, without what they call of the others."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = threading.local()

    def watch(self, phase: str, owner: Any, name: str) -> None:
        """Count what this function of a module or class takes as part of the phase, from now on."""
        real: Callable[..., Any] = getattr(owner, name)

        @wraps(real)
        def timed(*given: Any, **named: Any) -> Any:
            stack = self._inside.__dict__.setdefault("stack", [])
            stack.append(0.0)
            began = time.perf_counter()
            try:
                return real(*given, **named)
            finally:
                took = time.perf_counter() - began
                self.seconds[phase] += took - stack.pop()
                if stack:
                    stack[-1] += took

        setattr(owner, name, timed)


def child(scenes: int, store: str) -> dict[str, Any]:
    """One run of `simulate` after a warm-up of four scenes that imports everything; seconds of the stage, and of its phases."""
    from benchmarks.scripted import ScriptedEngine
    from matrix_core.engines import spread

    spread.SpreadEngine = ScriptedEngine  # type: ignore[misc] # before tasks.engines takes the name
    from flows import cli
    from flows.prefect_settings import prefect_for
    from matrix_core import simulation, waves
    from matrix_core.engines.journal_file import Journal

    with prefect_for(debug=False):  # set before anything imports Prefect
        from tasks import calling, memo, play, playing
        from tasks import keys as task_keys
        from tasks.runs import Simulated, recall
        from tasks.store import Store, open_store
        from validations import gate

    began = time.perf_counter()
    cli.main(["simulate", "--store", store, "--scenes", "4", "--run-id", "warm"])
    warm = time.perf_counter() - began
    watch = Stopwatch()
    for phase, owner, name in (
        ("stub", ScriptedEngine, "generate"),
        ("journal", Journal, "find"),
        ("journal", Journal, "add"),
        ("journal", Journal, "forget"),
        ("ask and absorb", waves, "run"),
        ("which step is due", simulation, "next_step"),
        ("read scenes", playing, "load_scenes"),
        ("write scenes", playing, "to_lines"),
        ("write scenes", playing, "pack_lines"),
        ("write scenes", play, "dump_scenes"),
        ("fingerprints and keys", memo, "hash_of"),
        ("store", Store, "put"),
        ("store", Store, "get"),
        ("store", Store, "remember"),
        ("store", Store, "recall"),
        ("taken over from other shards", memo, "recall"),
        ("fingerprints and keys", play, "key_of"),
        ("fingerprints and keys", task_keys, "explain"),
        ("gates", play, "_gated"),
        ("a step's task, the rest", play, "_perform"),
        ("Prefect", calling, "call"),
    ):
        watch.watch(phase, owner, name)
    watch.watch("gates", gate, "check")
    from flows import simulate

    simulate.call = calling.call  # type: ignore[attr-defined]
    whole = time.perf_counter()
    cli.main(["simulate", "--store", store, "--scenes", str(scenes), "--run-id", "measured", "--seed", "1"])
    whole = time.perf_counter() - whole
    done = recall(open_store(store), "measured", "simulate", Simulated)
    return {
        "scenes": done.count,
        "calls": sum(record.calls for record, _ in done.records),
        "warm_up": warm,
        "seconds": done.seconds,
        "command": whole,
        "phases": watch.seconds,
    }


def run(scenes: int) -> dict[str, Any]:
    """The figures of one run in a process of its own: what `child` tells, `wall` (with start-up) and `peak_gib`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache", "PREFECT_HOME": f"{folder}/prefect"}
        command = [sys.executable, "-m", "benchmarks.scale", str(scenes), f"{folder}/store"]
        said, wall, peak = watched(command, environment)
    told: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    print(f"{scenes:6} scenes: {told['seconds']:.1f} s, {wall:.1f} s with start-up, peak {peak:.2f} GiB")
    return told | {"wall": wall, "peak_gib": peak}


def main() -> dict[str, Any]:
    """Few, many, few again and so on, so that a machine that gets slower meanwhile slows both."""
    runs: dict[int, list[dict[str, Any]]] = {FEW: [], SHARD: [], MANY: []}
    for turn in range(REPEATS):
        for scenes in (FEW, SHARD, MANY) if turn == REPEATS // 2 else (FEW, SHARD):
            runs[scenes].append(run(scenes))

    def median(scenes: int, figure: str) -> float:
        return float(statistics.median(one[figure] for one in runs[scenes]))

    def per_scene(figure: str) -> dict[int, float]:
        return {scenes: median(scenes, figure) / scenes for scenes in runs}

    def slope(few: int, many: int) -> float:
        return (median(many, "seconds") - median(few, "seconds")) / (many - few)

    marginal = {"within a shard": slope(FEW, SHARD), "shard after shard": slope(SHARD, MANY)}
    peaks = {scenes: max(one["peak_gib"] for one in done) for scenes, done in runs.items()}
    phases = runs[MANY][0]["phases"]
    table: dict[str, Any] = {
        "engine": "stub",
        "runs": runs,
        "seconds_a_scene_with_start_up": per_scene("wall"),
        "seconds_a_scene": per_scene("seconds"),
        "seconds_a_further_scene": marginal,
        "time_ratio": per_scene("seconds")[MANY] / per_scene("seconds")[FEW],
        "further_scene_ratio": marginal["shard after shard"] / marginal["within a shard"],
        "peak_gib": peaks,
        "peak_ratio": peaks[MANY] / peaks[FEW],
    }
    print(f"of {MANY:,} scenes, two shards at a time, in which one waits for the other too:")
    for name, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        print(f"{name:30} {seconds:7.1f} s  {100 * seconds / sum(phases.values()):5.1f} %")
    print(f"a further scene with a share in its shard's waves: {table['further_scene_ratio']:.2f} times one within a shard")
    table["ratios"] = [
        ratios.row(
            f"{what}, {MANY:,} scenes against {FEW}, the engine a stub",
            [ratio],
            bound,
            f"{MANY:,} scenes: {shown.format(figures[MANY])}",
            f"{FEW} scenes: {shown.format(figures[FEW])}",
            at_least=False,
        )
        for what, ratio, bound, shown, figures in (
            ("time a scene above the start-up", table["time_ratio"], 1.1, "{:.4f} s a scene", per_scene("seconds")),
            ("peak memory", table["peak_ratio"], 1.5, "{:.2f} GiB", peaks),
        )
    ]
    return table


if __name__ == "__main__":
    print(json.dumps(child(int(sys.argv[1]), sys.argv[2])))
