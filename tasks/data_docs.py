"""Data Docs of a run, built once for the same gates and laid out under `runs/<run-id>/data_docs/`."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

import validations
from tasks import showing
from tasks.calling import call
from tasks.gating import VALIDATION
from tasks.scenes_io import load_rows
from tasks.store import MissingError, Reference, Store, open_store

FOLDER = "data_docs"
_BUILT = f"{FOLDER}/built.json"


def publish(store: Store, run_id: str, gates: Iterable[Mapping[str, Any]]) -> Reference | None:
    """Build the site and write its pages; returns the tree of its files, or None if there is none: that is no reason to fail a run.

    Pages that lie there already, for the same gates, are not written again.
    """
    with showing.harmless("Data Docs"):
        return _publish(store, run_id, gates)
    return None


def _publish(store: Store, run_id: str, gates: Iterable[Mapping[str, Any]]) -> Reference | None:
    kept = dict.fromkeys(Reference(**gate[VALIDATION]) for gate in gates if VALIDATION in gate)
    if not kept:
        return None
    site: Reference = call(build, store.uri, store.uri, run_id, list(kept)).result
    try:
        there = Reference.model_validate_json(store.read(run_id, _BUILT))
    except (MissingError, ValueError):
        there = None
    if there != site:
        with tempfile.TemporaryDirectory() as scratch:
            store.get_folder(site, Path(scratch))
            for page in sorted(Path(scratch).rglob("*.html")):
                store.write(run_id, f"{FOLDER}/{page.relative_to(scratch).as_posix()}", page.read_bytes())
        store.write(run_id, _BUILT, site.model_dump_json().encode())
    return site


def _key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    source = Path(validations.__file__).parent
    files = [source / "docs.py", source / "expectations.py", *sorted((source / "templates").iterdir())]
    parts = [
        parameters["run_id"],
        version("great-expectations"),
        *(reference.sha256 for reference in parameters["kept"]),
        *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files),
    ]
    return f"data-docs-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


@task(name="build Data Docs", task_run_name="build Data Docs", cache_key_fn=_key, persist_result=True, result_serializer="json")
def build(store: str, run_id: str, kept: list[Reference]) -> Reference:
    """The site over these validation results, as a tree of its pages."""
    from validations import docs

    opened = open_store(store)
    pages = docs.site(run_id, [row for reference in kept for row in load_rows(opened.get(reference))])
    with tempfile.TemporaryDirectory() as scratch:
        for name, page in pages.items():
            file = Path(scratch, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(page)
        return opened.put_folder(Path(scratch))
