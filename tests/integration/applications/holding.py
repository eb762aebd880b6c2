"""Holds requests until a gate is opened, tells in which process it runs, and sends more than a client reads."""

import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MIB = 1024 * 1024
LARGE = [bytes(MIB)] * 32
"""32 MiB that cost one."""
TEXT = [("Content-Type", "text/plain")]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do as the path says; any other path shows the process id."""
    path = environ["PATH_INFO"]
    if path == "/held":
        hold()
    if path == "/hung":
        threading.Event().wait(300)
    start_response("200 OK", TEXT)
    if path == "/begun":
        return begun()
    if path == "/list":
        return LARGE
    if path == "/generator":
        return iter(LARGE)
    if path == "/file":
        file = open(os.environ["LARGE"], "rb")  # noqa: PTH123, SIM115 - the server closes it
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, MIB)
        return wrapped
    return [b"%d" % os.getpid()]


def begun() -> Iterator[bytes]:
    """Send the process id at once and the end when the gate opens."""
    yield b"%d\n" % os.getpid()
    hold()
    yield b"end"


def hold() -> None:
    """Return when a byte has come through the named pipe GATE; greenlets wait as threads do."""
    gate = os.open(os.environ["GATE"], os.O_RDWR)  # which opens at once, while to read only would block
    try:
        select.select([gate], [], [])
        os.read(gate, 1)
    finally:
        os.close(gate)
