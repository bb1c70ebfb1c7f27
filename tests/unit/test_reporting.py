"""The report page: it holds the figures and stories of a run, needs nothing from outside, and no text in it can act."""

import re
from typing import Any

import pytest

from matrix_core.scene import Instruction, Scene
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS
from tasks.reporting import duration, loss_plot, number, percent, render, telling
from tests.page import Page

TUNING: dict[str, Any] = {
    "train_losses": [[1, 2.0], [2, 0.5], [4, 0.1]],
    "held_out": {"harmful": [[0, 3.0], [1, 0.4], [2, 0.6]], "general": [[0, 1.0], [1, 0.3], [2, 0.2]]},
    "best_epoch": 1,
    "steps": 4,
    "tokens": 12345,
    "seconds": 72.4,
    "examples": {"harmful": {"trained": 11, "held_out": 2, "too_long": 1}},
    "dtype": "bfloat16",
    "quantised": False,
}
SUMMARY: dict[str, Any] = {
    "run_id": "pocket-0123456789",
    "model": "pocket",
    "settings": {"roles": 3, "sampling": {"temperature": 0.2}},
    "counts": {"instructions": 768, "scenes": 760, "quarantined": 8, "examples": 1302},
    "gates": [
        {"name": "roles", "passed": True, "evaluated": 768, "quarantined": 8, "success_percent": 98.96, "warnings": ["few names"]}
    ],
    "tokens": {"prompt": 1234567, "completion": 345, "calls": 99, "cached_calls": 0},
    "timing": {"simulate": 61.0, "tune": 72.4, "evaluate": None},
    "evaluation": {
        "pocket": {
            "n": 660,
            "win": 330,
            "tie": 220,
            "lose": 110,
            "win_rate": 0.5,
            "ci95": [0.46, 0.54],
            "harmful_compliance": {"before": 0.99, "after": 0.0491, "ci95": [0.03, 0.08]},
            "over_refusal": {"before": 0.0, "after": 0.021, "ci95": [0.01, 0.04], "ci95_before": [0.0, 0.012], "n": 300},
        }
    },
    "signatures": [
        {"name": "leaks", "what": "it talks of the simulation", "value": 0.25, "at_most": 0.01, "ok": False},
        {"name": "traits_tell", "what": "traits decide nothing", "value": None, "at_least": 0.03, "ok": True},
    ],
    "artifacts": {"adapter": {"uri": "/runs/x/adapter", "sha256": "ab" * 32}},
}


def test_signs_of_failure_are_drawn_with_their_bounds_and_told_where_they_are_beyond():
    text = Page(render(SUMMARY, [], None)).text
    assert "leaks (at most 1.0 %)" in text
    assert "it talks of the simulation: 25.0 %." in text
    assert "traits tell (at least 3.0 %) not measured" in " ".join(text.split())
    assert "Signs of failure" not in Page(render(SUMMARY | {"signatures": []}, [], None)).text


def test_the_page_holds_the_figures_of_the_run():
    page = Page(render(SUMMARY, [SLUGS, DESK, BIRTHDAY], TUNING))
    for figure in (
        "4.9 %",
        "99.0 %",
        "2.1 %",
        "wins 50.0 % (46.0 % to 54.0 %)",
        "win 330",
        "lose 110",
        "few names",
        "99.0 %",
        "1\u202f302",
    ):
        assert figure in page.text
    for figure in ("4 steps, 12\u202f345 tokens in 1 min 12 s", "1 min 01 s", "2 min 13 s", "sampling.temperature", "ab" * 32):
        assert figure in page.text
    assert "evaluate" not in page.text
    after = [attrs for tag, attrs in page.tags if tag == "rect" and attrs["class"] == "after"]
    assert [float(bar["width"] or 0) for bar in after] == [
        pytest.approx(380 * 0.0491, abs=0.1),
        pytest.approx(380 * 0.021, abs=0.1),
    ]


