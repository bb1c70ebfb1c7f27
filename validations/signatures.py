"""The failure signatures of a run: what would show that the simulation or the training went wrong although every row passed.

Roles that are all alike, or whose traits decide nothing; consequences that are all alike; an answerer that has learnt the
simulation instead of the lesson; unsteady training; judges at odds. One number each, None where nothing can be measured.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy import stats

from matrix_core.scene import Scene
from validations import text
from validations.rules import LIMITS, Style

SAMPLE = 400
"""Scenes or answers that a number looks at, at most."""

Answers = Sequence[tuple[str, str]]
"""(what was asked, the tuned model's answer)"""


def measure(
    scenes: Iterable[Scene],
    answers: Answers,
    held_out_losses: Mapping[str, Sequence[tuple[int, float]]],
    evaluation: Mapping[str, Mapping[str, Any]],
    style: Style,
) -> dict[str, float | None]:
    """The signatures, by name.

    `people_alike`: share of what people do in a scene that nearly repeats what another one does there. `traits_tell`: Spearman's
    correlation, over pairs of people who react to the same event, between how alike their traits are and how alike they react;
    about 0: traits decide nothing. `distinct_2`, `stories_repeat`: variety of what came of the scenes, and the share of scenes that
    nearly repeats another one. `leaks`: share of the tuned model's plain answers that talk of the simulation. `ability_lost`: the
    largest fall of a general-ability figure, as a share. `loss_rise`: of all training sources, the largest rise of the held-out
    loss from its best epoch to the last, as a share. `judges_differ`: share of verdicts that changed with the order of the answers.
    What "nearly" is depends on the `style` (`rules.LIMITS`).
    """
    limits = LIMITS[style]
    some = list(itertools.islice(scenes, SAMPLE))
    stories = [" ".join(event.consequence for event in scene.events if event.consequence) for scene in some]
    told = [story for story in stories if story]
    return {
        "people_alike": _people_alike(some, limits.alike),
        "traits_tell": _traits_tell(some),
        "distinct_2": text.distinct(told, 2) if told else None,
        "stories_repeat": text.near_duplicates(told, limits.duplicate) if told else None,
        "leaks": _share([bool(text.leaks(said, asked)) for asked, said in answers[:SAMPLE]]),
        "ability_lost": _ability_lost(evaluation),
        "loss_rise": _loss_rise(held_out_losses),
        "judges_differ": _judges_differ(evaluation),
    }


def _people_alike(scenes: Sequence[Scene], alike: float) -> float | None:
    repeated = []
    for scene in scenes:
        for event in scene.events:
            others = {other.action for other in scene.events if other.actor != event.actor}
            if others:
                repeated.append(any(text.similarity(event.action, other) >= alike for other in others))
    return _share(repeated)


def _traits_tell(scenes: Sequence[Scene]) -> float | None:
    seen = []
    for scene in scenes:
        traits = {role.name: role.traits for role in scene.roles if role.traits}
        reactions = [event for event in scene.events if event.cause is not None and event.actor in traits]
        for one, other in itertools.combinations(reactions, 2):
            if one.cause == other.cause and one.actor != other.actor:
                people = text.similarity(traits[one.actor], traits[other.actor])
                seen.append((people, text.similarity(one.action, other.action)))
    if len({a for a, _ in seen}) < 2 or len({b for _, b in seen}) < 2:
        return None
    return round(float(stats.spearmanr(*zip(*seen, strict=True)).statistic), 4)


def _ability_lost(evaluation: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Of plain questions answered right, or points of the public sets on general ability."""
    falls = []
    for figures in evaluation.values():
        right, grade = figures.get("right"), (figures.get("grades") or {}).get("points")
        falls += [max(0.0, 1 - found["after"] / found["before"]) for found in (right, grade) if found and found["before"]]
    return round(max(falls), 4) if falls else None


def _loss_rise(curves: Mapping[str, Sequence[tuple[int, float]]]) -> float | None:
    rises = []
    for curve in curves.values():
        losses = [loss for epoch, loss in curve if epoch > 0]
        if losses and all(math.isfinite(loss) and loss > 0 for loss in losses):
            rises.append(losses[-1] / min(losses) - 1)
    return round(max(rises), 4) if rises else None


def _judges_differ(evaluation: Mapping[str, Mapping[str, Any]]) -> float | None:
    consistencies = [figures["consistency"] for figures in evaluation.values() if figures.get("consistency") is not None]
    return round(1 - min(consistencies), 4) if consistencies else None


def _share(hits: Sequence[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None
