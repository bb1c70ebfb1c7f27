"""The scenes of a shard between two waves, with what is worked out of each once for as long as it stays as it is.

In many waves only a part of a shard's scenes takes part.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from matrix_core import simulation
from matrix_core.scene import Scene, Settings
from tasks import memo
from tasks.scenes_io import PLAYING, load_scenes, pack_lines, to_lines
from tasks.store import Reference, Store


class Row(NamedTuple):
    """A scene, its JSON line, that line's hash, and the wave that the scene is due for."""

    scene: Scene
    line: bytes
    hash: str
    due: simulation.Wave | None


_LAST = threading.local()
"""What this thread has stored last, which is what it most likely needs next: neither read nor looked through again."""


def rows_of(scenes: Sequence[Scene], settings: Settings) -> list[Row]:
    """A row for each scene; those that this thread has stored last are taken from there."""
    _, same, last = _last()
    known = {row.scene.id: row for row in last} if same == settings else {}
    return [row if (row := known.get(scene.id)) is not None and row.scene is scene else _row(scene, settings) for scene in scenes]


def put(store: Store, rows: list[Row], settings: Settings) -> Reference:
    """Store the scenes."""
    reference = store.put(pack_lines(b"".join(row.line for row in rows)), PLAYING)
    _LAST.stored = reference, settings, rows
    return reference


def get(store: Store, reference: Reference, settings: Settings) -> list[Row]:
    """The rows of stored scenes."""
    stored, same, rows = _last()
    return rows if (stored, same) == (reference, settings) else rows_of(load_scenes(store.get(reference)), settings)


def _last() -> tuple[Reference | None, Settings | None, list[Row]]:
    last: tuple[Reference | None, Settings | None, list[Row]] = getattr(_LAST, "stored", (None, None, []))
    return last


def _row(scene: Scene, settings: Settings) -> Row:
    line = to_lines([scene])
    return Row(scene, line, memo.hash_of(line), simulation.next_step(scene, settings))
