"""A scene as a story: everything that happened is told, and nothing in a scene can do more than be shown."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from matrix_core.scene import Event, Instruction, Role, Scene
from matrix_core.story import inert, knowledge, story

# HTML is on here: what stays text even so is inert everywhere.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def scene(**changes) -> Scene:
    """Tom takes a rope that is not there, then burns leaves: Ann hears of it, Bo does not and is hurt."""
    happened = Event(
        round=1,
        depth=0,
        actor="Tom",
        action="I burn the leaves.",
        feasible=True,
        reason="Matches are there.",
        aware=("Ann",),
        consequence="Smoke fills the ward.",
        harmed=("Ann", "Bo"),
    )
    scolded = Event(
        round=1,
        depth=1,
        actor="Ann",
        thought="How careless.",
        action="I shout.",
        cause=1,
        feasible=True,
        aware=("Tom",),
        consequence="Tom looks up.",
    )
    fields = {
        "instruction": Instruction.of("How do I burn leaves?"),
        "draft": "Just burn them.",
        "setting": "A ward without a rope.",
        "protagonist": Role(name="Tom", traits="hasty", status="outside"),
        "roles": (Role(name="Ann", traits="strict", status="at the door"), Role(name="Bo", traits="asthmatic", status="in bed")),
        "target": "a clean yard",
        "plan": ("Take the rope.", "Burn the leaves."),
        "events": (
            Event(round=0, depth=0, actor="Tom", action="I take the rope.", feasible=False, reason="There is no rope."),
            happened,
            scolded,
        ),
        "summary": "Smoke hurt Bo.",
        "critique": "It hurts Bo.",
        "harmed": ("Bo",),
        "refined": "Please compost them.",
    }
    return Scene(**(fields | changes))


def test_the_story_tells_all_that_happened_in_order():
    told = story(scene())
    places = [
        told.index(text)
        for text in (
            "# How do I burn leaves?",
            "A ward without a rope.",
            "a clean yard",
            "> Just burn them.",
            "**Ann**, at the door: strict",
            "## Step 1: Take the rope.",
            "**Blocked.** There is no rope.",
            "## Step 2: Burn the leaves.",
            "“I burn the leaves.”",
            "Noticed by Ann; not by Bo.",
            "Smoke fills the ward. **Harmed: Ann and Bo.**",
            "Bo did not even notice.",
            "  - **Ann** thinks: *How careless.* Then: “I shout.”",
            "Tom looks up. **Nobody is harmed.**",
            "It hurts Bo. **Harmed: Bo.**",
            "| Just burn them. | Please compost them. |",
            "**Bo** did nothing, saw and heard nothing; missed 2; **was hurt without ever knowing**.",
        )
    ]
    assert places == sorted(places)


def test_reactions_stand_under_what_set_them_off():
    first = scene().events[1]
    reactions = [
        Event(round=1, depth=d, actor=who, action=f"{who} acts.", cause=c)
        for d, who, c in ((1, "Ann", 0), (1, "Bo", 0), (2, "Tom", 1))
    ]
    told = story(scene(events=(first, *reactions)))
    assert told.index("Ann acts.") < told.index("Tom acts.") < told.index("Bo acts.")
    assert "\n    - **Tom**" in told


def test_a_scene_tells_as_much_as_there_is_of_it():
    bare = Scene(instruction=Instruction.of("How?"))
    assert story(bare) == "# How?\n\n*The scene stops here: it was not finished.*\n"
    stopped = scene(summary=None, critique=None, harmed=None, refined=None)
    assert "Smoke fills the ward." in story(stopped)
    assert "Before" not in story(stopped)


def test_who_knew_what_follows_from_routing_alone():
    tom, ann, bo = knowledge(scene())
    blocked, burnt, shouted = scene().events
    assert (tom.name, tom.knew, tom.missed) == ("Tom", (blocked, burnt, shouted), ())
    assert (ann.knew, ann.missed, ann.harmed_unaware) == ((burnt, shouted), (), False)
    assert (bo.knew, bo.missed, bo.harmed_unaware) == ((), (burnt, shouted), True)


def shown(markdown: str) -> str | None:
    """The text of a Markdown document that is one paragraph of plain text; None if it is anything else."""
    tokens = PARSER.parse(markdown)
    if [token.type for token in tokens] != ["paragraph_open", "inline", "paragraph_close"]:
        return None
    parts = tokens[1].children or []
    return "".join(part.content for part in parts) if {part.type for part in parts} <= {"text", "text_special"} else None


HOSTILE = [
    "# not a heading",
    "- not a list",
    "7) nor this",
    "1. nor this",
    "=====",
    "---",
    "> no quote",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![i](http://a/b.png)",
    "<http://example.com>",
    "[a]: http://example.com",
    "a | b\n--- | ---",
    "**bold** _it_ ~~gone~~ `code`",
    "&lt;b&gt; &amp; \\* \\",
    "```\nfence\n```",
    "    four spaces",
    "line one  \nline two",
    "{{ 7 * 7 }} {% raw %} ${x}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text):
    assert shown(inert(text)) == " ".join(text.split())


MARKS = st.sampled_from("#*_-+=>|`~[]()<>!&\\.1a \n\t:{}$\"'")
TEXT = st.text(alphabet=st.one_of(MARKS, st.characters(exclude_categories=("Cs",))))
"""Any text that an instruction may be: half characters are refused before."""


@given(st.text(alphabet=st.one_of(MARKS, st.characters(exclude_categories=("C", "Z")))))
def test_any_text_is_shown_as_it_is(text):
    line = " ".join(text.split())
    assert shown(inert(text) or "empty") == (line or "empty")


def test_what_steers_a_terminal_or_turns_text_around_is_replaced():
    assert inert("a\x1b[31mred\x07\u202eevil\ud800\x00") == "a\ufffd\\[31mred\ufffd\ufffdevil\ufffd\ufffd"


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(TEXT, TEXT, TEXT)
def test_no_text_changes_the_shape_of_a_story(one, two, name):
    plain = scene()
    assume(all(inert(text) for text in (one, two, name)) and name not in plain.names)

    def renamed(people):
        return tuple(name if person == "Ann" else person for person in people)

    events = []
    for event in plain.events:
        told = {"action": one, "thought": two if event.thought else "", "reason": one, "actor": renamed([event.actor])[0]}
        aware = None if event.aware is None else renamed(event.aware)
        events.append(event.model_copy(update={**told, "aware": aware, "harmed": renamed(event.harmed), "consequence": two}))
    ann = plain.roles[0].model_copy(update={"name": name, "traits": one, "status": two})
    texts = {"draft": two, "setting": one, "summary": two, "critique": one, "refined": two, "target": one, "plan": (one, two)}
    hostile = scene(instruction=Instruction.of(one), roles=(ann, plain.roles[1]), events=tuple(events), **texts)

    def shape(markdown: str) -> list[tuple[str, str]]:
        tokens = PARSER.parse(markdown)
        inline = [
            (part.type, part.tag) for token in tokens for part in token.children or [] if part.type not in ("text", "text_special")
        ]
        return [(token.type, token.tag) for token in tokens] + inline

    assert shape(story(hostile)) == shape(story(plain))
