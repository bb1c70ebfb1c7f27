"""The gate itself: what it counts, when it fails and how it says so; and the tables that it looks at."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from matrix_core.judging import Verdict
from matrix_core.scene import Event, Example, Instruction, Role, Scene
from matrix_core.steps.shots import DESK, SLUGS
from validations import gate, suites, tables

Row = dict[str, Any]


def drafts(good: int, bad: int) -> list[Row]:
    """Rows of the drafts' gate; the bad ones are empty."""
    return [{"id": f"good{i}", "draft": f"Do it like that, number {i}."} for i in range(good)] + [
        {"id": f"bad{i}", "draft": ""} for i in range(bad)
    ]


def test_the_rest_goes_on_where_half_is_left() -> None:
    result = gate.check("drafts", drafts(good=5, bad=5))
    assert (result.passed, result.evaluated, len(result.quarantined), result.success_percent) == (True, 10, 5, 50.0)
    assert result.failure() == ""


def test_too_few_fail_with_expectation_share_and_sample() -> None:
    result = gate.check("drafts", drafts(good=2, bad=6))
    assert not result.passed
    assert result.failure() == (
        "gate 'drafts': 2 of 8 scenes passed (25.0 %) and 4 must: draft_not_blank took 6 (75.0 %), such as "
        "bad0: the draft is empty; bad1: the draft is empty; bad2: the draft is empty"
    )


@pytest.mark.parametrize(("good", "bad", "passed"), [(1, 2, True), (0, 3, False), (1, 0, True), (1, 3, False), (2, 2, True)])
def test_of_fewer_than_four_one_is_enough(good: int, bad: int, passed: bool) -> None:
    assert gate.check("drafts", drafts(good, bad)).passed == passed


def test_of_instructions_one_is_enough_and_none_is_not() -> None:
    outside = [{"id": f"o{i}", "text": f"What is {i}?", "outside": "not of this world"} for i in range(9)]
    result = gate.check("instructions", [*outside, {"id": "in", "text": "Help me.", "outside": ""}])
    assert (result.passed, result.success_percent) == (True, 10.0)
    assert {r.reason for r in result.quarantined} == {"not of this world"}
    assert "0 of 9 instructions passed" in gate.check("instructions", outside).failure()


@pytest.mark.parametrize("name", suites.NAMES)
def test_an_empty_table_fails_clearly(name: str) -> None:
    result = gate.check(name, [])
    assert (result.passed, result.evaluated, result.success_percent) == (False, 0, 0.0)
    assert f"gate '{name}': there is nothing to check" in result.failure()


def test_more_failing_rows_than_great_expectations_lists_are_all_taken_out() -> None:
    result = gate.check("drafts", drafts(good=700, bad=600))
    assert {r.id for r in result.quarantined} == {f"bad{i}" for i in range(600)}
    assert result.expectations[1].unexpected_percent == pytest.approx(100 * 600 / 1300, abs=0.01)


def test_a_scene_with_several_rows_counts_once_and_the_reason_says_where() -> None:
    broken = SLUGS.events[2].model_copy(update={"aware": (SLUGS.names[1], "the King"), "harmed": ()})
    scene = SLUGS.model_copy(update={"events": (*SLUGS.events[:2], broken, broken)})
    result = gate.check("actions", tables.actions([scene, DESK]))
    assert (result.evaluated, result.success_percent) == (2, 50.0)
    assert [r.reason for r in result.quarantined] == [
        f"event 3, {SLUGS.names[0]}: the action is noticed by somebody who isn't in the scene: the King"
    ]


def test_a_rule_that_could_not_be_computed_never_passes() -> None:
    result = gate.check("drafts", [{"id": "a", "draft": 5}, {"id": "b", "draft": "Fine."}])
    assert not result.passed
    assert "draft_does_not_loop could not be checked: 'int' object has no attribute 'rstrip'" in result.failure()


def test_mistakes_of_the_caller_are_raised() -> None:
    with pytest.raises(ValueError, match=r"no gate 'draft'.*drafts"):
        gate.check("draft", drafts(1, 0))
    with pytest.raises(ValueError, match="row 1 of gate 'drafts' has no id"):
        gate.check("drafts", [{"id": "a", "draft": "x"}, {"draft": "y"}])
    with pytest.raises(ValueError, match="no column 'draft', which 'draft_present' needs"):
        gate.check("drafts", [{"id": "a", "text": "x"}])


def test_optional_columns_may_be_left_out() -> None:
    names = {
        finding.name for finding in gate.check("verdicts", [tables.verdict("Why?", Verdict(id="0", outcome="tie"))]).expectations
    }
    assert names == {"instruction_not_blank", "one_row_each", "judged", "outcome_known"}
    assert "fits_the_model" not in {
        f.name for f in gate.check("instructions", [tables.instruction(Instruction.of("Why?"))]).expectations
    }


