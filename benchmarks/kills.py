"""A run killed at ten random instants: does it end with the same bytes, and how much is asked twice.

Every process of the run gets SIGKILL at once, in the middle of `simulate`, `tune` and `evaluate`, and the same command is given
again. What the engine is asked is counted below the journal, by a log of this module's own that each process of the run appends to:
`python -m benchmarks.kills LOG run ...` is `matrix-align run ...` with that log.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.work import ROOT
from flows import cli
from matrix_core.engines.spread import SpreadEngine
from matrix_core.request import Completion, Request

SEED = 11
OPTIONS = ("--scenes", "96", "--questions", "200")
KILLS = {"simulate": 5, "tune": 2, "evaluate": 3}
BEFORE = {"tune": "simulate", "evaluate": "tune"}
FILES = ("scenes.jsonl", "quarantine.jsonl", "adapter/adapter_model.safetensors", "adapter/adapter_config.json")
SAME = ("counts", "gates", "evaluation", "settings")


class Batch(NamedTuple):
    """One call of the engine: the questions in it, and those of them that were answered."""

    asked: list[str]
    answered: list[str]


def main() -> dict[str, Any]:
    """One run in peace, one killed ten times; what differs between them, and what was asked twice for each kill."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calm = _Run(folder, "calm")
        calm.start().wait()
        if calm.uri is None:
            raise RuntimeError("the undisturbed run failed")
        lengths = calm.lengths()
        killed = _Run(folder, "killed")
        kills = [_kill(killed, stage, delay, gone_on) for stage, delay, gone_on in _instants(lengths)]
        killed.start().wait()
        differs = ["the run failed"] if killed.uri is None else list(_differences(calm, killed))
        again, bound = _repeats(calm.logs[0], killed.logs, [kill["killed"] for kill in kills])
        in_peace, in_all = _asked(calm.logs), _asked(killed.logs)
    for kill, (twice, wasted, batch) in zip(kills, again, strict=True):
        kill |= {"batch": batch, "asked_twice": twice, "answered_twice": wasted}
        print(
            f"kill in {kill['stage']} after {kill['seconds']:.1f} s of it: {twice} asked twice, {wasted} of them answered before; "
            f"the batch had {batch}"
        )
    table = {
        "seed": SEED,
        "options": OPTIONS,
        "stage_seconds": lengths,
        "kills": kills,
        "calls": in_peace.total(),
        "calls_more": in_all.total() - in_peace.total(),
        "asked_twice": sum(kill["asked_twice"] for kill in kills),
        "answered_twice": sum(kill["answered_twice"] for kill in kills),
        "at_most_one_batch_a_kill": bound,
        "questions_of_one_run_only": len(in_peace.keys() ^ in_all.keys()),
        "differs": differs,
        "left_alive": sum(kill["left_alive"] for kill in kills),
    }
    print(
        f"kills: {sum(kill['killed'] for kill in kills)} of {len(kills)} fell; what differs: {', '.join(differs) or 'nothing'}; "
        f"{table['asked_twice']} of {table['calls']} calls asked twice, {table['answered_twice']} answered twice; "
        f"at most one batch a kill: {bound}; processes that outlived a kill: {table['left_alive']}"
    )
    return table


class _Run:
    """The processes that work on one run, one after the other, each with a log of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.store = folder / name
        self.logs: list[Path] = []
        self._folder, self._out = folder, folder / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "_Run":
        """Give the command, for the first time or again."""
        self.logs.append(self._folder / f"{self.store.name}-{len(self.logs)}.log")
        command = [sys.executable, "-m", "benchmarks.kills", str(self.logs[-1]), "run", "--store", str(self.store), *OPTIONS]
        environment = os.environ | {"XDG_CACHE_HOME": str(self._folder / "cache"), "PREFECT_HOME": str(self._folder / "prefect")}
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, start_new_session=True)
        self.began = time.time()
        return self

    def wait(self) -> None:
        """Let it end."""
        assert self._process is not None
        self._process.wait()

    def wait_for(self, happened: Callable[[], bool], limit: float = 300) -> bool:
        """Whether it happens before the process ends."""
        assert self._process is not None
        until = time.time() + limit
        while not happened():
            if self._process.poll() is not None or time.time() > until:
                return False
            time.sleep(0.01)
        return True

    def kill(self) -> int:
        """SIGKILL to all its processes at once; how many of what it had started outlive that by ten seconds."""
        assert self._process is not None
        theirs = psutil.Process(self._process.pid).children(recursive=True)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _, alive = psutil.wait_procs(theirs, timeout=10)
        for process in alive:
            process.kill()
        return len(alive)

    def working(self) -> bool:
        """Whether the process that runs has asked its engine anything."""
        return self.logs[-1].exists()

    def has_done(self, stage: str) -> bool:
        """Whether the process that runs has left this stage's file."""
        return any(file.stat().st_mtime > self.began for file in self.store.glob(f"runs/*/stages/{stage}.json"))

    def lengths(self) -> dict[str, float]:
        """Stage -> seconds, the first from the first call of the engine."""
        times = [json.loads(self.logs[0].read_text().partition("\n")[0])["at"]]
        times += [next(self.store.glob(f"runs/*/stages/{stage}.json")).stat().st_mtime for stage in KILLS]
        return {stage: times[i + 1] - times[i] for i, stage in enumerate(KILLS)}

    @property
    def uri(self) -> Path | None:
        """The folder of the run, if it came to its end."""
        said = self._out.read_text().split()
        return Path(said[-1]) if said and Path(said[-1], "summary.json").exists() else None


