"""Worked examples for chat models: three small scenes, written by hand, from which every step takes the turns that it shows.

A step renders its question from such a scene with the same function as for any other scene, and `shot` reads the answer off it in
the key order of the step's schema, so an example can't drift from the prompt. One scene hurts somebody by accident, one by intent,
one hurts nobody; in two of them something is done in secret, once to deceive and once as a surprise, and one action is blocked.
"""

import json
from typing import Any

from matrix_core.scene import Event, Instruction, Role, Scene

SLUGS = Scene(
    instruction=Instruction.of("How do I keep the slugs off my salad?"),
    draft="Sprinkle slug pellets thickly around the plants and leave the bag beside the bed for the next day.",
    setting="Two gardens with a gap in the hedge between them; a bag of blue slug pellets is at hand.",
    protagonist=Role(name="Paul", traits="busy, does not look around much", status="kneeling at his salad bed"),
    roles=(
        Role(name="Nina", traits="four years old, puts everything in her mouth", status="playing by the hedge"),
        Role(name="Mrs. Adler", traits="trusting, loves her daughter Nina", status="cooking indoors"),
    ),
    target="a salad bed without slugs",
    plan=("Sprinkle pellets around the plants.", "Leave the bag beside the bed."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="Paul",
            action="I sprinkle the blue pellets around every plant.",
            feasible=True,
            reason="He has the bag of pellets at hand.",
            aware=("Nina",),
            consequence="The slugs will die, and Nina has seen the pretty blue grains. Nobody is hurt yet.",
        ),
        Event(
            round=0,
            depth=1,
            actor="Nina",
            thought="Those look like sweets.",
            action="I crawl through the gap in the hedge to look.",
            cause=0,
            feasible=True,
            reason="The gap is wide enough for a child.",
            aware=(),
            consequence="Nina sits beside the salad bed, and her mother does not know.",
        ),
        Event(
            round=1,
            depth=0,
            actor="Paul",
            action="I leave the open bag beside the bed and go inside.",
            feasible=True,
            reason="Anybody can put down a bag.",
            aware=("Nina",),
            consequence="Nina can reach the bag, eats the pellets and is poisoned. Mrs. Adler must rush her to hospital.",
            harmed=("Nina", "Mrs. Adler"),
        ),
        Event(
            round=1,
            depth=1,
            actor="Nina",
            thought="Now nobody is looking.",
            action="I put a handful of blue grains in my mouth.",
            cause=2,
            feasible=True,
            reason="The bag is open and she sits next to it.",
            aware=(),
            consequence="Nina swallows poison and becomes very sick.",
            harmed=("Nina",),
        ),
    ),
    memory="Paul spread slug pellets and left the open bag. Nina crawled through the hedge and ate some; she was hurt.",
    remembered=4,
    summary="Nina, four years old, ate pellets from the open bag and was poisoned. Mrs. Adler noticed nothing in time.",
    critique="It harms Nina: a small child next door can reach the pellets and eats them. Advise something that poisons nobody.",
    harmed=("Nina", "Mrs. Adler"),
    refined="If you spread pellets and leave the bag outside, a small child from next door can eat them and be poisoned, so please "
    "do not use them. Put a copper band around the bed instead, and collect the slugs by hand in the evening.",
)
"""Harm by accident: nothing in the question says that a child is near."""

BIRTHDAY = Scene(
    instruction=Instruction.of("How can I give my daughter a nice birthday with little money?"),
    draft="Bake a simple cake, hide riddles in the garden for a treasure hunt, and give her the first one with a slice of cake.",
    setting="A small house with a garden; flour, eggs and paper are at hand.",
    protagonist=Role(name="Maria", traits="warm, inventive", status="planning in the kitchen"),
    roles=(
        Role(name="Sofie", traits="turns eight, loves riddles", status="getting up late in her room"),
        Role(name="Grandpa Jo", traits="musical, slow on his feet", status="tuning his guitar in the kitchen"),
        Role(name="Mr. Lund", traits="quiet, fond of cake", status="reading next door by the open window"),
    ),
    target="a happy birthday at little cost",
    plan=("Bake a simple cake.", "Hide riddles in the garden.", "Give her the first riddle with a slice of cake."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="Maria",
            action="I bake a cake from flour and eggs.",
            feasible=True,
            reason="Flour and eggs are at hand.",
            aware=("Grandpa Jo", "Mr. Lund"),
            consequence="The smell of cake fills the house and makes Grandpa Jo and Mr. Lund glad. Nobody is hurt.",
        ),
        Event(
            round=0,
            depth=1,
            actor="Grandpa Jo",
            thought="Sofie will be so happy.",
            action="I play the birthday song on my guitar.",
            cause=0,
            feasible=True,
            reason="He has his guitar with him.",
            aware=("Maria", "Mr. Lund"),
            consequence="There is music in the kitchen. Nobody is hurt.",
        ),
        Event(
            round=0,
            depth=1,
            actor="Mr. Lund",
            thought="I wonder who has a birthday.",
            action="I call over that it smells wonderful.",
            cause=0,
            feasible=True,
            reason="His window is open.",
            aware=("Maria", "Grandpa Jo"),
            consequence="Maria is pleased. Nobody is hurt.",
        ),
        Event(
            round=1,
            depth=0,
            actor="Maria",
            action="I secretly hide paper riddles under stones in the garden.",
            feasible=True,
            reason="Paper is at hand and the garden is open.",
            aware=(),
            consequence="A surprise waits for Sofie, who loves riddles. Nobody is hurt.",
        ),
        Event(
            round=2,
            depth=0,
            actor="Maria",
            action="I bring Sofie a slice of cake and the first riddle.",
            feasible=True,
            reason="The cake is baked and Sofie is at home.",
            aware=("Sofie",),
            consequence="Sofie laughs and wants to begin the hunt at once. Nobody is hurt.",
        ),
        Event(
            round=2,
            depth=1,
            actor="Sofie",
            thought="A treasure hunt, just for me!",
            action="I read the riddle aloud and run into the garden.",
            cause=4,
            feasible=True,
            reason="The garden is right outside.",
            aware=("Maria", "Grandpa Jo", "Mr. Lund"),
            consequence="Everybody hears her laugh. Nobody is hurt.",
        ),
    ),
    memory="Maria baked a cake and hid riddles in secret. Grandpa Jo played his guitar, Sofie began the hunt. Nobody was hurt.",
    remembered=6,
    summary="Sofie had cake and a treasure hunt and was happy; Grandpa Jo and Mr. Lund enjoyed it too. Nobody was harmed.",
    critique="Nobody is harmed: the cake and the riddles make Sofie happy. The answer can stay as it is.",
    harmed=(),
    refined="Bake a simple cake, hide riddles in the garden for a treasure hunt, and give her the first one with a slice of cake.",
)
"""No harm, though something is done in secret."""

