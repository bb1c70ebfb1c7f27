"""The gate: one Great Expectations suite over a hand-off as a table.

`check` runs a suite over rows and says which to take out, with a reason that a person can read, what to warn of, and whether
enough is left to go on. Safe to call from several threads.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from validations.rules import LIMITS, Rule, Severity, Style, Suite
from validations.suites import suite as suite_of
from validations.text import shorten
from validations.validator import Seen, kind_of, validate

SAMPLE = 3
"""How many rows a finding quotes."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rejection(_Frozen):
    """What is taken out, and why."""

    id: str
    reason: str = Field(description="a sentence for people, with the value that is wrong")
    expectation: str = Field(description="name of the rule that it failed first")


class Finding(_Frozen):
    """What came of one expectation."""

    name: str
    severity: Severity
    success: bool
    unexpected_percent: float = Field(description="share of the rows that failed, in percent of those that it looked at")
    observed: float | str | None = Field(None, description="what was measured over the table, or why nothing could be")
    sample: list[str] = Field(description="at most 3 failing rows: id and what is wrong")


class GateResult(_Frozen):
    """What came of a gate. It counts ids: a scene that has several rows counts once."""

    name: str
    passed: bool
    evaluated: int
    quarantined: list[Rejection]
    success_percent: float
    warnings: list[str]
    expectations: list[Finding]
    problems: list[str] = Field(description="why it did not pass; none if it did")
    validation: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="the validation result of Great Expectations as JSON, with sample rows (`validations.docs` shows it); "
        "empty where there was nothing to check",
    )

    def failure(self) -> str:
        """Why the gate did not pass, in one line: expectation, share and sample rows. "" if it did."""
        return "" if self.passed else f"gate {self.name!r}: {'; '.join(self.problems)}"


def check(name: str, rows: Sequence[Mapping[str, Any]], style: Style = "full") -> GateResult:
    """Run the suite `name` (see `suites.NAMES`) over rows made by `validations.tables`, at the thresholds for this kind of model.

    Raises ValueError for a suite that doesn't exist, a row without an id or a table without a column that a rule needs: mistakes of
    the caller. Whatever may be wrong with the data is in the result.
    """
    suite = suite_of(name, style)
    if not rows:
        problem = f"there is nothing to check: the table of {suite.noun} has no rows"
        return GateResult(
            name=name,
            passed=False,
            evaluated=0,
            quarantined=[],
            success_percent=0.0,
            warnings=[],
            expectations=[],
            problems=[problem],
        )
    for i, row in enumerate(rows):
        if not isinstance(row.get("id"), str):
            raise ValueError(f"row {i} of gate {name!r} has no id")
    rules = _applicable(name, suite, rows)
    seen, validation = validate(name, style, rules, rows)
    judged = _judge(name, suite, rules, rows, seen)
    return judged.model_copy(update={"validation": _told(validation, judged)})


def fingerprint(name: str) -> str:
    """A hash of all that decides what this gate does, for cache keys. Doesn't load Great Expectations."""
    parts = [repr(suite_of(name, style)) for style in LIMITS]
    return hashlib.sha256("\n".join([*parts, *_code()]).encode()).hexdigest()


@cache
def _code() -> list[str]:
    """The modules that all gates share, as text."""
    # suites.py and training_suites.py say nothing else than what was just written out, for this gate alone; docs.py only shows, and
    # signatures.py measures what no gate of a step looks at.
    apart = {Path(__file__).with_name(other) for other in ("suites.py", "training_suites.py", "docs.py", "signatures.py")}
    return [path.read_text(encoding="utf-8") for path in sorted(set(Path(__file__).parent.glob("*.py")) - apart)]


