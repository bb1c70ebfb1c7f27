"""Rows planted to fail every expectation of every suite: each is caught by that gate, for that reason, and no other row is."""

from typing import NamedTuple

import pytest

from tests.unit.test_gates_good import DRUMS, SIGNS, STYLES, Row, good
from validations import gate, suites, validator
from validations.rules import LIMITS, Style


class Planted(NamedTuple):
    """Rows that fail one rule: each is a good row with these values changed."""

    suite: str
    rule: str
    reason: str
    changes: tuple[Row, ...]
    alone: bool

    def rows(self, style: Style, id: str = "bad") -> list[Row]:
        """The planted rows, all with this id."""
        return [{**good(self.suite, style)[0], "id": id, **changes} for changes in self.changes]


def plant(where: str, reason: str, *changes: Row, alone: bool = False) -> Planted:
    """`where` is "suite rule". `alone`: the planted rows are the whole table, for rules about shares."""
    suite, rule = where.split()
    return Planted(suite, rule, reason, changes, alone)


LOOP = "First I open the door. Then I wait and I wait and I wait and I wait and I wait and I wait and I wait"


def texts(suite: str, column: str, what: str) -> list[Planted]:
    """What can be wrong with any text that a model writes."""
    return [
        plant(f"{suite} {column}_present", f"{what} is missing", {column: None}),
        plant(f"{suite} {column}_not_blank", f"{what} is empty", {column: " \n\u3000\u00a0"}),
        plant(f"{suite} {column}_readable", f"{what} holds control characters or broken Unicode: a\\x00b", {column: "a\x00b"}),
        plant(f"{suite} {column}_readable", "control characters or broken Unicode: half \\ud83d", {column: "half \ud83d"}),
        plant(f"{suite} {column}_does_not_loop", f"{what} repeats itself without end: ", {column: LOOP}),
    ]


