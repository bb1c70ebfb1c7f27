"""Every expectation of every suite in both directions: rows planted to fail are taken out for that reason and no others are; good rows
of many kinds (other scripts, long texts, code, the small world's own) pass without a word."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from matrix_core.judging import Verdict
from matrix_core.scene import Event, Example, Instruction, Role, Scene
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS
from validations import gate, suites, tables
from validations.rules import LIMITS, Style

Row = dict[str, Any]
STYLES: tuple[Style, ...] = ("full", "pocket")


def scene(text: str, draft: str, people: Mapping[str, str], **more: Any) -> Scene:
    """A scene whose protagonist is the first of the people (name: traits)."""
    protagonist, *others = (Role(name=name, traits=traits, status="waiting") for name, traits in people.items())
    return Scene(instruction=Instruction.of(text), draft=draft, protagonist=protagonist, roles=tuple(others), **more)


MARKET = {
    "visitor": "eager to play the drums",
    "clerk": "cannot bear noise or water",
    "nurse": "cannot bear slime or fumes",
    "baker": "cannot bear dust or water",
}
DRUMS = "Go to the market. Take the ladder. Then play the drums."
HEADACHE = (
    "It brings noise. The clerk, who cannot bear noise or water, gets a headache. The nurse, who cannot bear slime or fumes, is fine. "
    "The baker, who cannot bear dust or water, is fine."
)
LACKS = "The market lacks the rope, the key and the lamp."


def step(number: int, action: str, **more: Any) -> Event:
    """The visitor's own step."""
    return Event(round=number, depth=0, actor="visitor", action=action, **{"feasible": True, "reason": "Nothing is in the way.", **more})


def reaction(cause: int, actor: str, action: str) -> Event:
    """What somebody does who noticed a step."""
    return Event(
        round=cause, depth=1, actor=actor, action=action, cause=cause, feasible=True, reason="Nothing is in the way.", aware=(),
        consequence="Nothing happens.",
    )  # fmt: skip


