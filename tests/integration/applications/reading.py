"""Reads the body in every way that wsgi.input offers, and shows what it got."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

READS: dict[str, Callable[[Any], Any]] = {
    "read": lambda stream: [stream.read(), stream.read()],
    "read-minus-one": lambda stream: [stream.read(-1), stream.read(-1)],
    "read-none": lambda stream: [stream.read(None)],
    "read-zero": lambda stream: [stream.read(0), stream.read(3), stream.read(0)],
    "read-some": lambda stream: [stream.read(5), stream.read(5), stream.read(100_000_000), stream.read(1)],
    "readline": lambda stream: [stream.readline() for _ in range(6)],
    "readline-limit": lambda stream: [stream.readline(2), stream.readline(100), stream.readline(-1)],
    "readlines": lambda stream: stream.readlines(),
    "readlines-hint": lambda stream: [stream.readlines(1), stream.readlines()],
    "iterate": list,
    "iterate-then-read": lambda stream: [next(iter(stream)), stream.read()],
    "nothing": lambda _: [],
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Show the result of the reading that the path names, as Python writes it."""
    name = environ["PATH_INFO"][1:]
    if name == "log":
        return log(environ, start_response)
    result = READS[name](environ["wsgi.input"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(result).encode()]


def log(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Write to the error log in every way that wsgi.errors offers."""
    errors = environ["wsgi.errors"]
    errors.write("by write \xe9\u20ac\n")
    errors.writelines(["by writelines, ", "in two pieces\n"])
    print("by print", file=errors)
    errors.flush()
    sys.stderr.write("by sys.stderr\n")
    sys.stderr.flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
