"""Names of models: what each is resolved to, and what a person is told about one that can't be used."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from matrix_core import models
from matrix_core.errors import UserError
from matrix_core.models import resolve
from tests import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(good, tmp_path / "model"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_folder_is_loaded_once_and_knows_its_context(good: Path) -> None:
    spec = resolve(str(good))
    assert (spec.style, spec.revision, spec.path) == ("full", "", str(good))
    assert models.context_length(spec) == 256
    model, tokenizer = models.load(spec)
    assert model is models.load(resolve(str(good)))[0]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tokenizer.decode(tokenizer("The clerk")["input_ids"]) == "The clerk"


def test_the_fingerprint_follows_what_decides_answers_and_nothing_else(good: Path, folder: Path) -> None:
    first = resolve(str(good)).fingerprint
    spec = resolve(str(folder))
    assert spec.fingerprint == first  # a copy elsewhere is the same model
    (folder / "training.json").write_text("{}")
    assert spec.fingerprint == first
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    second = spec.fingerprint
    edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    assert len({first, second, spec.fingerprint}) == 3


@pytest.mark.parametrize(
    ("stored", "able", "computed"),
    [
        ("float16", True, torch.float32),
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16", False, torch.float32),
        ("float32", True, torch.float32),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="about CPUs")
def test_number_format_on_a_cpu(
    folder: Path, stored: str, able: bool, computed: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "half_precision", lambda: able)
    edit(folder / "config.json", dtype=stored)
    spec = resolve(str(folder))
    assert models.load(spec)[0].dtype == computed


def spoil(folder: Path, how: str) -> None:
    if how == "config.json":
        (folder / "config.json").unlink()
    elif how == "can't be read":
        (folder / "config.json").write_text("{not json")
    elif how == "tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "no complete":
        (folder / "model.safetensors").unlink()
    elif how == "pickled":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif how == "complete":
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    elif how == "BertModel":
        edit(folder / "config.json", architectures=["BertModel"], model_type="bert")
    elif how == "Unheard":
        edit(folder / "config.json", architectures=["UnheardForCausalLM"], auto_map={"AutoModelForCausalLM": "evil.Unheard"})


@pytest.mark.parametrize(
    "how", ["config.json", "can't be read", "tokenizer", "no complete", "pickled", "complete", "BertModel", "Unheard"]
)
def test_a_folder_that_lacks_something_is_told_what(folder: Path, how: str) -> None:
    spoil(folder, how)
    with pytest.raises(UserError, match=how) as told:
        resolve(str(folder))
    assert "\n" not in str(told.value)


def test_weights_that_do_not_fit_their_config_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="up_proj"):
        models.load(resolve(str(folder)))


def test_broken_weights_are_told_in_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="can't be loaded") as told:
        models.load(resolve(str(folder)))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "name", ["", "  ", "../x", "a/b/c", "no such model", "x\0y", "a" * 5000, "owner/", "~nobody-of-that-name/model", "--help"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="--model"):
        resolve(name)


def test_a_file_is_no_model(folder: Path) -> None:
    with pytest.raises(UserError, match="give the folder"):
        resolve(str(folder / "model.safetensors"))


def test_a_hub_name_that_cannot_be_had_fails_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"owner/unheard-of.*smollm2"):
        resolve("owner/unheard-of")
    assert time.monotonic() - start < 5


def test_a_hub_model_in_the_local_cache_is_found_without_a_network(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--owner--tiny"
    shutil.copytree(good, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    spec = resolve("owner/tiny")
    assert (spec.name, spec.revision) == ("owner/tiny", commit)
    assert spec.fingerprint == resolve("owner/tiny").fingerprint


def test_smollm2_without_its_wheel_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("matrix_core.smollm2.find_spec", lambda name: None)
    with pytest.raises(UserError, match="make smollm2"):
        resolve("smollm2")
    assert list(tmp_path.iterdir()) == []


def test_smollm2_that_was_unpacked_before_is_taken_from_the_cache(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copytree(good, tmp_path / "matrix-align" / "smollm2")
    assert resolve("smollm2").path == str(tmp_path / "matrix-align" / "smollm2")
