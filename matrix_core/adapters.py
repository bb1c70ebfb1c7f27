"""A base model to train a LoRA adapter on, what all trainings have in common, and the adapter as two files. Slow to import."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, prepare_model_for_kbit_training
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from matrix_core.errors import RunError
from matrix_core.models import ModelSpec
from matrix_core.tuning import TuningSettings


def base_for(spec: ModelSpec, settings: TuningSettings, half: bool) -> tuple[Any, bool]:
    """(a copy of the base model, whether it is quantised), ready for an adapter."""
    quantised = settings.quantised and torch.cuda.is_available() and importlib.util.find_spec("bitsandbytes") is not None
    model = load_base(spec, quantised, half)
    if quantised:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=settings.checkpointing)
    return model, quantised


def lora(settings: TuningSettings) -> LoraConfig:
    """The adapter's shape."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
    )


def arguments(settings: TuningSettings, steps: int, half: bool, scratch: str) -> dict[str, Any]:
    """Arguments of any of TRL's trainers, for so many optimiser steps. It saves and reports nothing on the way."""
    return {
        "output_dir": scratch,
        "seed": settings.seed,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.scheduler,
        # In whole steps, rounded down: given a share, the first step of a short training would have a rate of 0.
        "warmup_steps": int(steps * settings.warmup),
        "bf16": half,
        "gradient_checkpointing": settings.checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": max(1, steps // 200),
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


@contextmanager
def enough_memory(settings: TuningSettings, limit: int) -> Iterator[None]:
    """What to do where there isn't, as a RunError. `limit`: tokens of an example at most."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"tuning: out of memory with {settings.batch_size} examples of up to {limit} tokens at once; lower batch_size (and "
            "raise accumulation), lower max_length, or switch checkpointing on"
        ) from error


def too_long(count: int, limit: int, settings: TuningSettings) -> RunError:
    """What to say where no example fits."""
    return RunError(
        f"tuning: all {count} training examples are longer than {limit} tokens; raise max_length (now {settings.max_length}) or "
        "use a model with a longer context"
    )


def load_base(spec: ModelSpec, quantised: bool, half: bool) -> Any:
    """A copy of the base model to train on: 4 bits, or bfloat16 where the hardware can; the embedded model always in float32."""
    gpu = torch.cuda.is_available()
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    return AutoModelForCausalLM.from_pretrained(
        spec.name if spec.revision else spec.path,
        revision=spec.revision or "main",
        dtype=torch.bfloat16 if half and spec.style == "full" else torch.float32,
        quantization_config=four_bits if quantised else None,
        device_map={"": 0} if gpu else None,
        # On CPUs with bfloat16 the plain attention trains almost twice as fast as torch's fused one (measured at 110 tokens).
        attn_implementation="eager" if half and not gpu else None,
        use_safetensors=True,
        trust_remote_code=False,
    )


def save(model: Any, weights: dict[str, torch.Tensor], spec: ModelSpec, out: Path) -> None:
    """Two files that `PeftModel.from_pretrained` opens, with nothing of this machine in them."""
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": spec.name, "inference_mode": True}
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "adapter_model.safetensors", metadata={"format": "pt"})
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted)
    (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
