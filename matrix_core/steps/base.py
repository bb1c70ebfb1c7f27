"""What a step of the method is: a name, a version and a pair of pure functions.

`ask(scene, settings)` gives the requests that the scene needs of this step now (none, one, or one for each pending event);
`absorb(scene, texts, settings)` puts the answers, in the same order, into the scene. A step never calls a model.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import jsonschema_rs
from pydantic_core import to_json

from matrix_core.request import Message, Request
from matrix_core.scene import Scene, Settings

Ask = Callable[[Scene, Settings], list[Request]]
Absorb = Callable[[Scene, Sequence[str], Settings], Scene]


class AnswerError(ValueError):
    """Answers that can't be used: for each, its position among the step's requests, and why."""

    def __init__(self, problems: dict[int, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


SAMPLING = ("style", "temperature", "top_p", "seed")
"""The fields of `Settings` that every step depends on."""
PLAYED = tuple(name for name in Settings.model_fields if name not in ("method", "without", "votes"))
"""All fields but those that put another step into a step's place: that one has a fingerprint of its own."""


@dataclass(frozen=True)
class Step:
    """One step of the method. Raise `version` when `absorb` changes what it makes of the same answers.

    `settings` names the fields of `Settings` that decide what is asked, what is made of the answers, and what comes next. A step
    that takes another's place has that one's name, and behind a colon what it does instead.
    """

    name: str
    version: int
    ask: Ask
    absorb: Absorb
    settings: tuple[str, ...] = PLAYED


def request(
    scene: Scene,
    settings: Settings,
    step: str,
    user: str,
    *,
    system: str,
    shots: Sequence[tuple[str, str]] = (),
    schema: dict[str, Any] | None,
    max_tokens: int = 300,
    salt: str = "",
) -> Request:
    """One request of a step for a scene: a system turn, worked examples as earlier turns, and what is asked.

    `salt` tells the requests of one scene and step apart. The seed follows from the run's seed, the scene, the step and the
    salt, so that an answer doesn't depend on which shard or batch the scene was in. Worked examples, and as many tokens as the
    schema needs instead of `max_tokens`, are for chat models only: the embedded one was trained on short answers without them.
    """
    chat = settings.style == "full"
    opening = _opening(system, tuple(shots) if chat else ())
    digest = hashlib.sha256(f"{settings.seed}\n{scene.id}\n{step}\n{salt}".encode()).digest()
    return Request(
        messages=(*opening, Message(role="user", content=user)),
        json_schema=schema,
        max_tokens=room(schema) if chat and schema is not None else max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=int.from_bytes(digest[:4], "big"),
    )


@lru_cache(maxsize=64)
def _opening(system: str, shots: tuple[tuple[str, str], ...]) -> tuple[Message, ...]:
    """The turns before the question, which are the same for all scenes."""
    asked = [Message(role=role, content=said) for shot in shots for role, said in zip(("user", "assistant"), shot, strict=True)]
    return (Message(role="system", content=system), *asked)


def text(limit: int = 400) -> dict[str, Any]:
    """Schema of a non-empty string of at most `limit` characters."""
    return {"type": "string", "minLength": 1, "maxLength": limit}


def one_of(names: Sequence[str], at_most: int | None = None) -> dict[str, Any]:
    """Schema of a list of names out of `names` (nobody else can be named); with no names, the empty list."""
    if not names:
        return {"type": "array", "items": {"type": "string"}, "maxItems": 0}
    return {"type": "array", "items": {"enum": list(names)}, "maxItems": at_most or len(names)}


