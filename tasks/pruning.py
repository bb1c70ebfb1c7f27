"""What of a store may go, and its going: runs that nobody wants to keep, and all that only they refer to.

Files of runs are searched for hashes, whatever their form: a hash that stands there keeps the object of that hash, and the cached
result with that hash in its name. Kept results keep the objects that they name, and kept trees their files.

**Beside a running flow.** What was written or used within the last hour stays (`FRESH`; the store renews what is used again), and a
run without a summary counts as running for a day after its last file. A result that is younger than the oldest run that is kept
stays too. What goes is looked at twice, the second time just before. Should a flow still be handed something in the very moment in
which it goes, that flow fails, naming it, and the next start makes it anew.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks.backend import Entry, MissingError, is_run_id
from tasks.store import FRESH, RESULTS, TREE, Store

UNFINISHED = timedelta(days=1)
"""So long after its last file a run without a summary counts as one that still goes on."""

_HASH = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_OBJECT = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64})(\.[a-z0-9.]+)?")
_LEFT_OVER = re.compile(r"objects/[0-9a-f]{2}/\.[0-9a-f]{32}\.part")
_AT_ONCE = 16


@dataclass(frozen=True)
class Plan:
    """What would go, and which runs stay."""

    runs: tuple[str, ...]
    kept: tuple[str, ...]
    files: tuple[Entry, ...]
    """All files of the runs that go."""
    cached: tuple[Entry, ...]
    objects: tuple[Entry, ...]

    @property
    def all(self) -> tuple[Entry, ...]:
        """Everything that would go. Files of runs first: cut off in between, what is left is referred to by nobody."""
        return self.files + self.cached + self.objects


def plan(store: Store, keep_runs: int, at: datetime | None = None) -> Plan:
    """What would go, now or `at` another time, if the `keep_runs` runs that were written to last stay. Only reads."""
    now = at or datetime.now(UTC)
    young = now - FRESH
    runs: dict[str, list[Entry]] = defaultdict(list)
    for entry in store.backend.list("runs/"):
        name = entry.key.split("/")[1]
        if is_run_id(name):
            runs[name].append(entry)
    kept = _kept_runs(runs, keep_runs, now)
    objects = list(store.backend.list("objects/"))
    # After the objects: whoever writes puts objects first, then what names them.
    cached = list(store.backend.list(RESULTS))

    reader = _Reader(store, objects)
    reader.mark_from(entry for name in kept for entry in runs[name] if entry.key.endswith(".json"))
    reader.mark_trees(entry for entry in objects if entry.modified >= young)
    since = min([now, *(entry.modified for name in kept for entry in runs[name])]) - FRESH
    stale = reader.mark_cached(cached, since)  # What is young is among those that stay: `since` is not later than `young`.
    return Plan(
        runs=tuple(sorted(runs.keys() - kept)),
        kept=tuple(sorted(kept)),
        files=tuple(entry for name in sorted(runs.keys() - kept) for entry in runs[name]),
        cached=tuple(stale),
        objects=tuple(entry for entry in objects if entry.modified < young and reader.unmarked(entry)),
    )


def carry_out(store: Store, planned: Plan, keep_runs: int, at: datetime | None = None) -> Plan:
    """Delete what was planned and still may go. Returns what went."""
    now = plan(store, keep_runs, at)
    was = {entry.key for entry in planned.all}
    gone = Plan(
        runs=tuple(name for name in now.runs if name in planned.runs),
        kept=now.kept,
        files=tuple(entry for entry in now.files if entry.key in was),
        cached=tuple(entry for entry in now.cached if entry.key in was),
        objects=tuple(entry for entry in now.objects if entry.key in was),
    )
    store.backend.delete(entry.key for entry in gone.all)
    return gone


def _kept_runs(runs: dict[str, list[Entry]], keep_runs: int, now: datetime) -> set[str]:
    last = {name: max(entry.modified for entry in files) for name, files in runs.items()}
    kept = set(sorted(runs, key=lambda name: (last[name], name), reverse=True)[:keep_runs])
    for name, files in runs.items():
        finished = any(entry.key == f"runs/{name}/summary.json" for entry in files)
        if last[name] >= now - (FRESH if finished else UNFINISHED):
            kept.add(name)
    return kept


class _Reader:
    """Follows hashes from what is kept to all that must be kept with it."""

    def __init__(self, store: Store, objects: Iterable[Entry]) -> None:
        self._store = store
        self._marked: set[str] = set()
        self._trees = {match[1]: entry for entry in objects if (match := _OBJECT.fullmatch(entry.key)) and match[2] == TREE}

    def unmarked(self, entry: Entry) -> bool:
        """Whether nothing that is kept names this object; what a killed writer left behind is named by nobody."""
        match = _OBJECT.fullmatch(entry.key)
        return match[1] not in self._marked if match else bool(_LEFT_OVER.fullmatch(entry.key))

    def mark_from(self, entries: Iterable[Entry]) -> None:
        """Keep what these files name."""
        for found in self._hashes(list(entries)):
            self._mark(found)

    def mark_trees(self, entries: Iterable[Entry]) -> None:
        """Keep the files of those among these objects that are trees."""
        self._mark({match[1] for entry in entries if (match := _OBJECT.fullmatch(entry.key)) and match[2] == TREE})

    def mark_cached(self, entries: list[Entry], since: datetime) -> list[Entry]:
        """Keep what the cached results name that stay; returns those that don't.

        A result stays if a kept file has its key, if it was written or used since then, or if it names something that is kept.
        """
        names = dict(zip([entry.key for entry in entries], self._hashes(entries), strict=True))
        waiting = entries
        while True:
            stay = [entry for entry in waiting if entry.modified >= since or self._wanted(entry, names[entry.key])]
            if not stay:
                return waiting
            for entry in stay:
                self._mark(names[entry.key])
            gone = {entry.key for entry in stay}
            waiting = [entry for entry in waiting if entry.key not in gone]

    def _wanted(self, entry: Entry, names: set[str]) -> bool:
        key = {found.decode() for found in _HASH.findall(entry.key.encode())}
        return bool(self._marked & (key | names))

    def _mark(self, hashes: set[str]) -> None:
        new = hashes - self._marked
        while new:
            self._marked |= new
            inside = self._hashes([self._trees[found] for found in new if found in self._trees])
            new = set().union(*inside) - self._marked

    def _hashes(self, entries: list[Entry]) -> list[set[str]]:
        """The hashes that stand in each of these files."""

        def read(entry: Entry) -> set[str]:
            try:
                return {found.decode() for found in _HASH.findall(self._store.backend.read(entry.key))}
            except MissingError:
                # Deleted or renamed since it was listed.
                return set()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(read, entries))
