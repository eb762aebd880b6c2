"""A plain WSGI application: no framework, one function per path."""

import hashlib
import os
from urllib.parse import parse_qs

PIECE = 64 * 1024
TEXT = "text/plain; charset=utf-8"


def index(_environ, start_response):
    body = b"Hello from a plain WSGI application.\n"
    start_response("200 OK", [("Content-Type", TEXT), ("Content-Length", str(len(body)))])
    return [body]


def show_environ(environ, start_response):
    """The environ as sorted lines of name=repr(value)."""
    start_response("200 OK", [("Content-Type", TEXT)])
    return ["".join(f"{name}={environ[name]!r}\n" for name in sorted(environ)).encode()]


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    kind = environ.get("CONTENT_TYPE") or "application/octet-stream"
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def sha256(environ, start_response):
    """The digest and the length of the request body, which is read piece by piece."""
    digest, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(PIECE):
        digest.update(piece)
        length += len(piece)
    start_response("200 OK", [("Content-Type", TEXT)])
    return [f"{digest.hexdigest()} {length}\n".encode()]


def stream(environ, start_response):
    """/stream?n=3 sends three lines, each as a chunk of its own."""
    count = number(environ, "n", 10)
    start_response("200 OK", [("Content-Type", TEXT)])
    return (f"chunk {i}\n".encode() for i in range(count))


def send_file(environ, start_response):
    """The file named by EXAMPLE_FILE (without one: this source), handed to the server to send."""
    file = open(os.environ.get("EXAMPLE_FILE", __file__), "rb")  # noqa: PTH123, SIM115 - the server closes it
    size = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](file, PIECE)


def big(environ, start_response):
    """/big?mib=200 generates that many MiB: pieces of 64 KiB that each begin with their number in 8 bytes.

    With &length=1 the length is declared, otherwise it is not.
    """
    pieces = number(environ, "mib", 1) * 16
    headers = [("Content-Type", "application/octet-stream")]
    if number(environ, "length", 0):
        headers.append(("Content-Length", str(pieces * PIECE)))
    start_response("200 OK", headers)
    rest = bytes(range(256)) * (PIECE // 256)
    return (i.to_bytes(8, "big") + rest[8:] for i in range(pieces))


def number(environ, name, default):
    values = parse_qs(environ.get("QUERY_STRING", "")).get(name, [])
    return int(values[0]) if values and values[0].isdecimal() else default


PATHS = {
    "/": index,
    "/environ": show_environ,
    "/echo": echo,
    "/sha256": sha256,
    "/stream": stream,
    "/file": send_file,
    "/big": big,
}


def application(environ, start_response):
    handler = PATHS.get(environ["PATH_INFO"])
    if handler is None:
        body = b"There is nothing here.\n"
        start_response("404 Not Found", [("Content-Type", TEXT), ("Content-Length", str(len(body)))])
        return [body]
    return handler(environ, start_response)


app = application
