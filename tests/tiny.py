"""A real causal language model, small enough for tests: random weights, a byte-level BPE learned on a few sentences."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|bot|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + {'assistant': 'bot'}.get(m['role'], m['role']) + '|>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
TEXT = [
    "The clerk asks the nurse whether the window can be opened while the paint is still wet, and she says no.",
    'The cook writes {"name":"clerk","traits":"cannot bear smoke","feasible":true,"aware":["nurse","cook"]} on the wall.',
    "Please do not burn the leaves at the school. Take the rope, go to the garage, then repair the bicycle!",
]


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """About 450 tokens; any text can be encoded."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXT, trainer)
    out = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token=SPECIAL[1], additional_special_tokens=SPECIAL[2:]
    )
    out.chat_template = template
    return out


def model(context: int = 256, seed: int = 5, **config: object) -> LlamaForCausalLM:
    """A Llama whose random weights are wide enough for it to have opinions."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 464,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **config})).eval()


def save(folder: Path, template: str | None = TEMPLATE, context: int = 256, seed: int = 5, **config: object) -> Path:
    """Write the model and its tokenizer as any other model's folder."""
    model(context, seed, **config).save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return folder


def saying(folder: Path, text: str, context: int = 2048) -> Path:
    """A model that answers `text` to everything: one token of its own, set by hand to follow the beginning of an answer.

    It is a real model to any server. Its layers add nothing, so that the next token follows from the last one alone.
    """
    words = tokenizer()
    words.add_tokens([text])
    bot, whole, end = words.convert_tokens_to_ids(["<|bot|>", text, "<|end|>"])
    speaker = model(context, vocab_size=len(words))
    with torch.no_grad():
        for layer in speaker.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedded = speaker.model.embed_tokens.weight
        speaker.lm_head.weight.zero_()
        speaker.lm_head.weight[whole] = embedded[bot]
        speaker.lm_head.weight[end] = embedded[whole]
    speaker.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