def test_the_bars_of_wins_ties_and_losses_add_up():
    page = Page(render(SUMMARY, [], None))
    widths = {attrs["class"]: float(attrs["width"] or 0) for tag, attrs in page.tags if tag == "rect"}
    assert widths["win"] == pytest.approx(756 / 2, abs=0.1)
    assert widths["win"] + widths["tie"] + widths["lose"] == pytest.approx(756, abs=0.2)


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    html = render(SUMMARY, [SLUGS], TUNING)
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "a", "base", "form"} & {tag for tag, _ in page.tags}
    assert not {name for _, attrs in page.tags for name in attrs if name in ("src", "href", "xlink:href") or name.startswith("on")}
    assert not re.search(r"url\(|@import|https?://", html)
    policy = next(attrs for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_it_is_made_for_light_and_for_dark():
    html = render(SUMMARY, [], TUNING)
    light, dark = (
        set(re.findall(r"(--\w+):", part)) for part in re.search(r":root \{(.*?)\}.*?:root \{(.*?)\}", html, re.S).groups()
    )
    assert "prefers-color-scheme: dark" in html
    assert light == dark


def test_hostile_text_is_shown_and_does_nothing():
    evil = "</summary><script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(2)>[x](javascript:alert(3))"
    scene = SLUGS.model_copy(update={"instruction": Instruction.of(evil), "refined": evil, "critique": evil})
    summary = SUMMARY | {"run_id": evil, "model": f"{evil} \ud800", "settings": {evil: evil}, "counts": {evil: evil}}
    html = render(summary, [scene], TUNING)
    html.encode("utf-8")
    page = Page(html)
    assert not {"script", "img", "a"} & {tag for tag, _ in page.tags}
    assert page.text.count("{{ 7 * 7 }}") >= 5
    assert page.text.count("<script>alert(1)</script>") >= 5


def test_a_run_that_was_not_tuned_or_evaluated_has_a_page_too():
    page = Page(render({"run_id": "r", "model": "m", "counts": {"scenes": 0}, "evaluation": {}}, [], None))
    assert "Nothing was evaluated." in page.text
    assert "Fine-tuning" not in page.text


def test_a_judged_benchmark_without_a_judged_row_breaks_nothing():
    judged = {"n": 0, "win": 0, "tie": 0, "lose": 0, "failed": 3, "win_rate": None, "ci95": None}
    assert "Held-out instructions" in Page(render(SUMMARY | {"evaluation": {"held_out": judged}}, [], None)).text


def test_the_scenes_that_are_told_show_harm_unawares_a_blocked_step_and_a_harmless_one():
    unfinished = Scene(instruction=Instruction.of("x"))
    blocked = next(scene for scene in (SLUGS, DESK, BIRTHDAY) if any(event.feasible is False for event in scene.events))
    many = [unfinished, *(BIRTHDAY.model_copy(update={"instruction": Instruction.of(str(i))}) for i in range(5)), blocked, SLUGS]
    told = telling(many)
    assert [scene.harmed != () for scene in told[:1]] == [True]
    assert blocked in told
    assert any(scene.harmed == () for scene in told)
    assert len(told) == 3
    assert telling(iter(many)) == told
    assert telling([unfinished]) == []


def test_losses_stand_on_a_logarithmic_axis():
    plot = loss_plot(TUNING)
    heights = dict(plot["ticks"])
    assert heights["0.1"] - heights["0.2"] == pytest.approx(heights["1"] - heights["2"], abs=0.2)
    assert heights["0.1"] > heights["1"]
    assert plot["held_out"]["harmful"].split()[1].split(",")[0] == f"{plot['best']:.1f}" == "320.0"
    assert plot["train"].split()[-1] == f"640.0,{heights['0.1']:.1f}"
    none_held_out = loss_plot(TUNING | {"held_out": {}})
    assert (none_held_out["best"], none_held_out["epochs"]) == (None, [])
    assert loss_plot(TUNING | {"held_out": {}, "train_losses": [[1, 0.0]]})["train"].startswith("160.0,")


def test_figures_as_people_read_them():
    assert [percent(0.0491), percent(1), number(1234567), number(0.12345), number(True), number("x")] == [
        "4.9 %",
        "100.0 %",
        "1\u202f234\u202f567",
        "0.1235",
        "True",
        "x",
    ]
    assert [duration(s) for s in (0.42, 48.3, 59.7, 72, 3599.6, 7500)] == [
        "0.4 s",
        "48 s",
        "1 min 00 s",
        "1 min 12 s",
        "1 h 00 min",
        "2 h 05 min",
    ]
