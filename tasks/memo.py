"""What became of single scenes: a shard that was never played as such takes over what its scenes already have.

Beside each cached result of a step lies a note that names the scenes before and after it, and the rows that it set aside. Its name
says which ids it covers, so that only notes that may help are read. A scene is taken over if it was exactly the same before the
step.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict

from matrix_core.scene import Scene
from tasks import keys
from tasks.scenes_io import load_rows, load_scenes
from tasks.store import RESULTS, MissingError, Reference, Store

ENGINE = "engine"
"""Where the quarantine says that a scene was lost to its engine: it is asked again, nobody takes that over."""

Reused = Mapping[str, Scene | dict[str, Any]]
"""Scene id -> the scene after the step, or its row of the quarantine."""


class Note(BaseModel):
    """One shard before and after one step."""

    model_config = ConfigDict(frozen=True)

    before: Reference
    after: Reference
    set_aside: Reference | None


def write(store: Store, step: str, parts: keys.Parts, scenes: Sequence[Scene], note: Note) -> None:
    """Leave a note for other shards."""
    ids = sorted(scene.id for scene in scenes)
    store.remember(f"{_folder(step, parts)}/{ids[0]}-{ids[-1]}-{note.before.sha256}.json", note.model_dump_json().encode())


def recall(store: Store, step: str, parts: keys.Parts, scenes: Sequence[Scene]) -> Reused:
    """What this step has already made of these scenes in other shards, done in the very same way."""
    wanted = {scene.id: scene for scene in scenes}
    found: dict[str, Scene | dict[str, Any]] = {}
    folder = _folder(step, parts)
    for entry in store.backend.list(f"{RESULTS}{folder}/"):
        name = entry.key.rpartition("/")[2]
        first, last = name.split("-")[:2]
        if not any(first <= id_ <= last for id_ in wanted.keys() - found.keys()):
            continue
        with suppress(MissingError):  # pruned: it is asked again
            note = Note.model_validate_json(store.recall(f"{folder}/{name}"))
            found |= _of(store, note, wanted)
    return found


def _of(store: Store, note: Note, wanted: Mapping[str, Scene]) -> Reused:
    same = {scene.id for scene in load_scenes(store.get(note.before)) if wanted.get(scene.id) == scene}
    rows = load_rows(store.get(note.set_aside)) if note.set_aside else []
    aside = {row["id"]: row for row in rows if row["id"] in same and row["gate"] != ENGINE}
    return {scene.id: scene for scene in load_scenes(store.get(note.after)) if scene.id in same} | aside


def _folder(step: str, parts: keys.Parts) -> str:
    return f"{keys.folder(step, parts)}/scenes"
