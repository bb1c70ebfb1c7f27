"""Cards in the hub's format: their head is read by the hub's own library, their figures are those of the summary."""

import pytest
from huggingface_hub import DatasetCard, ModelCard

from matrix_core.scene import Example
from tasks.cards import EXAMPLES, dataset_card, model_card
from tasks.scenes_io import dump_examples
from tests.unit.test_reporting import SUMMARY

LOST = {"release": False, "checks": [{"benchmark": "mt-bench", "change": -1.2, "passed": False}]}


def test_the_model_card_is_read_by_the_hub_and_tells_the_figures():
    card = ModelCard(model_card(SUMMARY))
    assert (card.data.base_model, card.data.library_name) == ("pocket", "peft")
    assert [(result.dataset_name, result.metric_value) for result in card.data.eval_results] == [("pocket", 0.5)]
    for figure in ("Win rate 50.0 % (95 %: 46.0 % to 54.0 %): 330 won", "| 99.0 % | 4.9 % |", "not measured"):
        assert figure in card.text
    marked = ModelCard(model_card(SUMMARY | {"release": LOST})).text
    assert "Not to be released" in marked
    assert "mt-bench -1.200" in marked.replace("\\", "")


def test_the_card_of_a_rival_s_adapter_does_not_claim_that_scenes_were_played():
    assert "social scene simulation" in model_card(SUMMARY)
    rival = model_card(SUMMARY | {"settings": {"method": "rlcd"}})
    assert "social scene simulation" not in rival
    assert "aligned by rlcd, one of the rivals" in rival


def test_a_name_from_outside_stays_text():
    card = model_card(SUMMARY | {"run_id": "x [y](http://z) <script>"})
    assert "<script>" not in ModelCard(card).text
    assert "y](http://z)" not in ModelCard(card).text


def test_the_dataset_opens_with_datasets_and_its_card_with_the_hub(tmp_path):
    from datasets import load_dataset

    examples = [
        Example(scene="1", source="harmful", prompt=(("user", "Burn it?"),), completion="No."),
        Example(scene="", source="general", prompt=(("system", "x"), ("user", "2 + 2?")), completion="4"),
    ]
    folder = tmp_path / "dataset"
    file = tmp_path / EXAMPLES
    file.parent.mkdir(parents=True)
    file.write_bytes(dump_examples(examples))
    (folder / "README.md").write_text(dataset_card(SUMMARY))
    opened = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert opened["completion"][:] == ["No.", "4"]
    assert DatasetCard.load(folder / "README.md").data.size_categories == ["1K<n<10K"]


@pytest.mark.parametrize(
    ("n", "size"),
    [(3, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (2_000_000, "n>1M")],
)
def test_sizes_are_those_of_the_hub(n, size):
    assert DatasetCard(dataset_card(SUMMARY | {"counts": SUMMARY["counts"] | {"examples": n}})).data.size_categories == [size]
