"""The shipped weights: what they were trained on is what the code asks today, and anybody can open them."""

import json

import pytest

from matrix_core.models import POCKET
from matrix_core.steps import STEPS, base, fingerprint, roles


def test_the_prompts_and_schemas_are_those_that_the_weights_were_trained_on():
    recorded = json.loads((POCKET / "training.json").read_text())["prompts"]
    assert fingerprint.fingerprints("pocket") == recorded, "prompts changed: train again with `make pocket`"


def test_an_edited_prompt_changes_its_own_fingerprint_and_no_other(monkeypatch):
    before = fingerprint.fingerprints("pocket")
    monkeypatch.setattr(roles, "pocket", lambda scene, settings: ("roles", "other words"))
    after = fingerprint.fingerprints("pocket")
    assert {name for name in STEPS if before[name] != after[name]} == {"roles"}


def test_an_edited_schema_changes_the_fingerprint(monkeypatch):
    before = fingerprint.fingerprints("full")
    monkeypatch.setattr(roles, "schema", lambda settings: base.obj(setting=base.text()))
    assert fingerprint.fingerprints("full")["roles"] != before["roles"]


def test_the_weights_are_small_and_open_with_plain_transformers():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert sum(path.stat().st_size for path in POCKET.iterdir()) < 8_000_000
    model, tokenizer = AutoModelForCausalLM.from_pretrained(POCKET), AutoTokenizer.from_pretrained(POCKET)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2 plus 3?"}], add_generation_prompt=True, return_tensors="pt"
    )
    ids = chat if not hasattr(chat, "input_ids") else chat.input_ids
    said = tokenizer.decode(model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :], skip_special_tokens=True)
    assert said == "5."


@pytest.mark.parametrize("text", ["<|end|>", "<|user|>hello", "{{7*7}}", "日本語", "\u200b"])
def test_any_text_survives_its_tokenizer_and_no_text_makes_a_special_token(text):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    ids = tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == text
