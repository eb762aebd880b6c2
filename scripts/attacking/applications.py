"""The WSGI application under attack: a path for each thing that a client, healthy or hostile, asks for.

The environment variable LARGE_MIB says how large its large answers are; 32 by default.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

GREETING = b"Hello, World!\n"
PAGE = b"p" * 4096
LARGE_MIB = int(os.environ.get("LARGE_MIB", "32"))
LARGE_BYTES = LARGE_MIB * 1_048_576
NAP_SECONDS = 0.01

_PIECE = b"x" * 65_536
# Made once: an application that makes so much for each request needs no attacker to run out of memory.
_LIST = [b"x" * 1_048_576] * LARGE_MIB
# Without a name, so that nothing is left behind, and sparse, so that it takes no room on the disk.
_FILE = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the process lives
_FILE.truncate(LARGE_BYTES)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer what stands in `_PATHS`; 404 elsewhere."""
    answer = _PATHS.get(environ["PATH_INFO"])
    if answer is None:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    return answer(environ, start_response)


def _hello(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _sized(start_response, [GREETING], len(GREETING))


def _page(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _sized(start_response, [PAGE], len(PAGE))


def _count(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the whole body and answer the number of bytes."""
    size = 0
    while piece := environ["wsgi.input"].read(65_536):
        size += len(piece)
    body = b"%d" % size
    return _sized(start_response, [body], len(body))


def _list(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _sized(start_response, _LIST, LARGE_BYTES)


def _generator(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (_PIECE for _ in range(LARGE_BYTES // len(_PIECE)))


def _file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    # Opened anew by the number of the one that is open: each answer needs a position of its own.
    file = open(f"/proc/self/fd/{_FILE.fileno()}", "rb")  # noqa: SIM115, PTH123 - the server closes it
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 65_536)
    _sized(start_response, [], LARGE_BYTES)
    return wrapped


def _nap(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(NAP_SECONDS)
    return _hello(environ, start_response)


def sleep_for_ever(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    """Never return, as an application does that waits for a lock or for a database without a timeout."""
    while True:
        time.sleep(3600)


def _sized(start_response: StartResponse, body: Iterable[bytes], size: int) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])
    return body


_PATHS: dict[str, Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
    "/": _hello,
    "/page": _page,
    "/count": _count,
    "/list": _list,
    "/generator": _generator,
    "/file": _file,
    "/nap": _nap,
    "/stuck": sleep_for_ever,
}
