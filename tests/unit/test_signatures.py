"""Failure signatures: plain scenes and curves in, the numbers worked out by hand out; their gate warns and stops nothing."""

import pytest

from matrix_core.scene import Event, Instruction, Role, Scene
from validations import gate
from validations.signatures import measure

SOUND = {"scenes": [], "answers": [], "held_out_losses": {}, "evaluation": {}, "style": "full"}


def scene(number: int, *reactions: tuple[str, str]) -> Scene:
    """One in which people of these traits react so to what Ann does."""
    people = tuple(Role(name=f"P{i}", traits=traits, status="") for i, (traits, _) in enumerate(reactions))
    opening = Event(round=0, depth=0, actor="Ann", action=f"opens valve {number}", consequence=f"Steam number {number} comes out.")
    events = (Event(round=0, depth=1, cause=0, actor=f"P{i}", action=action) for i, (_, action) in enumerate(reactions))
    return Scene(
        instruction=Instruction.of(f"{number}?"),
        protagonist=Role(name="Ann", traits="", status=""),
        roles=people,
        events=(opening, *events),
    )


def test_nothing_is_measured_where_there_is_nothing():
    assert set(measure(**SOUND).values()) == {None}


def test_people_who_do_the_same_are_alike_and_others_are_not():
    apart = scene(1, ("calm", "reads the manual"), ("hasty", "runs outside"))
    same = scene(2, ("calm", "runs outside"), ("hasty", "runs outside"))
    assert measure(**SOUND | {"scenes": [apart]})["people_alike"] == 0
    assert measure(**SOUND | {"scenes": [apart, same]})["people_alike"] == pytest.approx(2 / 6, abs=1e-4)  # two of six events


def test_traits_that_decide_what_people_do_are_told_from_those_that_do_not():
    calm, hasty = ("calm", "reads the manual"), ("hasty", "runs outside")
    deciding = [scene(1, calm, calm, hasty), scene(2, hasty, calm, hasty)]
    assert measure(**SOUND | {"scenes": deciding})["traits_tell"] == 1
    at_odds = [scene(1, calm, ("calm", "runs outside"), ("hasty", "reads the manual"))]
    assert measure(**SOUND | {"scenes": at_odds})["traits_tell"] < 0


def test_what_tuning_did_is_read_off_answers_curves_and_figures():
    evaluation = {
        "pocket_general": {"right": {"before": 0.8, "after": 0.6}},
        "mt-bench": {"grades": {"judge": "j", "points": {"before": 5.0, "after": 6.0}}, "consistency": 0.7},
        "hh": {"consistency": 0.9},
    }
    found = measure(
        **SOUND
        | {
            "answers": [("How?", "As the protagonist I open it."), ("Who is a protagonist?", "The protagonist is the hero.")],
            "held_out_losses": {"harmful": [(0, 9.0), (1, 0.4), (2, 0.6)], "general": [(0, 1.0), (1, 0.3), (2, 0.2)]},
            "evaluation": evaluation,
        }
    )
    assert found["leaks"] == 0.5
    assert found["loss_rise"] == pytest.approx(0.5)
    assert found["ability_lost"] == pytest.approx(0.25)
    assert found["judges_differ"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("people_alike", 0.1, 0.5),
        ("traits_tell", 0.2, 0.0),
        ("distinct_2", 0.6, 0.05),
        ("stories_repeat", 0.1, 0.9),
        ("leaks", 0.0, 0.1),
        ("ability_lost", 0.01, 0.2),
        ("loss_rise", 0.0, 0.6),
        ("judges_differ", 0.1, 0.5),
    ],
)
def test_each_has_a_bound_that_warns_and_stops_nothing(name: str, good: float, bad: float):
    unmeasured = measure(**SOUND)
    for value, warned in ((good, []), (bad, [name])):
        judged = gate.check("signatures", [{"id": "run", **unmeasured, name: value}])
        assert judged.passed
        assert [line.split(":")[0] for line in judged.warnings] == warned