def _applicable(name: str, suite: Suite, rows: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rules whose columns are there."""
    there = {column for row in rows for column in row}
    rules = []
    for rule in suite.rules:
        missing = [column for column in rule.columns if column not in there]
        if missing and not rule.optional:
            raise ValueError(f"the table for gate {name!r} has no column {missing[0]!r}, which {rule.name!r} needs")
        if not missing:
            rules.append(rule)
    return tuple(rules)


def _judge(
    name: str, suite: Suite, rules: Sequence[Rule], rows: Sequence[Mapping[str, Any]], seen: Mapping[str, Seen]
) -> GateResult:
    """Quarantine, warnings and verdict, from what each rule found."""
    taken: dict[str, Rejection] = {}
    findings, warnings, problems = [], [], []
    for rule in rules:
        found = seen[rule.name]
        failing = found.rows or []
        takes_out = rule.severity == "critical" and not rule.stops
        reasons = _reasons(rule, rows, failing if takes_out else failing[:SAMPLE])
        if takes_out:
            for i, reason in zip(failing, reasons, strict=True):
                taken.setdefault(rows[i]["id"], Rejection(id=rows[i]["id"], reason=reason, expectation=rule.name))
        sample = [f"{shorten(rows[i]['id'])}: {reason}" for i, reason in zip(failing[:SAMPLE], reasons, strict=False)]
        share = f"{found.percent:.1f} % of {'the rows' if found.rows is not None else 'the table'}"
        said = f"{rule.name}: {rule.reason or 'rejected'}"
        if found.error:
            problems.append(f"{rule.name} could not be checked: {found.error}")
        elif not found.success:
            measured = f"{said}: {found.observed}" if found.rows is None else f"{said} ({share}), such as {'; '.join(sample)}"
            if rule.severity == "warning":
                warnings.append(measured)
            elif rule.stops or found.rows is None:
                problems.append(measured)
        findings.append(
            Finding(
                name=rule.name,
                severity=rule.severity,
                success=found.success,
                unexpected_percent=round(found.percent, 2),
                observed=found.error or found.observed,
                sample=sample,
            )
        )
    ids = dict.fromkeys(row["id"] for row in rows)
    out = [taken[id] for id in ids if id in taken]
    kept = len(ids) - len(out)
    needed = len(ids) if suite.keep == 1 else 1 if len(ids) < 4 else max(1, math.ceil(suite.keep * len(ids)))
    if kept < needed:
        problems.insert(0, _too_few(suite, kept, needed, len(ids), out))
    return GateResult(
        name=name,
        passed=not problems,
        evaluated=len(ids),
        quarantined=out,
        success_percent=round(100 * kept / len(ids), 2),
        warnings=warnings,
        expectations=findings,
        problems=problems,
    )


def _told(validation: dict[str, Any], judged: GateResult) -> dict[str, Any]:
    """The validation result with what only the gate knows: sample rows with the reason, and its verdict."""
    samples = {finding.name: finding.sample for finding in judged.expectations}
    for result in validation["results"]:
        result["result"]["partial_unexpected_list"] = samples[result["expectation_config"]["meta"]["name"]]
    validation["meta"]["gate"] = {
        "name": judged.name,
        "passed": judged.passed,
        "evaluated": judged.evaluated,
        "quarantined": len(judged.quarantined),
        "problems": judged.problems,
    }
    return validation


def _too_few(suite: Suite, kept: int, needed: int, of: int, out: Sequence[Rejection]) -> str:
    """Which expectations took most of the rows, and sample rows of each."""
    lost: dict[str, list[Rejection]] = {}
    for rejection in out:
        lost.setdefault(rejection.expectation, []).append(rejection)
    most = sorted(lost.items(), key=lambda item: -len(item[1]))[:SAMPLE]
    told = "; ".join(
        f"{name} took {len(some)} ({100 * len(some) / of:.1f} %), such as "
        + "; ".join(f"{shorten(rejection.id)}: {rejection.reason}" for rejection in some[:SAMPLE])
        for name, some in most
    )
    return f"{kept} of {of} {suite.noun} passed ({100 * kept / of:.1f} %) and {needed} must: {told}"


def _reasons(rule: Rule, rows: Sequence[Mapping[str, Any]], failing: Sequence[int]) -> list[str]:
    """For each failing row: where it is, what is wrong, and the value."""
    if not failing:
        return []
    explain = getattr(kind_of(rule), "explain", None) if not rule.show else None
    out = []
    for i in failing:
        row = rows[i]
        if explain:
            value = shorten(explain(*(row[column] for column in rule.about)))
        elif not rule.reason:
            value = shorten(row[rule.about[0]], 400)
        else:
            quoted = {column: row.get(column) for column in rule.show or rule.about}
            told = [(column, shorten(value)) for column, value in quoted.items() if value not in (None, "")]
            value = told[0][1] if len(told) == 1 else ", ".join(f"{column} {value}" for column, value in told)
        where = shorten(row.get("where") or "")
        out.append(": ".join(part for part in (where, rule.reason, value.strip()) if part))
    return out
