"""Train the embedded model from nothing: `python -m matrix_core.pocket.train`, or `make pocket`.

A Llama of about two million parameters, a byte-level BPE, and the stream of `corpus.py`. Mixed tasks are packed into rows whose
position ids restart at every sample (a block-causal mask follows from them); loss on the answers alone; Muon for the matrices,
AdamW for the rest. Phases: reading alone, everything, twice more of what is learned last. What was done is written beside the
weights as `training.json`: seed, hash of the very corpus, loss curve and wall time of each phase, and the fingerprint of the
prompts that the weights were trained on.
"""

import argparse
import contextlib
import copy
import hashlib
import itertools
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from matrix_core.models import half_precision
from matrix_core.pocket.corpus import READING, SHARP, WHOLE, Shares, stream
from matrix_core.pocket.sample import Sample
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
WIDTH, ROWS = 288, 9
SEED = 1
WARM_UP = 100


class Phase(NamedTuple):
    """A part of the training, with a corpus and optimizers of its own."""

    shares: Shares
    seed: int
    steps: int
    rate: float
    """learning rate at the top"""
    level: int
    """steps until the rate begins to fall, on a straight line to zero at the end; all of them: it never does"""


PHASES = (
    Phase(READING, SEED, 300, 3e-3, 300),
    Phase(WHOLE, SEED + 1, 7_000, 3e-3, 2_800),
    Phase(SHARP, SEED + 2, 800, 1e-3, WARM_UP),
    Phase(SHARP, SEED + 3, 1_200, 1.5e-3, WARM_UP),
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE learned on the first 30,000 samples; any text can be encoded, also one from outside the world."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = (text for s in itertools.islice(stream(SEED, WHOLE), 30_000) for text in (*(t.content for t in s.turns), s.answer))
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


def packs(tok: PreTrainedTokenizerFast, phase: Phase, digest: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of (ids, positions, labels), each (ROWS, WIDTH); every sample that is read goes into `digest`."""
    source = stream(phase.seed, phase.shares)
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
    hidden = net.model(
        input_ids=ids, position_ids=positions, attention_mask=block_mask(positions), use_cache=False
    ).last_hidden_state
    answer = labels[:, 1:] != -100
    logits = net.lm_head(hidden[:, :-1][answer])
    return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][answer])


def orthogonal(grad: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """Muon's Newton-Schulz iteration in the precision of `grad`: torch's own is always in bfloat16, which many CPUs emulate."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if grad.size(0) > grad.size(1) else x


def train(out: Path, begin: int = 0) -> None:
    """Train and write weights, tokenizer and `training.json` to `out`; one to two hours on two cores.

    `begin` goes on with that phase, from what the one before has left there.
    """
    torch.set_flush_denormal(True)
    if not half_precision():
        torch.optim._muon._zeropower_via_newtonschulz = orthogonal  # type: ignore[assignment]
    tok = PreTrainedTokenizerFast.from_pretrained(out) if begin else tokenizer()
    path = out / "training.json"
    for number, phase in enumerate(PHASES[begin:], start=begin):
        # From the second phase on from what was written, in half precision: so that it can be begun anew from there.
        net = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32) if number else model()
        record = json.loads(path.read_text()) if number else {"seed": SEED, "torch": torch.__version__}
        record[f"phase {number}"] = run_phase(net, tok, phase, out)
        record |= {"parameters": sum(p.numel() for p in net.parameters()), "prompts": fingerprints("pocket")}
        path.write_text(json.dumps(record, indent=1) + "\n")


def run_phase(net: LlamaForCausalLM, tok: PreTrainedTokenizerFast, phase: Phase, out: Path) -> dict[str, Any]:
    """Train one phase and write the weights to `out`; returns what is recorded of it."""
    half, digest = half_precision(), hashlib.sha256()
    matrices = [p for name, p in net.named_parameters() if p.ndim > 1 and "embed" not in name]
    others = [p for name, p in net.named_parameters() if p.ndim < 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=phase.rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    curve, recent, tokens, began = [], [], 0, time.time()
    net.train()
    for step, (ids, positions, labels) in enumerate(itertools.islice(packs(tok, phase, digest), phase.steps), start=1):
        fall = (phase.steps + 1 - step) / (phase.steps - phase.level) if step > phase.level else 1.0
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = phase.rate * min(step / WARM_UP, fall, 1.0)
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
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
            print(f"step {step}/{phase.steps}  loss {curve[-1][1]:.4f}  {time.time() - began:.0f} s", flush=True)
        if step % 500 == 0 or step == phase.steps:
            _save(out, net, tok)
    return {
        "steps": phase.steps,
        "corpus_sha256": digest.hexdigest(),
        "answer_tokens": tokens,
        "seconds": round(time.time() - began),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {'bfloat16' if half else 'float32'}",
        "loss": curve,
    }


def _save(out: Path, net: LlamaForCausalLM, tok: PreTrainedTokenizerFast) -> None:
    """Weights in half precision, so that they stay small in the repository."""
    copy.deepcopy(net).half().save_pretrained(out)
    tok.save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--begin", type=int, default=0, choices=range(len(PHASES)), help="go on with this phase")
    options = parser.parse_args()
    train(options.out, options.begin)
