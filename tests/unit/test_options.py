"""The options of a run: the same command is the same run, and a run's options are found again."""

import io
import json
import socket
import sys
from typing import get_args

import pytest

from flows.allowed import Refreshable
from flows.cli import main
from flows.options import RunOptions
from matrix_core.errors import UserError
from matrix_core.models import POCKET, resolve
from matrix_core.steps import STEPS
from tasks.store import open_store


@pytest.fixture
def given(tmp_path):
    """What makes options of a run on a small file."""
    (tmp_path / "a.txt").write_text("Name a river.\nName a lake.\nName a river.\n")
    return {"instructions": str(tmp_path / "a.txt"), "store": str(tmp_path / "store")}


def test_the_same_command_is_the_same_run(tmp_path, given):
    run = RunOptions.of(**given).run
    assert run.startswith("pocket-")
    assert len(run) == len("pocket-") + 10
    (tmp_path / "b.txt").write_text("Name a river.\n\nName a lake.\n")
    for same in (
        {},
        {"store": "elsewhere"},
        {"refresh": "critique"},
        {"roles": "3"},
        {"instructions": str(tmp_path / "b.txt")},
    ):
        assert RunOptions.of(**given | same).run == run
    (tmp_path / "c.txt").write_text("Name a river.\nName a sea.\n")
    others = (
        {"seed": 1},
        {"roles": 4},
        {"steps": 4},
        {"scenes": 1},
        {"judge": "smollm2"},
        {"questions": 9},
        {"model": "smollm2"},
        {"instructions": str(tmp_path / "c.txt")},
    )
    runs = {RunOptions.of(**given | other).run for other in others}
    assert len(runs) == len(others)
    assert run not in runs


@pytest.mark.parametrize("method", ["rlaif", "rlcd", "self-align"])
def test_a_rival_that_has_no_words_for_the_embedded_model_is_refused_before_anything_is_written(given, tmp_path, method, capsys):
    command = ["run", "--method", method, "--instructions", given["instructions"], "--store", given["store"]]
    assert main(command) == 2
    assert f"--method {method} needs a chat model, pocket knows no such prompts: take another --model" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_shares_are_kept_with_the_run_and_refused_where_nothing_is_mixed(given):
    shares = {"harmful": 0.25, "harmless": 0.25, "trace": 0.25, "general": 0.25}
    options = RunOptions.of(**given, shares=shares)
    options.prepare()
    assert RunOptions.of_run(options.run, given["store"]).shares == shares
    for method in ("rlaif", "in-context"):
        with pytest.raises(UserError, match=f"--shares: {method} mixes no sources"):
            RunOptions.of(**given, method=method, shares=shares)
    with pytest.raises(UserError, match=r"--shares .*add up to 1"):
        RunOptions.of(**given, shares={"harmful": 0.5})


def test_only_matrix_has_parts_to_leave_out(given):
    with pytest.raises(UserError, match="--without: rlcd has no memory to leave out"):
        RunOptions.of(**given, method="rlcd", without=("memory",))


