"""The training loop behind `tuning.tune`: TRL's SFTTrainer and PEFT's LoRA. Slow to import, so imported only when it starts."""

import copy
import math
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model, get_peft_model_state_dict
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from matrix_core import adapters, models
from matrix_core.engines import spread
from matrix_core.engines.chat import Chat, ChatError
from matrix_core.errors import RunError, UserError
from matrix_core.models import ModelSpec, half_precision
from matrix_core.request import Message
from matrix_core.scene import Example
from matrix_core.tuning import SOURCES, Progress, Source, SourceCount, TuningResult, TuningSettings

Row = dict[str, Any]
"""One tokenised example: `source`, `input_ids` and `labels`, both (T,), labels -100 on the prompt."""


def train(
    spec: ModelSpec,
    training: Sequence[Example],
    held_out: Sequence[Example],
    settings: TuningSettings,
    out: Path,
    progress: Progress | None,
) -> TuningResult:
    """The loop itself; see `tuning.tune`. Works on a copy of the model of its own, so that loaded engines stay as they are."""
    began = time.monotonic()
    spread.rest()
    torch.set_flush_denormal(True)
    disable_progress_bar()
    set_seed(settings.seed)

    # 1. The examples as tokens.
    tokenizer = copy.deepcopy(models.tokenizer(spec))
    limit = min(settings.max_length, models.context_length(spec))
    rows, kept_back = (_fitting(tokenize(tokenizer, examples), limit) for examples in (training, held_out))
    if not rows:
        raise adapters.too_long(len(training), limit, settings)
    counts = counts_of(training, held_out, rows, kept_back)

    # 2. The model, with fresh LoRA layers.
    half = half_precision()
    model, quantised = adapters.base_for(spec, settings, half)
    model = get_peft_model(model, adapters.lora(settings))

    # 3. The loop. Nothing is saved or reported on the way: the best weights are kept in memory by the `Watch`.
    steps = math.ceil(math.ceil(len(rows) / settings.batch_size) / settings.accumulation) * settings.epochs
    watch = Watch(kept_back, settings, steps, progress)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            **adapters.arguments(settings, steps, half, scratch),
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        # One GPU is used even where there are several: TRL refuses to spread a model over them within one process.
        arguments._n_gpu = min(arguments.n_gpu, 1)
        trainer = _Trainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]),
            processing_class=tokenizer,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        watch.trainer = trainer
        watch.measure(0)
        with adapters.enough_memory(settings, limit):
            trainer.train()

    # 4. The best weights, as two files.
    adapters.save(trainer.model, watch.best, spec, out)
    return TuningResult(
        train_losses=watch.losses,
        held_out=watch.held_out,
        best_epoch=watch.best_epoch,
        steps=trainer.state.global_step,
        tokens=sum(len(row["input_ids"]) for row in rows) * settings.epochs,
        seconds=round(time.monotonic() - began, 3),
        examples=counts,
        dtype="bfloat16" if half else "float32",
        quantised=quantised,
    )


