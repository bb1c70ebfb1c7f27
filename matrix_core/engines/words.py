"""A JSON schema in words, for servers that hold to none, and the answer found in what their models say.

The words are a form to fill in, since small models copy a JSON Schema that they are shown: asked for 16 verdicts, with the same
worked examples, SmolLM2-135M gave one that could be used after a schema, and 16 after this form.
"""

import json
from typing import Any

from matrix_core.request import Request


def told(request: Request) -> Request:
    """The request with the form of its answer at the end of its last turn. It must have a schema."""
    *earlier, last = request.messages
    words = f"{last.content}\n\nAnswer with JSON alone, in this form: {form(request.json_schema or {})}"
    return request.model_copy(update={"messages": (*earlier, last.model_copy(update={"content": words}))})


def form(schema: dict[str, Any]) -> str:
    """A schema as people would write it down. It knows what the steps' schemas are made of (`steps.base`)."""
    if "enum" in schema:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if schema["type"] == "object":
        return "{" + ", ".join(f'"{name}": {form(field)}' for name, field in schema["properties"].items()) + "}"
    if schema["type"] == "array":
        few, many = schema.get("minItems", 0), schema["maxItems"]
        return f"[{few} to {many} of: {form(schema['items'])}]" if many else "[]"
    return f"text of at most {schema['maxLength']} characters" if schema["type"] == "string" else "true or false"


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
