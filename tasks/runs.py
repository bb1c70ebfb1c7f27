"""What a run has made so far, stage by stage: small files under `runs/<run-id>/` that the next stage, and people, read."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from matrix_core.errors import UserError
from matrix_core.scene import Instruction, Scene
from tasks.play import Record
from tasks.scenes_io import load_rows, load_scenes, to_lines
from tasks.store import MissingError, Reference, Store

RATED = "rating/result.json"
"""The run's own file that holds what people found who rated its answers."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Done(NamedTuple):
    """A cached task of a stage: whether its result came from the cache, and if not, why."""

    step: str
    cached: bool
    why: str


class Simulated(_Frozen):
    """What the stage `simulate` leaves."""

    scenes: Reference
    """as JSON lines"""
    shards: list[Reference]
    """the same, shard by shard as Parquet"""
    count: int
    instructions: int
    duplicates: int
    held_out: list[Instruction]
    records: list[tuple[Record, bool]]
    seconds: float

    @property
    def steps(self) -> list[Done]:
        """What was done, wave by wave."""
        return [Done(record.step, cached, record.why) for record, cached in self.records]

    @property
    def quarantines(self) -> list[Reference]:
        """Where the rows are that gates took out."""
        return [record.quarantine for record, _ in self.records if record.quarantine]


class Tuned(_Frozen):
    """What the stage `tune` leaves. No adapter where the model is only known as an endpoint."""

    examples: Reference
    count: int
    adapter: Reference | None
    result: dict[str, Any] | None
    gates: list[dict[str, Any]]
    quarantine: Reference | None
    steps: list[Done]
    seconds: float


class Evaluated(_Frozen):
    """What the stage `evaluate` leaves: benchmark -> figures."""

    evaluation: dict[str, dict[str, Any]]
    gates: list[dict[str, Any]]
    calls: dict[str, int]
    steps: list[Done]
    seconds: float
    outcomes: Reference | None = None
    """`before` and `after` -> `<benchmark>.<figure>` -> a value for each question, in order"""
    pairs: dict[str, Reference] = {}
    """benchmark -> the answers that were compared: rows of `tasks.benchmarks.pair_rows`"""
    benchmarks: dict[str, "Evaluated"] = {}
    """what was evaluated afterwards, one command each"""

    @property
    def whole(self) -> "Evaluated":
        """All that was evaluated, at once and afterwards, as one."""
        parts = [self, *self.benchmarks.values()]
        return Evaluated(
            evaluation={name: figures for part in parts for name, figures in part.evaluation.items()},
            gates=[gate for part in parts for gate in part.gates],
            calls={name: sum(part.calls.get(name, 0) for part in parts) for part in parts for name in part.calls},
            steps=[step for part in parts for step in part.steps],
            seconds=sum(part.seconds for part in parts),
            outcomes=self.outcomes,
            pairs={name: pairs for part in parts for name, pairs in part.pairs.items()},
        )


Stage = TypeVar("Stage", bound=BaseModel)


def keep(store: Store, run_id: str, name: str, stage: BaseModel) -> None:
    """Write what a stage leaves."""
    store.write(run_id, f"stages/{name}.json", stage.model_dump_json(indent=1).encode())


def recall(store: Store, run_id: str, name: str, kind: type[Stage]) -> Stage:
    """What an earlier stage has left. UserError if it has not been run, or by another version."""
    again = f"run `matrix-align {name}` for it first"
    try:
        return kind.model_validate_json(store.read(run_id, f"stages/{name}.json"))
    except MissingError:
        raise UserError(f"run {run_id}: the stage {name!r} has not been run; {again}") from None
    except ValidationError:
        raise UserError(f"run {run_id}: the stage {name!r} was run by another version; {again}") from None


def publish_scenes(store: Store, run_id: str, shards: Sequence[Reference]) -> Reference:
    """Write the finished scenes as people read them, a shard at a time, and keep them. Returns the reference."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "scenes.jsonl")
        with file.open("wb") as lines:
            for shard in shards:
                lines.write(to_lines(load_scenes(store.get(shard))))
        store.write_file(run_id, file.name, file)
        return store.put_file(file, ".jsonl")


def each_scene(store: Store, shards: Sequence[Reference]) -> Iterator[Scene]:
    """The scenes of these shards, in order; one shard at a time is in memory."""
    for shard in shards:
        yield from load_scenes(store.get(shard))


def each_set_aside(store: Store, quarantines: Sequence[Reference]) -> Iterator[dict[str, Any]]:
    """The rows that gates have taken out, each with its reason, in order."""
    for reference in quarantines:
        yield from load_rows(store.get(reference))


def publish_quarantine(store: Store, run_id: str, quarantines: Sequence[Reference]) -> None:
    """Write all rows that gates have taken out so far."""
    store.write(run_id, "quarantine.jsonl", to_lines(each_set_aside(store, quarantines)))


def publish_adapter(store: Store, run_id: str, adapter: Reference) -> None:
    """Lay the adapter's files out where `PeftModel.from_pretrained` opens them."""
    with tempfile.TemporaryDirectory() as scratch:
        store.get_folder(adapter, Path(scratch))
        for file in sorted(Path(scratch).iterdir()):
            store.write_file(run_id, f"adapter/{file.name}", file)


def put_json(store: Store, rows: Any) -> Reference:
    """Keep a JSON value."""
    return store.put(json.dumps(rows, ensure_ascii=False, sort_keys=True).encode(), ".json")
