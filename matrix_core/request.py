"""What a step asks of a language model and what comes back; the one vocabulary shared by steps and engines."""

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError


class Message(BaseModel):
    """One chat turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Request(BaseModel):
    """One call to a model: a chat, how to sample, and the JSON schema that the answer must satisfy (or none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...]
    json_schema: dict[str, Any] | None = Field(None, description="JSON schema of the answer; None for free text")
    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0.0, description="0 is greedy")
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    seed: int = Field(0, ge=0, description="seed of this request alone, so that batch mates don't matter")
    stop: tuple[str, ...] = Field((), description="the answer ends before the first of these")

    @cached_property
    def identity(self) -> str:
        """Equal for requests that get the same answer, as JSON: at temperature 0 neither seed nor top-p matter."""
        return to_json(self, without=() if self.temperature else ("seed", "top_p"))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of any model; a copy has an identity of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("identity", None)
        return copy


class Completion(BaseModel):
    """The answer to one `Request`. A request that failed has `error` and no text; it never takes its batch along."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: Literal["stop", "length", "error"] = "stop"
    error: str | None = None
    cached: bool = Field(False, description="the answer was there already: no model was asked")


def to_json(value: BaseModel, without: Collection[str] = ()) -> str:
    """As JSON, some fields left out, also where a text holds half a character (a lone surrogate), which pydantic refuses."""
    try:
        return value.model_dump_json(exclude=set(without))
    except PydanticSerializationError:
        return json.dumps(value.model_dump(exclude=set(without)))
