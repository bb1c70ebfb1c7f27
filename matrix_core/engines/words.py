"""A JSON schema in words, for servers that hold to none, and the answer found in what their models say.

The words are a form to fill in, since small models copy a JSON Schema that they are shown: asked for 16 verdicts, with the same
worked examples, SmolLM2-135M gave one that could be used after a schema, and 16 after a form. How the form is worded was chosen by
eight verdicts and eight grades of that model: all and six were usable; with the limit beside each text all and three.
"""

import json
from collections.abc import Iterator
from typing import Any

from matrix_core.request import Request


def told(request: Request) -> Request:
    """The request with the form of its answer at the end of its last turn. It must have a schema."""
    *earlier, last = request.messages
    schema = request.json_schema or {}
    limits = set(_limits(schema))
    same = len(limits) == 1
    texts = f", with texts of at most {max(limits)} characters" if same else ""
    words = f"{last.content}\n\nAnswer with JSON alone{texts}, in this form: {form(schema, limited=not same)}"
    return request.model_copy(update={"messages": (*earlier, last.model_copy(update={"content": words}))})


def form(schema: dict[str, Any], limited: bool = False) -> str:
    """A schema as people would write it down; `limited`: with the limit of each text.

    It knows what the steps' schemas are made of (`steps.base`).
    """
    if values := schema.get("enum"):
        if type(values[0]) is int and values == [*range(values[0], values[0] + len(values))]:
            return f"number from {values[0]} to {values[-1]}"  # ten of them, written out, were copied as they stood
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
    if schema["type"] == "object":
        return "{" + ", ".join(f'"{name}": {form(field, limited)}' for name, field in schema["properties"].items()) + "}"
    if schema["type"] == "array":
        few, many = schema.get("minItems", 0), schema["maxItems"]
        return f"[{few} to {many} of: {form(schema['items'], limited)}]" if many else "[]"
    if schema["type"] == "boolean":
        return "true or false"
    return f'"..." (at most {schema["maxLength"]} characters)' if limited else '"..."'


def _limits(schema: dict[str, Any]) -> Iterator[int]:
    """How long each text may be."""
    if "maxLength" in schema:
        yield schema["maxLength"]
    for part in (*schema.get("properties", {}).values(), *([schema["items"]] if schema.get("maxItems") else [])):
        yield from _limits(part)


def found(text: str, request: Request) -> str:
    """The JSON object that an answer holds among other words: the last with all its fields, else the first; else the text as it is.

    The last, since models that think aloud try out some before they answer.
    """
    decoder, objects, start = json.JSONDecoder(), [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            objects.append((value, text[start:end]))
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    required = (request.json_schema or {}).get("required", [])
    whole = [said for value, said in objects if all(name in value for name in required)]
    return whole[-1] if whole else objects[0][1] if objects else text
