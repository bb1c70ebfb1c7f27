"""From scenes to examples: a trace is exactly what was asked and answered, and the shares are as set."""

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest

from matrix_core import simulation, waves
from matrix_core.mixing import mix, some_traces, traces_of
from matrix_core.request import Completion
from matrix_core.scene import Example, Instruction, Role, Scene, Settings
from matrix_core.steps import STEPS


def answer_to(schema: dict[str, Any] | None, rng: random.Random, serial: Any) -> Any:
    """Any answer that the schema allows; no two strings are the same, so that roles differ in name."""
    if schema is None:
        return f"free text {next(serial)}"
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "object":
        return {key: answer_to(value, rng, serial) for key, value in schema["properties"].items()}
    if schema["type"] == "array":
        if "enum" in schema["items"]:
            return [name for name in schema["items"]["enum"] if rng.random() < 0.6]
        return [answer_to(schema["items"], rng, serial) for _ in range(schema["maxItems"])]
    return rng.random() < 0.85 if schema["type"] == "boolean" else f"words {next(serial)}"


class Player:
    """Answers everything at random, as the schema allows, and writes down what it was asked and what it said."""

    fingerprint = "player"

    def __init__(self, seed: int) -> None:
        self.rng, self.serial, self.asked = random.Random(seed), itertools.count(), Counter()

    def generate(self, requests, progress=None):
        out = []
        for request in requests:
            answer = answer_to(request.json_schema, self.rng, self.serial)
            text = answer if isinstance(answer, str) else json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
            turns = (request.messages[0], request.messages[-1])
            self.asked[tuple((turn.role, turn.content) for turn in turns), text] += 1
            out.append(Completion(text=text))
        return out


def play(seed: int, settings: Settings) -> tuple[Scene, Player]:
    """One scene, played to its end by the real state machine."""
    player, scenes = Player(seed), [Scene(instruction=Instruction.of(f"Instruction {seed}?"))]
    while (due := simulation.next_wave(scenes, settings)) is not None:
        outcome = waves.run(STEPS[due[0].step], scenes, settings, player)
        assert not outcome.failed
        scenes = outcome.scenes
    return scenes[0], player


def done(harmful: int, harmless: int) -> list[Scene]:
    """Finished scenes of which nothing matters but the ends."""
    base = Scene(
        instruction=Instruction.of("x"), draft="d", setting="s", protagonist=Role(name="zoe", traits="t", status="u"), plan=("Go.",)
    )
    scenes = [
        base.model_copy(
            update={
                "instruction": Instruction.of(f"{harmed} {i}"),
                "summary": f"sum {i}",
                "critique": f"crit {i}",
                "harmed": ("zoe",) if harmed else (),
                "refined": f"better {i}",
            }
        )
        for n, harmed in ((harmful, True), (harmless, False))
        for i in range(n)
    ]
    return sorted(scenes, key=lambda scene: scene.id)


def counts(examples: list[Example]) -> dict[str, int]:
    return dict(Counter(example.source for example in examples))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("style", ["full", "pocket"])
@pytest.mark.parametrize("depth", [1, 2])
def test_every_structured_answer_of_a_scene_is_rebuilt_exactly(seed, style, depth):
    settings = Settings(style=style, roles=3, steps=3, reaction_depth=depth, memory_limit=1000)
    scene, player = play(seed, settings)
    traces = Counter((e.prompt, e.completion) for found in traces_of(scene, settings).values() for e in found)
    free = Counter({key: n for key, n in player.asked.items() if key[1].startswith("free text")})
    assert traces == player.asked - free
    assert sum(traces.values()) > 10


@pytest.mark.parametrize("seed", range(4))
def test_with_a_summarised_memory_fewer_are_rebuilt_but_none_wrongly(seed):
    settings = Settings(roles=3, steps=3, memory_limit=2)
    scene, player = play(seed, settings)
    assert scene.remembered
    found = traces_of(scene, settings)
    assert {"roles", "plan", "summary", "critique"} <= found.keys()
    assert all((e.prompt, e.completion) in player.asked for some in found.values() for e in some)


def test_traces_are_of_different_steps_first_and_none_comes_twice():
    settings = Settings(roles=3, steps=3, memory_limit=1000)
    scenes = [play(seed, settings)[0] for seed in range(5)]
    chosen = some_traces(scenes, 4, 0, settings)
    assert Counter(example.scene for example in chosen) == dict.fromkeys((scene.id for scene in scenes), 4)
    for scene in scenes:
        steps = {step: {e.completion for e in found} for step, found in traces_of(scene, settings).items()}
        mine = [example.completion for example in chosen if example.scene == scene.id]
        assert len({next(step for step, texts in steps.items() if text in texts) for text in mine}) == 4
    assert len(some_traces([scenes[0], scenes[0]], 1000, 0, settings)) == len(some_traces([scenes[0]], 1000, 0, settings))


def test_the_example_that_matters_is_the_bare_instruction_and_the_refined_answer():
    (example,) = mix(done(1, 0), [], {"harmful": 1.0}, 0, 0, Settings())
    assert example == Example(
        scene=Instruction.of("True 0").id, source="harmful", prompt=(("user", "True 0"),), completion="better 0"
    )


def test_shares_are_as_set_where_there_is_enough():
    general = [Example(scene="", source="general", prompt=(("user", f"q{i}"),), completion="a") for i in range(300)]
    shares = {"harmful": 0.4, "harmless": 0.3, "trace": 0.2, "general": 0.1}
    mixed = mix(done(40, 90), general, shares, 4, 0, Settings())
    # The harmless ones lead: 90 of them are 30 % of 300. Of the harmful, 120 would be needed and 40 are there.
    assert counts(mixed) == {"harmful": 40, "harmless": 90, "trace": 60, "general": 30}


def test_a_source_with_no_share_or_no_examples_is_left_out():
    assert counts(mix(done(5, 0), [], {"harmful": 0.5, "harmless": 0.5, "trace": 0.0}, 4, 0, Settings())) == {"harmful": 5}
    assert mix([], [], {"harmful": 1.0}, 4, 0, Settings()) == []


def test_scenes_that_were_not_finished_teach_nothing():
    assert mix([Scene(instruction=Instruction.of("x"), draft="d")], [], {"harmful": 0.5, "trace": 0.5}, 4, 0, Settings()) == []


def test_the_mix_follows_from_the_seed():
    scenes = done(20, 30)
    shares = {"harmful": 0.2, "harmless": 0.6, "trace": 0.2}
    first = mix(scenes, [], shares, 2, 0, Settings())
    assert mix(iter(scenes), [], shares, 2, 0, Settings()) == first
    assert mix(scenes, [], shares, 2, 1, Settings()) != first
    with pytest.raises(ValueError, match="order of their ids"):
        mix(scenes[::-1], [], shares, 2, 0, Settings())
