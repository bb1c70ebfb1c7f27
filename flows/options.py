"""What a person can set about a run: one validated object, from the command line or from code.

Every wrong value is a UserError that names the option, the value and what is allowed. `prepare` finds, within seconds and before
any model is loaded, what else can be wrong: the store, the file with instructions, the name of the model, a silent endpoint.
"""

import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

import tasks
from flows.allowed import Refreshable, Shares, Usd, count, wrong
from flows.finding import DEFAULT_STORE, find_run, locate_run
from flows.naming import check_endpoints, check_model, check_url, named_endpoint
from matrix_core.engines.budget import Budget
from matrix_core.errors import UserError
from matrix_core.rivals import RIVALS, mixes
from matrix_core.scene import Method, Part, Settings
from tasks.inputs import Inputs, read_instructions
from tasks.store import MissingError, Store, check_run_id, open_store

if TYPE_CHECKING:
    from matrix_core.models import ModelSpec

EVERYDAY = Path(tasks.__file__).parent / "data" / "everyday.jsonl"
"""What real models are asked when no file is named: harmful and harmless requests of our own writing."""
FILE = "options.json"
"""The run's own file that holds its options."""

CHANGED = "other instructions"
EMBEDDED_SCENES = 640


class RunOptions(BaseModel):
    """The options of `matrix-align run` and `simulate`; the other stages take those that their run was started with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: str | None = Field(None, description="file with instructions (jsonl, csv, parquet, txt), '-' for standard input")
    model: str = Field("pocket", description="pocket, smollm2, a name on the hub, or a folder")
    endpoint: tuple[str, ...] = Field((), description="URL of an OpenAI-compatible server that answers for the model; repeatable")
    store: str = Field(DEFAULT_STORE, description="what keeps what runs make: a folder, or s3://bucket/prefix")
    scenes: int | None = count("scenes", None, f"how many instructions to play (default {EMBEDDED_SCENES} for pocket, else all)")
    roles: int = count("roles", 3, "people in a scene besides the one who asks")
    steps: int = count("steps", 3, "steps of the plan that is acted out")
    seed: int = count("seed", 0, "seed of all that is random")
    run_id: str | None = Field(None, description="name of the run; by default it follows from the settings and the instructions")
    judge: str | None = Field(
        None,
        description="who judges answers: a model, or [NAME@]URL of an endpoint; several with commas; by default the model itself",
    )
    questions: int | None = count("questions", None, "how many questions of each benchmark the evaluation asks (default all)")
    method: Method = Field("matrix", description=f"whose steps are played: matrix, or a rival's: {', '.join(RIVALS)}")
    without: tuple[Part, ...] = Field((), description="parts of the method that are left out")
    votes: int = Field(1, ge=1, le=256, description="how many answers a rival draws to choose from")
    shares: Shares | None = Field(
        None,
        description="what part of the examples each source (harmful, harmless, trace, general) makes up; default: the recipe's",
    )
    benchmark: str | None = Field(None, description="a public set to evaluate on (hh, advbench, ...), or a file of your own")
    data: str | None = Field(None, description="the benchmark's file, as it is published; by default from the hub")
    against: str | None = Field(
        None, description="what the tuned model is compared with: a model, or NAME@URL; by default its own base"
    )
    refresh: Refreshable | None = Field(None, description="a step that is done anew, whatever the cache holds")
    price: tuple[Usd, Usd] | None = Field(
        None, description="what the endpoint costs: USD per million prompt and completion tokens, e.g. 0.15,0.60"
    )
    max_cost: Usd | None = Field(None, gt=0, description="USD that the run may cost, all its commands together; needs --price")
    max_tokens: int | None = count("max_tokens", None, "tokens that the run may use at the endpoint, all its commands together")

    _continues: bool = PrivateAttr(False)

    @classmethod
    def of(cls, **given: Any) -> Self:
        """The options, validated. Raises UserError with every wrong one in a line."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise UserError("; ".join(wrong(problem) for problem in error.errors())) from error

    @classmethod
    def of_run(cls, run: str, store: str | None = None, **changed: Any) -> Self:
        """The options that a run was started with, some of them changed; `run` is an id in `store`, or a run's URI.

        Raises UserError if there is no such run.
        """
        uri, run_id = locate_run(run, store)
        opened = open_store(uri, writable=False)
        try:
            noted = json.loads(opened.read(find_run(opened, run_id), FILE))["options"]
        except (MissingError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"run {run_id} in {opened.uri} has no readable {FILE}: start it anew with matrix-align run") from error
        options = cls.of(**noted | changed | {"store": opened.uri, "run_id": run_id})
        options._continues = True
        return options

    @field_validator("instructions", "model", "store", "judge", "benchmark", "data", "against")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; give a value or leave the option out")
        return value

    @field_validator("endpoint")
    @classmethod
    def _urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            check_url(url)
        if len(set(urls)) < len(urls):
            raise ValueError("names the same URL twice; give each server once")
        return urls

    @field_validator("judge")
    @classmethod
    def _judge(cls, judge: str | None) -> str | None:
        for one in (judge or "").split(","):
            if "://" in one:
                check_url(named_endpoint(one)[1])
        return judge

    @field_validator("run_id")
    @classmethod
    def _run_id(cls, run_id: str | None) -> str | None:
        if run_id is not None:
            check_run_id(run_id)
        return run_id

    @field_validator("price", mode="before")
    @classmethod
    def _price(cls, price: Any) -> Any:
        return price.split(",") if isinstance(price, str) else price

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if self.shares is not None and not mixes(self.method):
            raise UserError(f"--shares: {self.method} mixes no sources: leave shares out")
        return self

    @model_validator(mode="after")
    def _parts_are_of_matrix(self) -> Self:
        if self.without and self.method != "matrix":
            raise UserError(f"--without: {self.method} has no {self.without[0]} to leave out: leave without out, or take matrix")
        return self

    @model_validator(mode="after")
    def _named_at_endpoint(self) -> Self:
        if self.endpoint and self.model == "pocket":
            raise UserError("--endpoint needs --model NAME too: the name under which the server knows its model")
        for name in ("price", "max_cost", "max_tokens"):
            if getattr(self, name) is not None and not self.endpoint:
                raise UserError(f"--{name.replace('_', '-')} is for a model behind --endpoint: give one, or leave it out")
        if self.max_cost is not None and self.price is None:
            raise UserError("--max-cost needs --price PROMPT,COMPLETION too: USD per million tokens, like 0.15,0.60")
        return self

    @cached_property
    def inputs(self) -> Inputs:
        """The instructions to choose from, read once (standard input can't be read again). Raises UserError."""
        from matrix_core import models

        if self.instructions is None and models.embedded(self.model):
            from matrix_core.pocket import sets

            return Inputs(sets.instructions("train", max(self.scenes or 0, EMBEDDED_SCENES), self.seed))
        return read_instructions(self.instructions or str(EVERYDAY))

    @cached_property
    def spec(self) -> "ModelSpec":
        """The local model. Raises UserError if there is none of that name."""
        from matrix_core.models import resolve

        return resolve(self.model)

    @property
    def settings(self) -> Settings:
        """How scenes are played: prompts in the model's style."""
        from matrix_core import models

        style: Literal["full", "pocket"] = "pocket" if models.embedded(self.model) else "full"
        # The embedded model is greedy: equal requests are then asked once. 0.2 is the paper's.
        temperature = 0.0 if style == "pocket" else 0.2
        return Settings(
            style=style,
            roles=self.roles,
            steps=self.steps,
            seed=self.seed,
            temperature=temperature,
            method=self.method,
            without=self.without,
            votes=self.votes,
        )

    @property
    def standing(self) -> str | None:
        """The system turn under which the model answers as it is, where the method tunes nothing."""
        rival = RIVALS.get(self.method)
        return rival.standing if rival is not None else None

    @property
    def judges(self) -> tuple[str, ...]:
        """Who judges, by the names given; nobody means the model itself."""
        return tuple(filter(None, (one.strip() for one in (self.judge or "").split(","))))

    @property
    def budget(self) -> Budget:
        """What the run may use at its endpoints."""
        return Budget(price=self.price, max_cost=self.max_cost, max_tokens=self.max_tokens)

    @cached_property
    def run(self) -> str:
        """The run's id: the one given, or `<model>-<hash of settings and instructions>`: the same command is the same run."""
        if self.run_id is not None:
            return self.run_id
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.model).name).strip("._-")[:60]
        return f"{label or 'model'}-{_digest(self._identity)}"

    @property
    def uri(self) -> str:
        """The run's URI."""
        return f"{open_store(self.store, writable=False).uri}/runs/{self.run}"

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What makes another run; where it is kept, who serves the model and how things are shown do not."""
        identity = self.model_dump(mode="json", include={"model", "scenes", "roles", "steps", "seed", "judge", "questions"})
        ablated = self.model_dump(mode="json", include={"method", "without", "votes", "shares"}, exclude_defaults=True)
        return identity | {
            **ablated,
            "endpoint": bool(self.endpoint),
            "instructions": _digest([instruction.id for instruction in self.inputs.instructions]),
        }

    def check(self) -> Store:
        """Check the store, the model and the judge, without loading any; returns the run's store. Raises UserError."""
        store = open_store(self.store)
        if self.endpoint:
            check_endpoints(self.endpoint, self.model)
        else:
            _ = self.spec
        rival, style = RIVALS.get(self.method), self.settings.style
        if rival is not None and style not in rival.styles:
            raise UserError(f"--method {self.method} needs a chat model, {self.model} knows no such prompts: take another --model")
        for judge in self.judges:
            try:
                check_model(judge, self.model)
            except UserError as error:
                raise UserError(f"--judge {judge}: {error}") from error
        if self.against is not None:
            check_model(self.against)
        if self.benchmark not in (None, "pocket"):
            from tasks.benchmark_files import find

            find(str(self.benchmark), self.data)
        return store

    def prepare(self) -> Store:
        """Read the instructions, `check`, and note the options in the run's `options.json`; returns the run's store.

        May be called again. Raises UserError, with nothing written, also if a run of this id was started with other options;
        instructions may have been mended as long as no stage of it is finished.
        Options from `of_run` are only checked: their instructions were read when the run was started, and may be gone.
        """
        if self._continues:
            return self.check()
        store = open_store(self.store)
        try:
            earlier = json.loads(store.read(self.run, FILE))["identity"]
        except MissingError:
            earlier = self._identity
        other = [
            CHANGED if name == "instructions" else f"--{name} {earlier.get(name)}"
            for name, value in self._identity.items()
            if earlier.get(name) != value
        ]
        if other and not (other == [CHANGED] and self._nothing_finished(store)):
            raise UserError(
                f"--run-id {self.run}: that run was started with {', '.join(other)}; take another id, or the same options"
            )
        self.check()
        noted = self.model_dump(mode="json", exclude={"store", "run_id", "refresh", "benchmark", "data", "against"})
        store.write(self.run, FILE, json.dumps({"options": noted, "identity": self._identity}, indent=1).encode())
        return store

    def continuing(self) -> "RunOptions":
        """What a later stage goes by: its run's options, but for `refresh`, and for a judge, questions and benchmark of its own.

        Raises UserError if there is no such run.
        """
        if self._continues or self.run_id is None:
            return self
        own = {name: getattr(self, name) for name in ("judge", "questions", "benchmark", "data", "against")}
        changed = {"refresh": self.refresh} | {name: value for name, value in own.items() if value is not None}
        return self.of_run(self.run_id, self.store, **changed)

    def _nothing_finished(self, store: Store) -> bool:
        try:
            store.read(self.run, "stages/simulate.json")
        except MissingError:
            return True
        return False


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
