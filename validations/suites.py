"""The suites of the hand-offs that make a scene, and the list of all suites.

Great Expectations' own expectations wherever they say it; ours (`validations.expectations`) only for what they can't.
"""

from collections.abc import Callable

from validations.rules import (
    LIMITS,
    Limits,
    Rule,
    Style,
    Suite,
    When,
    finished,
    known,
    named,
    not_blank,
    present,
    readable,
    written,
)
from validations.training_suites import adapter, examples, signatures, verdicts


def instructions(limits: Limits) -> Suite:
    """What somebody asks. One that is kept is enough: what is wrong with the others is no failure of a model."""
    what = "the instruction"
    return Suite(
        (
            present("text", what),
            not_blank("text", what),
            readable("text", what),
            Rule(
                "ids_unique", "ExpectColumnValuesToBeUnique", "the same instruction stands there more than once", {"column": "id"}
            ),
            Rule(
                "text_length",
                "ExpectColumnValueLengthsToBeBetween",
                "the instruction is longer than 20,000 characters",
                {"column": "text", "max_value": 20_000},
            ),
            Rule(
                "fits_the_model",
                "ExpectColumnPairValuesAToBeGreaterThanB",
                "the instruction has more tokens than the model has room for",
                {"column_A": "max_tokens", "column_B": "tokens", "or_equal": True},
                show=("tokens", "max_tokens"),
                optional=True,
            ),
            Rule("inside_the_models_world", "ExpectColumnValuesToBeInSet", "", {"column": "outside", "value_set": [""]}),
        ),
        keep=0.0,
        noun="instructions",
    )


def drafts(limits: Limits) -> Suite:
    """The model's direct answers."""
    return Suite((*written("draft", "the draft"), finished(limits, "the draft")))


def roles(limits: Limits) -> Suite:
    """The people of the scenes, a row each."""
    return Suite(
        (
            not_blank("name", "a person's name"),
            Rule(
                "names_differ",
                "ExpectCompoundColumnsToBeUnique",
                "two people in the scene have the same name",
                {"column_list": ["id", "key"]},
                show=("name",),
            ),
            Rule(
                "somebody_is_touched",
                "ExpectColumnValuesToBeBetween",
                "nobody but the one who asks is in the scene",
                {"column": "people", "min_value": 2},
                show=("name",),
            ),
            not_blank("setting", "the setting"),
            not_blank("traits", "a person's list of traits"),
            not_blank("status", "what a person is doing", severity="warning"),
            Rule(
                "traits_differ",
                "ExpectTextsToDifferWithinGroup",
                "people of one scene have nearly the same traits",
                {"column_list": ["id", "name", "traits"], "similar": limits.alike, "mostly": 0.95},
                severity="warning",
                show=("traits",),
            ),
        )
    )


def actions(limits: Limits) -> Suite:
    """What people do, whether it can happen, and who learns of it: a row each event."""
    happens: When = ("feasible", "==", True)
    blocked: When = ("feasible", "==", False)
    return Suite(
        (
            not_blank("action", "what somebody does"),
            known("actor", "the action is done by"),
            Rule(
                "decided",
                "ExpectColumnValuesToNotBeNull",
                "it was not decided whether the action can happen",
                {"column": "feasible"},
                show=("action",),
            ),
            not_blank("reason", "the reason why the action is blocked", when=blocked, show=("action",)),
            Rule(
                "routed",
                "ExpectColumnValuesToNotBeNull",
                "it was not decided who notices the action",
                {"column": "aware"},
                when=happens,
                show=("action",),
            ),
            known("aware", "the action is noticed by"),
            Rule(
                "actor_is_not_told",
                "ExpectColumnValuesToBeInSet",
                "the actor is listed among those who notice the action",
                {"column": "self_aware", "value_set": [False]},
                show=("actor",),
            ),
            Rule(
                "blocked_reaches_nobody",
                "ExpectColumnValuesToBeBetween",
                "the action was blocked and yet noticed",
                {"column": "reached", "max_value": 0},
                when=blocked,
                show=("aware",),
            ),
            Rule(
                "blocked_has_no_consequence",
                "ExpectColumnValuesToBeNull",
                "the action was blocked and yet has a consequence",
                {"column": "consequence"},
                when=blocked,
            ),
            Rule(
                "reacts_to_what_it_was_told",
                "ExpectColumnValuesToBeInSet",
                "somebody reacts to what they never learned of",
                {"column": "told", "value_set": [True]},
                show=("action",),
            ),
            Rule(
                "actions_differ",
                "ExpectTextsToDifferWithinGroup",
                "people of one scene do nearly the same",
                {"column_list": ["id", "actor", "action"], "similar": limits.alike, "mostly": limits.speak_apart},
                severity="warning",
                show=("action",),
            ),
        )
    )


