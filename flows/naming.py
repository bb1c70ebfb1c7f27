"""Models as people name them on the command line: a local one, or `NAME@URL` of one behind an OpenAI-compatible server."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from matrix_core.errors import UserError
from tasks.inputs import printable


def named_endpoint(text: str, name: str = "") -> tuple[str, str]:
    """(name, URL) of `[NAME@]URL`; `name` where none is given."""
    found = re.fullmatch(r"(?:([^@]+)@)?(https?://.*)", text)
    return (found[1] or name, found[2]) if found else (name, text)


def check_model(text: str, name: str = "") -> None:
    """Check a model's name, or `[NAME@]URL` of an endpoint that has the model. Raises UserError."""
    if "://" not in text:
        from matrix_core.models import resolve

        resolve(text)
        return
    called, url = named_endpoint(text, name)
    try:
        check_url(url)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not called:
        raise UserError(f"{printable(text, 200)}: give NAME@URL, with the name under which the server knows its model")
    check_endpoints((url,), called)


def check_endpoints(urls: Sequence[str], model: str) -> None:
    """Check that servers answer and have the model, without loading any. Raises UserError."""
    from matrix_core.engines.endpoint import EndpointEngine

    EndpointEngine(urls, model).check()


def check_url(url: str) -> None:
    """Raises ValueError, in words for the one who typed it, if this is no URL of a server."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"\s", url):
        raise ValueError(f"{url!r} is no http:// or https:// URL; write it like http://localhost:8000/v1")
