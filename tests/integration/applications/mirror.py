"""Answers every request with what the application sees of it, as JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Show the texts of the environ, and the body as Latin-1."""
    body = environ["wsgi.input"].read().decode("latin-1")
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"environ": texts, "body": body}).encode()]