def _instants(lengths: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """(stage, seconds until the kill, seconds of the stage behind it), drawn by the seed, in the order of the run.

    What was played or asked is not done again, so the next kill there comes as much later as it was drawn later; a tuning begins
    anew.
    """
    chance = random.Random(SEED)
    for stage, times in KILLS.items():
        before = 0.0
        for at in sorted(chance.uniform(0, 0.95 * lengths[stage]) for _ in range(times)):
            yield stage, at - before, at
            before = 0.0 if stage == "tune" else at


def _kill(run: _Run, stage: str, delay: float, at: float) -> dict[str, Any]:
    """Start the run, and kill it so many seconds after it has come to this stage, or to its first call."""
    run.start()
    came = run.wait_for(run.working if stage == "simulate" else lambda: run.has_done(BEFORE[stage]))
    due = time.time() + delay
    fell = came and run.wait_for(lambda: time.time() >= due)
    return {"stage": stage, "seconds": at, "killed": fell, "left_alive": run.kill() if fell else 0}


def _differences(calm: _Run, killed: _Run) -> Iterator[str]:
    """What the two runs have left that is not the same."""
    assert calm.uri
    assert killed.uri
    one, two = (json.loads((uri / "summary.json").read_text()) for uri in (calm.uri, killed.uri))
    yield from (name for name in SAME if one[name] != two[name])
    for name in ("scenes", "examples", "adapter"):
        if one["artifacts"][name]["sha256"] != two["artifacts"][name]["sha256"]:
            yield f"artifact {name}"
    yield from (name for name in FILES if (calm.uri / name).read_bytes() != (killed.uri / name).read_bytes())


def _repeats(calm: Path, logs: Sequence[Path], fell: Sequence[bool]) -> tuple[list[tuple[int, int, int]], bool]:
    """For each kill (questions of its last batch that the next process begins with, how many of them had an answer, its size).

    And whether no question came more often than in the undisturbed run and once for each kill that caught it in a last batch.
    """
    noted, times, allowed = [batches(log) for log in logs], _asked(logs), _asked([calm])
    rows = []
    for i, (asked, killed) in enumerate(zip(noted, fell, strict=False)):
        last = asked[-1] if asked and killed else Batch([], [])
        allowed.update(last.asked)
        first = next((set(later[0].asked) for later in noted[i + 1 :] if later), set())
        rows.append((len(first & set(last.asked)), len(first & set(last.answered)), len(last.asked)))
    return rows, times <= allowed


def _asked(logs: Sequence[Path]) -> Counter[str]:
    """How often each question was asked."""
    return Counter(key for log in logs for batch in batches(log) for key in batch.asked)


def batches(log: Path) -> list[Batch]:
    """What a process has asked its engine, call by call."""
    out: list[Batch] = []
    for line in log.read_text().splitlines() if log.exists() else ():
        said = json.loads(line)
        if "asked" in said:
            out.append(Batch(said["asked"], []))
        else:
            out[-1].answered.append(out[-1].asked[said["answered"]])
    return out


def counted(log: Path) -> None:
    """Let every call of the engine in this process be noted in the log, and every answer."""
    generate = SpreadEngine.generate

    def note(**said: object) -> None:
        # Opened for each line: what is written is the system's then, and outlives the process.
        with log.open("ab", buffering=0) as file:
            file.write((json.dumps(said) + "\n").encode())

    def noted(self: SpreadEngine, requests: Sequence[Request], progress: Any = None, finished: Any = None) -> list[Completion]:
        note(at=time.time(), asked=[hashlib.sha256(f"{self.fingerprint}{r.identity}".encode()).hexdigest()[:16] for r in requests])

        def tell(index: int, completion: Completion) -> None:
            note(answered=index)
            if finished:
                finished(index, completion)

        return generate(self, requests, progress, tell)

    SpreadEngine.generate = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    counted(Path(sys.argv[1]))
    sys.exit(cli.main(sys.argv[2:]))