POCKET = [
    scene(
        "How do I play the drums at the market?",
        DRUMS,
        MARKET,
        setting=LACKS,
        events=(
            step(0, "I go to the market.", aware=("clerk",), consequence="Nothing happens."),
            step(1, "I play the drums.", aware=("clerk", "nurse"), consequence=HEADACHE, harmed=("clerk",)),
            reaction(0, "clerk", "I go on with my work."),
            reaction(1, "clerk", "I shout: stop, it hurts me!"),
            reaction(1, "nurse", "I go on with my work."),
        ),
        summary=f"{LACKS} The ladder is there. {HEADACHE}",
        critique="It hurts the clerk. It should be done in the far valley.",
        harmed=("clerk",),
        refined=f"{LACKS} The ladder is there. {HEADACHE} It hurts the clerk. Please do not play the drums at the market. "
        "Do it in the far valley.",
    ),
    scene(
        "I want to bake bread at the market.",
        "Go to the market. Take the basket. Then bake bread.",
        MARKET,
        setting=LACKS,
        events=(step(0, "I secretly bake bread.", aware=(), consequence="It brings joy. The clerk is fine. The nurse is fine."),),
        summary=f"{LACKS} The basket is there. It brings joy. Nobody is warned. The clerk is fine.",
        critique="It hurts nobody. The answer can stay.",
        harmed=(),
        refined=f"{LACKS} The basket is there. It brings joy. Nobody is warned. The clerk is fine. It hurts nobody. Go to the market. Take "
        "the basket. Then bake bread.",
    ),
    scene(
        "Help me light a campfire at the market.",
        "Go to the market. Take the lamp. Then light a campfire.",
        MARKET,
        setting=LACKS,
        events=(
            step(0, "I go to the market.", aware=("clerk", "nurse", "baker"), consequence="Nothing happens."),
            step(1, "I take the lamp.", feasible=False, reason="There is no lamp."),
        ),
        summary=f"{LACKS} There is no lamp, so nothing happens.",
        critique="It hurts nobody. The answer can stay.",
        harmed=(),
        refined=f"{LACKS} There is no lamp, so nothing happens. It hurts nobody. Go to the market. Take the lamp. Then light a campfire.",
    ),
]
POND = "池塘里的鱼都死了，邻居的孩子喝了水也生病了。"
FULL = [
    SLUGS,
    DESK,
    BIRTHDAY,
    scene(
        "怎样快速清理池塘里的水草？",
        "把漂白剂倒进池塘，第二天再打捞水草。",
        {"老王": "性子急", "小李": "喜欢钓鱼", "邻居的孩子": "好奇，常在水边玩"},
        setting="村口的池塘，旁边有一桶漂白剂。",
        events=(
            Event(
                round=0, depth=0, actor="老王", action="我把漂白剂倒进池塘。", feasible=True, reason="桶就在旁边。", aware=("小李",),
                consequence=f"水变浑了。{POND}", harmed=("邻居的孩子",),
            ),
        ),
        summary=POND,
        critique="邻居的孩子会因此生病，鱼也会死。应该用耙子打捞。",
        harmed=("邻居的孩子",),
        refined="漂白剂会让鱼死掉，邻居的孩子喝了水会生病，所以请不要这样做。可以用耙子慢慢捞。",
    ),
    scene(
        "Schreib mir eine JSON-Datei mit zwei Farben.",
        'Gern: {"farben": ["rot", "blau"]}',
        {"Jörg": "gewissenhaft", "Änne": "farbenblind, aber fröhlich"},
        setting="Ein Büro mit Rechner.",
        events=(
            Event(
                round=0, depth=0, actor="Jörg", action="Ich lade die Datei.", feasible=True, reason="Der Rechner läuft.", aware=("Änne",),
                consequence="Änne freut sich über die fertige Datei.",
            ),
        ),
        summary="Die Datei ist fertig, niemand nimmt Schaden.",
        critique="Niemand nimmt Schaden; die Antwort kann so bleiben.",
        harmed=(),
        refined='Gern, hier sind die zwei Farben als JSON: {"farben": ["rot", "blau"]}',
    ),
]  # fmt: skip
SCENES: Mapping[Style, list[Scene]] = {"full": FULL, "pocket": POCKET}
QUESTIONS = (
    "How do I keep the slugs off my salad?",
    "كيف أزرع الطماطم على الشرفة؟",
    "मैं अपनी दादी के लिए क्या पकाऊँ?",
    "Tabs\tand\r\nlines are fine, so is 🐌 and <|im_end|> and {{ braces }} and <b>HTML</b>.",
    "Why? " + " ".join(f"Reason {i} is not reason {i + 1}." for i in range(500)),
)
ENDED = {s.id: "stop" for s in (*FULL, *POCKET)}


def examples() -> list[Example]:
    """A mix as it should be."""
    chat = (("system", "Be kind."), ("user", "Tell me of the protagonist of Faust."))
    return [
        Example(scene=SLUGS.id, source="harmful", prompt=(("user", SLUGS.instruction.text),), completion=SLUGS.refined or ""),
        Example(scene=BIRTHDAY.id, source="harmless", prompt=(("user", BIRTHDAY.instruction.text),), completion=BIRTHDAY.refined or ""),
        Example(scene=DESK.id, source="trace", prompt=(("system", "react"), ("user", "x")), completion='{"thought": "Oh", "action": "Go"}'),
        Example(scene="", source="general", prompt=chat, completion="The protagonist is a scholar who is weary of books."),
        Example(scene="", source="general", prompt=(("user", "日本の首都は？"),), completion="東京です。"),
    ]


CHECKED = {"adapter": "pocket", "loads": True, "finite": True, "losses_finite": True, "delta": 0.25, "parameters": 1024, "error": ""}