INSTRUCTIONS = [
    *texts("instructions", "text", "the instruction")[:-1],
    plant("instructions ids_unique", "more than once: bad", {}, {"text": "Another?"}),
    plant("instructions text_length", "longer than 20,000 characters: 0, 1, 2", {"text": ", ".join(map(str, range(9000)))}),
    plant("instructions fits_the_model", "room for: tokens 901, max_tokens 900", {"tokens": 901, "max_tokens": 900}),
    plant(
        "instructions inside_the_models_world", "none of this world; use --model", {"outside": "none of this world; use --model"}
    ),
]
DRAFTS = [
    *texts("drafts", "draft", "the draft"),
    plant("drafts finished", "the draft was cut off before its end: length", {"finish_reason": "length"}),
]
ROLES = [
    plant("roles name_not_blank", "a person's name is empty", {"name": "", "key": "", "where": ""}),
    plant(
        "roles names_differ",
        "two people in the scene have the same name: NINA",
        {"name": "NINA", "key": "nina"},
        {"name": "Nina", "key": "nina", "traits": "deaf"},
    ),
    plant("roles somebody_is_touched", "nobody but the one who asks is in the scene", {"people": 1}),
    plant("roles setting_not_blank", "the setting is empty", {"setting": " "}),
    plant("roles traits_not_blank", "list of traits is empty", {"traits": ""}),
    plant("roles status_not_blank", "what a person is doing is empty", {"status": ""}),
    plant(
        "roles traits_differ",
        "nearly the same traits: kind and clever",
        {"name": "A", "key": "a", "traits": "kind and clever"},
        {"name": "B", "key": "b", "traits": "Clever, kind."},
    ),
]
BLOCKED = {"feasible": False, "reason": "There is no ladder.", "aware": (), "reached": 0, "self_aware": False, "consequence": None}
TWO = {"names": ("visitor", "nurse"), "aware": ()}
ACTIONS = [
    plant("actions action_not_blank", "what somebody does is empty", {"action": "\t"}),
    plant("actions actor_known", "done by somebody who isn't in the scene: the King", {"actor": "the King"}),
    plant("actions decided", "not decided whether the action can happen: I ", {"feasible": None}),
    plant("actions reason_not_blank", "the reason why the action is blocked is empty: I ", BLOCKED | {"reason": " "}),
    plant("actions routed", "not decided who notices the action: I ", {"aware": None, "reached": 0}),
    plant("actions aware_known", "noticed by somebody who isn't in the scene: the King", {"aware": ("the King",), "reached": 1}),
    plant("actions actor_is_not_told", "the actor is listed among those who notice", {"self_aware": True}),
    plant("actions blocked_reaches_nobody", "was blocked and yet noticed", BLOCKED | {"reached": 1}),
    plant("actions blocked_has_no_consequence", "yet has a consequence: A fire", BLOCKED | {"consequence": "A fire"}),
    plant("actions reacts_to_what_it_was_told", "reacts to what they never learned of", {"told": False}),
    plant(
        "actions actions_differ",
        "people of one scene do nearly the same: I call for help",
        TWO | {"actor": "visitor", "action": "I call for help."},
        TWO | {"actor": "nurse", "action": "I call for help!"},
        alone=True,
    ),
]
LOUD = [{"id": f"s{i}", "story": "It is loud. " * 40} for i in range(30)]
SONG = [{"id": f"s{i}", "story": "Mr. Lund hears a song."} for i in range(30)]
CONSEQUENCES = [
    plant("consequences consequence_present", "the consequence is missing: I ", {"consequence": None}),
    *texts("consequences", "consequence", "the consequence")[1:],
    plant("consequences harmed_known", "harms somebody who isn't in the scene: the King", {"harmed": ("the King",)}),
    plant("consequences blocked_harms_nobody", "yet harms somebody: nurse", {"feasible": False, "victims": "nurse"}),
    plant("consequences victims_named", "doesn't mention whom it harms: Zoe", {"consequence": "It is loud.", "victims": "Zoe"}),
    plant("consequences consequences_are_varied", "consequences say much the same", *LOUD, alone=True),
    plant(
        "consequences consequences_repeat_seldom",
        "of different scenes are nearly the same (share of scenes): 1.0",
        *SONG,
        alone=True,
    ),
]
NOBODY = {"harmed": (), "victims": None, "hurts": False}
HEADACHE = {"consequences": "The clerk has a headache.", "hurts": True}
CRITIQUES = [
    plant("critiques consequences_not_blank", "the summary of what came of it is empty", {"consequences": ""}),
    *texts("critiques", "critique", "the critique"),
    plant("critiques victims_decided", "doesn't say whether anybody is hurt", NOBODY | {"harmed": None}),
    plant("critiques harmed_known", "the critique names somebody who isn't in the scene: the King", {"harmed": ("the King",)}),
    plant(
        "critiques grounded",
        "names no consequence of its scene: This answer is harmful and",
        HEADACHE | {"critique": "This answer is harmful and should be changed."},
    ),
    plant("critiques victims_named", "doesn't mention whom it finds hurt: Zoe", {"victims": "Zoe"}),
    plant("critiques victims_were_hurt", "the scene doesn't show, to: ", {"hurt_in_scene": ()}),
    plant("critiques harm_is_not_overlooked", "the critique finds nobody hurt: ", NOBODY | {"scene_hurts": True}),
]
HARMLESS = {"harmful": False, "draft": DRUMS}
REFINEMENTS = [
    *texts("refinements", "refined", "the refined response"),
    plant("refinements finished", "the refined response was cut off before its end: length", {"finish_reason": "length"}),
    plant(
        "refinements leaves_the_harm",
        "still gives what is harmful in the draft: I would rather not. Go to the market.",
        {"harmful": True, "draft": DRUMS, "refined": f"I would rather not. {DRUMS}", "consequences": "The drums are loud."},
    ),
    plant(
        "refinements keeps_the_help",
        "drops what it offered: Please ask somebody",
        HARMLESS | {"refined": "Please ask somebody else."},
    ),
    plant(
        "refinements leaks_nothing",
        "the refined response talks about the simulation: protagonist, Noticed by",
        HARMLESS | {"refined": f"{DRUMS} Noticed by the protagonist, and by nobody but the protagonist."},
    ),
    plant("refinements states_the_consequence", "doesn't say what would come of it: I'm sorry", {"refined": "I'm sorry, but no."}),
]
EXAMPLES = [
    plant("examples nothing_held_out", "among the training examples: How do I keep", {"held_out": True}),
    plant("examples source_known", "comes from no known source: elsewhere", {"source": "elsewhere"}),
    plant("examples ends_with_a_question", "not the user's: assistant", {"last_turn": "assistant"}),
    plant("examples question_not_blank", "the user's last turn is empty", {"question": " "}),
    *texts("examples", "completion", "the answer"),
    plant("examples rejected_not_blank", "the rejected answer is empty", {"rejected": " "}),
    plant("examples answers_differ", "is missing, or the preferred one: Burn it.", {"rejected": "Burn it.", "differs": False}),
    plant("examples leaks_nothing", "the answer talks about the simulation: Blocked:", {"completion": "Blocked: there is no key."}),
    plant("examples leaks_nothing", 'talks about the simulation: {", "action":', {"completion": '{"action": "I go."}'}),
    plant("examples share_of_harmful", "mends a harmful draft (share): 0.0", {"harmful": 0.0}, alone=True),
    plant("examples share_of_harmless", "keeps a harmless draft (share): 1.0", {"harmless": 1.0}, alone=True),
    plant("examples share_of_trace", "parts of simulations (share): 1.0", {"trace": 1.0}, alone=True),
    plant("examples share_of_general", "general questions (share): 1.0", {"general": 1.0}, alone=True),
]
ADAPTER = [
    plant("adapter loads", "can't be opened: OSError: no such file", {"loads": False, "error": "OSError: no such file"}),
    plant("adapter has_weights", "holds no weights (how many): 0", {"parameters": 0}),
    plant("adapter finite", "some weights of the adapter are no finite numbers", {"finite": False}),
    plant("adapter losses_finite", "some losses of the training are no finite numbers", {"losses_finite": False}),
    plant("adapter delta_present", "answers are no numbers", {"delta": float("nan")}),
    plant("adapter differs_from_the_base", "the adapter changes nothing", {"delta": 0.0}),
    plant("adapter delta_finite", "answers are no finite numbers: inf", {"delta": float("inf")}),
]
VERDICTS = [
    plant("verdicts instruction_not_blank", "the instruction is empty", {"instruction": " "}),
    plant("verdicts one_row_each", "more than one verdict", {"instruction": "Twice?"}, {"instruction": "Twice?"}),
    plant("verdicts judged", "be compared: no usable", {"instruction": "Odd?", "outcome": None, "error": "no usable verdict"}),
    plant("verdicts outcome_known", "neither win, tie nor lose: draw", {"instruction": "Drawn?", "outcome": "draw"}),
    plant("verdicts scores_present", "no finite numbers", {"instruction": "NaN?", "score_gap": float("nan")}),
    plant("verdicts scores_finite", "no finite numbers: -inf", {"instruction": "Low?", "score_gap": float("-inf")}),
    plant("verdicts leaks_nothing", "the simulation: social modulator", {"instruction": "Who?", "tuned": "The Social Modulator."}),
]
SIGNATURES = [
    plant("signatures people_alike", "people of one scene do nearly the same", {"people_alike": 0.99}),
    plant("signatures traits_tell", "traits hardly decide how people react", {"traits_tell": -0.1}),
    plant("signatures distinct_2", "what comes of the scenes is much the same", {"distinct_2": 0.001}),
    plant("signatures stories_repeat", "scenes nearly repeat each other", {"stories_repeat": 1.0}),
    plant("signatures leaks", "talks of the simulation where it answers plainly", {"leaks": 0.2}),
    plant("signatures ability_lost", "tuning has cost general ability", {"ability_lost": 0.4}),
    plant("signatures loss_rise", "a held-out loss rises before the training ends", {"loss_rise": 0.7}),
    plant("signatures judges_differ", "verdicts change with the order of the answers", {"judges_differ": 0.6}),
]
PLANTED = [
    *INSTRUCTIONS, *DRAFTS, *ROLES, *ACTIONS, *CONSEQUENCES, *CRITIQUES, *REFINEMENTS, *EXAMPLES, *ADAPTER, *VERDICTS, *SIGNATURES
]  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("suite", suites.NAMES)
def test_planted_rows_are_taken_out_with_their_reason_and_no_others_are(suite: str, style: Style) -> None:
    critical = {rule.name for rule in suites.suite(suite, style).rules if rule.severity == "critical" and not rule.stops}
    cases = {f"bad {i}": planted for i, planted in enumerate(PLANTED) if planted.suite == suite and planted.rule in critical}
    bad = [row for id, planted in cases.items() for row in planted.rows(style, id)]
    sound = good(suite, style)
    result = gate.check(suite, [*sound[:2], *bad, *sound[2:]], style)
    assert {r.id: r.expectation for r in result.quarantined} == {id: planted.rule for id, planted in cases.items()}
    for rejection in result.quarantined:
        assert cases[rejection.id].reason in rejection.reason
    assert {finding.name for finding in result.expectations if not finding.success} >= critical


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("suite", suites.NAMES)
def test_a_suite_made_ready_once_finds_table_after_table_what_one_made_anew_finds(
    suite: str, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, bad = good(suite, style), [row for planted in PLANTED if planted.suite == suite for row in planted.rows(style)]
    handed_off = [[*sound, *bad], sound, bad, [*bad[::-1], *sound]]

    def checked(rows: list[Row]) -> Row:
        found = gate.check(suite, rows, style).model_dump()
        found["validation"]["results"].sort(key=lambda result: result["expectation_config"]["meta"]["name"])
        return found

    def gone(*suite: object) -> None:
        raise LookupError

    with monkeypatch.context() as only_ready:
        only_ready.setattr(validator, "_batches", gone)
        found = [checked(rows) for rows in handed_off]
    monkeypatch.setattr(validator, "_prepared", gone)
    assert [checked(rows) for rows in handed_off] == found


MILD = [
    (planted, style)
    for planted in PLANTED
    for style in STYLES
    for rule in suites.suite(planted.suite, style).rules
    if rule.name == planted.rule and (rule.severity == "warning" or rule.stops)
]


@pytest.mark.parametrize(("planted", "style"), MILD, ids=[f"{p.suite} {p.rule} {style}" for p, style in MILD])
def test_warnings_and_stops_name_planted_rows_and_take_nothing_out(planted: Planted, style: Style) -> None:
    bad, sound = planted.rows(style), good(planted.suite, style)
    result = gate.check(planted.suite, bad if planted.alone else [*sound[:2], *bad, *sound[2:]], style)
    stops = planted.rule == "nothing_held_out"
    told = result.problems if stops else result.warnings
    assert [line for line in told if line.startswith(planted.rule) and planted.reason in line]
    assert (result.quarantined, result.passed) == ([], not stops)
    finding = next(finding for finding in result.expectations if finding.name == planted.rule)
    assert not finding.success
    if not planted.alone:
        assert [sample.split(":")[0] for sample in finding.sample] == ["bad"] * len(planted.changes)


def test_every_expectation_of_every_suite_has_a_planted_case() -> None:
    everything = {(suite, rule.name) for suite in suites.NAMES for style in LIMITS for rule in suites.suite(suite, style).rules}
    assert everything == {(planted.suite, planted.rule) for planted in PLANTED}


@pytest.mark.parametrize("suite", suites.NAMES)
def test_names_of_expectations_are_unique_in_their_suite(suite: str) -> None:
    names = [rule.name for rule in suites.suite(suite, "full").rules]
    assert len(names) == len(set(names))


def test_only_these_expectations_warn_instead_of_taking_rows_out() -> None:
    warn = {
        f"{suite} {rule.name}" for suite in suites.NAMES for rule in suites.suite(suite, "full").rules if rule.severity == "warning"
    }
    assert warn == {
        "drafts finished",
        "roles status_not_blank",
        "roles traits_differ",
        "actions actions_differ",
        "consequences victims_named",
        "consequences consequences_are_varied",
        "consequences consequences_repeat_seldom",
        "critiques victims_named",
        "critiques victims_were_hurt",
        "critiques harm_is_not_overlooked",
        "refinements finished",
        "refinements states_the_consequence",
        "examples share_of_harmful",
        "examples share_of_harmless",
        "examples share_of_trace",
        "examples share_of_general",
        "verdicts leaks_nothing",
        *(f"signatures {sign}" for sign in SIGNS),
    }
    stop = {f"{suite} {rule.name}" for suite in suites.NAMES for rule in suites.suite(suite, "full").rules if rule.stops}
    assert stop == {"examples nothing_held_out"}
