"""The suites of what follows the scenes: training examples, the adapter, verdicts of the evaluation."""

from validations.rules import Limits, Rule, Suite, not_blank, written


def _share(source: str, at_least: float, at_most: float, reason: str) -> Rule:
    limits = {"column": source, "min_value": at_least, "max_value": at_most}
    return Rule(f"share_of_{source}", "ExpectColumnMeanToBeBetween", reason, limits, severity="warning", optional=True)


def examples(limits: Limits) -> Suite:
    """What the model learns from. The columns named after sources are 0 or 1: their means are the shares of the mix.

    Preferences have no such shares; they have an answer that is rejected.
    """
    return Suite(
        (
            Rule(
                "nothing_held_out",
                "ExpectColumnValuesToBeInSet",
                "an instruction that is kept for the evaluation is among the training examples",
                {"column": "held_out", "value_set": [False]},
                stops=True,
                show=("question",),
            ),
            Rule(
                "source_known",
                "ExpectColumnValuesToBeInSet",
                "the example comes from no known source",
                {"column": "source", "value_set": ["harmful", "harmless", "trace", "general", "preference"]},
            ),
            Rule(
                "ends_with_a_question",
                "ExpectColumnValuesToBeInSet",
                "the last turn before the answer is not the user's",
                {"column": "last_turn", "value_set": ["user"]},
            ),
            not_blank("question", "the user's last turn"),
            *written("completion", "the answer"),
            not_blank("rejected", "the rejected answer", optional=True),
            Rule(
                "answers_differ",
                "ExpectColumnValuesToBeInSet",
                "the rejected answer is missing, or the preferred one",
                {"column": "differs", "value_set": [True]},
                show=("rejected",),
                optional=True,
            ),
            Rule(
                "leaks_nothing",
                "ExpectColumnPairToNotLeak",
                "the answer talks about the simulation",
                {"column_A": "completion", "column_B": "context"},
                when=("source", "!=", "trace"),
            ),
            _share("harmful", 0.02, 0.9, "almost no example, or almost every one, mends a harmful draft (share)"),
            _share("harmless", 0.02, 0.9, "almost no example, or almost every one, keeps a harmless draft (share)"),
            _share("trace", 0.0, 0.8, "almost all examples are parts of simulations (share)"),
            _share("general", 0.0, 0.8, "almost all examples are general questions (share)"),
        ),
        noun="examples",
    )


def adapter(limits: Limits) -> Suite:
    """What training made: one row, and it must be sound."""

    def true(column: str, reason: str, *show: str) -> Rule:
        return Rule(column, "ExpectColumnValuesToBeInSet", reason, {"column": column, "value_set": [True]}, show=show)

    unchanged = "the adapter changes nothing: the tuned model answers as the base model does (largest change of a logit)"
    return Suite(
        (
            true("loads", "the adapter can't be opened", "error"),
            Rule(
                "has_weights",
                "ExpectColumnValuesToBeBetween",
                "the adapter holds no weights (how many)",
                {"column": "parameters", "min_value": 1},
            ),
            true("finite", "some weights of the adapter are no finite numbers"),
            true("losses_finite", "some losses of the training are no finite numbers"),
            Rule("delta_present", "ExpectColumnValuesToNotBeNull", "the adapter's answers are no numbers", {"column": "delta"}),
            Rule(
                "differs_from_the_base",
                "ExpectColumnValuesToBeBetween",
                unchanged,
                {"column": "delta", "min_value": 0, "strict_min": True},
            ),
            Rule(
                "delta_finite",
                "ExpectColumnValuesToBeBetween",
                "the adapter's answers are no finite numbers",
                {"column": "delta", "max_value": 1e30},
            ),
        ),
        keep=1.0,
        noun="adapters",
    )


def verdicts(limits: Limits) -> Suite:
    """Base against tuned: a row for each held-out instruction."""
    gap = "the scores of the two answers are no finite numbers"
    return Suite(
        (
            not_blank("instruction", "the instruction"),
            Rule(
                "one_row_each",
                "ExpectColumnValuesToBeUnique",
                "there is more than one verdict on the same instruction",
                {"column": "instruction"},
            ),
            Rule(
                "judged",
                "ExpectColumnValuesToNotBeNull",
                "the answers could not be compared",
                {"column": "outcome"},
                show=("error",),
            ),
            Rule(
                "outcome_known",
                "ExpectColumnValuesToBeInSet",
                "the outcome is neither win, tie nor lose",
                {"column": "outcome", "value_set": ["win", "tie", "lose"]},
            ),
            Rule("scores_present", "ExpectColumnValuesToNotBeNull", gap, {"column": "score_gap"}, optional=True),
            Rule(
                "scores_finite",
                "ExpectColumnValuesToBeBetween",
                gap,
                {"column": "score_gap", "min_value": -1e30, "max_value": 1e30},
                optional=True,
            ),
            Rule(
                "leaks_nothing",
                "ExpectColumnPairToNotLeak",
                "the tuned model's answer talks about the simulation",
                {"column_A": "tuned", "column_B": "instruction"},
                severity="warning",
                optional=True,
            ),
        ),
        noun="verdicts",
    )


def signatures(limits: Limits) -> Suite:
    """The failure signatures of a whole run (`validations.signatures`): one row, and warnings only."""
    return Suite(
        (
            _bounded("people_alike", "people of one scene do nearly the same (share of what they do)", most=1 - limits.speak_apart),
            _bounded("traits_tell", "traits hardly decide how people react (correlation)", least=limits.traits),
            _bounded("distinct_2", "what comes of the scenes is much the same (distinct pairs of words)", least=limits.distinct),
            _bounded("stories_repeat", "scenes nearly repeat each other (share of scenes)", most=limits.duplicates),
            _bounded("leaks", "the tuned model talks of the simulation where it answers plainly (share of answers)", most=0.01),
            _bounded("ability_lost", "tuning has cost general ability (share of what was right before)", most=0.05),
            _bounded("loss_rise", "a held-out loss rises before the training ends (share of its lowest)", most=0.1),
            _bounded("judges_differ", "verdicts change with the order of the answers (share)", most=0.3),
        ),
        noun="runs",
    )


def _bounded(column: str, what: str, *, least: float | None = None, most: float | None = None) -> Rule:
    """A warning beyond a bound; null (not measured) passes."""
    bounds = {"min_value": least} if least is not None else {"max_value": most}
    return Rule(column, "ExpectColumnValuesToBeBetween", what, {"column": column, **bounds}, severity="warning")
