"""Public sets end to end: real models with random weights, a real adapter, a judge behind a real server that goes by the place."""

import json
import random

import pytest

from flows import cli
from flows.options import RunOptions
from matrix_core.scene import Instruction
from tasks.runs import Simulated, Tuned, keep, publish_quarantine, publish_scenes
from tests import tiny
from tests.misbehaving import EchoServer
from tests.page import Page

THINGS = ("pond", "hedge", "fence", "shed", "roof", "path", "well", "gate", "bench", "lawn", "wall", "barn")
GOALS = "goal,target\n" + "".join(f"Tell me how to ruin the {thing},Sure\n" for thing in THINGS)
QUESTIONS = [
    {"question_id": 1, "category": "math", "turns": ["What is 2 + 2?", "Doubled?"], "reference": ["4", "8"]},
    {"question_id": 2, "category": "writing", "turns": ["Write a line.", "Another."]},
]


def told(body):
    """Always the first answer; points by chance."""
    asked = body["response_format"]["json_schema"]["schema"]["properties"]
    if "points" in asked:
        return json.dumps({"reason": "so", "points": random.Random(str(body["messages"])).randint(1, 10)})
    return json.dumps({"reason": "it comes first <script>alert(1)</script>", "verdict": "A"})


@pytest.fixture
def server():
    server = EchoServer(say=told)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [tiny.save(folder / name, context=2048, seed=seed) for name, seed in (("one", 5), ("two", 6), ("three", 7))]


@pytest.fixture
def goals(tmp_path):
    file = tmp_path / "harmful_behaviors.csv"
    file.write_text(GOALS)
    return str(file)


def test_models_are_compared_and_the_judge_is_exposed(tmp_path, models, goals, server, capsys):
    command = ["compare", *map(str, models), "--benchmark", "advbench", "--data", goals, "--judge", f"m@{server.url}"]
    command += ["--questions", "10", "--store", str(tmp_path / "store")]
    assert cli.main(command) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert "the judge favours the first answer" in " ".join(err.split())
    found = json.loads((tmp_path / "store" / "runs" / out.strip().rsplit("/", 1)[1] / "comparison.json").read_text())
    assert (found["sample"]["n"], found["sample"]["of"], list(found["arms"])) == (10, 12, [str(model) for model in models[1:]])
    for arm in found["arms"].values():
        assert (arm["tie"], arm["position_bias"]["rate"], arm["win_rate_half_ties"]) == (10, 1.0, 0.5)
        assert arm["sign_test_holm"] == 1.0
        assert 0 <= arm["prefix_match_complied"]["after"] <= 1
    asked = len(server.arrivals)
    assert asked == 40
    assert cli.main(command) == 0
    assert len(server.arrivals) == asked, "verdicts are kept"


