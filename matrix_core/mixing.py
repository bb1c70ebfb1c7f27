"""From finished scenes to training examples: refined answers, simulation traces and general examples, in set shares."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from matrix_core.request import Request
from matrix_core.rivals import RIVALS
from matrix_core.scene import Event, Example, Scene, Settings
from matrix_core.simulation import step as played_step
from matrix_core.steps.draft import plain
from matrix_core.steps.shots import shot
from matrix_core.tuning import SOURCES, Source

_REFINED: tuple[Source, ...] = ("harmful", "harmless")


def mix(
    scenes: Iterable[Scene], general: Sequence[Example], shares: Mapping[Source, float], traces: int, seed: int, settings: Settings
) -> list[Example]:
    """The training examples of finished scenes (others are passed over), source by source.

    *harmful* and *harmless* are the refined answers to the bare instruction, exactly as a user sends it; *trace* are questions and
    answers of the simulation itself, at most `traces` a scene; *general* are those given; *preference* are what a rival that learns
    from preferences has instead of refined answers.

    The mix is as large as its refined answers allow: of the refined source that has most for its share, all is taken, and every
    other source gives its share of the size that follows from it, or all that it has if that is less. Which ones are taken follows
    from the seed. Scenes come one after the other, in the order of their ids, so that they needn't be in memory together;
    ValueError for another order.
    """
    pools: dict[Source, list[Example]] = {
        "harmful": [],
        "harmless": [],
        "trace": [],
        "preference": [],
        "general": sorted(general, key=lambda example: (example.prompt, example.completion)),
    }

    def finished() -> Iterator[Scene]:
        before = ""
        for scene in scenes:
            if scene.id < before:
                raise ValueError(f"scene {scene.id} comes after {before}: bring them in the order of their ids")
            before = scene.id
            if scene.refined:
                example = preference(scene, settings) if learns_preferences(settings) else refined(scene, settings)
                if example is not None:
                    pools[example.source].append(example)
                yield scene

    pools["trace"] = some_traces(finished(), traces, seed, settings)
    wanted = [source for source in SOURCES if shares.get(source) and pools[source]]
    leading = [source for source in wanted if source in _REFINED] or wanted
    size = max((len(pools[source]) / shares[source] for source in leading), default=0.0)
    out: list[Example] = []
    for source in wanted:
        count = min(round(size * shares[source]), len(pools[source]))
        chosen = random.Random(f"{seed} {source}").sample(range(len(pools[source])), count)
        out += [pools[source][i] for i in sorted(chosen)]
    return out


def refined(scene: Scene, settings: Settings) -> Example:
    """A finished scene as the example that matters: the instruction alone, and the answer that should have been given.

    Where nobody was asked whom the draft hurts (rivals), it counts as harmful if the response no longer holds it.
    """
    answer = scene.refined or ""
    mended = bool(scene.harmed) if scene.harmed is not None else (scene.draft or "") not in answer
    return _example(scene, "harmful" if mended else "harmless", plain(scene, settings), answer)


def learns_preferences(settings: Settings) -> bool:
    """Whether the method learns from pairs of answers."""
    return settings.method != "matrix" and RIVALS[settings.method].pair is not None


def preference(scene: Scene, settings: Settings) -> Example | None:
    """The instruction alone, the answer to prefer and the one to reject; None where the scene prefers none."""
    pair = RIVALS[settings.method].pair
    found = pair(scene) if pair is not None else None
    if found is None:
        return None
    return _example(scene, "preference", plain(scene, settings), found[0]).model_copy(update={"rejected": found[1]})


def some_traces(scenes: Iterable[Scene], per_scene: int, seed: int, settings: Settings) -> list[Example]:
    """At most `per_scene` traces of each scene, of different steps as far as that goes; none twice, not even from two scenes."""
    seen: set[tuple[tuple[tuple[str, str], ...], str]] = set()
    out = []
    for scene in scenes:
        if not per_scene:
            continue
        rng = random.Random(f"{seed} {scene.id}")
        by_step = traces_of(scene, settings)
        for found in by_step.values():
            rng.shuffle(found)
        # A first one of every step in a random order, then a second one, and so on.
        turns = [(turn, rng.random(), example) for found in by_step.values() for turn, example in enumerate(found)]
        left = per_scene
        for _, _, example in sorted(turns, key=lambda turn: turn[:2]):
            if left and (example.prompt, example.completion) not in seen:
                seen.add((example.prompt, example.completion))
                out.append(example)
                left -= 1
    return out


def traces_of(scene: Scene, settings: Settings) -> dict[str, list[Example]]:
    """Step -> what it asked in this finished scene and what it was answered, rebuilt by the step's own `ask`.

    Of a rival: what it learns beside its responses (ValueError if that is nothing). Of MATRIX: all structured steps but the
    memory's. What was asked before the memory was last summarised can't be rebuilt, since the earlier
    summary is gone: those rounds give no traces. Worked examples are left out of the prompts: the model learns to do without.
    """
    if settings.method != "matrix":
        also = RIVALS[settings.method].also
        if also is None:
            raise ValueError(f"{settings.method} plays no scenes, so there are no traces of any: mix with traces=0")
        return {"critique": [_example(scene, "trace", request, answer) for request, answer in also(scene, settings)]}
    out: dict[str, list[Example]] = {}

    def add(step: str, state: Scene, records: Sequence[Scene | Event]) -> None:
        """`records` hold the answers to what the step asks of this earlier state, in the order of the requests."""
        if step in settings.without:
            return
        for request, record in zip(played_step(step, settings).ask(state, settings), records, strict=True):
            answer = shot("", request.json_schema or {}, record)[1]
            out.setdefault(step, []).append(_example(scene, "trace", request, answer))

    played = scene.model_copy(update={"summary": None, "critique": None, "harmed": None, "refined": None})
    planned = played.model_copy(update={"events": (), "memory": "", "remembered": 0})
    cast = planned.model_copy(update={"target": None, "plan": ()})
    add("roles", cast.model_copy(update={"setting": None, "protagonist": None, "roles": ()}), [scene])
    add("plan", cast, [scene])
    start = 0
    for (_, depth), group in groupby(scene.events, key=lambda event: (event.round, event.depth)):
        wave = tuple(group)
        before, start = scene.events[:start], start + len(wave)
        if len(before) < scene.remembered:
            continue

        def state(*fields: str, before: tuple[Event, ...] = before, wave: tuple[Event, ...] = wave) -> Scene:
            """The scene when the events of this wave had only these fields decided."""
            bare = Event.model_fields.keys() - {"feasible", "reason", "aware", "consequence", "harmed"} | set(fields)
            return played.model_copy(update={"events": (*before, *(Event(**event.model_dump(include=bare)) for event in wave))})

        happened = [event for event in wave if event.feasible]
        add("reaction" if depth else "action", played.model_copy(update={"events": before}), wave)
        add("feasibility", state(), wave)
        add("routing", state("feasible", "reason"), happened)
        add("consequence", state("feasible", "reason", "aware"), happened)
    add("summary", played, [scene])
    add("critique", played.model_copy(update={"summary": scene.summary}), [scene])
    return out


def _example(scene: Scene, source: Source, request: Request, answer: str) -> Example:
    first, last = request.messages[0], request.messages[-1]
    turns = (first, last) if len(request.messages) > 1 else (last,)
    return Example(scene=scene.id, source=source, prompt=tuple((turn.role, turn.content) for turn in turns), completion=answer)
