"""An application that does to its server what none should; each path is one misdeed."""

import contextlib
import itertools
import os
import resource
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

if "FILE_SIZE" in os.environ:  # as if the disk were full: no file can grow beyond this
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_SIZE"]), resource.RLIM_INFINITY))

Start = Callable[..., Callable[[bytes], None]]
Environ = dict[str, Any]
late: list[Callable[[bytes], None]] = []


class Closes:
    """An answer whose `close()` closes the client's socket under the server."""

    def __init__(self, environ: Environ) -> None:
        self._socket = environ["gunicorn.socket"]

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"last words"])

    def close(self) -> None:
        self._socket.close()


def endless() -> Iterator[bytes]:
    for number in itertools.count():
        yield b"%d " % number


def large() -> Iterator[bytes]:
    for _ in range(800):
        yield b"x" * 10_000


def write_late() -> bytes:
    with contextlib.suppress(RuntimeError):
        late.pop()(b"LATE")
        return b"sent"
    return b"refused"


def fork_and_exit() -> bytes:
    pid = os.fork()
    if not pid:
        raise SystemExit(7)
    return b"child ended with %d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path == "/endless-with-length":
        headers.append(("Content-Length", "10"))
    write = start_response("200 OK", headers)
    if path == "/closes":
        return Closes(environ)
    if path.startswith("/endless"):
        return endless()
    if path == "/large":
        return large()
    if path == "/keep-write":
        write(b"early")
        late.append(write)
        return []
    if path == "/write-late":
        return [write_late()]
    if path == "/fork":
        return [fork_and_exit()]
    if path == "/threads":
        return [b"%d" % threading.active_count()]
    return [b"%d" % len(environ["wsgi.input"].read())]
