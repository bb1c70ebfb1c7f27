"""Two models on one benchmark: the same questions, the same judges; what `evaluate --benchmark` and `compare` have in common."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from flows.naming import named_endpoint
from flows.options import RunOptions
from matrix_core import grading, statistics
from matrix_core.agreement import majority
from matrix_core.comparison import figures
from matrix_core.errors import UserError
from matrix_core.grading import Grade
from matrix_core.judging import Verdict
from matrix_core.models import embedded, resolve
from matrix_core.refusals import WEAK, complied
from tasks.benchmarks import (
    Sample,
    answer_benchmark,
    grade_benchmark,
    judge_benchmark,
    load_turns,
    pair_rows,
    pairs_of,
)
from tasks.calling import call
from tasks.engines import Model, engine
from tasks.runs import Done, Tuned, put_json
from tasks.spending import metered
from tasks.store import Reference, Store, open_store
from tasks.tuning import Gated
from tasks.verdicts import check_verdicts
from validations import tables


class Outcome(NamedTuple):
    """What came of two models on a benchmark: the figures, the gate, and the pairs in the store."""

    figures: dict[str, Any]
    gates: list[dict[str, Any]]
    pairs: Reference


@dataclass
class Contest:
    """A sample of a benchmark and who judges; counts what is asked."""

    store: Store
    options: RunOptions
    sample: Sample
    judges: dict[str, Model]
    calls: dict[str, int] = field(default_factory=lambda: {"calls": 0, "prompt": 0, "completion": 0, "cached_calls": 0})
    steps: list[Done] = field(default_factory=list)

    def between(self, base: Model, tuned: Model) -> Outcome:
        """Both models' answers, compared by each judge; what MT-Bench grades is graded as well."""
        asked, seed = self.sample, self.options.seed
        answers = {model: self._answers(model) for model in (base, tuned)}
        before, after = (load_turns(self.store.uri, answers[model]) for model in (base, tuned))
        pairs = pairs_of(asked.items, before, after)
        panel = {
            name: self._verdicts(judge, asked.benchmark.rubric, answers[base], answers[tuned])
            for name, judge in self.judges.items()
        }
        out: dict[str, Any] = figures(pairs, panel, seed)
        out |= {"judge": ", ".join(self.judges), "rubric": asked.benchmark.rubric, "sample": asked.noted}
        out |= {"judged_by_itself": judged_by_itself(self.judges, (base, tuned)), "general": asked.benchmark.general}
        if asked.benchmark.prefix_match:
            yielded = [complied([turns[-1] for turns in texts]) for texts in (before, after)]
            told = statistics.before_after(yielded[0], yielded[1], seed)
            out["prefix_match_complied"] = told | {"weak": WEAK}
        if asked.benchmark.graded:
            out["grades"] = self._graded(answers[base], answers[tuned])
        verdicts = [majority(votes) for votes in zip(*panel.values(), strict=True)]
        rows = [tables.verdict(pair.instruction, verdict, tuned=pair.tuned) for pair, verdict in zip(pairs, verdicts, strict=True)]
        gate = dict(call(check_verdicts, self.store.uri, self.store.uri, json.dumps(rows), "full").result)
        return Outcome(out, [gate], put_json(self.store, pair_rows(pairs, verdicts)))

    def _answers(self, model: Model) -> Reference:
        return self._call("answers", model, answer_benchmark, model, self.sample.reference)

    def _verdicts(self, judge: Model, rubric: str, before: Reference, after: Reference) -> list[Verdict]:
        asked = self.sample.reference
        told = self._call("verdicts", judge, judge_benchmark, judge, rubric, asked, before, after, self.options.seed)
        return [Verdict.model_validate(row) for row in json.loads(self.store.get(told))]

    def _graded(self, before: Reference, after: Reference) -> dict[str, Any]:
        """The points of both, by all judges."""
        panel = {name: (self._grades(judge, before), self._grades(judge, after)) for name, judge in self.judges.items()}
        return grading.scores(self.sample.items, panel, self.options.seed)

    def _grades(self, judge: Model, answers: Reference) -> list[Grade]:
        told = self._call("verdicts", judge, grade_benchmark, judge, self.sample.reference, answers, self.options.seed)
        return [Grade.model_validate(row) for row in json.loads(self.store.get(told))]

    def _call(self, step: str, model: Model, task: Any, *args: Any) -> Reference:
        refresh = self.options.refresh == step
        with metered(open_store(self.store.uri), self.options.run, engine(model), self.options.budget):
            given, cached, _ = call(task, self.store.uri, self.store.uri, *args, refresh=refresh, again=lost_some)
        self.steps.append(Done(step, cached, given.why))
        asked = given.result or {}
        self.calls["cached_calls"] += asked.get("cached_calls", 0) + asked.get("calls", 0) * cached
        for name in ("calls", "prompt", "completion"):
            self.calls[name] += 0 if cached else asked.get(name, 0)
        reference: Reference = given.reference
        return reference


def aligned(options: RunOptions, tuned: Tuned) -> Model | None:
    """What the run has made of its model: the tuned one, or the model as it is under a system prompt.

    None where it has examples and no adapter: a model that is only known as an endpoint.
    """
    if options.standing is not None:
        return Model(name=options.model, endpoints=options.endpoint, standing=options.standing)
    if tuned.adapter is None:
        return None
    return Model(name=options.model, adapter=tuned.adapter, store=options.store)


def lost_some(judged: Gated) -> bool:
    """Whether verdicts were lost to a failing engine, which may work by now."""
    return bool(judged.result and judged.result.get("lost"))


def judges_of(options: RunOptions, itself: Model) -> dict[str, Model]:
    """The judges by the names given; by default the model itself: the report says so, and it proves little."""
    found = {name: remote_or_local(name, options.model) for name in options.judges}
    return found or {f"{itself.name} (itself)": itself}


def remote_or_local(text: str, name: str = "") -> Model:
    """The model behind `[NAME@]URL`, or the local one of that name."""
    if "://" not in text:
        return Model(name=text)
    called, url = named_endpoint(text, name)
    return Model(name=called, endpoints=(url,))


def judged_by_itself(judges: dict[str, Model], models: tuple[Model, ...]) -> list[str]:
    """The judges that are one of the judged models: of the same weights or name, or served from the same folder."""
    known = {name for model in models for name in _names(model)}
    return [name for name, judge in judges.items() if known & _names(judge)]


def _names(model: Model) -> set[str]:
    """What a model is known by. A server is asked nothing: it names its model as it likes, often by a folder."""
    names = {engine(model).fingerprint, model.name}
    folder = Path(model.name if model.endpoints else resolve(model.name).path).expanduser()
    return names | ({str(folder.resolve())} if folder.is_dir() else set())


def not_embedded(models: tuple[Model, ...]) -> None:
    """Raises UserError for the embedded model: it knows nothing of a public set."""
    if any(embedded(model.name) for model in models):
        raise UserError(
            "the embedded model knows its own small world alone: it has its own evaluation (--benchmark pocket), "
            "and neither answers nor judges a public set; take a run of another --model"
        )
