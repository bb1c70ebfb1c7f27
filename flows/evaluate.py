"""Stage three: the base model against the tuned one, on what neither was trained on."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect import flow

from flows.benchmark import Contest, aligned, judged_by_itself, judges_of, lost_some, not_embedded, remote_or_local
from flows.options import RunOptions
from flows.stages import showing_failed_gates
from matrix_core import comparison, statistics
from matrix_core.agreement import majority
from matrix_core.errors import RunError, UserError
from matrix_core.judging import Pair, Verdict
from matrix_core.pocket import sets
from tasks import exhibits, progress
from tasks.ability import load_measured, measure_ability
from tasks.benchmarks import draw, pair_rows
from tasks.calling import call
from tasks.engines import Model, engine
from tasks.evaluation import Outcomes, answer, assessed, boundary, figures, general, load_answers, verdicts_of
from tasks.runs import Done, Evaluated, Simulated, Tuned, keep, put_json, recall
from tasks.spending import metered
from tasks.store import Reference, Store, open_store
from tasks.tuning import Gated, learned
from tasks.verdicts import check_verdicts, judge_answers, load_verdicts
from validations import tables

BOUNDARY_PAIRS = 150
EVALUATED = 792
"""How many held-out instructions of the small world are asked: each pair of held-out act and train place once; pairs at held-out
places three times, in other words."""


@flow(name="evaluate", flow_run_name="evaluate {options.run}")
@showing_failed_gates
def evaluate(options: RunOptions) -> None:
    """Ask both models the same held-out questions and judge the answers."""
    options = options.continuing()
    began, store = time.time(), options.prepare()
    tuned = recall(store, options.run, "tune", Tuned)
    try:
        earlier = recall(store, options.run, "evaluate", Evaluated)
    except UserError:
        earlier = None
    if options.benchmark not in (None, "pocket"):
        with progress.stage("evaluate", total=1):
            done = _benchmark(options, store, tuned)
        done = done.model_copy(update={"seconds": time.time() - began})
        first = earlier or Evaluated(evaluation={}, gates=[], calls={}, steps=[], seconds=0)
        name = next(iter(done.evaluation))
        keep(store, options.run, "evaluate", first.model_copy(update={"benchmarks": first.benchmarks | {name: done}}))
        exhibits.evaluated(done)
        return
    held_out = recall(store, options.run, "simulate", Simulated).held_out[: options.questions]
    asker = Asker(options, tuned)
    if options.benchmark == "pocket" and asker.settings.style != "pocket":
        raise UserError("--benchmark pocket is the embedded model's own: this run has another model")
    with progress.stage("evaluate", total=1):
        if aligned(options, tuned) is None:
            done = Evaluated(evaluation={}, gates=[], calls={}, steps=[], seconds=0)
        elif asker.settings.style == "pocket":
            asker.learned = learned(store, tuned.examples)
            done = _pocket(asker)
        else:
            done = _pairwise(asker, options, [instruction.text for instruction in held_out])
    later = earlier.benchmarks if earlier else {}
    keep(store, options.run, "evaluate", done.model_copy(update={"seconds": time.time() - began, "benchmarks": later}))
    exhibits.evaluated(done)


class Answers(NamedTuple):
    """Answers to the same questions before and after tuning, and where they are kept."""

    before: list[str]
    after: list[str]
    kept: tuple[Reference, Reference]


class Asker:
    """Both models of a run, asked the same questions; counts what was asked."""

    def __init__(self, options: RunOptions, tuned: Tuned) -> None:
        self.options = options
        self.store = options.store
        self.settings = options.settings
        self.base = Model(name=options.model, endpoints=options.endpoint)
        self.tuned = aligned(options, tuned) or self.base
        self.refresh = options.refresh
        self.limit = options.questions or EVALUATED
        self.calls = {"calls": 0, "prompt": 0, "completion": 0, "cached_calls": 0}
        self.steps: list[Done] = []
        self.learned: frozenset[str] = frozenset()

    def both(self, questions: list[str]) -> Answers:
        """The answers of the base model and of the tuned one. RunError if the tuned one has learned from one of the questions."""
        known = self.learned.intersection(questions)
        if known:
            raise RunError(f"evaluate: the model was tuned on what it is asked here: {min(known)!r}; this run proves nothing")
        kept = self._ask(self.base, questions), self._ask(self.tuned, questions)
        return Answers(load_answers(self.store, kept[0]), load_answers(self.store, kept[1]), kept)

    def _ask(self, model: Model, questions: list[str]) -> Reference:
        with metered(open_store(self.store), self.options.run, engine(model), self.options.budget):
            refresh = self.refresh == "answers"
            given, cached, _ = call(answer, self.store, self.store, model, self.settings, questions, refresh=refresh)
        self.note("answers", given, cached)
        reference: Reference = given.reference
        return reference

    def note(self, step: str, given: Gated, cached: bool) -> None:
        """Count what a task has asked its model for."""
        asked = given.result or {}
        self.steps.append(Done(step, cached, given.why))
        self.calls["cached_calls"] += asked.get("cached_calls", 0) + asked.get("calls", 0) * cached
        for name in ("calls", "prompt", "completion"):
            self.calls[name] += 0 if cached else asked.get(name, 0)

    def gate(self, questions: Sequence[str], verdicts: Sequence[Verdict], after: Sequence[str]) -> dict[str, Any]:
        """The verdicts, with the tuned model's answers, through their gate."""
        rows = [tables.verdict(q, v, tuned=told) for q, v, told in zip(questions, verdicts, after, strict=True)]
        return dict(call(check_verdicts, self.store, self.store, json.dumps(rows), self.settings.style).result)

    def compared(
        self, questions: Sequence[str], before: Sequence[str], after: Sequence[str], verdicts: Sequence[Verdict]
    ) -> Reference:
        """The answers and verdicts side by side, kept in the store."""
        pairs = [
            Pair(id=str(i), instruction=q, base=a, tuned=b)
            for i, (q, a, b) in enumerate(zip(questions, before, after, strict=True))
        ]
        return put_json(open_store(self.store), pair_rows(pairs, verdicts))


