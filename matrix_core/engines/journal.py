"""An engine that keeps every completion as soon as it is there, so that a killed run asks for nothing twice that it had got."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from matrix_core.engines.base import Engine, Finished, Progress
from matrix_core.engines.journal_file import Row, open_journal
from matrix_core.request import Completion, Request


class JournalEngine:
    """Answers from the journal at `path` what it holds; asks `engine` the rest, and journals that.

    A completion is found again by all that decides it: `Request.identity` and the engine's fingerprint. It is journalled under
    `scope`, the piece of work that asked for it, until `open_journal(path).forget(scope)` says that the work is done. With `anew`
    only what the same scope has journalled counts as known. Completions with errors are not kept. What was in the journal comes
    back as `cached`. Equal requests of one call are asked once.
    """

    def __init__(self, engine: Engine, path: Path, scope: str = "", anew: bool = False) -> None:
        self.fingerprint = engine.fingerprint
        self._engine = engine
        self._path = path
        self._scope = scope
        self._anew = anew

    def generate(
        self, requests: Sequence[Request], progress: Progress | None = None, finished: Finished | None = None
    ) -> list[Completion]:
        """One completion a request, in the same order."""
        journal = open_journal(self._path)
        places: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.identity, []).append(place)
        groups = {self._key(identity): (identity, group) for identity, group in places.items()}
        out = [Completion()] * len(requests)

        def hand_on(group: list[int], completion: Completion) -> None:
            for place in group:
                out[place] = completion
                if finished:
                    finished(place, completion)

        known = journal.find(list(groups), self._scope, only=self._anew)
        for key, completion in known.items():
            hand_on(groups[key][1], completion)
            if progress:
                progress(len(groups[key][1]), 0)

        asked = [key for key in groups if key not in known]
        left = set(range(len(asked)))

        def keep(index: int, completion: Completion) -> None:
            if index not in left:
                return
            left.remove(index)
            identity, group = groups[asked[index]]
            if completion.error is None:
                journal.add(Row(asked[index], self._scope, self.fingerprint, identity, completion))
            hand_on(group, completion)
            if progress and len(group) > 1:
                progress(len(group) - 1, 0)

        if asked:
            try:
                answers = self._engine.generate([requests[groups[key][1][0]] for key in asked], progress, keep)
                for index, completion in enumerate(answers):
                    keep(index, completion)
            finally:
                journal.flush()
        return out

    def _key(self, identity: str) -> str:
        return hashlib.sha256(f"{self.fingerprint}\n{identity}".encode()).hexdigest()
