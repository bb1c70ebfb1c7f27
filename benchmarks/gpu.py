"""The engines on a GPU: the embedded model; a small and a large model beside what transformers has, and behind a server.

These two have the shape of a known model and random weights: how fast they are does not depend on what they say.
"""

import sys
import tempfile
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import endpoint, engine, served
from benchmarks.generate import Generate
from matrix_core import models
from matrix_core.engines.local import LocalEngine

OPEN = 256
"""Prompts at a time, and requests open at the server."""
TURNS = 3
"""At the server, for each client."""
SHAPES: dict[str, dict[str, Any]] = {
    "SmolLM2 135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "Llama 3.1 8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


def main() -> list[dict[str, Any]]:
    """Print and return the rows; none where there is no GPU."""
    if not torch.cuda.is_available():
        print("gpu: there is no CUDA device here", file=sys.stderr)
        return []
    rows = engine.embedded()
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            _write(folder, shape)
            rows += [*engine.sharing(folder, OPEN, (64, 128, 256), 1), _compiled(name, folder), *_served(name, folder)]
    return rows


def _compiled(name: str, folder: str) -> dict[str, Any]:
    """The engine beside `model.generate` with a static cache, which transformers compiles into CUDA graphs."""
    spec = models.resolve(folder)
    mine, rival = LocalEngine(spec), Generate(spec)
    requests = engine.requests_of(rival, OPEN)
    prompts, limits = rival.prompts(requests), [request.max_tokens for request in requests]
    return engine.measured(
        f"answers a second of random weights in the shape of {name}, beside compiled model.generate",
        1.0,
        f"{OPEN} prompts that share their beginning, answers of up to {limits[0]} tokens",
        f"model.generate with a static cache and torch.compile, one batch of {OPEN}",
        lambda _: (OPEN, engine.timed(lambda: mine.generate(requests))),
        lambda _: (OPEN, engine.timed(lambda: rival.batch(prompts, limits, cache_implementation="static"))),
    )


def _served(name: str, folder: str) -> list[dict[str, Any]]:
    """The endpoint engine before `transformers serve` with continuous batching."""
    spec = models.resolve(folder)
    requests = engine.requests_of(Generate(spec), OPEN)
    with served.serving(spec.path, "--continuous-batching") as url:
        return endpoint.rows(f"transformers serve, {name}", url, spec.path, requests, OPEN, TURNS)


def _write(folder: str, shape: dict[str, Any]) -> None:
    config = LlamaConfig(vocab_size=49152, max_position_embeddings=8192, eos_token_id=2, **shape)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    models.tokenizer(models.resolve("smollm2")).save_pretrained(folder)
