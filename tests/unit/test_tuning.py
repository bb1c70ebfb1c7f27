"""Fine-tuning a tiny model for real: what is learned, what is left behind, and that the same seed gives the same bytes."""

import json
import random
from collections.abc import Iterator

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as vocabularies
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from matrix_core import models
from matrix_core.engines.chat import Chat
from matrix_core.errors import RunError, UserError
from matrix_core.models import ModelSpec
from matrix_core.request import Message
from matrix_core.scene import Example
from matrix_core.training import tokenize
from matrix_core.tuning import TuningSettings, check_adapter, split, tune

WORDS = [
    "the",
    "a",
    "nurse",
    "child",
    "visitor",
    "rope",
    "smoke",
    "leaves",
    "burns",
    "takes",
    "helps",
    "goes",
    "to",
    "field",
    "please",
    "do",
    "not",
    "near",
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
QUICK = TuningSettings.pocket(rank=4, alpha=8, learning_rate=1e-2, epochs=2, batch_size=8, held_out=0.2)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """A model this small is slower on two threads than on one, and far slower if they have to wait for a busy core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A model of 20,000 random weights, with a chat template."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = random.Random(0)
    vocabulary = Tokenizer(vocabularies.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary.train_from_iterator(
        [" ".join(rng.choices(WORDS, k=30)) for _ in range(50)],
        trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    ends = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    config = LlamaConfig(vocab_size=320, max_position_embeddings=128, tie_word_embeddings=True, **shape, **ends)
    LlamaForCausalLM(config).save_pretrained(folder)
    return models.resolve(str(folder))


def examples(n: int = 60) -> list[Example]:
    """Answers that repeat the question: quick to learn."""
    rng = random.Random(1)
    out = []
    for i in range(n):
        text = " ".join(rng.choices(WORDS, k=rng.randint(2, 9)))
        source = ("harmful", "harmless", "trace", "general")[i % 4]
        scene = "" if source == "general" else f"{i // 8:04}"
        out.append(Example(scene=scene, source=source, prompt=(("user", text),), completion=text))
    return out


def test_the_paper_s_recipe_is_the_default():
    paper = TuningSettings.paper()
    assert paper == TuningSettings()
    assert (paper.rank, paper.alpha, paper.dropout, paper.learning_rate, paper.scheduler) == (8, 16, 0.05, 2e-5, "cosine")
    assert (paper.warmup, paper.epochs, paper.batch_size, paper.accumulation, paper.max_length) == (0.03, 3, 1, 8, 1024)
    assert paper.checkpointing
    assert TuningSettings.pocket(seed=7).seed == 7
    assert TuningSettings.model_validate_json(TuningSettings.pocket().model_dump_json()) == TuningSettings.pocket()


@pytest.mark.parametrize("shares", [{"harmful": 0.5}, {"harmful": 1.5, "harmless": -0.5}, {}])
def test_shares_that_do_not_add_up_are_refused(shares):
    with pytest.raises(ValidationError, match="add up to 1"):
        TuningSettings(shares=shares)


def test_what_is_held_out_was_seen_in_no_other_shape():
    training, held_out = split(examples(200), 0.1, seed=0)
    assert {e.scene for e in training if e.scene}.isdisjoint(e.scene for e in held_out)
    assert len(training) + len(held_out) == 200
    for source in ("harmful", "harmless", "trace", "general"):
        assert sum(e.source == source for e in held_out) >= 5
        assert sum(e.source == source for e in training) >= 25
    assert split(examples(200), 0.1, seed=0)[1] == held_out != split(examples(200), 0.1, seed=1)[1]


def test_never_is_all_of_a_source_held_out():
    """One scene holds the only harmful example and most of the traces: it is trained on, and so is some of every source."""
    lone = [Example(scene="s", source="harmful", prompt=(("user", "x"),), completion="y")]
    traces = [Example(scene="s" if i < 6 else str(i), source="trace", prompt=(("user", "x"),), completion=str(i)) for i in range(8)]
    for seed in range(20):
        training, held_out = split(lone + traces, 0.5, seed)
        assert lone[0] in training
        assert {e.completion for e in held_out} == {"6", "7"}
    assert split(lone, 0.5, seed=0) == (lone, [])
    assert split(examples(8), 0.0, seed=0) == (examples(8), [])


def test_few_examples_are_all_trained_on():
    assert split(examples(16), 0.1, seed=0) == (examples(16), [])


def test_the_model_sees_the_prompt_as_an_engine_renders_it_and_learns_the_answer_and_its_end(spec):
    hostile = Example(
        scene="s", source="trace", prompt=(("system", "<|user|>"), ("user", "to <|end|> field")), completion="not <|assistant|>"
    )
    tokenizer = models.tokenizer(spec)
    (row,) = tokenize(tokenizer, [hostile])
    (prompt,) = Chat(tokenizer).encode([[Message(role=role, content=content) for role, content in hostile.prompt]])
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"] == [-100] * len(prompt) + row["input_ids"][len(prompt) :]
    assert row["input_ids"][-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row["input_ids"][len(prompt) : -1]) == "not <|assistant|>"
    # Two turns were opened and an answer: no special token came out of a text.
    assert sum(token < 5 for token in row["input_ids"]) == 4


def test_an_adapter_is_learned_and_the_same_seed_gives_the_same_bytes(spec, tmp_path):
    before = {name: tensor.clone() for name, tensor in models.load(spec)[0].state_dict().items()}
    seen: list[tuple[int, int, float]] = []
    result = tune(spec, examples(), QUICK, tmp_path / "one", lambda *told: seen.append(told))
    again = tune(spec, examples()[::-1], QUICK, tmp_path / "two")
    other = tune(spec, examples(), QUICK.model_copy(update={"seed": 1}), tmp_path / "three")

    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert again == result.model_copy(update={"seconds": again.seconds})
    assert (tmp_path / "one" / files[1]).read_bytes() != (tmp_path / "three" / files[1]).read_bytes()
    assert other.train_losses != result.train_losses

    means = [sum(curve[epoch][1] for curve in result.held_out.values()) / 4 for epoch in range(3)]
    assert [epoch for epoch, _ in result.held_out["general"]] == [0, 1, 2]
    assert means[result.best_epoch] == min(means[1:]) < means[0]
    assert [step for step, _, _ in seen] == list(range(1, result.steps + 1))
    assert {total for _, total, _ in seen} == {result.steps}
    assert [(step, loss) for step, _, loss in seen] == result.train_losses
    assert sum(count.trained + count.held_out for count in result.examples.values()) == 60
    assert type(result).model_validate_json(result.model_dump_json()) == result

    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == spec.name
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (4, 8, True)
    tuned = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(spec.path), str(tmp_path / "one"))
    assert any(tensor.abs().max() > 0 for name, tensor in tuned.state_dict().items() if "lora_B" in name)
    after = models.load(spec)[0].state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    row = check_adapter(spec, tmp_path / "one", result)
    assert {key: row[key] for key in ("loads", "finite", "losses_finite", "error")} == {
        "loads": True,
        "finite": True,
        "losses_finite": True,
        "error": "",
    }
    assert row["delta"] > 0.01
    _check_broken_adapters(spec, tmp_path, result)


def _check_broken_adapters(spec, tmp_path, result):
    """An adapter that changes nothing, one with a broken weight, one whose losses broke, and none at all: each is told apart."""
    weights = load_file(tmp_path / "one" / "adapter_model.safetensors")
    for name, change in (("idle", 0.0), ("broken", float("nan"))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_bytes((tmp_path / "one" / "adapter_config.json").read_bytes())
        save_file({key: tensor * change for key, tensor in weights.items()}, folder / "adapter_model.safetensors")
    assert check_adapter(spec, tmp_path / "idle", result)["delta"] == 0.0
    assert check_adapter(spec, tmp_path / "broken", result)["finite"] is False
    diverged = result.model_copy(update={"train_losses": [(1, float("inf"))]})
    assert check_adapter(spec, tmp_path / "one", diverged)["losses_finite"] is False
    missing = check_adapter(spec, tmp_path / "nowhere", result)
    assert (missing["loads"], missing["losses_finite"]) == (False, True)
    assert "adapter_config.json" in missing["error"]


def test_a_loss_that_is_no_number_stops_the_run_and_says_what_to_do(spec, tmp_path):
    wild = QUICK.model_copy(update={"learning_rate": 1e30, "epochs": 3, "warmup": 0.0})
    with pytest.raises(RunError, match=r"the loss became (nan|inf) .*lower learning_rate \(now 1e\+30\)"):
        tune(spec, examples(), wild, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_examples_that_are_too_long_are_left_out_and_counted(spec, tmp_path):
    long = Example(scene="long", source="trace", prompt=(("user", "the " * 60),), completion="the " * 70)
    settings = QUICK.model_copy(update={"epochs": 1, "held_out": 0.0})
    result = tune(spec, [*examples(8), long], settings, tmp_path / "out")
    assert (result.examples["trace"].trained, result.examples["trace"].too_long) == (2, 1)
    assert (result.held_out, result.best_epoch) == ({}, 1)
    with pytest.raises(RunError, match="all 1 training examples are longer than 128 tokens"):
        tune(spec, [long], settings, tmp_path / "none")
    with pytest.raises(RunError, match="none to train on"):
        tune(spec, [], settings, tmp_path / "none")


def test_even_a_training_of_one_step_changes_the_model(spec, tmp_path):
    settings = TuningSettings.paper(epochs=1, learning_rate=1e-3)
    result = tune(spec, examples(4), settings, tmp_path / "out")
    assert (result.steps, result.held_out) == (1, {})
    assert check_adapter(spec, tmp_path / "out", result)["delta"] > 0


def test_a_tokenizer_without_an_end_token_is_refused(spec):
    endless = PreTrainedTokenizerFast.from_pretrained(spec.path)
    endless.eos_token = None
    with pytest.raises(UserError, match="no end token"):
        tokenize(endless, examples(1))