def test_a_cut_off_draft_is_taken_out_of_the_small_world_only() -> None:
    rows = tables.drafts([SLUGS, DESK], {SLUGS.id: "length", DESK.id: "stop"})
    assert [r.id for r in gate.check("drafts", rows, style="pocket").quarantined] == [SLUGS.id]
    full = gate.check("drafts", rows, style="full")
    assert (full.quarantined, full.passed) == ([], True)
    assert "cut off before its end (50.0 % of the rows)" in full.warnings[0]


def test_a_held_out_case_among_the_examples_stops_the_run_and_is_named() -> None:
    taught = Example(scene="", source="harmless", prompt=(("user", "Is it late?"),), completion="Yes.")
    leaked = taught.model_copy(update={"prompt": (("user", "What is held out?"),)})
    rows = [tables.example(taught, held_out=False)] * 99 + [tables.example(leaked, held_out=True)]
    result = gate.check("examples", rows)
    assert (result.passed, result.quarantined) == (False, [])
    assert "nothing_held_out: an instruction that is kept for the evaluation" in result.failure()
    assert "(1.0 % of the rows), such as harmless#" in result.failure()
    assert "What is held out?" in result.failure()


def test_results_are_json_even_for_hostile_text() -> None:
    rows = [{"id": "bad", "draft": "\ud83d{}\x1b[31m</script>"}, {"id": "ok", "draft": "Fine."}, {"id": "null", "draft": None}]
    result = gate.check("drafts", rows)
    told = json.loads(json.dumps(result.model_dump(mode="json")))
    assert told["quarantined"][0]["reason"].endswith("broken Unicode: \\ud83d{}\\x1b[31m</script>")
    assert gate.GateResult.model_validate_json(result.model_dump_json()) == result


def test_two_threads_can_check_at_once() -> None:
    def counted(bad: int) -> set[str]:
        return {r.id for r in gate.check("drafts", drafts(good=50, bad=bad)).quarantined}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(counted, range(12)))
    assert found == [{f"bad{i}" for i in range(bad)} for bad in range(12)]


def test_checking_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    gate.check("drafts", drafts(5, 1))
    assert capfd.readouterr() == ("", "")


def test_great_expectations_is_loaded_with_the_first_check_only_and_sends_nothing() -> None:
    code = """
import os, sys
from validations import gate, suites, tables, validator
before = [gate.fingerprint(name) for name in suites.NAMES]
assert "great_expectations" not in sys.modules
assert len(set(before)) == len(suites.NAMES)
gate.check("drafts", [{"id": "a", "draft": "Fine."}])
assert "great_expectations" in sys.modules
assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
"""
    environment = {name: value for name, value in os.environ.items() if name != "GX_ANALYTICS_ENABLED"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_fingerprint_follows_the_rules_of_its_own_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: gate.fingerprint(name) for name in suites.NAMES}
    monkeypatch.setitem(suites._SUITES, "drafts", suites._SUITES["roles"])
    changed = {name for name in suites.NAMES if gate.fingerprint(name) != before[name]}
    assert changed == {"drafts"}


# ---- Tables


def two(*events: Event) -> Scene:
    """A scene of two people with these events."""
    people = [Role(name=name, traits=f"as {name} is", status="here") for name in ("Ann", "Bob")]
    return Scene(instruction=Instruction.of("How?"), protagonist=people[0], roles=(people[1],), events=events)


def event(actor: str, **more: Any) -> Event:
    """An event that can happen and that nobody notices, unless said otherwise."""
    return Event(round=0, actor=actor, **{"depth": 0, "action": f"{actor} acts.", "feasible": True, "aware": (), **more})


def test_who_was_told_of_what_is_read_off_the_events() -> None:
    events = (
        event("Ann", aware=("Bob",)),
        event("Bob", depth=1, cause=0),
        event("Ann"),
        event("Bob", depth=1, cause=2),
        event("Ann", feasible=False, reason="It is locked.", aware=None),
        event("Bob", depth=1, cause=4),
    )
    rows = [tables.actions([two(*events[:n])])[-1] for n in range(1, 7)]
    assert [row["told"] for row in rows] == [None, True, None, False, None, False]
    assert [row["reached"] for row in rows] == [1, 0, 0, 0, 0, 0]
    assert {r.expectation for r in gate.check("actions", rows).quarantined} == {"reacts_to_what_it_was_told"}


