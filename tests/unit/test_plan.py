"""Plans of ablations: those that are shipped are sound; every mistake is told in one line with file, key and what to do."""

import pytest

from flows.ablate import summarise
from flows.cli import main
from flows.options import RunOptions
from flows.plan import PLANS, read_plan
from matrix_core.errors import RunError, UserError
from matrix_core.rivals import RIVALS
from tasks.runs import Evaluated, keep
from tasks.tuning import settings_for

ARMS = "[arms.MATRIX]\n[arms.base]\nmethod = 'base'\n"

WRONG = {
    "no TOML": ("scenes = \n", "no TOML: "),
    "no arms": ("scenes = 3\n", "arms: is missing; give arms like [arms.MATRIX]"),
    "one arm": ("[arms.MATRIX]\n", "arms: "),
    "unknown key": ("scene = 3\n" + ARMS, "scene: there is no such key; there are model, instructions, judge, scenes"),
    "unknown key of an arm": (ARMS + "[arms.x]\nvote = 2\n", "arms.x.vote: there is no such key; there are method, without, votes"),
    "no number": ("scenes = 'many'\n" + ARMS, "scenes: Input should be a valid integer"),
    "none at all": ("scenes = 0\n" + ARMS, "scenes: Input should be greater than or equal to 1, not 0"),
    "no such part": (ARMS + "[arms.x]\nwithout = ['draft']\n", "arms.x.without.0: Input should be 'roles', 'feasibility'"),
    "no such rival": (ARMS + "[arms.x]\nmethod = 'ppo'\n", "arms.x.method: Input should be 'matrix', 'constitutional'"),
    "a part of a rival": (
        ARMS + "[arms.x]\nmethod = 'reasoned'\nwithout = ['roles']\n",
        "arms.x: reasoned has no roles to leave out: leave without out, or take matrix",
    ),
    "votes of what draws none": (ARMS + "[arms.x]\nvotes = 3\n", "arms.x: matrix draws no votes: leave votes and equal out"),
    "a base that is played": (ARMS + "[arms.x]\nmethod = 'base'\nroles = 2\n", "arms.x: base is the model as it is: give nothing"),
    "base first": ("[arms.base]\nmethod = 'base'\n[arms.MATRIX]\n", "the first arm, 'base', is what the others are compared with"),
    "the same seed twice": ("seeds = [1, 1]\n" + ARMS, "seeds: give different whole numbers"),
    "no seed": ("seeds = []\n" + ARMS, "seeds: "),
    "needs a chat model": (
        ARMS + "[arms.x]\nmethod = 'self-align'\n",
        "arms.x: self-align needs a chat model, pocket knows no such prompts: leave the arm out, or set model",
    ),
    "pairs that the embedded model can't make": (
        ARMS + "[arms.x]\nmethod = 'rlaif'\n",
        "arms.x: rlaif needs a chat model, pocket knows no such prompts: leave the arm out, or set model",
    ),
    "shares that make no whole": (
        ARMS + "[arms.x]\nshares = {harmful = 0.5, harmless = 0.6}\n",
        "arms.x.shares: the shares must be 0 or more and add up to 1, not {'harmful': 0.5, 'harmless': 0.6}",
    ),
    "a share of nothing": (
        ARMS + "[arms.x]\nshares = {harmful = 0.5, poems = 0.5}\n",
        "arms.x.shares.poems.[key]: Input should be 'harmful', 'harmless', 'trace' or 'general', not poems",
    ),
    "a mix of pairs": (ARMS + "[arms.x]\nmethod = 'rlcd'\nshares = {harmful = 1.0}\n", "arms.x: rlcd mixes no sources"),
    "no such model": ("model = 'no/such model'\n" + ARMS, "no/such model"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_is_told_in_one_line_and_nothing_is_written(name, tmp_path, capsys):
    text, said = WRONG[name]
    file = tmp_path / "plan.toml"
    file.write_text(text)
    assert main(["ablate", "--plan", str(file), "--store", str(tmp_path / "store")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not (tmp_path / "store").exists()


def test_a_plan_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(
        UserError, match=r"mine\.toml: there is no such file; name one, or take default or order or sweeps or recipe or quick"
    ):
        read_plan(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", PLANS)
def test_the_plans_that_are_shipped_begin_with_matrix_as_it_is_and_have_the_order_to_show(name):
    plan = read_plan(name)
    assert plan.arms[plan.first].model_dump(exclude_defaults=True) == {}
    if name in ("default", "order", "quick"):
        assert {"matrix", "self-critique", "constitutional", "base"} <= {arm.method for arm in plan.arms.values()}


def test_the_default_plan_leaves_out_every_part_and_plays_every_rival_that_the_embedded_model_has_words_for():
    plan = read_plan("default")
    left_out = {part for arm in plan.arms.values() for part in arm.without}
    assert left_out == {"roles", "feasibility", "routing", "memory", "critique", "traces"}
    assert {arm.method for arm in plan.arms.values()} >= {name for name, rival in RIVALS.items() if "pocket" in rival.styles}


def test_an_arm_is_the_run_that_the_same_options_would_start(tmp_path):
    plan = read_plan("default")
    runs = {
        name: plan.options(arm, seed, str(tmp_path)).run
        for name, arm in plan.played.items()
        for seed in plan.seeds
        if not arm.equal
    }
    assert len(set(runs.values())) == len(runs)


def test_the_mix_of_an_arm_is_what_its_run_is_tuned_on_and_another_run(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(ARMS + "[arms.mix]\nshares = {harmful = 0.2, harmless = 0.2, trace = 0.5, general = 0.1}\n")
    plan = read_plan(str(file))
    usual, mixed = (plan.options(plan.arms[name], 0, str(tmp_path)) for name in ("MATRIX", "mix"))
    assert settings_for(mixed.settings, mixed.shares).shares == {"harmful": 0.2, "harmless": 0.2, "trace": 0.5, "general": 0.1}
    assert settings_for(usual.settings, usual.shares) == settings_for(usual.settings)
    assert usual.run != mixed.run


def test_an_arm_that_could_not_be_judged_is_no_arm_full_of_ties(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text("judge = 'smollm2'\n" + ARMS)
    plan = read_plan(str(file))
    options = RunOptions.of(store=str(tmp_path / "store"), run_id="one")
    gate = {"name": "verdicts", "passed": False, "problems": ["0 of 2 verdicts passed"]}
    keep(options.prepare(), "one", "evaluate", Evaluated(evaluation={}, gates=[gate], calls={}, steps=[], seconds=0))
    with pytest.raises(RunError, match="arm 'MATRIX', run one: there is nothing to compare: 0 of 2 verdicts passed"):
        summarise(plan, options.prepare(), {"MATRIX": [options]})
