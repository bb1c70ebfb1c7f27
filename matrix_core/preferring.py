"""Learning from preferences: TRL's DPOTrainer and PEFT's LoRA. Slow to import, so imported only when it starts.

Direct preference optimisation (Rafailov et al., arXiv 2305.18290) stands in for reinforcement learning by PPO wherever a method
learns from pairs: it is after the same optimum, with neither a reward model nor sampling. The reference is the base model: the same
weights with the adapter switched off.
"""

import copy
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback, set_seed
from transformers.utils.logging import disable_progress_bar
from trl import DPOConfig, DPOTrainer

from matrix_core import adapters, models
from matrix_core.engines import spread
from matrix_core.models import ModelSpec, half_precision
from matrix_core.scene import Example
from matrix_core.training import Buckets, Row, Watch, counts_of, tokenize
from matrix_core.tuning import PreferenceSettings, Progress, TuningResult

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


def train(
    spec: ModelSpec,
    training: Sequence[Example],
    held_out: Sequence[Example],
    settings: PreferenceSettings,
    out: Path,
    progress: Progress | None,
) -> TuningResult:
    """The loop itself; see `tuning.tune`. Every example must have an answer that is rejected."""
    began = time.monotonic()
    spread.rest()
    torch.set_flush_denormal(True)
    disable_progress_bar()
    set_seed(settings.seed)

    # 1. The pairs as tokens.
    tokenizer = copy.deepcopy(models.tokenizer(spec))
    limit = min(settings.max_length, models.context_length(spec))
    rows, kept_back = ([row for row in pairs(tokenizer, some) if _length(row) <= limit] for some in (training, held_out))
    if not rows:
        raise adapters.too_long(len(training), limit, settings)

    # 2. The model; its LoRA layers are made by the trainer, which so knows that the base is the reference.
    half = half_precision()
    model, quantised = adapters.base_for(spec, settings, half)

    # 3. The loop. Nothing is saved or reported on the way: the best weights are kept in memory by the watch.
    steps = math.ceil(math.ceil(len(rows) / settings.batch_size) / settings.accumulation) * settings.epochs
    watch = _Watch(kept_back, settings, steps, progress)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = DPOConfig(
            **adapters.arguments(settings, steps, half, scratch),
            per_device_eval_batch_size=settings.batch_size,
            beta=settings.beta,
            max_length=None,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)
        trainer = _Trainer(
            model=model,
            args=arguments,
            train_dataset=_dataset(rows),
            processing_class=tokenizer,
            peft_config=adapters.lora(settings),
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
        margins=watch.margins,
        best_epoch=watch.best_epoch,
        steps=trainer.state.global_step,
        tokens=sum(len(row[name]) for row in rows for name in (*COLUMNS, "prompt_ids")) * settings.epochs,
        seconds=round(time.monotonic() - began, 3),
        examples=counts_of(training, held_out, rows, kept_back),
        dtype="bfloat16" if half else "float32",
        quantised=quantised,
    )


def pairs(tokenizer: Any, examples: Sequence[Example]) -> list[Row]:
    """The pairs as an engine sees them, both answers with the end token: `source`, and a list of ids each for `COLUMNS`."""
    rejected = [example.model_copy(update={"completion": example.rejected or ""}) for example in examples]
    out = []
    for better, worse in zip(tokenize(tokenizer, examples), tokenize(tokenizer, rejected), strict=True):
        asked = better["labels"].count(-100)
        ids = (better["input_ids"][:asked], better["input_ids"][asked:], worse["input_ids"][asked:])
        out.append({"source": better["source"], **dict(zip(COLUMNS, ids, strict=True))})
    return out


def _length(row: Row) -> int:
    """Tokens of the prompt and the longer answer."""
    prompt, chosen, rejected = (len(row[name]) for name in COLUMNS)
    return prompt + max(chosen, rejected)


def _dataset(rows: Sequence[Row]) -> Dataset:
    return Dataset.from_list([{name: row[name] for name in COLUMNS} for row in rows])


class _Trainer(DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Ours are tokens already: TRL would render texts anew, and take special tokens in them for such."""
        return dataset

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        return Buckets([_length(row) for row in self.train_dataset], self.args.train_batch_size, self.args.seed)


class _Watch(Watch):
    """Keeps the margins too, and measures the loss of preferences."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.margins: list[tuple[int, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **more: Any) -> None:
        """A new mean training loss, and a new mean margin."""
        super().on_log(args, state, control, logs, **more)
        if "rewards/margins" in logs:
            self.margins.append((state.global_step, logs["rewards/margins"]))

    def measure(self, epoch: int) -> float | None:
        """The held-out loss; None if nothing is held out."""
        for source, curve in self.held_out.items():
            loss = self.trainer.evaluate(_dataset(self.rows[source]))["eval_loss"]
            curve.append((epoch, loss))
            self.finite(loss, f"on the held-out {source} examples after epoch {epoch}")
        latest = [curve[-1][1] for curve in self.held_out.values()]
        return sum(latest) / len(latest) if latest else None
