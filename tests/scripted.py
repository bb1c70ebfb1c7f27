"""Scenes played to their end against an engine whose every answer is scripted: no model, no I/O."""

import json
import random

from matrix_core import simulation, waves
from matrix_core.request import Completion
from matrix_core.scene import Instruction, Scene, Settings

PEOPLE = ["ann", "bob", "cid", "dee", "eve"]


class Script:
    """An engine whose answers are drawn by seed from all that the schemas allow.

    It stands in for a model: the rules are what is tested.
    """

    fingerprint = "script"

    def __init__(self, seed: int, secret: float = 0.3, infeasible: float = 0.3) -> None:
        self.rng, self.secret, self.infeasible, self.asked = random.Random(seed), secret, infeasible, []

    def generate(self, requests, progress=None):
        self.asked += requests
        return [Completion(text=self.answer(request), prompt_tokens=1, completion_tokens=1) for request in requests]

    def answer(self, request) -> str:
        if request.json_schema is None:
            return f"text {self.rng.random()}"
        return json.dumps({name: self.value(name, part) for name, part in request.json_schema["properties"].items()})

    def value(self, name, part):
        if "enum" in part:
            return self.rng.choice(part["enum"])
        if name == "feasible":
            return self.rng.random() > self.infeasible
        if name == "aware":
            names = part["items"].get("enum", [])
            return [] if self.rng.random() < self.secret else [n for n in names if self.rng.random() < 0.6]
        if name == "harmed":
            return [n for n in part["items"].get("enum", []) if self.rng.random() < 0.3]
        if name == "protagonist":
            return {"name": "zoe", "traits": "bold", "status": "here"}
        if name == "roles":
            return [{"name": n, "traits": f"trait of {n}", "status": "here"} for n in PEOPLE[: part["maxItems"]]]
        if name == "plan":
            return [f"Step {i}." for i in range(self.rng.randint(1, part["maxItems"]))]
        return f"{name} {self.rng.random():.9f}"


def played(seed: int, play: Settings, n: int = 3) -> tuple[list[Scene], Script, list[str]]:
    script = Script(seed)
    scenes = [Scene(instruction=Instruction.of(f"ask {seed} {i}")) for i in range(n)]
    order = []
    while due := simulation.next_wave(scenes, play):
        wave, turn = due
        order.append(wave.step)
        outcome = waves.run(simulation.step(wave.step, play), [scenes[i] for i in turn], play, script)
        assert not outcome.failed
        for i, scene in zip(turn, outcome.scenes, strict=True):
            scenes[i] = scene
    return scenes, script, order
