"""Stage three: the base model against the tuned one, on what neither was trained on."""

import time

from prefect import flow

from flows.options import RunOptions
from flows.stages import showing_failed_gates
from matrix_core import judging, statistics
from matrix_core.pocket import sets
from tasks import exhibits, journals, progress
from tasks.calling import call
from tasks.engines import Model
from tasks.evaluation import answer, boundary, figures, general, load_answers, verdict_gate, verdicts_of
from tasks.journals import journalled
from tasks.runs import Done, Evaluated, Simulated, Tuned, keep, recall

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
    held_out = recall(store, options.run, "simulate", Simulated).held_out[: options.questions]
    asker = Asker(options, tuned)
    with progress.stage("evaluate", total=1):
        if tuned.adapter is None:
            done = Evaluated(evaluation={}, gates=[], calls={}, steps=[], seconds=0)
        elif asker.settings.style == "pocket":
            done = _pocket(asker)
        else:
            done = _pairwise(asker, options, [instruction.text for instruction in held_out])
    keep(store, options.run, "evaluate", done.model_copy(update={"seconds": time.time() - began}))
    journals.done(store.uri, _judging(options))
    exhibits.evaluated(done)


class Asker:
    """Both models of a run, asked the same questions; counts what was asked."""

    def __init__(self, options: RunOptions, tuned: Tuned) -> None:
        self.store = options.store
        self.settings = options.settings
        self.base = Model(name=options.model)
        self.tuned = Model(name=options.model, adapter=tuned.adapter, store=options.store)
        self.refresh = options.refresh == "answers"
        self.limit = options.questions or EVALUATED
        self.calls = {"calls": 0, "prompt": 0, "completion": 0, "cached_calls": 0}
        self.steps: list[Done] = []

    def both(self, questions: list[str]) -> tuple[list[str], list[str]]:
        """(answers of the base model, answers of the tuned one)."""
        return self._ask(self.base, questions), self._ask(self.tuned, questions)

    def _ask(self, model: Model, questions: list[str]) -> list[str]:
        given, cached = call(answer, self.store, self.store, model, self.settings, questions, refresh=self.refresh)
        self.steps.append(Done("answers", cached, given.why))
        for name, n in (given.result or {}).items():
            self.calls[name] += 0 if cached else n
        self.calls["cached_calls"] += given.count if cached else 0
        return load_answers(self.store, given.reference)


def _pocket(asker: Asker) -> Evaluated:
    """The exact oracle's figures on held-out acts at known and at held-out places, near-boundary pairs, and plain questions."""
    evaluation, gates = {}, []
    benchmarks: dict[sets.Set, str] = {"held_out": "pocket", "held_out_places": "pocket_places"}
    for name, benchmark in benchmarks.items():
        questions = [i.text for i in sets.instructions(name, min(EVALUATED, asker.limit), seed=1)]
        before, after = asker.both(questions)
        evaluation[benchmark] = figures(questions, before, after)
        gates.append(verdict_gate(asker.store, questions, verdicts_of(questions, before, after), after, "pocket"))
        progress.step(0.3, f"evaluate: {name}")
    pairs = [(bad.text, good.text) for bad, good in sets.near_boundary("held_out", min(BOUNDARY_PAIRS, asker.limit), seed=1)]
    flat = sorted({text for pair in pairs for text in pair})
    before, after = asker.both(flat)
    evaluation["pocket_near_boundary"] = boundary(pairs, flat, before, after)
    plain = sets.general_questions()[: asker.limit]
    before, after = asker.both([question for question, _ in plain])
    evaluation["pocket_general"] = general(plain, before, after)
    progress.step(0.4)
    return Evaluated(evaluation=evaluation, gates=gates, calls=asker.calls, steps=asker.steps, seconds=0)


def _pairwise(asker: Asker, options: RunOptions, questions: list[str]) -> Evaluated:
    """Win, tie or lose by a judge. Without --judge the base model judges itself: the report says so, and it proves little."""
    if not questions:
        return Evaluated(evaluation={}, gates=[], calls=asker.calls, steps=asker.steps, seconds=0)
    before, after = asker.both(questions)
    pairs = [
        judging.Pair(id=str(i), instruction=q, base=a, tuned=b)
        for i, (q, a, b) in enumerate(zip(questions, before, after, strict=True))
    ]
    at_endpoint = options.judge is not None and "://" in options.judge
    judge = Model(
        name=options.model if at_endpoint else options.judge or options.model, endpoints=(options.judge,) if at_endpoint else ()
    )
    verdicts = judging.judge(pairs, journalled(judge, options.store, _judging(options)), options.seed, progress.tick)
    rates = {**statistics.win_rates(verdicts, options.seed), "judge": options.judge or f"{options.model} (itself)"}
    return Evaluated(
        evaluation={"held_out": rates},
        gates=[verdict_gate(asker.store, questions, verdicts, after, "full")],
        calls=asker.calls,
        steps=asker.steps,
        seconds=0,
    )


def _judging(options: RunOptions) -> str:
    """What the journal calls the judging of a run, which is no task."""
    return f"judge/{options.run}"
