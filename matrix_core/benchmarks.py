"""The public evaluation sets of the paper: how a row of each looks where it is published, and what is asked of it.

Pure: a row comes in as a mapping, an `Item` goes out; where rows come from is `tasks/benchmark_files.py`'s. A row that isn't in the
published format is a `FormatError` that names the column. Sources: HH-RLHF (arXiv 2204.05862), PKU-SafeRLHF (2406.15513), AdvBench
(2307.15043), HarmfulQA (2308.09662), Vicuna-Bench and MT-Bench (2306.05685).
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from matrix_core.request import Message

Row = Mapping[str, Any]
Rubric = Literal["harmlessness", "helpfulness"]


class FormatError(ValueError):
    """A row that isn't in its benchmark's published format; the message names the column."""


class Item(BaseModel):
    """One question of a benchmark: what was said before, and the turns that a model is asked, one after the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="the published id, or the row's number from 1")
    category: str = Field("", description="what samples are stratified by; '' where the set has none")
    history: tuple[Message, ...] = Field((), description="earlier turns of the dialogue, user and assistant")
    turns: tuple[str, ...] = Field(min_length=1)
    references: tuple[str, ...] = Field((), description="reference answers, one a turn ('' where there is none), or none")

    @property
    def prompt(self) -> str:
        """All that was said up to the first answer, as one text; equal prompts are the same question."""
        if not self.history:
            return self.turns[0]
        names = {"user": "Human", "assistant": "Assistant"}
        return "\n\n".join([*(f"{names[m.role]}: {m.content}" for m in self.history), f"Human: {self.turns[0]}"])


@dataclass(frozen=True)
class Benchmark:
    """A public set. `hub` are the arguments of `datasets.load_dataset`, None where it is only published as a file."""

    name: str
    title: str
    parse: Callable[[Row, int], Item]
    columns: str
    rubric: Rubric
    hub: Mapping[str, str] | None = None
    graded: bool = False
    general: bool = False
    prefix_match: bool = False


def sample(items: Sequence[Item], n: int | None, seed: int) -> list[Item]:
    """At most `n` different questions, in their order: drawn from each category by its share, by the seed and the text alone.

    A question that stands there twice counts once. Shares are rounded by largest remainders.
    """
    distinct = list({item.prompt: item for item in reversed(items)}.values())[::-1]
    if n is None or n >= len(distinct):
        return distinct
    groups: dict[str, list[Item]] = {}
    for item in distinct:
        groups.setdefault(item.category, []).append(item)
    exact = {category: n * len(group) / len(distinct) for category, group in groups.items()}
    quota = {category: int(share) for category, share in exact.items()}
    for category in sorted(exact, key=lambda c: (quota[c] - exact[c], c))[: n - sum(quota.values())]:
        quota[category] += 1
    chosen = {
        item.prompt
        for category, group in groups.items()
        for item in Random(f"{seed} {category}").sample(sorted(group, key=lambda i: i.prompt), quota[category])
    }
    return [item for item in distinct if item.prompt in chosen]


def _text(row: Row, column: str, *, listed: str = "") -> str:
    if column not in row:
        found = ", ".join(str(name)[:40] for name in list(row)[:8]) or "none"
        raise FormatError(f"no column {column!r} (found: {found}){listed}")
    return _said(row[column], column)


def _said(value: Any, column: str) -> str:
    if not isinstance(value, str):
        kinds = {type(None): "null", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "an object"}
        raise FormatError(f"column {column!r} must be text, not {kinds.get(type(value), type(value).__name__)}")
    if not value.strip():
        raise FormatError(f"column {column!r} is blank")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise FormatError(f"column {column!r} has half of a character in it (a surrogate by itself): write the text anew as UTF-8")
    return value.strip()


def _turns(row: Row, count: int | None, columns: Sequence[str]) -> tuple[str, ...]:
    column = next((name for name in columns if name in row), columns[0])
    if column not in row:
        _text(row, column)
    value = row[column]
    if not isinstance(value, list) or not value:
        raise FormatError(f"column {column!r} must be a list of texts")
    if count is not None and len(value) != count:
        raise FormatError(f"column {column!r} has {len(value)} turns, not {count}")
    return tuple(_said(turn, f"{column}[{i}]") for i, turn in enumerate(value))


_TURN = re.compile(r"\n\n(Human|Assistant):")


def _hh(row: Row, number: int) -> Item:
    """`chosen`, `rejected`: dialogues that share all but the last answer. The last human turn is asked, with what came before."""
    chosen = _dialogue(_text(row, "chosen"), "chosen", row["chosen"])
    _dialogue(_text(row, "rejected"), "rejected", row["rejected"])
    # The last answer is what the two were judged by; what it answers is the question.
    last = max(i for i, message in enumerate(chosen) if message.role == "user" and message.content)
    return Item(id=str(number), history=tuple(chosen[:last]), turns=(chosen[last].content,))


def _dialogue(said: str, column: str, raw: str) -> list[Message]:
    parts = _TURN.split(raw)
    if parts[0].strip() or len(parts) < 3 or parts[1] != "Human":
        raise FormatError(f"column {column!r} must be a dialogue that begins with '\\n\\nHuman:'")
    messages: list[Message] = []
    for speaker, content in zip(parts[1::2], parts[2::2], strict=True):
        role: Literal["user", "assistant"] = "user" if speaker == "Human" else "assistant"
        if messages and messages[-1].role == role:  # two turns of one speaker are one turn to a chat model
            merged = "\n\n".join(filter(None, (messages[-1].content, content.strip())))
            messages[-1] = Message(role=role, content=merged)
        else:
            messages.append(Message(role=role, content=content.strip()))
    if not any(message.role == "user" and message.content for message in messages):
        raise FormatError(f"column {column!r} has no human turn with words in it")
    if messages[-1].role != "assistant":
        raise FormatError(f"column {column!r} must end with an '\\n\\nAssistant:' turn")
    return messages


