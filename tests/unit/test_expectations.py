"""The measures behind our own expectations, on plain strings."""

import pytest

from validations import text

DRUMS = "Go to the market. Take the ladder. Then play the drums."


def test_words_of_one_stem_meet_and_function_words_do_not_count() -> None:
    assert text.shared("Nina was poisoned.", "The pellets poison her.") == {"poiso"}
    assert text.shared("It is with the others.", "It was with them and the others.") == {"other"}


def test_a_critique_of_anything_shares_nothing_with_a_scene() -> None:
    scene = "The clerk gets a headache; it hurts and harms people badly, and something bad happens to somebody."
    assert text.shared("This harmful answer hurts people and should be changed to something good.", scene) == frozenset()
    assert text.shared("The clerks suffer.", scene) == {"clerk"}


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("邻居的孩子会生病", "孩子喝了水", True),
        ("邻居的孩子会生病", "桥很高", False),
        ("السوق مزدحم", "ذهبت إلى السوق", True),
        ("Größe zählt", "GRÖSSE ZÄHLT!", True),
    ],
)
def test_other_scripts_are_compared_too(one: str, other: str, meet: bool) -> None:
    assert bool(text.shared(one, other)) == meet


def test_containment_tells_wording_from_content() -> None:
    assert text.containment(DRUMS, f"It hurts nobody. {DRUMS}", n=3) == 1.0
    assert text.containment(DRUMS, "Please do not play the drums at the market.", n=3) == pytest.approx(1 / 9)
    assert text.containment("Bake a cake and hide riddles.", "You could hide some riddles, then bake her a cake!", n=1) == 1.0
    assert text.containment("Yes.", "Yes, do.", n=3) == 1.0
    assert text.containment("Yes.", "No.", n=3) == 0.0
    assert text.containment("", "anything", n=1) == 1.0


def test_similarity_sees_content_in_any_order() -> None:
    assert text.similarity("kind and clever", "Clever, kind.") == 1.0
    assert text.similarity("cannot bear noise or water", "cannot bear dust or water") == pytest.approx(1 / 2)
    assert text.similarity("kind", "stern") == 0.0
    assert (text.similarity("I can.", "I can."), text.similarity("I can.", "I do.")) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("said", "piece"),
    [
        ("Well. " + "I will wait. " * 5, "I will wait."),
        ("aaaa " * 8, "aaaa"),
        ("So " + "no" * 20, "no"),
        ("好的。" * 12, "好的。"),
        ("Start, " + "and then we go on and on, " * 4 + "and th", "and then we go on and on,"),
    ],
)
def test_loops_are_found_wherever_they_are_cut_off(said: str, piece: str) -> None:
    found = text.loop(said)
    assert found
    assert set(found.strip()) <= set(piece + " ")
    assert len(found) <= len(piece) + 1


@pytest.mark.parametrize(
    "said",
    [
        "",
        "No, no, no!",
        "Stop. Stop. Stop. Then we go home.",
        "A title\n" + "-" * 60,
        "To be continued" + "." * 40,
        " ".join(f"Step {i}: turn screw {i} by {i} degrees." for i in range(300)),
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 3 |\n| 2 | 3 |",
    ],
)
def test_texts_that_only_look_repetitive_are_no_loops(said: str) -> None:
    assert text.loop(said) == ""


def test_leaks_are_words_that_nobody_asked_for() -> None:
    assert text.leaks("Blocked: the protagonist can't.", "How do I get in?") == ["protagonist", "Blocked:"]
    assert text.leaks("It will be noticed by all; the way is blocked: a pity.", "How do I get in?") == []
    assert text.leaks("The Protagonist is a scholar.", "Who is the protagonist of Faust?") == []
    assert text.leaks('{"action": "go"}', "Where to?") == ['{"', '"action":']
    assert text.leaks('```json\n[{"a": 1}]', "Where to?") == ["[{"]
    assert text.leaks('Here: {"colours": ["red"]}', "Write me a JSON file.") == []
    assert text.leaks('Use f(x) {return x} and ["a", {"b": 2}].', "How do I write a function?") == []
    assert text.leaks("My plan: act, react, and reason about the consequence.", "What now?") == []


def test_variety_falls_with_repetition_and_not_with_the_size_of_a_shard() -> None:
    varied = [f"The {thing} number {i} falls on the {thing}." for i, thing in enumerate(["cup", "lamp", "box", "pen"] * 100)]
    same = ["The cup falls on the lamp."] * 400
    assert text.distinct(same, 2) == pytest.approx(1 / 100)
    assert text.distinct(varied[:100], 2) == pytest.approx(text.distinct(varied, 2), abs=0.02)
    assert text.distinct([], 2) == 1.0


def test_near_duplicates_count_texts_that_have_a_twin() -> None:
    alone = [" ".join(chr(97 + i) * 3 + chr(97 + j) for j in range(6)) for i in range(20)]
    assert text.near_duplicates(alone, similar=0.8) == 0.0
    twins = ["Nina eats the blue pellets.", "The blue pellets: Nina eats!"] * 10
    assert text.near_duplicates(alone + twins, similar=0.8) == 0.5
    assert text.near_duplicates(twins[:8], similar=0.8) == 0.0


def test_shortened_values_are_one_printable_line() -> None:
    assert text.shorten("a\nb\x00\ud800 ü 日") == "a\\nb\\x00\\ud800 ü 日"
    assert text.shorten(("Nina", "Paul")) == "Nina, Paul"
    assert text.shorten("x" * 100) == "x" * 79 + "…"
