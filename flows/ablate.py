"""Arms against each other: each is a run of the usual stages, repeated by seeds; what they share is done once, by the cache.

Stopped at any point, the same command goes on: whatever was finished comes from the cache.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any

from prefect import flow

from flows.evaluate import evaluate
from flows.options import RunOptions
from flows.plan import Arm, Plan
from flows.report import as_json, versions
from flows.simulate import simulate
from flows.stages import run_stage
from flows.tune import tune
from matrix_core import arms
from matrix_core.arms import Cost
from matrix_core.errors import RunError
from matrix_core.rivals import RIVALS
from matrix_core.steps import STEPS
from tasks.comparison import render
from tasks.memo import Spent
from tasks.runs import Evaluated, Simulated, Tuned, recall
from tasks.store import Store, open_store

FILE = "ablation.json"


@flow(name="ablate", flow_run_name="ablate {plan.model}")
def ablate(plan: Plan, store: str, named: str) -> str:
    """Play, tune and evaluate every arm; write `ablation.json` and `ablation.html`. Returns their URI.

    `named`: how the plan was named, for the command beside the table.
    """
    opened, began, name = open_store(store), time.time(), plan.id
    opened.write(name, "plan.json", plan.model_dump_json(indent=1).encode())
    runs: dict[str, list[RunOptions]] = {arm: [] for arm in plan.played}
    total = len(plan.seeds) * len(plan.played)
    for seed in plan.seeds:
        for arm, settings in plan.played.items():
            print(f"ablate {sum(map(len, runs.values())) + 1}/{total}: {arm}, seed {seed}", file=sys.stderr, flush=True)
            options = plan.options(settings, seed, store, votes(plan, settings, seed, store))
            for stage in (simulate, tune, evaluate):
                run_stage(stage, options)
            runs[arm].append(options)
    told = summarise(plan, opened, runs) | {
        "run_id": name,
        "command": f"matrix-align ablate --plan {named}",
        "device": device(),
        "seconds": round(time.time() - began, 1),
    }
    opened.write(name, "ablation.html", render(told).encode())
    opened.write(name, FILE, as_json(told))
    return f"{opened.uri}/runs/{name}"


def votes(plan: Plan, arm: Arm, seed: int, store: str) -> int | None:
    """How many votes make an arm as dear as the first one; None where the arm says it itself.

    What a vote costs is measured: the arm is played with a single one.
    """
    if arm.equal is None or arm.method == "base" or arm.method == "matrix":
        return None
    one = plan.options(arm, seed, store, votes=1)
    run_stage(simulate, one)
    first, single = (
        recall(open_store(store), options.run, "simulate", Simulated)
        for options in (plan.options(plan.arms[plan.first], seed, store), one)
    )
    whole, alone, voted = cost(first), cost(single), cost(single, RIVALS[arm.method].by_votes)
    return arms.votes_for(getattr(whole, arm.equal), getattr(alone, arm.equal), getattr(voted, arm.equal))


def cost(simulated: Simulated, only: tuple[str, ...] | None = None) -> Cost:
    """What playing has cost for each instruction (all steps, or some of them), as if nothing had been in any cache.

    Raises RunError if a cached result comes from a version that did not note what it cost.
    """
    spent = Spent()
    for record, _ in simulated.records:
        if record.step in STEPS and (only is None or record.step in only):
            if not record.spent.seconds:
                raise RunError(f"what {record.step!r} cost was not noted by the version that did it: take another --store")
            spent = spent.plus(record.spent)
    return Cost(*(total / simulated.instructions for total in spent))


def summarise(plan: Plan, store: Store, runs: Mapping[str, list[RunOptions]]) -> dict[str, Any]:
    """All numbers of an ablation, and what they come from."""
    found: dict[str, dict[str, list[list[float]]]] = {name: {} for name in plan.arms}
    rows: dict[str, dict[str, Any]] = {}
    for name, arm in plan.arms.items():
        own = runs.get(name, [])
        when = "after" if own else "before"
        for options in own or runs[plan.first]:
            evaluated = recall(store, options.run, "evaluate", Evaluated)
            if problems := [problem for gate in evaluated.gates for problem in gate["problems"]]:
                raise RunError(f"arm {name!r}, run {options.run}: there is nothing to compare: {problems[0]}")
            outcomes = json.loads(store.get(evaluated.outcomes))[when] if evaluated.outcomes else {}
            for figure, values in outcomes.items():
                found[name].setdefault(figure, []).append(values)
        rows[name] = {"arm": arm.model_dump(mode="json", exclude_defaults=True), "runs": [options.run for options in own]}
        if own:
            simulated = [recall(store, options.run, "simulate", Simulated) for options in own]
            tuned = [recall(store, options.run, "tune", Tuned) for options in own]
            rows[name] |= {
                "cost": arms.mean_cost([cost(one) for one in simulated])._asdict(),
                "votes": [options.votes for options in own],
                "scenes": [one.count for one in simulated],
                "examples": [one.count for one in tuned],
                "tuning_seconds": sum((one.result or {}).get("seconds", 0.0) for one in tuned) / len(tuned),
                "hashes": {"scenes": [one.scenes.sha256 for one in simulated], "adapters": [_hash(one) for one in tuned]},
            }
    for name, figures in arms.compared(found, plan.first).items():
        rows[name]["figures"] = figures
    return {"plan": plan.model_dump(mode="json"), "first": plan.first, "arms": rows} | versions(runs[plan.first][0])


def device() -> str:
    """What it ran on."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def _hash(tuned: Tuned) -> str | None:
    return tuned.adapter.sha256 if tuned.adapter else None