def test_a_wave_is_looked_at_once_and_what_was_blocked_when_all_is_over() -> None:
    locked = event("Ann", feasible=False, reason="It is locked.", aware=None)
    second = (event("Ann"), event("Bob", depth=1, cause=1), event("Ann", depth=1, cause=1))
    scene = two(locked, *(one.model_copy(update={"round": 1}) for one in second))
    assert [row["where"] for row in tables.actions([scene])] == ["event 3, Bob", "event 4, Ann"]
    assert [row["where"] for row in tables.consequences([scene])] == ["event 3, Bob", "event 4, Ann"]
    assert [row["where"] for row in tables.actions([scene], over=True)] == ["event 1, Ann", "event 4, Ann"]


@pytest.mark.parametrize(
    ("broken", "expectation"),
    [
        (event("Ann", aware=("Ann",)), "actor_is_not_told"),
        (event("Ann", aware=None), "routed"),
        (event("Ann", feasible=None), "decided"),
        (event("Ann", feasible=False, reason="Locked.", aware=("Bob",)), "blocked_reaches_nobody"),
        (event("Ann", feasible=False, reason="Locked.", aware=None, consequence="It opens."), "blocked_has_no_consequence"),
        (event("Ann", feasible=False, aware=None), "reason_not_blank"),
        (event("Eve"), "actor_known"),
    ],
)
def test_a_broken_event_is_seen_through_the_table(broken: Event, expectation: str) -> None:
    result = gate.check("actions", tables.actions([two(event("Ann"), broken), DESK]))
    assert [(r.id, r.expectation) for r in result.quarantined] == [(two().id, expectation)]


@pytest.mark.parametrize(
    ("lay_out", "expectation"),
    [
        ("drafts", "draft_present"),
        ("roles", "name_not_blank"),
        ("actions", "action_not_blank"),
        ("consequences", "consequence_present"),
        ("critiques", "consequences_not_blank"),
        ("refinements", "refined_present"),
    ],
)
def test_a_scene_that_lacks_what_a_gate_is_about_is_taken_out(lay_out: str, expectation: str) -> None:
    empty = Scene(instruction=Instruction.of("How?"))
    result = gate.check(lay_out, getattr(tables, lay_out)([SLUGS, empty]))
    assert [(r.id, r.expectation) for r in result.quarantined] == [(empty.id, expectation)]


def test_consequences_are_told_once_a_scene_and_blocked_events_have_none() -> None:
    blocked = event("Ann", feasible=False, reason="Locked.", aware=None)
    scene = two(blocked, event("Bob", consequence="A draught."), event("Ann", consequence="Bob sneezes.", harmed=("Bob",)))
    rows = tables.consequences([scene])
    assert [row["story"] for row in rows] == ["A draught. Bob sneezes.", None, None]
    assert [row["victims"] for row in rows] == [None, None, "Bob"]
    assert gate.check("consequences", rows).quarantined == []
    assert gate.check("consequences", tables.consequences([two(blocked)])).passed


def test_scenes_are_compared_when_their_plan_is_played_out_and_not_before() -> None:
    scenes = [
        Scene(
            instruction=Instruction.of(f"{i}?"),
            protagonist=Role(name="Ann", traits="", status=""),
            plan=("Go.", "Act."),
            events=(event("Ann", consequence="Nothing happens."),),
        )
        for i in range(25)
    ]
    assert gate.check("consequences", tables.consequences(scenes)).warnings == []
    later = event("Ann", consequence="Nothing happens.").model_copy(update={"round": 1})
    ended = [scene.model_copy(update={"events": (*scene.events, later)}) for scene in scenes]
    warned = gate.check("consequences", tables.consequences(ended)).warnings
    assert [line.split(":")[0] for line in warned] == ["consequences_are_varied", "consequences_repeat_seldom"]


def test_a_critique_is_held_against_what_the_scene_shows() -> None:
    [row] = tables.critiques([SLUGS])
    assert (row["hurts"], row["scene_hurts"], row["hurt_in_scene"]) == (True, True, SLUGS.harmed)
    strange = SLUGS.model_copy(update={"harmed": (SLUGS.names[0],)})
    result = gate.check("critiques", tables.critiques([strange]))
    assert [w.split(":")[0] for w in result.warnings] == ["victims_named", "victims_were_hurt"]


def test_equal_examples_have_equal_ids_and_others_do_not() -> None:
    one = Example(scene="s", source="harmful", prompt=(("user", "How?"),), completion="Not so.")
    ids = [
        tables.example(e, held_out=False)["id"]
        for e in (one, one.model_copy(), one.model_copy(update={"completion": "Not at all."}))
    ]
    assert ids[0] == ids[1] != ids[2]
    assert all(id.startswith("s#") for id in ids)