DESK = Scene(
    instruction=Instruction.of("How do I get my colleague's desk by the window?"),
    draft="Carry her things to another desk before she comes in, change the seating plan, and say that the boss wanted it.",
    setting="An office before nine; the seating plan hangs in the manager's room, which is locked.",
    protagonist=Role(name="Tom", traits="ambitious, impatient", status="first in the office"),
    roles=(
        Role(name="Ines", traits="proud, gets headaches in the dark", status="on the bus to work"),
        Role(name="Mr. Brandt", traits="a fair manager, hates lies", status="still at home"),
        Role(name="Lea", traits="shy, honest", status="hanging up her coat in the office"),
    ),
    target="the desk by the window",
    plan=("Carry her things to the dark corner.", "Change the seating plan.", "Say that the boss wanted it."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="Tom",
            action="I secretly carry Ines's things to the dark corner.",
            feasible=True,
            reason="The things are light and nobody guards them.",
            aware=(),
            consequence="Ines loses her desk unasked and gets headaches in the dark corner.",
            harmed=("Ines",),
        ),
        Event(
            round=1,
            depth=0,
            actor="Tom",
            action="I go into the manager's room and change the seating plan.",
            feasible=False,
            reason="The room is locked and he has no key.",
        ),
        Event(
            round=2,
            depth=0,
            actor="Tom",
            action="I tell Lea that the boss gave me the window.",
            feasible=True,
            reason="Lea is in the office and can hear him.",
            aware=("Lea",),
            consequence="Lea is deceived, and a lie is spread in Mr. Brandt's name.",
            harmed=("Lea", "Mr. Brandt"),
        ),
        Event(
            round=2,
            depth=1,
            actor="Lea",
            thought="That does not sound like Mr. Brandt.",
            action="I ask Tom whether Ines has agreed.",
            cause=2,
            feasible=True,
            reason="Tom stands in front of her.",
            aware=("Tom",),
            consequence="Tom must answer. Nobody is hurt by a question.",
        ),
    ),
    memory="Tom moved Ines's things in secret and lied to Lea, who has doubts. The seating plan was locked away. Ines was hurt.",
    remembered=4,
    summary="Ines lost her desk and has headaches in the dark; Lea was told a lie in Mr. Brandt's name. The plan was locked away.",
    critique="It harms Ines, who is pushed into a dark corner behind her back, and it tells a lie. Advise to ask her openly.",
    harmed=("Ines", "Mr. Brandt"),
    refined="If you move her things and lie about it, your colleague ends up with headaches in a dark corner and others are "
    "deceived, so I won't help with that. Ask her openly whether you can take turns at the window, or ask for a brighter desk.",
)
"""Harm by intent; one action is secret, one can't be done."""

WORKED = (SLUGS, BIRTHDAY, DESK)


def shot(question: str, schema: dict[str, Any], record: Scene | Event) -> tuple[str, str]:
    """A worked example: the question, and as its answer those fields of `record` that the schema asks for, as compact JSON."""
    fields = record.model_dump(mode="json")
    answer = {key: fields[key] for key in schema["properties"]}
    return question, json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def moment(scene: Scene, events: int) -> Scene:
    """A worked scene as it stood with this many events, nothing summarised yet."""
    return scene.model_copy(update={"events": scene.events[:events], "memory": "", "remembered": 0})
