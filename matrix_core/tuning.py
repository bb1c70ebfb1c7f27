"""Fine-tuning: LoRA by supervised examples, with the loss on the answers alone; or by preferences between two answers.

What is learned and how is said by `TuningSettings`, what came of it by `TuningResult`. This module is quick to import; the training
itself stands in `training.py` and `preferring.py`, which are imported when it starts.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from matrix_core import models
from matrix_core.errors import RunError, UserError
from matrix_core.memory import give_back
from matrix_core.models import ModelSpec
from matrix_core.scene import Example

Source = Literal["harmful", "harmless", "trace", "general", "preference"]
SOURCES: tuple[Source, ...] = get_args(Source)
Mixed = Literal["harmful", "harmless", "trace", "general"]
"""The sources that supervised training mixes."""

Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, mean training loss since the last call)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TuningSettings(_Frozen):
    """All that decides an adapter besides the examples and the base model. The defaults are the paper's."""

    rank: int = Field(8, ge=1, description="r of LoRA, on every linear layer but the output head")
    alpha: int = Field(16, ge=1, description="the adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.05, ge=0.0, lt=1.0)
    learning_rate: float = Field(2e-5, gt=0.0)
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(0.03, ge=0.0, lt=1.0, description="share of the steps in which the learning rate rises")
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(1, ge=1, description="examples at once")
    accumulation: int = Field(8, ge=1, description="batches an optimiser step")
    max_length: int = Field(1024, ge=8, description="tokens; an example that is longer is left out and counted, never cut")
    checkpointing: bool = Field(True, description="compute activations twice instead of keeping them: slower, less memory")
    quantised: bool = Field(True, description="4-bit base weights (QLoRA) where CUDA and bitsandbytes are there; elsewhere ignored")
    shares: dict[Source, float] = Field(
        {"harmful": 1 / 3, "harmless": 1 / 3, "trace": 1 / 3, "general": 0.0},
        description="what part of the training data each source makes up; see `mixing.mix`",
    )
    traces: int = Field(4, ge=0, description="simulation traces taken from one scene at most")
    held_out: float = Field(0.1, ge=0.0, le=0.5, description="share of each source that is never trained on, to watch the loss on")
    seed: int = Field(0, ge=0, lt=2**32)

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The published recipe, for real language models."""
        return cls(**changes)

    @classmethod
    def pocket(cls, **changes: Any) -> Self:
        """The recipe of the embedded model: small, so it takes a far higher rate and far larger batches."""
        recipe: dict[str, Any] = {
            "rank": 32,
            "alpha": 64,
            "dropout": 0.0,
            "learning_rate": 1e-3,
            "scheduler": "cosine",
            "epochs": 3,
            "batch_size": 32,
            "accumulation": 1,
            "max_length": 512,
            "checkpointing": False,
            "quantised": False,
            "shares": {"harmful": 0.3, "harmless": 0.3, "trace": 0.1, "general": 0.3},
            "held_out": 0.05,
        }
        return cls(**(recipe | changes))

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        check_shares(self.shares)
        return self


def check_shares(shares: Mapping[Any, float]) -> None:
    """ValueError for shares that make up no whole."""
    if min(shares.values(), default=0.0) < 0 or not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares must be 0 or more and add up to 1, not {dict(shares)}")


class PreferenceSettings(TuningSettings):
    """The same for learning from pairs, by direct preference optimisation (Rafailov et al., arXiv 2305.18290).

    The rate is that of TRL's own example of DPO with LoRA: far lower than for supervised examples.
    """

    loss: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0.0, description="how dear it is to part from the base model")
    learning_rate: float = Field(5e-6, gt=0.0)
    shares: dict[Source, float] = {"preference": 1.0}
    traces: int = Field(0, ge=0, le=0)

    @classmethod
    def pocket(cls, **changes: Any) -> Self:
        """The recipe of the embedded model, in the same proportion to its supervised one."""
        return super().pocket(**({"learning_rate": 2.5e-4, "shares": {"preference": 1.0}} | changes))


class SourceCount(_Frozen):
    """How many examples of one source were used for what."""

    trained: int
    held_out: int
    too_long: int = Field(description="left out: longer than `max_length` tokens or than the model's context")


class TuningResult(_Frozen):
    """What came of a fine-tuning."""

    train_losses: list[tuple[int, float]] = Field(description="(step, mean loss of an answer token since the entry before)")
    held_out: dict[Source, list[tuple[int, float]]] = Field(description="source -> (epoch, loss of an answer token); 0: untuned")
    margins: list[tuple[int, float]] = Field(
        [],
        description="of preferences: (step, mean since the entry before of by how much the implicit reward of the better answer "
        "exceeds the other's, on what is trained on)",
    )
    best_epoch: int = Field(description="the epoch whose weights were kept: the lowest mean of the held-out losses over sources")
    steps: int
    tokens: int = Field(description="tokens trained on, all epochs together, prompts included")
    seconds: float
    examples: dict[Source, SourceCount]
    dtype: Literal["float32", "bfloat16"] = Field(description="precision of the arithmetic; the adapter's own weights are float32")
    quantised: bool = Field(description="whether the base weights were held in 4 bits")


def tune(
    spec: ModelSpec, examples: Sequence[Example], settings: TuningSettings, out: Path, progress: Progress | None = None
) -> TuningResult:
    """Train a LoRA adapter; write `adapter_model.safetensors` and `adapter_config.json` to the folder `out`, and nothing else.

    The same model, examples and settings give the same bytes on the same machine (on a GPU as far as its kernels do). The order of
    the examples doesn't matter.
    Raises RunError if there is too little to train on, or the loss stops being a number.
    """
    train: Any
    if isinstance(settings, PreferenceSettings):
        from matrix_core.preferring import train
    else:
        from matrix_core.training import train

    give_back()
    ordered = sorted(examples, key=lambda example: (example.source, example.scene, example.prompt, example.completion))
    training, held_out = split(ordered, settings.held_out, settings.seed)
    if not training:
        raise RunError(f"tuning: {len(examples)} examples leave none to train on; simulate more scenes")
    try:
        result: TuningResult = train(spec, training, held_out, settings, out, progress)
        return result
    finally:
        give_back()


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(to train on, held out). Of each source about `share` is held out, of small ones nothing, and never all of one.

    All examples of a scene fall on the same side, so that what is held out was not seen in another shape.
    """

    def key(example: Example) -> str:
        return hashlib.sha256(f"{seed}\n{example.scene or example.prompt}".encode()).hexdigest()

    groups: dict[str, Counter[Source]] = {}
    for example in examples:
        groups.setdefault(key(example), Counter())[example.source] += 1
    left = Counter(example.source for example in examples)
    wanted = {source: round(share * n) for source, n in left.items()}
    kept_back = set()
    for name, group in sorted(groups.items()):
        if any(wanted[source] > 0 for source in group) and all(left[source] > n for source, n in group.items()):
            kept_back.add(name)
            for source, n in group.items():
                wanted[source] -= n
                left[source] -= n
    return [e for e in examples if key(e) not in kept_back], [e for e in examples if key(e) in kept_back]


def check_adapter(spec: ModelSpec, folder: Path, result: TuningResult) -> dict[str, Any]:
    """One row for the adapter gate: `adapter`, `losses_finite`, `loads`, `finite` (its weights), `delta`, `parameters`, `error`.

    `delta` is the largest difference that the adapter makes to a logit on a fixed probe: 0 if it changes nothing. An adapter that
    can't be opened is not an error here but a row with `loads` False and the reason.
    """
    import torch
    from safetensors.torch import load_file

    losses = [loss for _, loss in result.train_losses] + [loss for curve in result.held_out.values() for _, loss in curve]
    row: dict[str, Any] = {
        "adapter": spec.name,
        "losses_finite": bool(losses) and all(math.isfinite(loss) for loss in losses),
        "loads": False,
        "finite": False,
        "delta": 0.0,
        "parameters": 0,
        "error": "",
    }
    try:
        tuned = models.load_tuned(spec, folder)[0]
    except UserError as error:
        return row | {"error": str(error)}
    weights = load_file(folder / "adapter_model.safetensors")
    base = models.load(spec)[0]
    probe = torch.arange(min(64, base.config.get_text_config().vocab_size), device=base.device)[None]  # (1, T): any tokens will do
    with torch.no_grad():
        delta = (tuned(input_ids=probe).logits.float() - base(input_ids=probe).logits.float()).abs().max().item()
    return row | {
        "loads": True,
        "finite": all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()),
        "delta": delta,
        "parameters": sum(tensor.numel() for tensor in weights.values()),
    }
