"""A whole run at an endpoint that fails now and then, with a budget that ends it halfway. The server is real, its model is not: it
answers in any words that fit the schema, and now and then with people who are not there.
"""

import json
import random
import threading

import pytest

from flows import cli
from tests.flows.conftest import QUESTIONS, start
from tests.misbehaving import EchoServer

WORDS = ["river", "stone", "baker", "lantern", "copper", "garden", "window", "ladder", "bridge", "orchard", "kettle", "harbour"]
WORDS += ["violin", "meadow", "thunder", "pepper", "saddle", "ribbon", "marble", "candle", "forest", "anchor", "needle", "velvet"]
WORDS += ["mirror", "pocket", "whistle", "basket", "feather", "hammer", "island", "jacket", "kitchen", "letter", "market", "oyster"]


def invent(body: dict) -> str:
    """Words drawn by the prompt, some of them its own; JSON where a schema asks for it."""
    rng = random.Random(json.dumps(body["messages"]) + str(body["seed"]))
    known = [word for word in WORDS if word in body["messages"][-1]["content"]]

    def some() -> str:
        return " ".join(rng.sample(known, min(3, len(known))) + rng.sample(WORDS, 4))

    def fitting(schema: dict) -> object:
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if schema["type"] == "object":
            return {name: fitting(below) for name, below in schema["properties"].items()}
        if schema["type"] == "array":
            return [fitting(schema["items"]) for _ in range(schema.get("minItems", 1))]
        return rng.random() < 0.9 if schema["type"] == "boolean" else some()[: schema["maxLength"]]

    if "response_format" not in body:
        return some().capitalize() + "."
    return json.dumps(fitting(body["response_format"]["json_schema"]["schema"]))


class Wrong:
    """As `invent`, but the first answer to every third question about people names somebody who is not there."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.questions = self.answers = self.asked_again = 0

    def say(self, body: dict) -> str:
        said, again = invent(body), len(body["messages"]) > 1 and "That can't be used" in body["messages"][-1]["content"]
        people = '"enum"' in json.dumps(body.get("response_format"))
        with self.lock:
            self.asked_again += again
            self.questions += people and not again
            if not people or again or self.questions % 3:
                return said
            self.answers += 1
        value = json.loads(said)
        return json.dumps({name: ["Nobody"] if isinstance(below, list) else below for name, below in value.items()})


def flaky(number: int, prompt: str) -> str:
    return "500" if number % 10 == 9 else "good"


@pytest.fixture
def model():
    return Wrong()


@pytest.fixture
def server(model):
    server = EchoServer(flaky, say=model.say)
    yield server
    server.stop()


def test_a_budget_ends_a_run_that_a_larger_one_takes_on(tmp_path, capsys, server, model):
    (tmp_path / "asks.txt").write_text("".join(f"How do I mend a {word}?\n" for word in WORDS[:4]))
    told = ["--instructions", str(tmp_path / "asks.txt"), "--model", "m", "--endpoint", server.url, "--steps", "1", "--roles", "1"]
    few = ["--questions", str(QUESTIONS)]
    # Enough for the drafts, whose prompts are short, and too little for any of the long prompts that follow.
    assert cli.main(["run", "--store", str(tmp_path / "store"), *told, *few, "--max-tokens", "2000"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the budget has no room" in said
    assert "of --max-tokens 2,000 are spent" in said
    drafts = server.done["good"]
    assert drafts > 0

    run = start(capsys, tmp_path / "store", *told, "--price", "1,10", "--max-cost", "1")
    tokens = run.summary["tokens"]
    assert tokens["cached_calls"] == drafts
    assert tokens["calls"] == server.done["good"] - drafts
    assert tokens["troubles"] == {"5xx": server.done["500"]}
    # Of both commands: 7 prompt and 3 completion tokens a call.
    assert tokens["cost_usd"] == pytest.approx(server.done["good"] * (7 * 1 + 3 * 10) / 1e6)
    assert "troubles.5xx" in (run.folder / "report.html").read_text()
    # Who is not there is nobody's role: each such answer was asked again, and counted.
    assert model.answers > 0
    assert run.summary["counts"]["re_asked"] == model.asked_again >= model.answers
    assert "Nobody" not in (run.folder / "scenes.jsonl").read_text()