def _pocket(asker: Asker) -> Evaluated:
    """The exact oracle's figures on held-out acts at known and at held-out places, near-boundary pairs, and plain questions."""
    evaluation: dict[str, dict[str, Any]] = {}
    gates: list[dict[str, Any]] = []
    compared: dict[str, Reference] = {}
    outcomes: dict[str, dict[str, list[float]]] = {"before": {}, "after": {}}

    def note(benchmark: str, before: Outcomes, after: Outcomes, **more: Any) -> None:
        evaluation[benchmark] = {**more, **figures(before, after)}
        for when, found in (("before", before), ("after", after)):
            outcomes[when] |= {f"{benchmark}.{name}": [float(hit) for hit in hits] for name, hits in found.items()}

    benchmarks: dict[sets.Set, str] = {"held_out": "pocket", "held_out_places": "pocket_places"}
    for name, benchmark in benchmarks.items():
        questions = [i.text for i in sets.instructions(name, min(EVALUATED, asker.limit), seed=1)]
        before, after, _ = asker.both(questions)
        verdicts = verdicts_of(questions, before, after)
        note(benchmark, assessed(questions, before), assessed(questions, after), **statistics.win_rates(verdicts))
        gates.append(asker.gate(questions, verdicts, after))
        compared[benchmark] = asker.compared(questions, before, after, verdicts)
        progress.step(0.3, f"evaluate: {name}")
    pairs = [(bad.text, good.text) for bad, good in sets.near_boundary("held_out", min(BOUNDARY_PAIRS, asker.limit), seed=1)]
    flat = sorted({text for pair in pairs for text in pair})
    before, after, _ = asker.both(flat)
    note("pocket_near_boundary", boundary(pairs, flat, before), boundary(pairs, flat, after), n=len(pairs))
    plain = sets.general_questions()[: asker.limit]
    before, after, _ = asker.both([question for question, _ in plain])
    note("pocket_general", general(plain, before), general(plain, after), n=len(plain))
    progress.step(0.4)
    return Evaluated(
        evaluation=evaluation,
        gates=gates,
        calls=asker.calls,
        steps=asker.steps,
        outcomes=put_json(open_store(asker.store), outcomes),
        seconds=0,
        pairs=compared,
    )