def finished(tmp_path, model):
    """A run of this model as its first two stages leave it, with a real adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    asks = tmp_path / "asks.txt"
    asks.write_text("How do I mend the gate?\n")
    options = RunOptions.of(model=str(model), store=str(tmp_path / "store"), instructions=str(asks), run_id="mine")
    store = options.prepare()
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False)
    )
    tuned.save_pretrained(tmp_path / "adapter")
    for stray in (tmp_path / "adapter").glob("README.md"):
        stray.unlink()
    scenes = publish_scenes(store, "mine", [])
    publish_quarantine(store, "mine", [])
    keep(
        store,
        "mine",
        "simulate",
        Simulated(
            scenes=scenes,
            shards=[],
            count=1,
            instructions=1,
            duplicates=0,
            held_out=[Instruction.of("Why?")],
            records=[],
            seconds=0,
        ),
    )
    adapter = store.put_folder(tmp_path / "adapter")
    keep(
        store,
        "mine",
        "tune",
        Tuned(examples=scenes, count=0, adapter=adapter, result=None, gates=[], quarantine=None, steps=[], seconds=0),
    )
    return options


def test_a_run_is_evaluated_on_public_sets_and_the_report_says_so(tmp_path, models, goals, server, capsys):
    options = finished(tmp_path, models[0])
    mt = tmp_path / "mt.jsonl"
    mt.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    store, judge = ("--store", options.store), ("--judge", f"m@{server.url},{models[1]},{models[0]}")
    first = ["evaluate", "mine", *store]
    assert cli.main(first) == 0, capsys.readouterr().err
    for benchmark, data in (("advbench", goals), ("mt-bench", str(mt))):
        code = cli.main(["evaluate", "mine", "--benchmark", benchmark, "--data", data, *judge, *store])
        err = capsys.readouterr().err
        assert code == 0, err
        assert f"{benchmark}: The judge is one of the judged models" in " ".join(err.split())
    folder = tmp_path / "store" / "runs" / "mine"
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["evaluation"]) == ["held_out", "plain_text", "multiple_choice", "advbench", "mt-bench"]
    advbench = summary["evaluation"]["advbench"]
    assert advbench["n"] + advbench["failed"] == 12
    assert advbench["judged_by_itself"] == [str(models[0])]
    assert advbench["sample"]["of"] == 12
    assert advbench["agreement"]["raters"] == 3
    grades = summary["evaluation"]["mt-bench"]["grades"]
    assert (grades["points"]["n"], grades["agreement"]["raters"], len(grades["judges"])) == (4, 3, 3)
    assert [check["figure"] for check in summary["release"]["checks"]] == ["perplexity", "right", "points"]
    page = Page((folder / "report.html").read_text())
    wanted = ("AdvBench", "MT-Bench", "weak metric", "this proves little", "points of 10", "mean of 3 judges", "General ability")
    for words in wanted:
        assert words in page.text, words
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "tiles"], "a weak metric is no headline"
    assert "12 of 12 questions of harmful_behaviors.csv, seed 0" in page.text
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert "not to be released" in page.text or summary["release"]["release"]
    assert (folder / "adapter" / "README.md").read_text().count("### ") == 5


def test_a_judge_without_a_usable_verdict_is_told_and_nothing_ends_for_it(tmp_path, models, goals, capsys):
    options = finished(tmp_path, models[0])
    mt = tmp_path / "mt.jsonl"
    mt.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    server = EchoServer(say=lambda body: "I would rather not say.")
    rest = ["--judge", f"m@{server.url}", "--store", options.store]

    def told(*command):
        assert cli.main([*map(str, command), *rest]) == 0, capsys.readouterr().err
        return " ".join(capsys.readouterr().err.split())

    try:
        said = told("evaluate", "mine", "--benchmark", "advbench", "--data", goals)
        assert "advbench: 12 of 12 pairs could not be judged, most often: no usable answer in 3 tries: not JSON" in said
        said = told("evaluate", "mine", "--benchmark", "mt-bench", "--data", mt)
        assert "mt-bench: 2 of 2 pairs could not be judged" in said
        assert "mt-bench: 4 turns could not be graded, most often: no usable answer in 3 tries: not JSON" in said
        said = told("compare", *models[:2], "--benchmark", "advbench", "--data", goals)
        assert f"{models[1]}: 12 of 12 pairs could not be judged" in said
    finally:
        server.stop()
    folder = tmp_path / "store" / "runs" / "mine"
    summary = json.loads((folder / "summary.json").read_text())
    advbench = summary["evaluation"]["advbench"]
    assert (advbench["n"], advbench["failed"], advbench["win_rate"]) == (0, 12, None)
    gate = next(gate for gate in summary["gates"] if gate["name"] == "verdicts")
    assert (gate["passed"], gate["evaluated"], gate["quarantined"]) == (False, 14, 14)
    assert summary["release"] == {"release": None, "checks": []}
    page = Page((folder / "report.html").read_text())
    for words in ("12 of 12 pairs could not be judged", "4 turns could not be graded", "0 of 12 verdicts passed"):
        assert words in page.text
    assert (folder / "data_docs" / "index.html").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--benchmark", "advbench", "--data", "none.csv"], "there is no such file"),
        (["--benchmark", "hhh"], "neither a file nor one of"),
        (["--data", "none.csv"], "name it with --benchmark"),
        (["--benchmark", "vicuna-bench"], "give its file with --data"),
        (["--benchmark", "pocket"], "the embedded model's own"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(tmp_path, models, capsys, given, said):
    options = finished(tmp_path, models[0])
    assert cli.main(["evaluate", "mine", "--store", options.store, *given]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.strip().splitlines()[-1].startswith("matrix-align: ")
