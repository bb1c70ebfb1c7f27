"""The engines on a GPU: the rows of `engine`, a large model, and the endpoint engine before a server on the same GPU.

The large model has the shape of Llama 3.1 8B and random weights: how fast it is does not depend on what they say.
"""

import sys
import tempfile
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import endpoint, engine, served
from benchmarks.generate import Generate
from matrix_core import models

OPEN = 256


def main() -> list[dict[str, Any]]:
    """Print and return the rows; none where there is no GPU."""
    if not torch.cuda.is_available():
        print("gpu: there is no CUDA device here", file=sys.stderr)
        return []
    rows = [*engine.main(), *_served("smollm2", 512)]
    with tempfile.TemporaryDirectory() as folder:
        _write_large(folder)
        return [*rows, *engine.sharing(folder, 256, (64, 128, 256), 1)]


def _served(name: str, count: int) -> list[dict[str, Any]]:
    """The endpoint engine before `transformers serve` with continuous batching."""
    spec = models.resolve(name)
    requests = engine.requests_of(Generate(spec), count)
    with served.serving(spec.path, "--continuous-batching") as url:
        return endpoint.rows(f"transformers serve, {name}", url, spec.path, requests, OPEN)


def _write_large(folder: str) -> None:
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        eos_token_id=2,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    models.tokenizer(models.resolve("smollm2")).save_pretrained(folder)
