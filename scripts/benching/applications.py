"""The applications that the servers under measurement run, each as small as its workload allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

GREETING = b"Hello, World!\n"
LARGE = b"x" * 1_048_576
SLEEP_SECONDS = 0.005


def hello(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a greeting of fixed length."""
    return _plain(start_response, GREETING)


def count(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the whole body and answer the number of bytes that arrived, in decimal."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return _plain(start_response, b"%d" % len(body))


def large(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 1 MiB as one bytes object."""
    return _plain(start_response, LARGE)


def nap(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Sleep for 5 ms, as an application does that waits for its database, then greet."""
    time.sleep(SLEEP_SECONDS)
    return _plain(start_response, GREETING)


async def greet(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Answer a greeting of fixed length, by ASGI."""
    if scope["type"] == "http":
        fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(GREETING))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": GREETING})


def _plain(start_response: StartResponse, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
