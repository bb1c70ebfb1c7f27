# ruff: noqa: RUF001 (full-width punctuation is part of the texts)
"""Good rows of many kinds pass every gate without a word: other scripts, long texts, code, the small world's own sentences.

The rows serve `test_gates_planted.py` too, which spoils them one by one.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from matrix_core.judging import Verdict
from matrix_core.scene import Event, Example, Instruction, Role, Scene
from matrix_core.steps.shots import BIRTHDAY, DESK, SLUGS
from validations import gate, suites, tables
from validations.rules import Style

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
    "It brings noise. The clerk, who cannot bear noise or water, gets a headache. The nurse, who cannot bear slime or fumes, is "
    "fine. The baker, who cannot bear dust or water, is fine."
)
LACKS = "The market lacks the rope, the key and the lamp."


def happens(number: int, actor: str, action: str, **more: Any) -> Event:
    """An action that is possible, the protagonist's own unless said otherwise."""
    return Event(
        round=number, actor=actor, action=action, **{"depth": 0, "feasible": True, "reason": "Nothing is in the way.", **more}
    )


def step(number: int, action: str, **more: Any) -> Event:
    """The visitor's own step."""
    return happens(number, "visitor", action, **more)


def reaction(cause: int, actor: str, action: str) -> Event:
    """What somebody does who noticed a step."""
    return happens(cause, actor, action, depth=1, cause=cause, aware=(), consequence="Nothing happens.")


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
        refined=f"{LACKS} The basket is there. It brings joy. Nobody is warned. The clerk is fine. It hurts nobody. Go to the "
        "market. Take the basket. Then bake bread.",
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
        refined=f"{LACKS} There is no lamp, so nothing happens. It hurts nobody. Go to the market. Take the lamp. Then light "
        "a campfire.",
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
            happens(0, "老王", "我把漂白剂倒进池塘。", aware=("小李",), consequence=f"水变浑了。{POND}", harmed=("邻居的孩子",)),
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
        events=(happens(0, "Jörg", "Ich lade die Datei.", aware=("Änne",), consequence="Änne freut sich über die fertige Datei."),),
        summary="Die Datei ist fertig, niemand nimmt Schaden.",
        critique="Niemand nimmt Schaden; die Antwort kann so bleiben.",
        harmed=(),
        refined='Gern, hier sind die zwei Farben als JSON: {"farben": ["rot", "blau"]}',
    ),
]
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
        Example(
            scene=BIRTHDAY.id, source="harmless", prompt=(("user", BIRTHDAY.instruction.text),), completion=BIRTHDAY.refined or ""
        ),
        Example(
            scene=DESK.id,
            source="trace",
            prompt=(("system", "react"), ("user", "x")),
            completion='{"thought": "Oh", "action": "Go"}',
        ),
        Example(scene="", source="general", prompt=chat, completion="The protagonist is a scholar who is weary of books."),
        Example(scene="", source="general", prompt=(("user", "日本の首都は？"),), completion="東京です。"),
        Example(
            scene=SLUGS.id,
            source="preference",
            prompt=(("user", SLUGS.instruction.text),),
            completion=SLUGS.refined or "",
            rejected=SLUGS.draft,
        ),
    ]


CHECKED = {
    "adapter": "pocket",
    "loads": True,
    "finite": True,
    "losses_finite": True,
    "delta": 0.25,
    "parameters": 1024,
    "error": "",
}


SIGNS = {
    "people_alike": 0.1,
    "traits_tell": 0.2,
    "distinct_2": 0.6,
    "stories_repeat": 0.1,
    "leaks": 0.0,
    "ability_lost": 0.0,
    "loss_rise": 0.0,
    "judges_differ": None,
}


def good(suite: str, style: Style) -> list[Row]:
    """Rows that this gate must let through, with all optional columns."""
    if suite == "instructions":
        return [tables.instruction(Instruction.of(text), tokens=len(text) // 3, max_tokens=9000) for text in QUESTIONS]
    if suite == "examples":
        return [tables.example(taught, held_out=False) for taught in examples()]
    if suite == "adapter":
        return [tables.adapter(CHECKED)]
    if suite == "signatures":
        return [{"id": "a run", **SIGNS}]
    if suite == "verdicts":
        outcomes = ("win", "tie", "lose", "win", "tie")
        return [
            tables.verdict(
                text, Verdict(id=str(i), outcome=outcome), tuned="Better not: a child could eat them.", scores=(1.0, 2.0)
            )
            for i, (text, outcome) in enumerate(zip(QUESTIONS, outcomes, strict=True))
        ]
    lay_out = getattr(tables, suite)
    return lay_out(SCENES[style], ENDED) if suite in ("drafts", "refinements") else lay_out(SCENES[style])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("suite", suites.NAMES)
def test_good_rows_pass_without_a_word(suite: str, style: Style) -> None:
    result = gate.check(suite, good(suite, style), style)
    assert result.passed, result.failure()
    assert (result.quarantined, result.warnings, result.success_percent) == ([], [], 100.0)
    assert all(finding.success for finding in result.expectations)
