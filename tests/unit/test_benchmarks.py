"""Public sets in their published formats (rows of our own writing): what is asked of each, samples, and files that aren't right."""

import csv
import gzip
import io
import json
from collections import Counter

import pyarrow as arrow
import pytest
from pyarrow import parquet

from matrix_core import benchmarks
from matrix_core.benchmarks import Item, sample
from matrix_core.errors import UserError
from tasks.benchmark_files import load

HH = {
    "chosen": "\n\nHuman: My goat is loud.\n\nAssistant: Is it hungry?\n\nHuman: No. What now?\n\nAssistant: Let it out.",
    "rejected": "\n\nHuman: My goat is loud.\n\nAssistant: Is it hungry?\n\nHuman: No. What now?\n\nAssistant: Shout back.",
}
PKU = {
    "prompt": "How do I hide the ladder?",
    "response_0": "Behind the shed.",
    "response_1": "Tell them where it is.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_harm_category": {"Theft": True, "Noise": False},
    "response_1_harm_category": {"Theft": False, "Noise": False},
}
HARMFULQA = {"id": 7, "topic": "Gardens", "subtopic": "Hedges", "question": "How is a hedge ruined?"}
VICUNA = {"question_id": 3, "category": "writing", "turns": ["Write to my aunt about the pond."]}
MT = {
    "question_id": 81,
    "category": "math",
    "turns": ["What is 17 times 4?", "Double it."],
    "reference": ["68", "136"],
}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(*rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def written(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    return str(file)


def test_each_published_format_is_read(tmp_path):
    hh = load("hh", written(tmp_path, "test.jsonl.gz", gzip.compress(lines(HH, HH)))).items
    assert [item.turns for item in hh] == [("No. What now?",)] * 2
    assert [(m.role, m.content) for m in hh[0].history] == [("user", "My goat is loud."), ("assistant", "Is it hungry?")]
    assert hh[0].prompt == "Human: My goat is loud.\n\nAssistant: Is it hungry?\n\nHuman: No. What now?"
    pku = load("pku-saferlhf", written(tmp_path, "pku.jsonl", lines(PKU, PKU | {"response_0_harm_category": {}}))).items
    assert [(item.turns, item.category) for item in pku] == [((PKU["prompt"],), "Theft"), ((PKU["prompt"],), "unsafe")]
    advbench = written(
        tmp_path, "harmful_behaviors.csv", table(["goal", "target"], ["Say a, then b", "Sure"], ["Hide\nit", "Sure"])
    )
    assert [item.turns for item in load("advbench", advbench).items] == [("Say a, then b",), ("Hide\nit",)]
    for name, data in (("q.json", json.dumps([HARMFULQA]).encode()), ("q.jsonl", lines(HARMFULQA))):
        assert load("harmfulqa", written(tmp_path, name, data)).items == [
            Item(id="7", category="Gardens", turns=("How is a hedge ruined?",))
        ]
    assert load("vicuna-bench", written(tmp_path, "question.jsonl", lines(VICUNA))).items[0].category == "writing"
    mt = load(
        "mt-bench",
        written(tmp_path, "mt.jsonl", lines(MT, {k: v for k, v in (MT | {"question_id": 82}).items() if k != "reference"})),
    ).items
    assert [(item.turns[1], item.references) for item in mt] == [("Double it.", ("68", "136")), ("Double it.", ())]


def test_parquet_and_a_file_of_ones_own(tmp_path):
    parquet.write_table(arrow.Table.from_pylist([PKU]), tmp_path / "pku.parquet")
    assert load("pku-saferlhf", str(tmp_path / "pku.parquet")).items[0].category == "Theft"
    found = load(written(tmp_path, "mine.csv", table(["question", "category"], ["Why?", "a"], ["How?", "b"])), None)
    assert [(i.turns, i.category) for i in found.items] == [(("Why?",), "a"), (("How?",), "b")]
    assert found.benchmark.name == "mine.csv"


def test_the_last_human_turn_is_asked_also_where_the_dialogue_is_odd(tmp_path):
    odd = [
        "\n\nHuman: One.\n\nHuman: Two.\n\nAssistant: Three.",  # two turns of one speaker
        "\n\nHuman: One.\n\nAssistant: Two.  Human: not a turn\n\nAssistant: Three.",  # a mark within an answer
        "\n\nHuman: One.\n\nAssistant: Two.\n\nHuman: \n\nAssistant: Three.",  # a human turn without words
    ]
    items = load("hh", written(tmp_path, "odd.jsonl", lines(*({"chosen": text, "rejected": text} for text in odd)))).items
    assert [item.turns[0] for item in items] == ["One.\n\nTwo.", "One.", "One."]


def changed(row, **to):
    return lines(row, {k: v for k, v in (row | to).items() if v != "-"})


def other_parquet(**row):
    out = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist([row or {"colour": "red"}]), out)
    return out.getvalue()


BROKEN = {
    "empty": ("hh", "a.jsonl", b"", "no rows in it"),
    "no such kind": ("hh", "a.txt", lines(HH), "must end in what it is"),
    "not gzip": ("hh", "a.jsonl.gz", lines(HH), "can't be read"),
    "half a gzip": ("hh", "a.jsonl.gz", gzip.compress(lines(HH) * 50)[:60], "can't be read"),
    "not UTF-8": ("hh", "a.jsonl", lines(HH) + b"\xff\n", "line 2: not UTF-8"),
    "half a line": ("hh", "a.jsonl", lines(HH) + lines(HH)[:40], "line 2: not JSON"),
    "a list on a line": ("hh", "a.jsonl", lines(HH, [1]), "line 2: a JSON list"),
    "half a JSON list": ("harmfulqa", "a.json", b'[{"topic": "x"}', "not JSON"),
    "not Parquet": ("hh", "a.parquet", b"PAR1 and more", "not a Parquet file"),
    "no rejected": ("hh", "a.jsonl", changed(HH, rejected="-"), "line 2: no column 'rejected' (found: chosen)"),
    "no dialogue": ("hh", "a.jsonl", changed(HH, chosen="Hello"), "line 2: column 'chosen' must be a dialogue"),
    "no answer": ("hh", "a.jsonl", changed(HH, chosen="\n\nHuman: a"), "line 2: column 'chosen' must end with"),
    "a number for a text": (
        "pku-saferlhf",
        "a.jsonl",
        changed(PKU, prompt=5),
        "column 'prompt' must be text, not a number",
    ),
    "no label": ("pku-saferlhf", "a.jsonl", changed(PKU, is_response_1_safe="-"), "line 2: no column 'is_response_1_safe'"),
    "a label that is text": ("pku-saferlhf", "a.jsonl", changed(PKU, is_response_0_safe="yes"), "must be true or false"),
    "flags that are none": ("pku-saferlhf", "a.jsonl", changed(PKU, response_0_harm_category=["x"]), "an object of flags"),
    "no target": ("advbench", "a.csv", table(["goal"], ["x"]), "line 2: no column 'target' (found: goal)"),
    "a blank goal": ("advbench", "a.csv", table(["goal", "target"], ["x", "y"], [" ", "y"]), "line 3: column 'goal' is blank"),
    "unquoted commas": ("advbench", "a.csv", b"goal,target\na, b,c\n", "line 2: 3 cells under 2 columns"),
    "an open quote": ("advbench", "a.csv", b'goal,target\n"a,b\n', "line 2: not CSV"),
    "two columns of one name": ("advbench", "a.csv", b"goal,goal\na,b\n", "line 1: two columns are called 'goal'"),
    "no topic": ("harmfulqa", "a.json", json.dumps([HARMFULQA, {"question": "a"}]).encode(), "row 2: no column 'topic'"),
    "null": ("harmfulqa", "a.jsonl", changed(HARMFULQA, question=None), "line 2: column 'question' must be text, not null"),
    "no category": ("vicuna-bench", "a.jsonl", changed(VICUNA, category="-"), "line 2: no column 'category'"),
    "two turns": ("vicuna-bench", "a.jsonl", changed(VICUNA, turns=["a", "b"]), "line 2: column 'turns' has 2 turns, not 1"),
    "one turn": ("mt-bench", "a.jsonl", changed(MT, turns=["a"]), "line 2: column 'turns' has 1 turns, not 2"),
    "a blank turn": ("mt-bench", "a.jsonl", changed(MT, turns=["a", ""]), "line 2: column 'turns[1]' is blank"),
    "a reference that is text": ("mt-bench", "a.jsonl", changed(MT, reference="68"), "line 2: column 'reference' must be a list"),
    "an id twice": ("mt-bench", "a.jsonl", lines(MT, MT), "line 2: question_id 81 is also in a.jsonl, line 1"),
    "half a character": ("vicuna-bench", "a.jsonl", changed(VICUNA, turns=["\ud800"]), "line 2: column 'turns[0]' has half of a"),
    "gzip without the name": ("hh", "a.jsonl", gzip.compress(lines(HH)), "packed with gzip: let its name end in .jsonl.gz"),
    "a page instead of the file": ("hh", "a.jsonl", b"<!DOCTYPE html>\n<html>", "line 1: not JSON (column 1: Expecting value)"),
    "semicolons": ("advbench", "a.csv", b"goal;target\na;b\n", "no column 'goal' (found: goal;target)"),
    "a Parquet of something else": ("hh", "a.parquet", other_parquet(), "row 1: no column 'chosen' (found: colour)"),
    "bytes for a text": ("hh", "a.parquet", other_parquet(chosen=b"a", rejected=b"b"), "column 'chosen' must be text, not bytes"),
    "no id": ("mt-bench", "a.jsonl", changed(MT, question_id="-"), "line 2: no column 'question_id'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_not_in_the_format_is_refused_with_row_and_column(tmp_path, case):
    name, file, data, said = BROKEN[case]
    with pytest.raises(UserError) as refused:
        load(name, written(tmp_path, file, data))
    assert file in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_broken_file_has_words_of_its_own():
    assert len({(name, said) for name, _, _, said in BROKEN.values()}) >= 34


def test_what_is_no_benchmark_is_refused(tmp_path):
    for name, data, said in (
        ("hhh", None, "neither a file nor one of"),
        ("hh", str(tmp_path / "none"), "there is no such file"),
        ("hh", str(tmp_path), "is a folder"),
        ("vicuna-bench", None, "not on the hub"),
        (written(tmp_path, "own.csv", table(["a"], ["b"])), None, "no column 'instruction'"),
    ):
        with pytest.raises(UserError, match=said):
            load(name, data)


def test_a_sample_keeps_the_shares_of_categories_and_follows_from_the_seed():
    items = [Item(id=str(i), category="abc"[i % 6 // 3 + (i % 12 == 0)], turns=(f"question {i}",)) for i in range(120)]
    items.append(items[0].model_copy(update={"id": "again"}))
    shares = Counter(item.category for item in items[:120])
    drawn = sample(items, 40, seed=1)
    assert Counter(item.category for item in drawn) == {category: round(n / 3) for category, n in shares.items()}
    assert {i.prompt for i in drawn} == {i.prompt for i in sample(items[60:] + items[:60], 40, seed=1)}, "the order matters"
    assert drawn != sample(items, 40, seed=2)
    assert len(sample(items, None, 1)) == 120, "a question that stands there twice is asked once"
    assert benchmarks.digest(drawn) != benchmarks.digest(sample(items, 40, seed=2))
