"""Gives a different kind of answer on each path."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

TEXT = [("Content-Type", "text/plain")]
Start = Callable[..., Callable[[bytes], None]]
PARTS = [b"one ", b"two ", b"three"]

LISTS: dict[str, Iterable[bytes]] = {
    "/list": [b"one two three"],
    "/parts": PARTS,
    "/tuple": tuple(PARTS),
    "/empty": [],
    "/empty-piece": [b""],
    "/holes": [b"", b"one two three", b""],
    "/large": [b"a" * 300_000, b"b" * 700_000],
}

HEADERS: dict[str, Any] = {
    "/name-with-space": [("X Y", "zq81")],
    "/name-with-colon": [("X:", "zq81")],
    "/name-with-line": [("X: zq81\r\nY", "zq81")],
    "/name-with-nul": [("X\0", "zq81")],
    "/name-empty": [("", "zq81")],
    "/name-beyond-ascii": [("X\xe9", "zq81")],
    "/name-of-bytes": [(b"X", "zq81")],
    "/value-with-crlf": [("X", "zq81\r\nSet-Cookie: zq81")],
    "/value-with-lf": [("X", "zq81\nSet-Cookie: zq81")],
    "/value-with-cr": [("X", "zq81\rSet-Cookie: zq81")],
    "/value-with-nul": [("X", "zq81\0")],
    "/value-with-escape": [("X", "zq81\x1b[2J")],
    "/value-with-del": [("X", "zq81\x7f")],
    "/value-beyond-latin-1": [("X", "zq81\u20ac")],
    "/value-of-bytes": [("X", b"zq81")],
    "/value-of-number": [("X", 81)],
    "/length-of-letters": [("Content-Length", "zq81")],
    "/length-negative": [("Content-Length", "-1")],
    "/length-twice": [("Content-Length", "13"), ("content-length", "14")],
    "/location-with-crlf": [("Location", "/zq81\r\n\r\n<script>")],
    "/not-pairs": ["zq81"],
}

STATUSES: dict[str, Any] = {
    "/status-with-crlf": "200 OK\r\nSet-Cookie: zq81",
    "/status-with-nul": "200 zq81\0",
    "/status-of-letters": "zq81",
    "/status-of-two-digits": "20 zq81",
    "/status-of-four-digits": "2000 zq81",
    "/status-number": 200,
    "/status-bytes": b"200 zq81",
    "/status-empty": "",
}

HOP_BY_HOP = [
    ("Connection", "zq81"),
    ("Keep-Alive", "timeout=81"),
    ("Proxy-Connection", "zq81"),
    ("TE", "zq81"),
    ("Trailer", "zq81"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "zq81"),
    ("Server", "zq81"),
    ("Date", "zq81"),
]


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Answer as the path says."""
    path = environ["PATH_INFO"]
    if path in LISTS:
        start_response("200 OK", TEXT)
        return LISTS[path]
    if path in HEADERS:
        start_response("200 OK", HEADERS[path])
        return [b"one two three"]
    if path in STATUSES:
        start_response(STATUSES[path], TEXT)
        return [b"one two three"]
    return globals()[path[1:].replace("-", "_")](environ, start_response)


def generator(_: dict[str, Any], start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from PARTS


def generator_with_holes(_: dict[str, Any], start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield PARTS[0]
    yield b""
    yield b"".join(PARTS[1:])
    yield b""


def generator_of_nothing(_: dict[str, Any], start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from ()


def measured_generator(_: dict[str, Any], start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "13")])
    yield from PARTS


def writer(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


def file(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"one two three"), 4)
    return wrapped


def status(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Send a body with the status of the query, whether it may have one or not."""
    start_response(environ["QUERY_STRING"].replace("+", " "), TEXT)
    return [b"a body ", b"that may be forbidden"]


def streamed_status(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
    """Do the same piece by piece."""
    write = start_response(environ["QUERY_STRING"].replace("+", " "), TEXT)
    write(b"a body ")
    yield b"that may be forbidden"


def measured_status(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Do the same with a length."""
    start_response(environ["QUERY_STRING"].replace("+", " "), [*TEXT, ("Content-Length", "28")])
    return [b"a body ", b"that may be forbidden"]


def hop_by_hop(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, *HOP_BY_HOP])
    return [b"one two three"]


def closing(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Connection", "close")])
    return [b"one two three"]


def fields(_: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    start_response(
        "299 Made Up \xe9", [("X-Caf", "\xe9\t!"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-E", "")]
    )
    return [b"one two three"]


def hints(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Send two hints before the answer, and one that comes too late."""
    hint = environ["wsgi.early_hints"]
    hint([("Link", "</a.css>; rel=preload")])
    hint([("Link", "</b.css>; rel=preload"), ("Link", "</c.css>; rel=preload")])
    start_response("200 OK", TEXT)
    yield b"one two "
    hint([("Link", "</late.css>; rel=preload")])
    yield b"three"


def forged_hints(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("Link", "zq81\r\nSet-Cookie: zq81")])
    return generator(environ, start_response)
