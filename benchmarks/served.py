"""The same run at `transformers serve`, a server that somebody else wrote, and with the local engine: what differs.

That server answers one request at a time and ignores schemas. A model behind an endpoint gets its examples and no adapter.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.endpoint import until_up
from flows import cli
from matrix_core import models
from matrix_core.engines.endpoint import EndpointEngine
from matrix_core.engines.spread import SpreadEngine
from matrix_core.request import Completion, Request
from tests.s3_server import free_port

NAME = str(models.POCKET)
SCENES, QUESTIONS = 20, 20
UP_SECONDS = 120


def main() -> dict[str, Any]:
    """Counts and artifacts of both runs, and the answers that differ."""
    with tempfile.TemporaryDirectory() as store, _noted(SpreadEngine) as ours, _noted(EndpointEngine) as theirs:
        local, _ = _run(f"{store}/local")
        with serving(NAME, "--device", "cpu") as url:
            served, seconds = _run(f"{store}/served", "--endpoint", url)
    both = ours.keys() & theirs.keys()
    other = [(ours[key], theirs[key]) for key in sorted(both) if ours[key] != theirs[key]]
    table = {
        "counts": {"local": local["counts"], "served": served["counts"]},
        "same_counts": local["counts"] == served["counts"],
        "same_scenes": local["artifacts"]["scenes"]["sha256"] == served["artifacts"]["scenes"]["sha256"],
        "same_examples": local["artifacts"]["examples"]["sha256"] == served["artifacts"]["examples"]["sha256"],
        "questions": len(theirs),
        "asked_of_both": len(both),
        "answers_differ": len(other),
        "differing": other[:5],
        "troubles": served["tokens"]["troubles"],
        "seconds": seconds,
    }
    print(
        f"transformers serve: counts {'the same' if table['same_counts'] else table['counts']}, {len(other)} of {len(both)} "
        f"answers differ, scenes the same: {table['same_scenes']}, examples: {table['same_examples']}; {seconds:.0f} s"
    )
    return table


@contextmanager
def _noted(engine: Any) -> Iterator[dict[str, str]]:
    """Question -> answer, for all that engines of this class are asked meanwhile."""
    answers: dict[str, str] = {}
    generate = engine.generate

    def noted(self: Any, requests: Sequence[Request], *more: Any, **named: Any) -> list[Completion]:
        out: list[Completion] = generate(self, requests, *more, **named)
        # A tuned model's answers to the same questions must not take the place of these.
        answers.update({r.identity: c.text for r, c in zip(requests, out, strict=True) if r.identity not in answers})
        return out

    engine.generate = noted
    try:
        yield answers
    finally:
        engine.generate = generate


@contextmanager
def serving(model: str, *options: str) -> Iterator[str]:
    """`transformers serve` with this model, once it answers; its URL."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", model, *options, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until_up(server, f"http://localhost:{port}/v1/models", UP_SECONDS)
            yield f"http://localhost:{port}/v1"
        finally:
            server.terminate()


def _run(store: str, *more: str) -> tuple[dict[str, Any], float]:
    """The summary of a run, and its seconds."""
    began = time.time()
    told = ["--model", NAME, "--scenes", str(SCENES), "--questions", str(QUESTIONS), "--run-id", "measured"]
    if cli.main(["run", "--store", store, *told, *more]):
        raise RuntimeError(f"the run {' '.join(more)} failed")
    return json.loads(Path(store, "runs", "measured", "summary.json").read_text()), time.time() - began
