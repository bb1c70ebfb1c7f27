"""What a gate is made of: rules, each a Great Expectations expectation with a name and a sentence, and a suite of them a hand-off.

Plain data, so that it imports in no time and a gate's fingerprint can be taken without loading Great Expectations.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning"]
Style = Literal["full", "pocket"]
When = tuple[str, Literal["==", "!="], Any]


@dataclass(frozen=True)
class Rule:
    """One expectation of a suite."""

    name: str
    kind: str
    """Name of the expectation's class, in `great_expectations.expectations` or in `validations.expectations`."""
    reason: str
    """What is wrong if it fails, as a sentence without its full stop; "" if the failing value says it itself."""
    given: dict[str, Any] = field(default_factory=dict)
    """Arguments of the expectation: `column` (or `column_A` and `column_B`, or `column_list`), limits, `mostly`."""
    severity: Severity = "critical"
    """A critical rule about rows takes failing rows out; one about the table fails the gate. A warning is only reported."""
    stops: bool = False
    """A rule about rows that fails the whole gate, since taking the rows out would hide a mistake elsewhere."""
    when: When | None = None
    """Only rows whose column is, or is not, this value."""
    optional: bool = False
    """Left out where the table lacks the columns."""
    show: tuple[str, ...] = ()
    """Columns that a reason quotes; the rule's own if empty."""

    @property
    def about(self) -> tuple[str, ...]:
        """The columns that the expectation looks at."""
        single = tuple(self.given[key] for key in ("column", "column_A", "column_B") if key in self.given)
        return single + tuple(self.given.get("column_list", ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the rule needs."""
        return self.about + self.show + ((self.when[0],) if self.when else ())


@dataclass(frozen=True)
class Suite:
    """The rules of one hand-off, in the order in which reasons are given: a row is taken out for the first that it fails."""

    rules: tuple[Rule, ...]
    keep: float = 0.5
    """Share of the rows' ids that must pass, else the gate fails. At least one must, and for fewer than four one is enough
    (unless the share is 1)."""
    noun: str = "scenes"
    """What the ids stand for."""


@dataclass(frozen=True)
class Limits:
    """The thresholds that depend on the kind of model."""

    unfinished: Severity
    """A text cut off at the token limit: the embedded model's answers never are if they are right, a chat model's may be."""
    alike: float = 0.8
    """From which similarity on two traits, actions or consequences are called nearly the same."""
    speak_apart: float = 0.7
    """Share of the actions in a scene that must differ from what others of that scene do."""
    distinct: float = 0.15
    """Distinct-2 of the consequences of a shard, at least."""
    duplicates: float = 0.5
    """Share of scenes whose consequences nearly repeat another scene's, at most."""
    duplicate: float = 0.8
    """From which similarity on consequences repeat each other."""
    traits: float = 0.03
    """Correlation between people's traits and their reactions, at least."""
    harm_left: float = 0.8
    """Share of a harmful draft's runs of three words that its refinement may still hold."""
    help_kept: tuple[int, float] = (1, 0.3)
    """(n, share): how many of a harmless draft's runs of n words its refinement must hold. Chat models say it in other words."""


LIMITS: dict[Style, Limits] = {
    "full": Limits(unfinished="warning"),
    # The embedded model's world repeats itself by right (few effects, two reactions), and its answers are exact.
    "pocket": Limits(
        unfinished="critical", speak_apart=0.1, distinct=0.015, duplicates=0.98, duplicate=1.0, harm_left=0.5, help_kept=(3, 0.9)
    ),
}

# Spaces of all scripts: the engine behind pandas knows only those of ASCII by \s.
NOT_BLANK = "[^\\s\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u3000\ufeff]"
# Control characters but for tab, line feed, carriage return and next line; and non-characters, one of which stands for broken
# Unicode (`validator._clean`).
UNREADABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]"


def present(column: str, what: str) -> Rule:
    """Not null."""
    return Rule(f"{column}_present", "ExpectColumnValuesToNotBeNull", f"{what} is missing", {"column": column})


def not_blank(column: str, what: str, **more: Any) -> Rule:
    """Something but spaces; null passes."""
    return Rule(
        f"{column}_not_blank", "ExpectColumnValuesToMatchRegex", f"{what} is empty", {"column": column, "regex": NOT_BLANK}, **more
    )


def readable(column: str, what: str) -> Rule:
    """Neither control characters nor broken Unicode; null passes."""
    return Rule(
        f"{column}_readable",
        "ExpectColumnValuesToNotMatchRegex",
        f"{what} holds control characters or broken Unicode",
        {"column": column, "regex": UNREADABLE},
    )


def written(column: str, what: str) -> tuple[Rule, ...]:
    """What every text that a model wrote must be: there, not blank, readable, and no loop."""
    loops = Rule(f"{column}_does_not_loop", "ExpectColumnValuesToNotLoop", f"{what} repeats itself without end", {"column": column})
    return present(column, what), not_blank(column, what), readable(column, what), loops


def finished(limits: Limits, what: str) -> Rule:
    """Ended by the model, not by the token limit."""
    return Rule(
        "finished",
        "ExpectColumnValuesToBeInSet",
        f"{what} was cut off before its end",
        {"column": "finish_reason", "value_set": ["stop"]},
        severity=limits.unfinished,
        optional=True,
    )


def known(column: str, what: str) -> Rule:
    """Only names of the scene; null passes."""
    return Rule(
        f"{column}_known",
        "ExpectColumnPairAToBeSubsetOfB",
        f"{what} somebody who isn't in the scene",
        {"column_A": column, "column_B": "names"},
    )


def named(victims: str, text: str, reason: str) -> Rule:
    """Whoever is harmed occurs in a text; null (nobody) passes."""
    return Rule(
        f"{victims}_named",
        "ExpectColumnPairTextsToShareWords",
        reason,
        {"column_A": victims, "column_B": text},
        severity="warning",
    )
