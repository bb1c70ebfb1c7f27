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
    draft="Sprinkle slug pellets around the salad and leave the bag of pellets beside it.",
    setting="a garden with a bag of slug pellets and a gap in the hedge",
    protagonist=Role(name="the gardener", traits="proud of the salad", status="looking for slugs"),
    roles=(
        Role(name="the neighbour's child", traits="puts everything in the mouth", status="playing behind the hedge"),
        Role(name="the child's mother", traits="trusts everybody", status="cooking dinner indoors"),
        Role(name="the dog owner", traits="likes to talk", status="out in the fields"),
    ),
    target="to keep the slugs off the salad",
    plan=("Sprinkle the pellets around the salad.", "Leave the bag of pellets beside the salad."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="the gardener",
            action="I sprinkle the pellets around the salad.",
            feasible=True,
            reason="There is a bag of slug pellets, so it is feasible.",
            aware=("the neighbour's child",),
            consequence="Nobody is hurt: the child only looks at the pellets.",
        ),
        Event(
            round=0,
            depth=1,
            actor="the neighbour's child",
            thought="The pellets look like sweets.",
            action="I crawl through the hedge to see the pellets.",
            cause=0,
            feasible=True,
            reason="There is a gap in the hedge, so it is feasible.",
            aware=(),
            consequence="Nobody is hurt: the child sits beside the salad.",
        ),
        Event(
            round=1,
            depth=0,
            actor="the gardener",
            action="I leave the bag of pellets beside the salad.",
            feasible=True,
            reason="A bag can be left there, so it is feasible.",
            aware=("the neighbour's child",),
            consequence="The neighbour's child is hurt: she eats pellets from the bag and is poisoned.",
            harmed=("the neighbour's child",),
        ),
        Event(
            round=1,
            depth=1,
            actor="the neighbour's child",
            thought="Now I can try them.",
            action="I eat a handful of pellets from the bag.",
            cause=2,
            feasible=True,
            reason="The bag was left beside the salad, so it is feasible.",
            aware=(),
            consequence="The neighbour's child is hurt: she falls ill from the pellets.",
            harmed=("the neighbour's child",),
        ),
    ),
    memory="The gardener sprinkled pellets and left the bag. The neighbour's child came and ate pellets and was hurt.",
    remembered=4,
    summary="The neighbour's child is hurt: she ate pellets from the bag and was poisoned.",
    critique="The neighbour's child is hurt: she was poisoned by the pellets, so a copper band would be better.",
    harmed=("the neighbour's child",),
    refined="If you leave pellets beside the salad, the neighbour's child can eat them and be poisoned, so please do not use them. "
    "Put a copper band around the salad instead.",
)
"""Harm by accident: nothing in the question says that a child is near."""

BIRTHDAY = Scene(
    instruction=Instruction.of("How can I give my daughter a nice birthday?"),
    draft="Bake a cake, hide riddles in the garden, and give her the cake with the first riddle.",
    setting="a house with flour and eggs and a lot of paper",
    protagonist=Role(name="the mother", traits="full of ideas", status="planning the birthday"),
    roles=(
        Role(name="the daughter", traits="loves riddles", status="still asleep"),
        Role(name="the grandfather", traits="plays the guitar", status="drinking coffee"),
        Role(name="the neighbour", traits="fond of cake", status="reading at the open window"),
    ),
    target="to give the daughter a nice birthday",
    plan=("Bake a cake.", "Hide riddles in the garden.", "Give the daughter the cake and the first riddle."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="the mother",
            action="I bake a cake with flour and eggs.",
            feasible=True,
            reason="There are flour and eggs, so it is feasible.",
            aware=("the grandfather", "the neighbour"),
            consequence="Nobody is hurt: the cake smells good and pleases the grandfather and the neighbour.",
        ),
        Event(
            round=0,
            depth=1,
            actor="the grandfather",
            thought="The cake will make her happy.",
            action="I play a birthday song on my guitar.",
            cause=0,
            feasible=True,
            reason="The grandfather has a guitar, so it is feasible.",
            aware=("the mother", "the neighbour"),
            consequence="Nobody is hurt: the mother hears the birthday song and smiles.",
        ),
        Event(
            round=0,
            depth=1,
            actor="the neighbour",
            thought="I would like some of that cake.",
            action="I call over that the cake smells wonderful.",
            cause=0,
            feasible=True,
            reason="The window is open, so it is feasible.",
            aware=("the mother", "the grandfather"),
            consequence="Nobody is hurt: the mother is pleased about the cake.",
        ),
        Event(
            round=1,
            depth=0,
            actor="the mother",
            action="I secretly hide riddles in the garden.",
            feasible=True,
            reason="There is paper for riddles, so it is feasible.",
            aware=(),
            consequence="Nobody is hurt: the riddles wait for the daughter, who loves riddles.",
        ),
        Event(
            round=2,
            depth=0,
            actor="the mother",
            action="I give my daughter the cake and the first riddle.",
            feasible=True,
            reason="The cake is baked, so it is feasible.",
            aware=("the daughter",),
            consequence="Nobody is hurt: the daughter likes the cake and the riddle.",
        ),
        Event(
            round=2,
            depth=1,
            actor="the daughter",
            thought="A riddle, just for me!",
            action="I read the riddle aloud and run into the garden.",
            cause=4,
            feasible=True,
            reason="The garden is right outside, so it is feasible.",
            aware=("the mother", "the grandfather", "the neighbour"),
            consequence="Nobody is hurt: the daughter laughs in the garden.",
        ),
    ),
    memory="The mother baked a cake and secretly hid riddles. The daughter got both and ran into the garden. Nobody was hurt.",
    remembered=6,
    summary="Nobody is hurt: the daughter got a cake and riddles and was happy.",
    critique="Nobody is hurt: the daughter got a cake and was happy, so the answer can stay as it is.",
    harmed=(),
    refined="Bake a cake, hide riddles in the garden, and give her the cake with the first riddle.",
)
"""No harm, though something is done in secret."""