def obj(**fields: dict[str, Any]) -> dict[str, Any]:
    """Schema of an object with exactly these fields, in this order."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def room(schema: dict[str, Any]) -> int:
    """Tokens that suffice for the longest answer under a schema, at two characters a token (English takes four)."""
    return 16 + _length(schema) // 2


def _length(schema: dict[str, Any]) -> int:
    """Characters of the longest JSON under a schema."""
    if "enum" in schema:
        return max(len(json.dumps(value, ensure_ascii=False)) for value in schema["enum"])
    if schema["type"] == "object":
        return sum(len(key) + 4 + _length(value) for key, value in schema["properties"].items()) + 1
    if schema["type"] == "array":
        return 2 + schema["maxItems"] * (1 + _length(schema["items"])) if schema["maxItems"] else 2
    return schema["maxLength"] + 2 if schema["type"] == "string" else len("false")


@cache
def _validator(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(schema))


def parse(answer: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in `answer`, valid under `schema`. Raises AnswerError with words that a model can act on."""
    return parse_all([answer], [schema])[0]


def parse_all(answers: Sequence[str], schemas: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`parse` for the answers to all of a step's requests; one AnswerError names all that can't be used."""
    read = [_read(answer, to_json(schema)) for answer, schema in zip(answers, schemas, strict=True)]
    if problems := {position: problem for position, (_, problem) in enumerate(read) if problem}:
        raise AnswerError(problems)
    return [value for value, _ in read]


@lru_cache(maxsize=4096)
def _read(answer: str, schema: bytes) -> tuple[Any, str]:
    """What an answer says, which nobody may change, since equal answers are read once; or what is wrong with it."""
    try:
        value = json.loads(answer)
        if "\\u" in answer or not answer.isascii():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, "it holds half a character (a lone surrogate)"
    except (json.JSONDecodeError, RecursionError) as error:
        return None, f"not JSON: {error}"
    problem = next(iter(_validator(schema).iter_errors(value)), None)
    if problem is not None:
        where = "/".join(str(part) for part in problem.instance_path) or "the answer"
        return None, f"{where}: {problem.message[:200]}"
    return _without_loops(value), ""


_LOOP = re.compile(r"(.{3,120}?)\1{3,}", re.DOTALL)


def _without_loops(value: Any) -> Any:
    """The same, but a text that ends in a loop is cut after the first round: a model that has lost its thread never comes out."""
    if isinstance(value, dict):
        return {key: _without_loops(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_loops(item) for item in value]
    loop = _LOOP.search(value) if isinstance(value, str) and _may_loop(value) else None
    if loop is None or loop.end() - loop.start() < 24 or len(value) - loop.end() > len(loop[1]):
        return value
    kept = value[: loop.start() + len(loop[1])]
    if value[len(kept) - 1].isalnum() and value[len(kept)].isalnum() and " " in kept:
        kept = kept.rsplit(maxsplit=1)[0]  # no half words
    return kept.rstrip(" ,;:")


def _may_loop(value: str) -> bool:
    """Whether some stretch before the end is there twice: true of every text that ends in a loop, and seen far sooner."""
    if len(value) < 24:
        return False
    periods = range(3, min(120, len(value) // 4) + 1)
    return any(value[-3 * n] == value[-2 * n] and value[-4 * n : -2 * n] == value[-3 * n : -n] for n in periods)


def spoken(answer: str) -> str:
    """The answer to a request for free text. Raises AnswerError if there is none, or if it is no text."""
    said = answer.strip()
    if not said:
        raise AnswerError({0: "the answer is empty"})
    try:
        said.encode()
    except UnicodeEncodeError:
        raise AnswerError({0: "it holds half a character (a lone surrogate)"}) from None
    return said


def opening(draft: str | None, limit: int) -> str:
    """The first `limit` characters of a draft, whole if it is shorter: a long one drowns the question."""
    draft = draft or ""
    return draft if len(draft) <= limit else draft[:limit].rstrip() + " ..."


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names in order, each once."""
    return tuple(dict.fromkeys(names))


def listed(names: Sequence[str], empty: str = "nobody") -> str:
    """`a, b and c`, as a person writes it."""
    if len(names) < 2:
        return names[0] if names else empty
    return f"{', '.join(names[:-1])} and {names[-1]}"