def _benchmark(options: RunOptions, store: Store, tuned: Tuned) -> Evaluated:
    """The run's tuned model against its base, or another model, on a public set."""
    made = aligned(options, tuned)
    if made is None:
        raise UserError(f"run {options.run} has no adapter to evaluate: compare endpoints with matrix-align compare")
    against = remote_or_local(options.against) if options.against else Model(name=options.model, endpoints=options.endpoint)
    models = (against, made)
    judges = judges_of(options, models[0])
    not_embedded((*models, *judges.values()))
    sample = draw(store, str(options.benchmark), options.data, options.questions, options.seed)
    contest = Contest(store, options, sample, judges)
    found = contest.between(*models)
    name, told = sample.benchmark.name, found.figures | ({"against": options.against} if options.against else {})
    return Evaluated(
        evaluation={name: told},
        gates=found.gates,
        calls=contest.calls,
        steps=contest.steps,
        seconds=0,
        pairs={name: found.pairs},
    )


def _pairwise(asker: Asker, options: RunOptions, questions: list[str]) -> Evaluated:
    """Win, tie or lose by judges. Without --judge the base model judges itself: the report says so, and it proves little."""
    able = {} if options.endpoint or asker.tuned.standing else _ability(asker)
    if not questions:
        return Evaluated(evaluation=able, gates=[], calls=asker.calls, steps=asker.steps, seconds=0)
    before, after, kept = asker.both(questions)
    judges, panel = judges_of(options, asker.base), {}
    refresh = options.refresh == "verdicts"
    for name, judge in judges.items():
        with metered(open_store(options.store), options.run, engine(judge), options.budget):
            given, cached, _ = call(
                judge_answers, asker.store, asker.store, judge, questions, *kept, options.seed, refresh=refresh, again=lost_some
            )
        asker.note("verdicts", given, cached)
        panel[name] = load_verdicts(asker.store, given.reference)
    asked = [
        Pair(id=str(i), instruction=q, base=a, tuned=b) for i, (q, a, b) in enumerate(zip(questions, before, after, strict=True))
    ]
    verdicts = [majority(votes) for votes in zip(*panel.values(), strict=True)]
    told = comparison.figures(asked, panel, options.seed) | {"judge": ", ".join(judges), "rubric": "overall"}
    told["judged_by_itself"] = judged_by_itself(judges, (asker.base, asker.tuned))
    gates = [asker.gate(questions, verdicts, after)]
    # Against itself the base model ties; what could not be judged counts as a tie.
    scores = {"win": 1.0, "lose": 0.0}
    outcomes = {
        "before": {"held_out.score": [0.5] * len(verdicts)},
        "after": {"held_out.score": [scores.get(verdict.outcome or "", 0.5) for verdict in verdicts]},
    }
    return Evaluated(
        evaluation={"held_out": told} | able,
        gates=gates,
        calls=asker.calls,
        steps=asker.steps,
        outcomes=put_json(open_store(asker.store), outcomes),
        seconds=0,
        pairs={"held_out": asker.compared(questions, before, after, verdicts)},
    )


def _ability(asker: Asker) -> dict[str, dict[str, Any]]:
    """What tuning has done to plain text and to general knowledge, where the weights are at hand. Nobody judges."""
    from matrix_core import ability

    def measured(model: Model) -> ability.Measured:
        given, cached, _ = call(measure_ability, asker.store, asker.store, model, refresh=asker.refresh == "ability")
        asker.note("ability", given, cached)
        return load_measured(asker.store, given.reference)

    return ability.figures(measured(asker.base), measured(asker.tuned))