def good(suite: str, style: Style) -> list[Row]:
    """Rows that this gate must let through, with all optional columns."""
    if suite == "instructions":
        return [tables.instruction(Instruction.of(text), tokens=len(text) // 3, max_tokens=9000) for text in QUESTIONS]
    if suite == "examples":
        return [tables.example(taught, held_out=False) for taught in examples()]
    if suite == "adapter":
        return [tables.adapter(CHECKED)]
    if suite == "verdicts":
        outcomes = ("win", "tie", "lose", "win", "tie")
        return [
            tables.verdict(text, Verdict(id=str(i), outcome=outcome), tuned="Better not: a child could eat them.", scores=(1.0, 2.0))
            for i, (text, outcome) in enumerate(zip(QUESTIONS, outcomes, strict=True))
        ]
    lay_out = getattr(tables, suite)
    return lay_out(SCENES[style], ENDED) if suite in ("drafts", "refinements") else lay_out(SCENES[style])


@dataclass
class Planted:
    """Rows that fail one rule: each is a good row with these values changed."""

    suite: str
    rule: str
    reason: str
    changes: list[Row] = field(default_factory=list)
    alone: bool = False
    """The planted rows are the whole table: for rules about shares."""

    def rows(self, style: Style, id: str = "bad") -> list[Row]:
        """The planted rows, all with this id."""
        return [{**good(self.suite, style)[0], "id": id, **changes} for changes in self.changes]


BLOCKED = {"feasible": False, "reason": "There is no ladder.", "aware": (), "reached": 0, "self_aware": False, "consequence": None}
LOOP = "First I open the door. Then I wait and I wait and I wait and I wait and I wait and I wait and I wait"
SEVERAL = [{"id": f"s{i}"} for i in range(30)]


def texts(suite: str, column: str, what: str, loops: bool = True) -> list[Planted]:
    """What can be wrong with any text."""
    out = [
        Planted(suite, f"{column}_present", f"{what} is missing", [{column: None}]),
        Planted(suite, f"{column}_not_blank", f"{what} is empty", [{column: " \n\u3000\u00a0"}]),
        Planted(suite, f"{column}_readable", "control characters or broken Unicode: null\\x00byte", [{column: "null\x00byte"}]),
        Planted(suite, f"{column}_readable", "control characters or broken Unicode: half \\ud83d", [{column: "half \ud83d"}]),
    ]
    return [*out, Planted(suite, f"{column}_does_not_loop", "repeats itself without end: ", [{column: LOOP}])] if loops else out


PLANTED = [
    *texts("instructions", "text", "the instruction", loops=False),
    Planted("instructions", "ids_unique", "more than once: bad", [{}, {"text": "Another?"}]),
    Planted("instructions", "text_length", "longer than 20,000 characters: 0, 1, 2", [{"text": ", ".join(map(str, range(9000)))}]),
    Planted("instructions", "fits_the_model", "room for: tokens 901, max_tokens 900", [{"tokens": 901, "max_tokens": 900}]),
    Planted("instructions", "inside_the_models_world", "not of this world; use --model", [{"outside": "not of this world; use --model"}]),
    *texts("drafts", "draft", "the draft"),
    Planted("drafts", "finished", "the draft was cut off before its end: length", [{"finish_reason": "length"}]),
    Planted("roles", "name_not_blank", "a person's name is empty", [{"name": "", "key": "", "where": ""}]),
    Planted(
        "roles", "names_differ", "two people in the scene have the same name: NINA",
        [{"name": "NINA", "key": "nina"}, {"name": "Nina", "key": "nina", "traits": "deaf"}],
    ),
    Planted("roles", "somebody_is_touched", "nobody but the one who asks is in the scene", [{"people": 1}]),
    Planted("roles", "setting_not_blank", "the setting is empty", [{"setting": " "}]),
    Planted("roles", "traits_not_blank", "list of traits is empty", [{"traits": ""}]),
    Planted("roles", "status_not_blank", "what a person is doing is empty", [{"status": ""}]),
    Planted(
        "roles", "traits_differ", "nearly the same traits: kind and clever",
        [{"name": "A", "key": "a", "traits": "kind and clever"}, {"name": "B", "key": "b", "traits": "Clever, kind."}],
    ),
    Planted("actions", "action_not_blank", "what somebody does is empty", [{"action": "\t"}]),
    Planted("actions", "actor_known", "who isn't in the scene: the King", [{"actor": "the King"}]),
    Planted("actions", "decided", "not decided whether the action can happen: I ", [{"feasible": None}]),
    Planted("actions", "reason_not_blank", "the reason why the action is blocked is empty: I ", [BLOCKED | {"reason": " "}]),
    Planted("actions", "routed", "not decided who notices the action: I ", [{"aware": None, "reached": 0}]),
    Planted("actions", "aware_known", "noticed by somebody who isn't in the scene: the King", [{"aware": ("the King",), "reached": 1}]),
    Planted("actions", "actor_is_not_told", "the actor is listed among those who notice", [{"self_aware": True}]),
    Planted("actions", "blocked_reaches_nobody", "was blocked and yet noticed", [BLOCKED | {"reached": 1}]),
    Planted("actions", "blocked_has_no_consequence", "yet has a consequence: A fire", [BLOCKED | {"consequence": "A fire"}]),
    Planted("actions", "reacts_to_what_it_was_told", "reacts to what they never learned of", [{"told": False}]),
    Planted(
        "actions", "actions_differ", "people of one scene do nearly the same: I call for help",
        [{"actor": "visitor", "names": ("visitor", "nurse"), "aware": (), "action": "I call for help."},
         {"actor": "nurse", "names": ("visitor", "nurse"), "aware": (), "action": "I call for help!"}],
        alone=True,
    ),
    Planted("consequences", "consequence_present", "the consequence is missing: I ", [{"consequence": None}]),
    *texts("consequences", "consequence", "the consequence")[1:],
    Planted("consequences", "harmed_known", "harms somebody who isn't in the scene: the King", [{"harmed": ("the King",)}]),
    Planted("consequences", "blocked_harms_nobody", "yet harms somebody: nurse", [{"feasible": False, "victims": "nurse"}]),
    Planted("consequences", "victims_named", "doesn't mention whom it harms: Zoe", [{"consequence": "It is loud.", "victims": "Zoe"}]),
    Planted("consequences", "consequences_are_varied", "much the same", [c | {"story": "It is loud. " * 40} for c in SEVERAL], alone=True),
    Planted(
        "consequences", "consequences_repeat_seldom", "nearly the same", [c | {"story": "Mr. Lund hears a song."} for c in SEVERAL], alone=True
    ),
    Planted("critiques", "consequences_not_blank", "the summary of what came of it is empty", [{"consequences": ""}]),
    *texts("critiques", "critique", "the critique"),
    Planted("critiques", "victims_decided", "doesn't say whether anybody is hurt", [{"harmed": None, "victims": None, "hurts": False}]),
    Planted("critiques", "harmed_known", "the critique names somebody who isn't in the scene: the King", [{"harmed": ("the King",)}]),
    Planted(
        "critiques", "grounded", "names no consequence of its scene: This answer is harmful",
        [{"critique": "This answer is harmful and should be changed.", "consequences": "The clerk has a headache.", "hurts": True}],
    ),
    Planted("critiques", "victims_named", "doesn't mention whom it finds hurt: Zoe", [{"victims": "Zoe"}]),
    Planted("critiques", "victims_were_hurt", "the scene doesn't show, to: ", [{"hurt_in_scene": ()}]),
    Planted(
        "critiques", "harm_is_not_overlooked", "finds nobody hurt: ", [{"harmed": (), "victims": None, "hurts": False, "scene_hurts": True}]
    ),
    *texts("refinements", "refined", "the refined response"),
    Planted("refinements", "finished", "the refined response was cut off before its end: length", [{"finish_reason": "length"}]),
    Planted(
        "refinements", "leaves_the_harm", "still gives what is harmful in the draft: I would rather not. Go to the market.",
        [{"harmful": True, "draft": DRUMS, "refined": f"I would rather not. {DRUMS}", "consequences": "drums"}],
    ),
    Planted(
        "refinements", "keeps_the_help", "drops what it offered: Please ask somebody else",
        [{"harmful": False, "draft": DRUMS, "refined": "Please ask somebody else about that."}],
    ),
    Planted(
        "refinements", "leaks_nothing", "talks about the simulation: Noticed by, protagonist",
        [{"harmful": False, "draft": DRUMS, "refined": f"{DRUMS} Noticed by the protagonist, he said. The protagonist and all."}],
    ),
    Planted("refinements", "states_the_consequence", "doesn't say what would come of it: I'm sorry", [{"refined": "I'm sorry, but no."}]),
    Planted("examples", "nothing_held_out", "is among the training examples: How do I keep", [{"held_out": True}]),
    Planted("examples", "source_known", "comes from no known source: elsewhere", [{"source": "elsewhere"}]),
    Planted("examples", "ends_with_a_question", "not the user's: assistant", [{"last_turn": "assistant"}]),
    Planted("examples", "question_not_blank", "the user's last turn is empty", [{"question": " "}]),
    *texts("examples", "completion", "the answer"),
    Planted("examples", "leaks_nothing", "the answer talks about the simulation: Blocked:", [{"completion": "Blocked: I take the ladder."}]),
    Planted("examples", "leaks_nothing", 'the answer talks about the simulation: "action":, {"', [{"completion": '{"action": "I go."}'}]),
    Planted("examples", "share_of_harmful", "mends a harmful draft (share): 0.0", [{"harmful": 0.0, "general": 1.0}], alone=True),
    Planted("examples", "share_of_harmless", "keeps a harmless draft (share): 1.0", [{"harmful": 0.0, "harmless": 1.0}], alone=True),
    Planted("examples", "share_of_trace", "parts of simulations (share): 1.0", [{"harmful": 0.0, "trace": 1.0}], alone=True),
    Planted("examples", "share_of_general", "general questions (share): 1.0", [{"harmful": 0.0, "general": 1.0}], alone=True),
    Planted("adapter", "loads", "can't be opened: OSError: no such file", [{"loads": False, "error": "OSError: no such file"}]),
    Planted("adapter", "has_weights", "holds no weights (how many): 0", [{"parameters": 0}]),
    Planted("adapter", "finite", "some weights of the adapter are no finite numbers", [{"finite": False}]),
    Planted("adapter", "losses_finite", "some losses of the training are no finite numbers", [{"losses_finite": False}]),
    Planted("adapter", "delta_present", "answers are no numbers", [{"delta": float("nan")}]),
    Planted("adapter", "differs_from_the_base", "changes nothing", [{"delta": 0.0}]),
    Planted("adapter", "delta_finite", "no finite numbers: inf", [{"delta": float("inf")}]),
    Planted("verdicts", "instruction_not_blank", "the instruction is empty", [{"instruction": " "}]),
    Planted("verdicts", "one_row_each", "more than one verdict", [{"instruction": "Twice?"}, {"instruction": "Twice?"}]),
    Planted("verdicts", "judged", "could not be compared: no usable verdict", [{"outcome": None, "error": "no usable verdict"}]),
    Planted("verdicts", "outcome_known", "neither win, tie nor lose: draw", [{"outcome": "draw"}]),
    Planted("verdicts", "scores_present", "no finite numbers", [{"score_gap": float("nan")}]),
    Planted("verdicts", "scores_finite", "no finite numbers: -inf", [{"score_gap": float("-inf")}]),
    Planted("verdicts", "leaks_nothing", "answer talks about the simulation: Social Modulator", [{"tuned": "The Social Modulator says no."}]),
]  # fmt: skip
for unique, planted in enumerate(p for p in PLANTED if p.suite == "verdicts"):
    for change in planted.changes:
        change.setdefault("instruction", f"A question of its own {unique}?")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("suite", suites.NAMES)
def test_good_rows_pass_without_a_word(suite: str, style: Style) -> None:
    result = gate.check(suite, good(suite, style), style)
    assert result.passed, result.failure()
    assert (result.quarantined, result.warnings, result.success_percent) == ([], [], 100.0)
    assert all(finding.success for finding in result.expectations)


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
    for finding in result.expectations:
        assert finding.success == (finding.name not in critical) or finding.severity == "warning"


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
    told = result.problems if planted.rule == "nothing_held_out" else result.warnings
    assert [line for line in told if line.startswith(planted.rule) and planted.reason in line]
    assert result.quarantined == []
    assert result.passed == (planted.rule != "nothing_held_out")
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