THANKS = Scene(
    instruction=Instruction.of("How do I thank the postman?"),
    draft="Write a card and give it to him with a box of tea.",
    setting="a doorway with paper and a box of tea",
    protagonist=Role(name="the old lady", traits="grateful for her letters", status="looking out for the postman"),
    roles=(
        Role(name="the postman", traits="always cold in winter", status="coming up the street"),
        Role(name="the lodger", traits="works at night", status="asleep upstairs"),
        Role(name="the boy next door", traits="collects stamps", status="shovelling snow"),
    ),
    target="to thank the postman",
    plan=("Write a card.", "Give the postman the card and the tea."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="the old lady",
            action="I write a card.",
            feasible=True,
            reason="There is paper, so it is feasible.",
            aware=(),
            consequence="Nobody is hurt: the card lies on the table.",
        ),
        Event(
            round=1,
            depth=0,
            actor="the old lady",
            action="I give the postman the card and the tea.",
            feasible=True,
            reason="The postman is at the door, so it is feasible.",
            aware=("the postman", "the boy next door"),
            consequence="Nobody is hurt: the postman can warm himself with tea.",
        ),
        Event(
            round=1,
            depth=1,
            actor="the postman",
            thought="The tea will keep me warm.",
            action="I thank the old lady for the tea.",
            cause=1,
            feasible=True,
            reason="The old lady is at the door, so it is feasible.",
            aware=("the old lady",),
            consequence="Nobody is hurt: the old lady is pleased.",
        ),
        Event(
            round=1,
            depth=1,
            actor="the boy next door",
            thought="Maybe he has a stamp for me.",
            action="I wave to the postman.",
            cause=1,
            feasible=True,
            reason="The boy is outside, so it is feasible.",
            aware=("the postman",),
            consequence="Nobody is hurt: the postman waves back.",
        ),
    ),
    memory="The old lady gave the postman a card and tea. The postman thanked her, and the boy waved. Nobody was hurt.",
    remembered=4,
    summary="Nobody is hurt: the postman got a card and tea and was glad.",
    critique="Nobody is hurt: the postman got tea and was glad, so the answer can stay as it is.",
    harmed=(),
    refined="Write a card and give it to him with a box of tea.",
)
"""No harm, and nothing else of note."""

DESK = Scene(
    instruction=Instruction.of("How do I get my colleague's desk by the window?"),
    draft="Carry her things to the dark corner, take the seating plan out of the cupboard, and say that the manager wanted it.",
    setting="an office with a dark corner and a locked cupboard",
    protagonist=Role(name="the clerk", traits="very ambitious", status="early in the office"),
    roles=(
        Role(name="the colleague", traits="gets headaches in the dark", status="riding the bus"),
        Role(name="the manager", traits="hates lies", status="still at home"),
        Role(name="the trainee", traits="shy but honest", status="hanging up a coat"),
    ),
    target="to get the desk by the window",
    plan=("Carry her things to the dark corner.", "Take the seating plan out of the cupboard.", "Say that the manager wanted it."),
    events=(
        Event(
            round=0,
            depth=0,
            actor="the clerk",
            action="I secretly carry her things to the dark corner.",
            feasible=True,
            reason="Her things are light, so it is feasible.",
            aware=(),
            consequence="The colleague is hurt: she gets headaches in the dark corner.",
            harmed=("the colleague",),
        ),
        Event(
            round=1,
            depth=0,
            actor="the clerk",
            action="I take the seating plan out of the cupboard.",
            feasible=False,
            reason="The cupboard is locked, so it is not feasible.",
        ),
        Event(
            round=2,
            depth=0,
            actor="the clerk",
            action="I tell the trainee that the manager wanted it.",
            feasible=True,
            reason="The trainee is in the office, so it is feasible.",
            aware=("the trainee",),
            consequence="The trainee is hurt: she is told a lie about the manager.",
            harmed=("the trainee",),
        ),
        Event(
            round=2,
            depth=1,
            actor="the trainee",
            thought="The manager would not want that.",
            action="I ask the clerk what the colleague says.",
            cause=2,
            feasible=True,
            reason="The clerk is in the office, so it is feasible.",
            aware=("the clerk",),
            consequence="Nobody is hurt: the clerk has to answer.",
        ),
    ),
    memory="The clerk secretly moved her things, which hurt the colleague, and told a lie. The cupboard was locked.",
    remembered=4,
    summary="The colleague is hurt: she got headaches in the dark corner, and the trainee was told a lie.",
    critique="The colleague is hurt: she got headaches in the dark corner, so taking turns would be better.",
    harmed=("the colleague", "the trainee"),
    refined="If you carry her things to the dark corner, your colleague gets headaches there, so please do not do that. "
    "Ask her to take turns at the window instead.",
)
"""Harm by intent; one action is secret, one can't be done."""

WORKED = (BIRTHDAY, DESK, THANKS, SLUGS)
"""Harmless and harmful by turns, since small models lean towards whatever came last."""


def shot(question: str, schema: dict[str, Any], record: Scene | Event) -> tuple[str, str]:
    """A worked example: the question, and as its answer those fields of `record` that the schema asks for, as compact JSON."""
    fields = record.model_dump(mode="json")
    answer = {key: fields[key] for key in schema["properties"]}
    return question, json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def moment(scene: Scene, events: int) -> Scene:
    """A worked scene as it stood with this many events, nothing summarised yet."""
    return scene.model_copy(update={"events": scene.events[:events], "memory": "", "remembered": 0})
