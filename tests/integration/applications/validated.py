"""Answers of every kind behind the validator of the standard library, which complains by AssertionError."""

import io
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

Start = Callable[..., Callable[[bytes], None]]


def plain(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Read the body as the path says, and send it back as the path says."""
    _, reading, sending = environ["PATH_INFO"].split("/")
    body = READ[reading](environ["wsgi.input"])
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].writelines(["validated ", "lines\n"])
    environ["wsgi.errors"].flush()
    return SEND[sending](environ, start_response, body)


def by_list(_: dict[str, Any], start_response: Start, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def by_generator(_: dict[str, Any], start_response: Start, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (body[at : at + 1] for at in range(len(body)))


def by_write(_: dict[str, Any], start_response: Start, body: bytes) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(body)
    return []


def by_file(environ: dict[str, Any], start_response: Start, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(body), 3)
    return wrapped


READ: dict[str, Callable[[Any], bytes]] = {
    "read": lambda stream: stream.read(1000),
    "readline": lambda stream: stream.readline() + stream.readline() + stream.readline(),
    "readlines": lambda stream: b"".join(stream.readlines()),
    "iterate": b"".join,
}
SEND = {"list": by_list, "generator": by_generator, "write": by_write, "file": by_file}
application = validator(plain)
