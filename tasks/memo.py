"""What became of single scenes: a shard that was never played as such takes over what its scenes already have.

Beside each cached result of a step lies a note: the hash of each scene before the step, where the scenes after it lie, and the rows
that it set aside. Its name says which ids it covers, so that only notes that may help are read, and what they name only if it does
help. A scene is taken over if it was exactly the same before the step.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from matrix_core.scene import Scene
from tasks import keys
from tasks.scenes_io import load_rows, load_scenes
from tasks.store import RESULTS, MissingError, Reference, Store

ENGINE = "engine"
"""Where the quarantine says that a scene was lost to its engine: it is asked again, nobody takes that over."""

_NAME = re.compile(r"([0-9a-f]+)-([0-9a-f]+)-[0-9a-f]+\.json")

Hashes = Mapping[str, str]
"""Scene id -> hash of the whole scene."""
Reused = Mapping[str, Scene | dict[str, Any]]
"""Scene id -> the scene after the step, or its row of the quarantine."""


Costs = Mapping[str, tuple[int, int]]
"""Scene id -> (calls, tokens) that it has cost at one step, wherever that was."""


class Spent(NamedTuple):
    """What scenes have cost together. Calls and tokens are counted; seconds were measured, on whatever machine played them."""

    calls: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0

    @classmethod
    def on(cls, each: Costs, seconds: float) -> "Spent":
        """All scenes together."""
        return cls(sum(calls for calls, _ in each.values()), sum(tokens for _, tokens in each.values()), seconds)

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(*(a + b for a, b in zip(self, other, strict=True)))


class Recalled(NamedTuple):
    """Scenes that are taken over, and what they had cost."""

    found: Reused
    each: Costs
    seconds: float


class Note(BaseModel):
    """Scenes before a step, and what it made of them."""

    model_config = ConfigDict(frozen=True)

    before: Hashes
    after: Reference
    set_aside: Reference | None
    each: Costs = {}
    seconds: float = 0.0
    """for a scene, on the mean"""


def hash_of(line: bytes) -> str:
    """Of a scene, given as its JSON line, as notes name it: half a SHA-256, so that nobody takes it for an object's."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()[:32]


def write(store: Store, step: str, parts: keys.Parts, shard: Reference, note: Note) -> None:
    """Leave a note for other shards than this one."""
    ids = sorted(note.before)
    store.remember(f"{_folder(step, parts)}/{ids[0]}-{ids[-1]}-{shard.sha256}.json", note.model_dump_json().encode())


def recall(store: Store, step: str, parts: keys.Parts, wanted: Hashes) -> Recalled:
    """What this step has already made of these scenes in other shards, done in the very same way."""
    ids, folder = sorted(wanted), _folder(step, parts)
    found: dict[str, Scene | dict[str, Any]] = {}
    each: dict[str, tuple[int, int]] = {}
    seconds = 0.0
    for entry in store.backend.list(f"{RESULTS}{folder}/"):
        name = entry.key.rpartition("/")[2]
        covers = _NAME.fullmatch(name)
        if not covers:  # another shard's note, half written
            continue
        next_id = bisect_left(ids, covers[1])
        if next_id == len(ids) or ids[next_id] > covers[2]:
            continue
        with suppress(MissingError, ValidationError):  # pruned, or written by another version: it is asked again
            note = Note.model_validate_json(store.backend.read(entry.key))
            same = {id_ for id_, before in note.before.items() if wanted.get(id_) == before}
            if not same <= found.keys():
                store.recall(f"{folder}/{name}")  # whether all is there that it names: only asked of what may help
                taken = _of(store, note, same)
                new = taken.keys() - found.keys()
                each |= {id_: note.each[id_] for id_ in new if id_ in note.each}
                seconds += note.seconds * len(new)
                found |= taken
    return Recalled(found, each, seconds)


def _of(store: Store, note: Note, same: set[str]) -> dict[str, Scene | dict[str, Any]]:
    rows = load_rows(store.get(note.set_aside)) if note.set_aside else []
    aside = {row["id"]: row for row in rows if row["id"] in same and row["gate"] != ENGINE}
    return {scene.id: scene for scene in load_scenes(store.get(note.after)) if scene.id in same} | aside


def _folder(step: str, parts: keys.Parts) -> str:
    return f"{keys.folder(step, parts)}/scenes"
