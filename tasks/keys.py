"""What the result of a task depends on, in named parts: so that a cache key can be explained and not only compared.

A key is `<name>/<digest of the parts>/<hash of what the task was given>`. The parts say how it is done (prompt, model, settings);
they are noted once each in the store, so that a task which finds nothing in the cache can say which of them is new.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from prefect.context import TaskRunContext
from pydantic import BaseModel

from tasks.store import RESULTS, MissingError, Store

Parts = Mapping[str, str]
FIRST = "never done before"
NEW_INPUT = "new input"
REFRESHED = "refreshed: asked for, or scenes were lost to a failing engine"
_NOTE = "parts.json"


def digest(value: object) -> str:
    """64 hex digits of a JSON value: the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def folder(name: str, parts: Parts) -> str:
    """Where in the cache everything lies that was done in this way."""
    return f"{name}/{digest(dict(parts))[:16]}"


def key(name: str, parts: Parts, given: object) -> str:
    """The cache key of a task that is given this (a JSON value)."""
    return f"{folder(name, parts)}/{digest(given)}"


def explain(store: Store, name: str, parts: Parts) -> str:
    """Why a task was not in the cache, and note its parts for the next time.

    The parts that are new are told against the closest of all earlier ways in which the task was done.
    """
    running, here = TaskRunContext.get(), f"{folder(name, parts)}/{_NOTE}"
    if store.backend.entry(f"{RESULTS}{here}"):
        return REFRESHED if running and running.task.refresh_cache else NEW_INPUT
    earlier = _noted(store, name)
    store.remember(here, json.dumps(dict(parts), sort_keys=True).encode())
    if not earlier:
        return FIRST
    closest = min((differences(other, parts) for other in earlier), key=lambda found: (len(found), found))
    return "; ".join(closest)


def fields(model: BaseModel, only: Iterable[str] | None = None) -> dict[str, str]:
    """The fields of a settings object as parts."""
    return {
        name: json.dumps(value)
        for name, value in sorted(model.model_dump(mode="json", include=None if only is None else set(only)).items())
    }


def differences(before: Parts, now: Parts) -> list[str]:
    """The parts that differ, one short text each."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name}: {_short(before.get(name))} -> {_short(now.get(name))}" for name in names]


def _short(value: str | None) -> str:
    return "none" if value is None else value if len(value) <= 24 else f"{value[:12]}..."


def _noted(store: Store, name: str) -> list[dict[str, str]]:
    noted = []
    for way in store.backend.folders(f"{RESULTS}{name}/"):
        with suppress(MissingError, ValueError):  # pruned, or written by somebody else
            noted.append(json.loads(store.backend.read(f"{RESULTS}{name}/{way}/{_NOTE}")))
    return noted
