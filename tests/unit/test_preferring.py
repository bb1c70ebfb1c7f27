"""Learning from preferences for real, on the embedded model: the better answer comes to be preferred, and the adapter is one."""

import math

import pytest
import torch
from pydantic import ValidationError

from matrix_core import models
from matrix_core.errors import RunError
from matrix_core.pocket import language, sets
from matrix_core.preferring import COLUMNS, pairs
from matrix_core.scene import Example
from matrix_core.training import tokenize
from matrix_core.tuning import PreferenceSettings, TuningSettings, check_adapter, tune
from tasks.engines import Model, engine
from tasks.runs import publish_adapter
from tasks.scenes_io import PARQUET, dump_examples
from tasks.store import open_store
from tasks.tuning import _adapter_parts, fine_tune
from validations import gate, tables

QUICK = PreferenceSettings.pocket(epochs=2, batch_size=8, held_out=0.2, max_length=256)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def spec():
    return models.resolve("pocket")


def preferences(n: int = 40) -> list[Example]:
    """Of harmful requests: to decline with the reason is better than to help."""
    cases = [case for case in sets.cases("train", 4 * n) if case.victims][:n]
    return [
        Example(
            scene=f"{i:04}",
            source="preference",
            prompt=(("user", case.text),),
            completion=language.right_answer(case),
            rejected=language.helpful(case),
        )
        for i, case in enumerate(cases)
    ]


def test_the_margin_rises_the_held_out_loss_falls_from_that_of_a_coin_and_the_adapter_passes_its_gate(spec, tmp_path):
    result = tune(spec, preferences(), QUICK, tmp_path / "one")
    margins = [margin for _, margin in result.margins]
    assert margins[0] == pytest.approx(0.0, abs=1e-3)  # the adapter begins as the base model, which is the reference
    assert margins[-1] > 1 > margins[0]
    (untuned, *later) = [loss for _, loss in result.held_out["preference"]]
    assert untuned == pytest.approx(math.log(2), abs=1e-3)
    assert later[result.best_epoch - 1] < 0.5
    assert (result.examples["preference"].trained, result.examples["preference"].held_out) == (32, 8)
    assert type(result).model_validate_json(result.model_dump_json()) == result

    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    checked = check_adapter(spec, tmp_path / "one", result)
    assert gate.check("adapter", [tables.adapter(checked)], style="pocket").passed


def test_the_same_pairs_and_seed_give_the_same_bytes_in_any_order_and_every_setting_counts(spec, tmp_path):
    few, once = preferences(12), QUICK.model_copy(update={"epochs": 1})
    tune(spec, few, once, tmp_path / "one")
    tune(spec, few[::-1], once, tmp_path / "two")
    tune(spec, few, once.model_copy(update={"beta": 0.5}), tmp_path / "three")
    one, two, three = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "two", "three"))
    assert one == two != three


def test_both_answers_are_seen_as_an_engine_renders_them_and_special_tokens_in_them_are_text(spec):
    tokenizer = models.tokenizer(spec)
    (hostile,) = preferences(1)
    hostile = hostile.model_copy(update={"completion": f"Take the {tokenizer.eos_token} rope.", "rejected": "Take the rope."})
    (row,) = pairs(tokenizer, [hostile])
    for column, said in (("chosen_ids", hostile.completion), ("rejected_ids", hostile.rejected)):
        (alone,) = tokenize(tokenizer, [hostile.model_copy(update={"completion": said})])
        assert row["prompt_ids"] + row[column] == alone["input_ids"]
        assert row[column].count(tokenizer.eos_token_id) == 1
    assert {*row} == {"source", *COLUMNS}


def test_pairs_that_are_too_long_by_either_answer_are_left_out(spec, tmp_path):
    (one,) = preferences(1)
    for long in ({"completion": "rope " * 300}, {"rejected": "rope " * 300}):
        with pytest.raises(RunError, match="all 1 training examples are longer than 256 tokens"):
            tune(spec, [one.model_copy(update=long)], QUICK, tmp_path / "none")


def test_what_is_learned_and_how_far_it_may_part_from_the_base_decides_the_adapter_s_cache_key():
    assert (PreferenceSettings.paper().beta, PreferenceSettings.paper().learning_rate) == (0.1, 5e-6)
    assert PreferenceSettings.pocket().shares == PreferenceSettings.paper().shares == {"preference": 1.0}
    supervised, preferring = (_adapter_parts("pocket", recipe.pocket()) for recipe in (TuningSettings, PreferenceSettings))
    assert {*preferring} - {*supervised} == {"loss", "beta"}
    with pytest.raises(ValidationError, match="beta"):
        PreferenceSettings(beta=0.0)


def test_the_task_learns_from_pairs_in_the_store_and_leaves_an_adapter_where_any_other_lies(tmp_path):
    store = open_store(str(tmp_path))
    examples = store.put(dump_examples(preferences(12)), PARQUET)
    made = fine_tune.fn(str(tmp_path), "pocket", examples, QUICK.model_copy(update={"epochs": 1}), "pocket")
    assert [gate["passed"] for gate in made.gates] == [True]
    assert made.result["margins"]
    publish_adapter(store, "run", made.reference)
    answered = engine(Model(name="pocket", adapter=made.reference, store=str(tmp_path))).fingerprint
    assert answered != engine(Model(name="pocket")).fingerprint
    assert models.load_tuned(models.resolve("pocket"), tmp_path / "runs" / "run" / "adapter")
