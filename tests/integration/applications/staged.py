"""Does what its path says; where that is to wait, the test at the other end of STAGE says for how long."""

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

TEXT = [("Content-Type", "text/plain")]
LARGE = bytes(5 * 1024 * 1024)
Environ = dict[str, Any]
Start = Callable[..., Any]
calls: list[str] = []
"""The query of each request that was given to the application."""


def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Call the function that the path names; `/` is `pid`."""
    calls.append(environ["QUERY_STRING"])
    act: Callable[[Environ, Start], Iterable[bytes]] = globals()[environ["PATH_INFO"][1:] or "pid"]
    return act(environ, start_response)


def pid(_: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"%d" % os.getpid()]


def seen(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Show which requests were given to the application, this one included."""
    start_response("200 OK", TEXT)
    return [" ".join(calls).encode()]


def threads(_: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"%d" % threading.active_count()]


def slow(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Take as many milliseconds as the query says, up to its first letter."""
    time.sleep(int(environ["QUERY_STRING"].partition("x")[0]) / 1000)
    start_response("200 OK", TEXT)
    return [environ["QUERY_STRING"].encode()]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    return [body]


def large(_: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [LARGE]


def stream(_: Environ, start_response: Start) -> Iterator[bytes]:
    """Give the same piece by piece."""
    start_response("200 OK", TEXT)
    for at in range(0, len(LARGE), 65536):
        yield LARGE[at : at + 65536]


def locked(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Keep the interpreter lock for a minute."""
    ctypes.PyDLL(None).sleep(60)
    start_response("200 OK", TEXT)
    return [b"awake"]


def held(environ: Environ, start_response: Start) -> Iterable[bytes]:
    wait_on_stage(environ)
    start_response("200 OK", TEXT)
    return [b"%d" % os.getpid()]


def hinted(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Send an interim answer before the wait."""
    environ["wsgi.early_hints"]([("Link", "</style>; rel=preload")])
    return held(environ, start_response)


def failing(environ: Environ, _: Start) -> Iterable[bytes]:
    wait_on_stage(environ)
    raise ValueError("zq81")


def begun(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Wait in the middle of the answer."""
    start_response("200 OK", TEXT)
    yield b"begun"
    wait_on_stage(environ)
    yield b"ended"


def measured(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Do the same with a Content-Length."""
    start_response("200 OK", [*TEXT, ("Content-Length", "10")])
    yield b"begun"
    wait_on_stage(environ)
    yield b"ended"


def sent(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Wait when all of the answer was sent."""
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])(b"begun")
    wait_on_stage(environ)
    return []


def wait_on_stage(environ: Environ) -> None:
    """Tell the test that the request is here, answer whether its client has left when asked, and wait for leave."""
    try:
        stage = socket.create_connection(("127.0.0.1", int(os.environ["STAGE"])))
    except ConnectionRefusedError:
        return  # the test is over
    with stage:
        stage.sendall(f"{environ['QUERY_STRING']} {os.getpid()}\n".encode())
        while stage.recv(1) == b"?":
            left = environ["greenhorn.client_disconnected"](), environ["waitress.client_disconnected"]()
            stage.sendall(b"%d%d" % left)
