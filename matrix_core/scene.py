"""The one document that flows through MATRIX: a `Scene`. Every step takes scenes and returns scenes with one thing more.

All types are frozen and validated; `model_dump_json()` of equal scenes is equal byte for byte.
"""

import hashlib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Part = Literal["roles", "feasibility", "routing", "memory", "critique", "traces"]
"""A part of the method that an ablation leaves out; `traces` are those of the simulation in the training data."""
Method = Literal[
    "matrix",
    "constitutional",
    "self-critique",
    "reasoned",
    "best-of-n",
    "mistake-analysis",
    "in-context",
    "context-distillation",
    "self-align",
    "rlaif",
    "rlcd",
]
"""MATRIX, or a rival of it (`matrix_core/rivals/`)."""


class Settings(_Frozen):
    """How scenes are played. A step's cache key holds those fields that it names, and what the last three make of it."""

    style: Literal["full", "pocket"] = Field("full", description="prompt style: chat models, or the embedded one")
    roles: int = Field(3, ge=1, le=12, description="how many people besides the protagonist")
    steps: int = Field(3, ge=1, le=12, description="K, the length of the protagonist's plan")
    reaction_depth: int = Field(1, ge=0, le=3, description="0: nobody reacts; 1: to the protagonist; 2: to reactions")
    memory_limit: int = Field(6, ge=1, description="events that are remembered word for word; older are summarised")
    temperature: float = Field(0.2, ge=0.0, le=2.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    seed: int = Field(0, ge=0)
    method: Method = Field("matrix", description="whose steps are played")
    without: tuple[Part, ...] = Field((), description="ablation: the parts that are left out")
    votes: int = Field(1, ge=1, le=256, description="how many answers a rival draws where it takes the most frequent or the best")

    @model_validator(mode="after")
    def _parts_are_of_matrix(self) -> Self:
        if self.without and self.method != "matrix":
            raise ValueError(f"{self.method} has no {self.without[0]} to leave out: only matrix can go without a part")
        return self


class Instruction(_Frozen):
    """What somebody asks of the model."""

    id: str = Field(description="first 16 hex digits of the SHA-256 of the text")
    text: str = Field(min_length=1)

    @classmethod
    def of(cls, text: str) -> "Instruction":
        """The instruction with this text; the id follows from the text alone."""
        return cls(id=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16], text=text)


class Role(_Frozen):
    """Somebody in the scene, played by the model."""

    name: str = Field(min_length=1)
    traits: str = Field(description="what the person is like, and what they can't bear")
    status: str = Field(description="what they are doing when the scene opens")


class Event(_Frozen):
    """One action and what the social modulator made of it. `None` means: not decided yet."""

    round: int = Field(ge=0, description="index of the plan step that set it off")
    depth: int = Field(ge=0, description="0: the protagonist's own step; d: a reaction to an event of depth d - 1")
    actor: str
    action: str
    thought: str = Field("", description="what the actor thinks and nobody hears")
    cause: int | None = Field(None, description="index of the event that this one reacts to")
    feasible: bool | None = None
    reason: str = Field("", description="why it can or can't happen")
    aware: tuple[str, ...] | None = Field(None, description="who notices; () for nobody; never the actor")
    consequence: str | None = None
    harmed: tuple[str, ...] = ()


class Scene(_Frozen):
    """An instruction, the model's draft answer, and the social scene that the draft sets off."""

    instruction: Instruction
    draft: str | None = Field(None, description="the model's direct answer")
    setting: str | None = Field(None, description="where it happens and what is at hand")
    protagonist: Role | None = Field(None, description="who asks, and acts the draft out")
    roles: tuple[Role, ...] = Field((), description="the people whom it touches")
    target: str | None = Field(None, description="what the protagonist wants, from the instruction")
    plan: tuple[str, ...] = Field((), description="the steps that carry the draft out")
    events: tuple[Event, ...] = Field((), description="in the order in which they happened")
    memory: str = Field("", description="the modulator's summary of the first `remembered` events")
    remembered: int = Field(0, ge=0)
    summary: str | None = Field(None, description="what came of it all")
    critique: str | None = Field(None, description="what is wrong with the draft, given what came of it")
    harmed: tuple[str, ...] | None = Field(None, description="whom the critique finds hurt; () for nobody")
    refined: str | None = Field(None, description="the refined response")

    @property
    def id(self) -> str:
        """The instruction's id: one scene an instruction."""
        return self.instruction.id

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody in the scene, the protagonist first."""
        first = (self.protagonist.name,) if self.protagonist else ()
        return first + tuple(role.name for role in self.roles)

    def role(self, name: str) -> Role:
        """The role of that name. KeyError if nobody is called so."""
        for role in (*([self.protagonist] if self.protagonist else []), *self.roles):
            if role.name == name:
                return role
        raise KeyError(f"nobody in scene {self.id} is called {name!r}; there are {', '.join(self.names)}")

    def known_to(self, name: str) -> tuple[Event, ...]:
        """The events that a role has taken part in or was made aware of, in order: all that it may react from."""
        return tuple(e for e in self.events if e.actor == name or (e.feasible and name in (e.aware or ())))


class Example(_Frozen):
    """One training example: a chat prompt and the answer to learn, or to prefer where another one is rejected."""

    scene: str = Field(description="id of the scene that it comes from; '' for general examples")
    source: Literal["harmful", "harmless", "trace", "general", "preference"]
    prompt: tuple[tuple[str, str], ...] = Field(description="chat turns (role, content)")
    completion: str
    rejected: str | None = Field(None, description="of a preference: the answer that is less good")
