"""The cards of a run's adapter and of its training examples, in the hub's format, with the figures of its `summary.json`."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

from matrix_core.story import inert
from tasks.reporting import figure_rows, percent

EXAMPLES = "dataset/data/train-00000-of-00001.parquet"
"""Where the examples lie in a run's folder; `datasets.load_dataset(<run>/dataset)` opens them."""
_PAPER = "MATRIX ([arXiv 2402.05699](https://arxiv.org/abs/2402.05699))"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def model_card(summary: Mapping[str, Any]) -> str:
    """`README.md` of the adapter's folder: what it was trained on, what it is worth, and whether it may be released."""
    evaluation = summary.get("evaluation") or {}
    results = [
        EvalResult(
            task_type="text-generation", dataset_type=name, dataset_name=name, metric_type="win_rate", metric_value=row["win_rate"]
        )
        for name, row in evaluation.items()
        if row.get("win_rate") is not None
    ]
    data = ModelCardData(
        base_model=summary["model"],
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["matrix-align", "lora", "alignment"],
        model_name=summary["run_id"] if results else None,
        eval_results=results or None,
    )
    counts = summary["counts"]
    lines = [
        f"# {inert(summary['run_id'])}",
        _release(summary.get("release") or {}),
        f"A LoRA adapter for `{inert(summary['model'])}`, {_aligned(summary)} It was fine-tuned on {counts['examples']:,} examples "
        f"from {counts['scenes']:,} scenes.",
        "```python\n"
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({summary['model']!r})\n"
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")\n```',
        "## Evaluation: tuned against base",
        *_evaluation(evaluation),
        "## Limits",
        "The figures hold for the questions, judges and sampling named here. No judge replaces people who look at answers.",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n"


def dataset_card(summary: Mapping[str, Any]) -> str:
    """`README.md` of the dataset's folder."""
    n = summary["counts"]["examples"]
    data = DatasetCardData(
        pretty_name=f"Examples of {summary['run_id']}",
        task_categories=["text-generation"],
        size_categories=[next((name for most, name in _SIZES if n < most), "n>1M")],
        tags=["matrix-align", "synthetic"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    )
    gates = [f"- {gate['name']}: {gate['evaluated']:,} rows, {gate['quarantined']:,} taken out" for gate in summary["gates"]]
    lines = [
        f"# Examples of {inert(summary['run_id'])}",
        f"{n:,} training examples that `{inert(summary['model'])}` made itself: {_PAPER}. Written by a model and checked by "
        "gates, not by people; some prompts ask for harm on purpose, and the answers to these don't give it.",
        "| column | what |\n| --- | --- |\n| `source` | harmful, harmless, trace (of a simulation), general or preference |\n"
        "| `prompt` | chat turns, (role, content) each |\n| `completion` | the answer to learn, or to prefer |\n"
        "| `rejected` | of a preference: the answer that is less good |\n| `scene` | id of the scene |",
        "## Gates that it passed",
        "\n".join(gates) or "None is noted.",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n"


def _aligned(summary: Mapping[str, Any]) -> str:
    """How: by MATRIX, or by a rival that it is compared with."""
    method = (summary.get("settings") or {}).get("method", "matrix")
    if method != "matrix":
        return f"aligned by {inert(method)}, one of the rivals that MATRIX is compared with: {_PAPER}."
    return (
        f"aligned by social scene simulation: {_PAPER}. The model played out the consequences of its own answers, criticised and "
        "rewrote them."
    )


def _release(release: Mapping[str, Any]) -> str:
    if release.get("release") is None:
        return "**General ability was not measured**: whether the model has lost some is not known."
    if release["release"]:
        return "General ability was measured: nothing was lost beyond the margin."
    lost = ", ".join(f"{check['benchmark']} {check['change']:+.3f}" for check in release["checks"] if not check["passed"])
    return f"> **Not to be released.** General ability has dropped beyond the margin: {inert(lost)}."


def _evaluation(evaluation: Mapping[str, Any]) -> list[str]:
    parts = []
    for row in figure_rows(evaluation):
        told = [f"### {inert(row['name'])}"]
        judged = row["judged"]
        if judged and judged["win_rate"] is not None:
            low, high = judged["ci95"] or (None, None)
            interval = f" (95 %: {percent(low)} to {percent(high)})" if low is not None and high is not None else ""
            judge = f" Judged by {inert(str(judged['judge']))}." if judged["judge"] else ""
            counts = f"{judged['win']} won, {judged['tie']} tied, {judged['lose']} lost"
            told.append(f"Win rate {percent(judged['win_rate'])}{interval}: {counts} of {judged['n']}.{judge}")
        shares = [f"| {inert(one['label'])} | {percent(one['before'])} | {percent(one['after'])} |" for one in row["shares"]]
        points = [f"| {inert(one['label'])}, of 10 | {one['before']:.2f} | {one['after']:.2f} |" for one in row["grades"]]
        if shares or points:
            told.append("\n".join(["| | before | after |", "| --- | ---: | ---: |", *shares, *points]))
        told += [inert(remark) for remark in row["remarks"]]
        parts.append("\n\n".join(told))
    return parts or ["Nothing was evaluated."]
