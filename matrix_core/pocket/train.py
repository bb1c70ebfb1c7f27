"""Train the embedded model from nothing: `python -m matrix_core.pocket.train`, or `make pocket`.

A Llama of about two million parameters, a byte-level BPE, and the stream of `corpus.py`. Mixed tasks are packed into rows whose position
ids restart at every sample (a block-causal mask follows from them); loss on the answers alone; Muon for the matrices, AdamW for the rest;
a constant learning rate, then a linear decay. What was done is written beside the weights as `training.json`: seed, hash of the very
corpus, loss curve, wall time, and the fingerprint of the prompts that the weights were trained on.
"""

import argparse
import copy
import hashlib
import itertools
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from matrix_core.pocket.corpus import Sample, stream
from matrix_core.steps.fingerprint import fingerprints

WEIGHTS = Path(__file__).parent / "weights"
PAD, END, SYSTEM, USER, BOT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|bot|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}<|system|>{{ m['content'] }}"
    "{% elif m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% else %}<|bot|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
VOCABULARY, CONTEXT = 1536, 512
WIDTH, ROWS, STEPS = 256, 10, 8_000
LEARNING_RATE, WARM_UP, DECAY = 3e-3, 100, 0.5
SEED = 1


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE learned on the first 30,000 samples; any text can be encoded, also one from outside the world."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = (text for s in itertools.islice(stream(SEED), 30_000) for text in (*(t.content for t in s.turns), s.answer))
    special = [PAD, END, SYSTEM, USER, BOT]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    out = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, eos_token=END, additional_special_tokens=[SYSTEM, USER, BOT])
    out.chat_template = CHAT_TEMPLATE
    out.model_max_length = CONTEXT
    return out


def model() -> LlamaForCausalLM:
    """The architecture, with fresh weights."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=5,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.03,
    )
    return LlamaForCausalLM(config)


def encode(samples: list[Sample], tok: PreTrainedTokenizerFast) -> list[tuple[list[int], int]]:
    """Token ids of each sample, and how many of them are the prompt."""
    marks = {"system": tok.convert_tokens_to_ids(SYSTEM), "user": tok.convert_tokens_to_ids(USER)}
    bot, end = tok.convert_tokens_to_ids(BOT), tok.convert_tokens_to_ids(END)
    parts = [t.content for s in samples for t in s.turns] + [s.answer for s in samples]
    ids = iter(tok(parts, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    prompts = [[i for t in s.turns for i in (marks[t.role], *next(ids))] + [bot] for s in samples]
    return [(prompt + next(ids) + [end], len(prompt)) for prompt in prompts]


def packs(tok: PreTrainedTokenizerFast, digest: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of (ids, positions, labels), each (ROWS, WIDTH); every sample that is read goes into `digest`."""
    source = stream(SEED)
    rows: list[tuple[list[int], list[int], list[int]]] = []
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    while True:
        chunk = list(itertools.islice(source, 4000))
        digest.update("".join(f"{s.step}\t{[t.content for t in s.turns]}\t{s.answer}\n" for s in chunk).encode())
        for sample, prompt in encode(chunk, tok):
            if len(ids) + len(sample) > WIDTH:
                room = WIDTH - len(ids)
                rows.append((ids + [0] * room, positions + list(range(room)), labels + [-100] * room))
                ids, positions, labels = [], [], []
            ids = ids + sample
            positions = positions + list(range(len(sample)))
            labels = labels + [-100] * prompt + sample[prompt:]
            if len(rows) == ROWS:
                yield tuple(torch.tensor(column) for column in zip(*rows, strict=True))  # type: ignore[misc]
                rows = []


def block_mask(positions: torch.Tensor) -> torch.Tensor:
    """(B, T) position ids -> (B, 1, T, T), True where a token may look: backwards, within its own sample."""
    sample = (positions == 0).cumsum(1)
    causal = torch.ones(positions.shape[1], positions.shape[1], dtype=torch.bool).tril()
    return ((sample[:, :, None] == sample[:, None, :]) & causal)[:, None]


def loss_of(net: LlamaForCausalLM, ids: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the answer tokens of a packed batch."""
    hidden = net.model(input_ids=ids, position_ids=positions, attention_mask=block_mask(positions), use_cache=False).last_hidden_state
    answer = labels[:, 1:] != -100
    logits = net.lm_head(hidden[:, :-1][answer])
    return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][answer])


def train(out: Path, steps: int = STEPS) -> None:
    """Train and write weights, tokenizer and `training.json` to `out`. About 40 minutes on one core."""
    torch.set_flush_denormal(True)
    tok, net, digest, began = tokenizer(), model(), hashlib.sha256(), time.time()
    matrices = [p for name, p in net.named_parameters() if p.ndim > 1 and "embed" not in name]
    others = [p for name, p in net.named_parameters() if p.ndim < 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    curve, recent, tokens = [], [], 0
    net.train()
    for step, (ids, positions, labels) in enumerate(itertools.islice(packs(tok, digest), steps), start=1):
        rate = LEARNING_RATE * min(1.0, step / WARM_UP, (1.001 - step / steps) / DECAY)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(net, ids, positions, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent.append(loss.item())
        tokens += int((labels != -100).sum())
        if step % 100 == 0:
            curve.append((step, round(sum(recent) / len(recent), 4)))
            recent = []
            print(f"step {step}/{steps}  loss {curve[-1][1]:.4f}  {time.time() - began:.0f} s", flush=True)
        if step % 1000 == 0 or step == steps:
            _save(out, net, tok)
    record = {
        "seed": SEED,
        "parameters": sum(p.numel() for p in net.parameters()),
        "steps": steps,
        "answer_tokens": tokens,
        "corpus_sha256": digest.hexdigest(),
        "seconds": round(time.time() - began),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "prompts": fingerprints("pocket"),
        "loss": curve,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def _save(out: Path, net: LlamaForCausalLM, tok: PreTrainedTokenizerFast) -> None:
    """Weights in half precision, so that they stay small in the repository."""
    copy.deepcopy(net).half().save_pretrained(out)
    tok.save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    train(options.out, options.steps)