def tokenize(tokenizer: Any, examples: Sequence[Example]) -> list[Row]:
    """The examples as an engine sees them: the rendered prompt, the answer, the end token. Special tokens in texts stay text."""
    end = tokenizer.eos_token_id
    if end is None:
        raise UserError("tuning: the model's tokenizer names no end token, so no answer would ever end; choose another model")
    # Without a chat template the prompt ends in "Assistant:", and an answer begins with a space.
    opening = "" if tokenizer.chat_template else " "
    chats = [[Message(role=role, content=content) for role, content in example.prompt] for example in examples]
    rows = []
    for example, prompt in zip(examples, Chat(tokenizer).encode(chats), strict=True):
        if isinstance(prompt, ChatError):
            raise RunError(f"tuning: a {example.source} example can't be rendered: {prompt}; choose another model")
        answer = tokenizer(opening + example.completion, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        labels = [-100] * len(prompt) + [*answer, end]
        rows.append({"source": example.source, "input_ids": [*prompt, *answer, end], "labels": labels})
    return rows


def _fitting(rows: list[Row], limit: int) -> list[Row]:
    return [row for row in rows if len(row["input_ids"]) <= limit]


def counts_of(
    training: Sequence[Example], held_out: Sequence[Example], rows: Sequence[Row], kept_back: Sequence[Row]
) -> dict[Source, SourceCount]:
    """What became of the examples of each source; `rows` and `kept_back` are those that fit."""
    out: dict[Source, SourceCount] = {}
    for source in SOURCES:
        given = sum(example.source == source for example in (*training, *held_out))
        trained, kept = (sum(row["source"] == source for row in some) for some in (rows, kept_back))
        if given:
            out[source] = SourceCount(trained=trained, held_out=kept, too_long=given - trained - kept)
    return out


class Buckets(Sampler[int]):
    """Each epoch in a new order, in batches of about equal length, so that little is padded.

    Lengths are sorted only within pools of a few batches, and the batches are shuffled again: a batch still mixes sources.
    """

    POOL = 8

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.rng = lengths, batch, random.Random(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.lengths)))
        self.rng.shuffle(order)
        batches = []
        for start in range(0, len(order), self.POOL * self.batch):
            pool = sorted(order[start : start + self.POOL * self.batch], key=lambda i: self.lengths[i])
            batches += [pool[i : i + self.batch] for i in range(0, len(pool), self.batch)]
        self.rng.shuffle(batches)
        # The loader cuts the stream into batches by counting, so a short one must come last.
        batches.sort(key=len, reverse=True)
        return iter([i for batch in batches for i in batch])


class _Trainer(SFTTrainer):  # type: ignore[misc]
    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        return Buckets([len(ids) for ids in self.train_dataset["input_ids"]], self.args.train_batch_size, self.args.seed)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Keeps the losses, reports progress, stops at a loss that is no number, and remembers the best epoch's weights."""

    def __init__(self, kept_back: Sequence[Row], settings: TuningSettings, steps: int, progress: Progress | None) -> None:
        self.rows = {source: [row for row in kept_back if row["source"] == source] for source in SOURCES}
        self.settings, self.steps, self.progress = settings, steps, progress
        self.losses: list[tuple[int, float]] = []
        self.held_out: dict[Source, list[tuple[int, float]]] = {source: [] for source in SOURCES if self.rows[source]}
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch, self.best_loss = 0, math.inf
        self.trainer: Any = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """A new mean training loss."""
        if "loss" not in logs:
            return
        self.finite(logs["loss"], f"at step {state.global_step}")
        self.losses.append((state.global_step, logs["loss"]))
        if self.progress:
            self.progress(state.global_step, self.steps, logs["loss"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, and keep the weights if they are the best so far, or if nothing is held out to tell."""
        epoch = round(state.epoch)
        mean = self.measure(epoch)
        if mean is None or mean < self.best_loss:
            self.best_epoch, self.best_loss = epoch, math.inf if mean is None else mean
            weights = get_peft_model_state_dict(self.trainer.model, save_embedding_layers=False)
            self.best = {name: tensor.detach().cpu().float().clone().contiguous() for name, tensor in weights.items()}

    @torch.no_grad()
    def measure(self, epoch: int) -> float | None:
        """The held-out loss of each source, and their mean: None if nothing is held out."""
        model, collate = self.trainer.model, self.trainer.data_collator
        was_training = model.training
        model.eval()
        for source, curve in self.held_out.items():
            rows = sorted(self.rows[source], key=lambda row: len(row["input_ids"]))
            total, tokens = 0.0, 0
            for start in range(0, len(rows), self.settings.batch_size):
                batch = collate(rows[start : start + self.settings.batch_size])
                answer_tokens = int((batch["labels"][:, 1:] != -100).sum())
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                with self.trainer.accelerator.autocast():
                    total += model(**batch).loss.item() * answer_tokens
                tokens += answer_tokens
            curve.append((epoch, total / tokens))
            self.finite(total, f"on the held-out {source} examples after epoch {epoch}")
        model.train(was_training)
        latest = [curve[-1][1] for curve in self.held_out.values()]
        return sum(latest) / len(latest) if latest else None

    def finite(self, loss: float, where: str) -> None:
        """RunError for a loss that is no number."""
        if not math.isfinite(loss):
            raise RunError(
                f"tuning: the loss became {loss} {where}; lower learning_rate (now {self.settings.learning_rate:g}) or raise "
                f"warmup (now {self.settings.warmup:g}); if it is so from the start, the base model's weights are broken"
            )
