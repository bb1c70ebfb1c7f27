"""What the in-process engine is held against: transformers' own `model.generate` and `generate_batch`."""

import copy
from collections.abc import Sequence

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from matrix_core import models
from matrix_core.engines import local
from matrix_core.engines.chat import Chat
from matrix_core.request import Request


class Generate:
    """`model.generate` on a copy of the model with transformers' own attention."""

    def __init__(self, spec: models.ModelSpec) -> None:
        shared, _ = models.load(spec)
        self.model = copy.deepcopy(shared)
        self.model.set_attn_implementation("sdpa")
        self.ends = local._ends(self.model, spec)
        self.chat = Chat(models.tokenizer(spec))

    def prompts(self, requests: Sequence[Request]) -> list[list[int]]:
        """The prompts as tokens."""
        return [ids for ids in self.chat.encode([r.messages for r in requests]) if isinstance(ids, list)]

    def batch(self, prompts: Sequence[list[int]], limits: Sequence[int], **options: str) -> list[list[int]]:
        """Answers of one static batch, without their end tokens, each cut at its own limit. `options`: more for `generate`."""
        longest = max(map(len, prompts))
        device = self.model.device
        ids = torch.tensor([[self.ends[0]] * (longest - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        out = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(limits),
            do_sample=False,
            eos_token_id=list(self.ends),
            pad_token_id=self.ends[0],
            **options,
        )
        return [self.answer(row.tolist(), limit) for row, limit in zip(out[:, longest:], limits, strict=True)]

    def answer(self, row: Sequence[int], limit: int) -> list[int]:
        """What is left of a row before its end token and its limit."""
        end = next((i for i, token in enumerate(row) if token in self.ends), len(row))
        return list(row[: min(end, limit)])

    def continuous(self, prompts: Sequence[list[int]], limit: int) -> None:
        """The answers by continuous batching, with blocks of 32 tokens that prompts share."""
        config = GenerationConfig(max_new_tokens=limit, do_sample=False, eos_token_id=list(self.ends), pad_token_id=self.ends[0])
        # On a GPU it chooses its own memory, and how much it reads at once.
        size = {} if self.model.device.type == "cuda" else {"num_blocks": 512, "max_batch_tokens": 1024}
        paged = ContinuousBatchingConfig(page_size=32, allow_block_sharing=True, **size)
        self.model.generate_batch(inputs=list(prompts), generation_config=config, continuous_batching_config=paged, warmup=False)

    def same(self, texts: dict[int, str], said: dict[int, list[int]]) -> str:
        """How many of the answers that both sides gave are the same."""
        same = sum(texts[i] == text for i, text in zip(said, self.chat.decode(list(said.values())), strict=True))
        print(f"    {same} of {len(said)} answers of both sides are the same", flush=True)
        return f"{same} of {len(said)}"
