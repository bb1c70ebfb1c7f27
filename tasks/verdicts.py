"""Verdicts over answers before and after tuning, as cached tasks: a judge's, and the gate over all verdicts."""

import json
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from matrix_core import judging
from matrix_core.judging import Pair, Verdict
from matrix_core.rubrics import RUBRICS
from matrix_core.waves import Usage
from tasks import keys, progress
from tasks.engines import Model, engine
from tasks.evaluation import load_answers
from tasks.gating import told
from tasks.journals import journalled
from tasks.store import Reference, open_store
from tasks.tuning import Gated
from validations import gate
from validations.rules import Style


def _judge_parts(judge: Model, seed: int) -> keys.Parts:
    return {
        "judge": engine(judge).fingerprint,
        "prompt or schema": keys.digest([RUBRICS["overall"], judging.SCHEMA]),
        "seed": str(seed),
    }


def _judge_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    given = [parameters["questions"], parameters["before"].sha256, parameters["after"].sha256]
    return keys.key("verdicts", _judge_parts(parameters["judge"], parameters["seed"]), given)


@task(
    name="judge answers",
    task_run_name="judge answers · {judge.label}",
    cache_key_fn=_judge_key,
    persist_result=True,
    result_serializer="json",
)
def judge_answers(store: str, judge: Model, questions: list[str], before: Reference, after: Reference, seed: int) -> Gated:
    """The judge's verdicts on two lists of answers, as JSON in the store; `result` says what it was asked for, and what it lost."""
    opened = open_store(store)
    why = keys.explain(opened, "verdicts", _judge_parts(judge, seed))
    answers = zip(questions, load_answers(store, before), load_answers(store, after), strict=True)
    pairs = [Pair(id=str(i), instruction=q, base=a, tuned=b) for i, (q, a, b) in enumerate(answers)]
    usage = Usage()
    given = [questions, before.sha256, after.sha256]
    asked = journalled(judge, opened.uri, keys.key("verdicts", _judge_parts(judge, seed), given))
    verdicts = judging.judge(pairs, asked, seed, progress.tick, usage)
    spent = {
        "calls": usage.calls,
        "prompt": usage.prompt,
        "completion": usage.completion,
        "cached_calls": usage.cached,
        "lost": sum(judging.ENGINE_FAILED in verdict.error for verdict in verdicts),
    }
    data = json.dumps([verdict.model_dump(mode="json") for verdict in verdicts], ensure_ascii=False).encode()
    return Gated(reference=opened.put(data, ".json"), count=len(verdicts), gates=[], why=why, result=spent)


def load_verdicts(store: str, reference: Reference) -> list[Verdict]:
    """The verdicts behind a reference."""
    return [Verdict.model_validate(row) for row in json.loads(open_store(store).get(reference))]


def _gate_key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    parts = {"gate": gate.fingerprint("verdicts"), "style": parameters["style"]}
    return keys.key("verdict-gate", parts, parameters["rows"])


@task(name="check verdicts", task_run_name="check verdicts", cache_key_fn=_gate_key, persist_result=True, result_serializer="json")
def check_verdicts(store: str, rows: str, style: Style) -> dict[str, Any]:
    """What the gate says of verdicts (rows of `validations.tables.verdict`), as a run notes it: passed or not, the report tells it.

    The rows come as one text of JSON: Prefect looks into every part of what a task is given.
    """
    return told(gate.check("verdicts", json.loads(rows), style=style), open_store(store))