def test_a_method_that_there_is_not_is_told_with_those_that_there_are(given, capsys):
    assert main(["run", "--method", "ppo", "--store", given["store"]]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--method" in err
    assert "'mistake-analysis'" in err


@pytest.mark.parametrize(
    ("model", "label"),
    [("org/Some-Model.v1", "Some-Model.v1"), ("/home/x/my model/", "my-model"), (".", "model"), ("ü" * 90, "model")],
)
def test_any_model_gives_a_run_id_that_stays_in_the_store(given, model, label):
    assert RunOptions.of(**given, model=model).run.rpartition("-")[0] == label


def test_who_serves_the_model_does_not_matter_but_that_it_is_served_does(given):
    given["model"] = "m"
    at_home, there, elsewhere = (
        RunOptions.of(**given, endpoint=urls).run for urls in ([], ["http://a/v1"], ["http://b/v1", "http://c/v1"])
    )
    assert there == elsewhere != at_home


def test_the_embedded_model_is_itself_under_the_name_of_its_folder_too(tmp_path):
    pocket = RunOptions.of()
    served = RunOptions.of(model=str(POCKET), endpoint=["http://a/v1"])
    assert served.settings == pocket.settings
    assert served.inputs.instructions == pocket.inputs.instructions
    assert resolve(str(POCKET)).fingerprint == resolve("pocket").fingerprint
    (tmp_path / "pocket").symlink_to(POCKET)
    assert resolve(str(tmp_path / "pocket")).style == "pocket"
    assert RunOptions.of(model="m", endpoint=["http://a/v1"]).settings.style == "full"


def test_instructions_are_read_once(monkeypatch, given):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\none\n")))
    options = RunOptions.of(**given | {"instructions": "-"})
    assert [i.text for i in options.inputs.instructions] == ["one", "two"]
    assert options.inputs.duplicates == 1
    assert options.run == options.run


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a model, which is all that is looked at before a run."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


def test_a_run_finds_its_options_again(tmp_path, given, model):
    options = RunOptions.of(**given, model=model, run_id="mine", roles=2, seed=7)
    store = options.prepare()
    assert options.prepare().uri == store.uri
    (tmp_path / "a.txt").unlink()
    again = RunOptions.of_run("mine", given["store"], refresh="answers")
    assert again.model_dump() == options.model_dump() | {"refresh": "answers"}
    assert RunOptions.of_run(options.uri).roles == 2
    assert again.prepare().uri == store.uri


def test_a_judge_must_be_there(tmp_path, given, model):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        for judge in (silent, str(tmp_path / "nowhere")):
            with pytest.raises(UserError, match=f"--judge {judge}: "):
                RunOptions.of(**given, model=model, judge=judge).prepare()
    assert not (tmp_path / "store").exists()
    RunOptions.of(**given, model=model, judge=model).prepare()


def test_another_run_cannot_take_its_id(tmp_path, given, model):
    given |= {"model": model, "run_id": "mine"}
    RunOptions.of(**given).prepare()
    written = (tmp_path / "store" / "runs" / "mine" / "options.json").read_bytes()
    with pytest.raises(UserError, match="--run-id mine: that run was started with --seed 0; take another id"):
        RunOptions.of(**given, seed=1).prepare()
    (tmp_path / "a.txt").write_text("Name a sea.\n")
    open_store(given["store"]).write("mine", "stages/simulate.json", b"{}")
    with pytest.raises(UserError, match="other instructions"):
        RunOptions.of(**given).prepare()
    assert (tmp_path / "store" / "runs" / "mine" / "options.json").read_bytes() == written
    assert json.loads(written)["options"]["roles"] == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"price": "0.15"}, "--price: give USD per million prompt and completion tokens, like 0.15,0.60, not"),
        ({"price": "0.15,much"}, "--price: give USD per million"),
        ({"price": "-1,2"}, "--price: give USD per million"),
        ({"price": "nan,2"}, "--price: give USD per million"),
        ({"price": "1,2,3"}, "--price: give USD per million"),
        ({"max_cost": "0", "price": "1,2"}, "--max-cost: give USD, more than 0, like 2.50, not 0"),
        ({"max_cost": "inf", "price": "1,2"}, "--max-cost: give USD"),
        ({"max_cost": "2.5"}, "--max-cost needs --price"),
        ({"max_tokens": "0"}, "--max-tokens 0: give a whole number from 1"),
        ({"max_tokens": "1e3"}, "--max-tokens 1e3: give a whole number from 1"),
    ],
)
def test_a_budget_that_is_none(given, wrong, said):
    with pytest.raises(UserError, match=said):
        RunOptions.of(**given, model="m", endpoint=["http://a/v1"], **wrong)


@pytest.mark.parametrize("alone", [{"price": "1,2"}, {"price": "1,2", "max_cost": "1"}, {"max_tokens": "5"}])
def test_a_budget_is_for_endpoints(given, alone):
    with pytest.raises(UserError, match=r"is for a model behind --endpoint"):
        RunOptions.of(**given, **alone)


def test_a_larger_budget_is_the_same_run_and_travels_as_json(given):
    given |= {"model": "m", "endpoint": ["http://a/v1"]}
    rich = RunOptions.of(**given, price="0.15,0.60", max_cost="2.5", max_tokens="1000")
    assert rich.run == RunOptions.of(**given).run
    assert (rich.budget.price, rich.budget.max_cost, rich.budget.max_tokens) == ((0.15, 0.6), 2.5, 1000)
    assert RunOptions.of(**json.loads(rich.model_dump_json())) == rich


def test_every_step_and_every_other_cached_task_can_be_refreshed():
    assert {*get_args(Refreshable)} == {*STEPS, "instructions", "examples", "fine-tune", "answers", "verdicts", "ability"}
