"""The plan of an ablation: a small TOML file that names arms, each a way to make the data that a model is tuned on.

The first arm is what all others are compared with. Every mistake is a UserError that names the file, the key and what to do.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

import tasks
from flows.allowed import RANGES, Shares
from flows.finding import ABLATION
from flows.options import RunOptions
from matrix_core.errors import UserError
from matrix_core.rivals import RIVALS, mixes
from matrix_core.scene import Method, Part
from tasks.inputs import printable

SHIPPED = Path(tasks.__file__).parent / "data"
PLANS = {
    "default": SHIPPED / "ablate.toml",
    "order": SHIPPED / "ablate-order.toml",
    "sweeps": SHIPPED / "ablate-sweeps.toml",
    "recipe": SHIPPED / "ablate-recipe.toml",
    "quick": SHIPPED / "ablate-quick.toml",
}
"""The plans that come with the program, by name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(_Frozen):
    """One way to make training data; what is not set is as in the plan."""

    method: Literal[Method, "base"] = Field("matrix", description="base: the model as it is, nothing played and nothing tuned")
    without: tuple[Part, ...] = ()
    votes: int = Field(1, ge=1, le=256)
    equal: Literal["calls", "tokens"] | None = Field(
        None, description="as many votes as cost what the first arm costs, instead of `votes`"
    )
    scenes: int | None = Field(None, ge=RANGES["scenes"][0], le=RANGES["scenes"][1])
    shares: Shares | None = Field(None, description="the mix that is tuned on, instead of the recipe's")
    roles: int | None = Field(None, ge=RANGES["roles"][0], le=RANGES["roles"][1])
    steps: int | None = Field(None, ge=RANGES["steps"][0], le=RANGES["steps"][1])

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without shares where there are none, so that plans that set none keep their ids."""
        return {name: value for name, value in write(self).items() if (name, value) != ("shares", None)}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method == "base":
            if self.model_fields_set - {"method"}:
                raise ValueError("base is the model as it is: give nothing but method")
            return self
        if self.without and self.method != "matrix":
            raise ValueError(f"{self.method} has no {self.without[0]} to leave out: leave without out, or take matrix")
        if self.shares is not None and not mixes(self.method):
            raise ValueError(f"{self.method} mixes no sources: leave shares out")
        drawing = [name for name, rival in RIVALS.items() if rival.by_votes]
        if (self.equal or self.votes > 1) and self.method not in drawing:
            raise ValueError(f"{self.method} draws no votes: leave votes and equal out, or take one of {', '.join(drawing)}")
        return self


class Plan(_Frozen):
    """Which arms are played, with which model, and how often."""

    model: str = "pocket"
    instructions: str | None = None
    judge: str | None = None
    scenes: int = Field(320, ge=RANGES["scenes"][0], le=RANGES["scenes"][1], description="instructions that each arm plays")
    roles: int = Field(3, ge=RANGES["roles"][0], le=RANGES["roles"][1])
    steps: int = Field(3, ge=RANGES["steps"][0], le=RANGES["steps"][1])
    questions: int | None = Field(None, ge=1, description="questions of each benchmark; all of them by default")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="each repeats everything")
    arms: dict[str, Arm] = Field(min_length=2)

    @model_validator(mode="after")
    def _begins_with_something(self) -> Self:
        first = next(iter(self.arms))
        if self.arms[first].method == "base" or self.arms[first].equal:
            raise ValueError(f"the first arm, {first!r}, is what the others are compared with: it can't be base, nor have equal")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0 or max(self.seeds) > RANGES["seed"][1]:
            raise ValueError(f"seeds: give different whole numbers from 0 to {RANGES['seed'][1]}")
        return self

    @property
    def id(self) -> str:
        """Id of its ablation: the same plan is the same one."""
        return f"{ABLATION}{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:10]}"

    @property
    def first(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))

    @property
    def played(self) -> dict[str, Arm]:
        """The arms that have runs of their own."""
        return {name: arm for name, arm in self.arms.items() if arm.method != "base"}

    def options(self, arm: Arm, seed: int, store: str, votes: int | None = None) -> RunOptions:
        """The options of the run of an arm. Raises UserError."""
        return RunOptions.of(
            model=self.model,
            instructions=self.instructions,
            judge=self.judge,
            store=store,
            scenes=arm.scenes or self.scenes,
            roles=arm.roles or self.roles,
            steps=arm.steps or self.steps,
            questions=self.questions,
            seed=seed,
            method=arm.method,
            without=arm.without,
            votes=votes or arm.votes,
            shares=arm.shares,
        )


def read_plan(named: str) -> Plan:
    """The plan in a file, or one of those that come with the program. Raises UserError."""
    file = PLANS.get(named) or Path(named)
    try:
        plan = Plan.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"--plan {named}: there is no such file; name one, or take {' or '.join(PLANS)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--plan {named}: can't be read as UTF-8 text ({type(error).__name__}): name a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"--plan {named}: no TOML: {error}") from None
    except ValidationError as error:
        raise UserError(f"--plan {named}: {'; '.join(_wrong(problem) for problem in error.errors())}") from None
    _check_styles(named, plan)
    return plan


def _check_styles(named: str, plan: Plan) -> None:
    style = plan.options(plan.arms[plan.first], plan.seeds[0], ".").settings.style
    for name, arm in plan.played.items():
        if arm.method in RIVALS and style not in RIVALS[arm.method].styles:
            raise UserError(
                f"--plan {named}: arms.{name}: {arm.method} needs a chat model, {plan.model} knows no such prompts: leave the arm "
                "out, or set model"
            )


def _wrong(problem: Any) -> str:
    """One line about one wrong key, from pydantic's account of it."""
    key = ".".join(str(part) for part in problem["loc"]) or "the plan"
    if problem["type"] == "extra_forbidden":
        there = Arm.model_fields if problem["loc"][0] == "arms" else Plan.model_fields
        return f"{key}: there is no such key; there are {', '.join(there)}"
    if problem["type"] == "missing":
        return f"{key}: is missing; give arms like [arms.MATRIX]"
    if "error" in problem.get("ctx", {}):
        return f"{key}: {printable(str(problem['ctx']['error']), 300)}"
    return f"{key}: {problem['msg']}, not {printable(str(problem['input']), 60)}"