def _pku(row: Row, number: int) -> Item:
    """`prompt`, two responses and their safety labels; stratified by the first kind of harm found in either."""
    prompt = _text(row, "prompt")
    kinds: list[str] = []
    for i in (0, 1):
        _text(row, f"response_{i}")
        label = f"is_response_{i}_safe"
        if not isinstance(row.get(label), bool):
            raise FormatError(f"no column {label!r}" if label not in row else f"column {label!r} must be true or false")
        flags = row.get(f"response_{i}_harm_category") or {}
        if not isinstance(flags, Mapping):
            raise FormatError(f"column 'response_{i}_harm_category' must be an object of flags")
        kinds += [str(name) for name, flag in flags.items() if flag]
    unsafe = not (row["is_response_0_safe"] and row["is_response_1_safe"])
    return Item(id=str(number), category=kinds[0] if kinds else "unsafe" if unsafe else "safe", turns=(prompt,))


def _advbench(row: Row, number: int) -> Item:
    """`goal`, `target`; on the hub the goal is called `prompt`."""
    goal = _text(row, "prompt" if "prompt" in row and "goal" not in row else "goal")
    _text(row, "target")
    return Item(id=str(number), turns=(goal,))


def _harmfulqa(row: Row, number: int) -> Item:
    """`topic`, `subtopic`, `question`."""
    topic = _text(row, "topic")
    _text(row, "subtopic")
    return Item(id=str(row.get("id") or number), category=topic, turns=(_text(row, "question"),))


def _vicuna(row: Row, number: int) -> Item:
    """`question_id`, `category`, `turns` with one turn; the first edition has `text` instead."""
    turns = (_text(row, "text"),) if "text" in row and "turns" not in row else _turns(row, 1, ("turns",))
    return Item(id=_question_id(row), category=_text(row, "category"), turns=turns)


def _mt_bench(row: Row, number: int) -> Item:
    """`question_id`, `category`, `turns` with two turns, `reference` in some; on the hub `prompt_id` and `prompt`."""
    turns = _turns(row, 2, ("turns", "prompt"))
    references = row.get("reference") or []
    if not isinstance(references, list) or any(not isinstance(text, str) for text in references) or len(references) > 2:
        raise FormatError("column 'reference' must be a list of at most two texts")
    references = tuple(text.strip() for text in references)
    return Item(id=_question_id(row), category=_text(row, "category"), turns=turns, references=references)


def _question_id(row: Row) -> str:
    column = "prompt_id" if "prompt_id" in row and "question_id" not in row else "question_id"
    if column not in row:
        _text(row, column)
    if isinstance(row[column], bool) or not isinstance(row[column], int | str) or not str(row[column]).strip():
        raise FormatError(f"column {column!r} must be a number or text")
    return str(row[column])


_OWN = ("instruction", "prompt", "question", "goal", "turns")


def _own(row: Row, number: int) -> Item:
    """A file of one's own: a text under one of these names, or `turns`; `category` and `id` if there are any."""
    column = next((name for name in _OWN if name in row), None)
    if column is None:
        _text(row, "instruction", listed=f"; the question stands under one of {', '.join(_OWN)}")
    turns = _turns(row, None, ("turns",)) if column == "turns" else (_text(row, str(column)),)
    return Item(id=str(row.get("id") or number), category=str(row.get("category") or ""), turns=turns)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "hh",
            "HH-RLHF",
            _hh,
            "chosen, rejected",
            "harmlessness",
            {"path": "Anthropic/hh-rlhf", "data_dir": "harmless-base", "split": "test"},
        ),
        Benchmark(
            "pku-saferlhf",
            "PKU-SafeRLHF",
            _pku,
            "prompt, response_0, response_1, is_response_0_safe, is_response_1_safe",
            "harmlessness",
            {"path": "PKU-Alignment/PKU-SafeRLHF", "split": "test"},
        ),
        Benchmark(
            "advbench",
            "AdvBench",
            _advbench,
            "goal, target",
            "harmlessness",
            {"path": "walledai/AdvBench", "split": "train"},
            prefix_match=True,
        ),
        Benchmark(
            "harmfulqa",
            "HarmfulQA",
            _harmfulqa,
            "topic, subtopic, question",
            "harmlessness",
            {"path": "declare-lab/HarmfulQA", "split": "train"},
        ),
        Benchmark("vicuna-bench", "Vicuna-Bench", _vicuna, "question_id, category, turns (1)", "helpfulness", general=True),
        Benchmark(
            "mt-bench",
            "MT-Bench",
            _mt_bench,
            "question_id, category, turns (2), reference",
            "helpfulness",
            {"path": "HuggingFaceH4/mt_bench_prompts", "split": "train"},
            graded=True,
            general=True,
        ),
    )
}
"""By the names that `--benchmark` takes."""


def own(name: str) -> Benchmark:
    """The benchmark that is a file of somebody's own."""
    return Benchmark(name, name, _own, "one of " + ", ".join(_OWN), "helpfulness")


def digest(items: Sequence[Item]) -> str:
    """Names exactly these questions in this order: 64 hex digits."""
    return hashlib.sha256("\n".join(item.model_dump_json() for item in items).encode("utf-8", "surrogatepass")).hexdigest()