def consequences(limits: Limits) -> Suite:
    """What comes of what people do: a row each event. The first row of a scene tells all that came of it, as `story`."""
    what = "the consequence"
    there = Rule(
        "consequence_present",
        "ExpectColumnValuesToNotBeNull",
        f"{what} is missing",
        {"column": "consequence"},
        when=("feasible", "==", True),
        show=("action",),
    )
    return Suite(
        (
            there,
            *written("consequence", what)[1:],
            known("harmed", "the consequence harms"),
            Rule(
                "blocked_harms_nobody",
                "ExpectColumnValuesToBeNull",
                "the action was blocked and yet harms somebody",
                {"column": "victims"},
                when=("feasible", "==", False),
            ),
            named("victims", "consequence", "the consequence doesn't mention whom it harms"),
            Rule(
                "consequences_are_varied",
                "ExpectColumnTextsToBeVaried",
                "consequences say much the same (distinct pairs of words, as a share)",
                {"column": "story", "n": 2, "min_value": limits.distinct},
                severity="warning",
            ),
            Rule(
                "consequences_repeat_seldom",
                "ExpectColumnNearDuplicatesToBeAtMost",
                "consequences of different scenes are nearly the same (share of scenes)",
                {"column": "story", "similar": limits.duplicate, "max_value": limits.duplicates},
                severity="warning",
            ),
        )
    )


def critiques(limits: Limits) -> Suite:
    """What is wrong with the drafts, given what came of them."""
    return Suite(
        (
            not_blank("consequences", "the summary of what came of it"),
            *written("critique", "the critique"),
            Rule(
                "victims_decided",
                "ExpectColumnValuesToNotBeNull",
                "the critique doesn't say whether anybody is hurt",
                {"column": "harmed"},
            ),
            known("harmed", "the critique names"),
            Rule(
                "grounded",
                "ExpectColumnPairTextsToShareWords",
                "the critique names no consequence of its scene",
                {"column_A": "critique", "column_B": "consequences"},
                when=("hurts", "==", True),
            ),
            named("victims", "critique", "the critique doesn't mention whom it finds hurt"),
            Rule(
                "victims_were_hurt",
                "ExpectColumnPairAToBeSubsetOfB",
                "the critique blames the draft for harm that the scene doesn't show, to",
                {"column_A": "harmed", "column_B": "hurt_in_scene"},
                severity="warning",
            ),
            Rule(
                "harm_is_not_overlooked",
                "ExpectColumnPairValuesToBeInSet",
                "the scene hurts somebody and the critique finds nobody hurt",
                {"column_A": "scene_hurts", "column_B": "hurts", "value_pairs_set": [(True, True), (False, False), (False, True)]},
                severity="warning",
                show=("critique",),
            ),
        )
    )


def refinements(limits: Limits) -> Suite:
    """The responses that the model should have given."""
    n, kept = limits.help_kept
    return Suite(
        (
            *written("refined", "the refined response"),
            finished(limits, "the refined response"),
            Rule(
                "leaves_the_harm",
                "ExpectColumnPairContainmentToBeBetween",
                "the refined response still gives what is harmful in the draft",
                {"column_A": "draft", "column_B": "refined", "n": 3, "max_value": limits.harm_left},
                when=("harmful", "==", True),
            ),
            Rule(
                "keeps_the_help",
                "ExpectColumnPairContainmentToBeBetween",
                "the draft was harmless, and the refined response drops what it offered",
                {"column_A": "draft", "column_B": "refined", "n": n, "min_value": kept},
                when=("harmful", "==", False),
            ),
            Rule(
                "leaks_nothing",
                "ExpectColumnPairToNotLeak",
                "the refined response talks about the simulation",
                {"column_A": "refined", "column_B": "context"},
            ),
            Rule(
                "states_the_consequence",
                "ExpectColumnPairTextsToShareWords",
                "the refined response doesn't say what would come of it",
                {"column_A": "refined", "column_B": "consequences"},
                severity="warning",
                when=("harmful", "==", True),
            ),
        )
    )


_SUITES: dict[str, Callable[[Limits], Suite]] = {
    build.__name__: build
    for build in (
        instructions,
        drafts,
        roles,
        actions,
        consequences,
        critiques,
        refinements,
        examples,
        adapter,
        verdicts,
        signatures,
    )
}
NAMES = tuple(_SUITES)
"""All gates, in the order of the path."""


def suite(name: str, style: Style) -> Suite:
    """The suite of a hand-off for a kind of model. Raises ValueError for a name that is none."""
    if name not in _SUITES or style not in LIMITS:
        raise ValueError(f"there is no gate {name!r} in style {style!r}; gates are {', '.join(NAMES)}, styles {', '.join(LIMITS)}")
    return _SUITES[name](LIMITS[style])
