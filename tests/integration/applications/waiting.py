"""Waits as applications do, in the ways that a worker class on greenlets makes cooperative."""

import hashlib
import json
import os
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

TEXT = [("Content-Type", "text/plain")]
MIB = 1024 * 1024
Environ = dict[str, Any]
Start = Callable[..., Any]
released = threading.Event()
lock = threading.Lock()
local = threading.local()
answers: "queue.Queue[bytes]" = queue.Queue()
waiters: set[int] = set()
AT_IMPORT = {
    "socket": socket.socket.__module__,
    "sleep": time.sleep.__module__,
    "lock": type(lock).__module__,
    "ssl": ssl.SSLSocket.__module__,
}
"""Where what blocks comes from, as the application has bound it."""


def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Call the function that the path names; `/` is `pid`."""
    act: Callable[[Environ, Start], Iterable[bytes]] = globals()[environ["PATH_INFO"][1:] or "pid"]
    return act(environ, start_response)


def pid(_: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"%d" % os.getpid()]


def patched(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Show what was replaced before the application was imported."""
    start_response("200 OK", TEXT)
    return [json.dumps(AT_IMPORT).encode()]


def sleep(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Sleep for as many milliseconds as the query says."""
    time.sleep(int(environ["QUERY_STRING"]) / 1000)
    start_response("200 OK", TEXT)
    return [b"slept"]


def poll(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Wait until /release is asked for: a long poll."""
    waiters.add(id(environ))
    released.wait(40)
    waiters.discard(id(environ))
    start_response("200 OK", TEXT)
    return [b"released"]


def polled(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Show how many requests are in `poll`."""
    start_response("200 OK", TEXT)
    return [b"%d" % len(waiters)]


def release(_: Environ, start_response: Start) -> Iterable[bytes]:
    released.set()
    start_response("200 OK", TEXT)
    return [b"done"]


def lines(_: Environ, start_response: Start) -> Iterator[bytes]:
    """Send a line, wait for /release, and send another."""
    start_response("200 OK", TEXT)
    yield b"first\n"
    released.wait(40)
    yield b"last\n"


def digest(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Read the body in pieces."""
    found = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):
        found.update(piece)
    start_response("200 OK", TEXT)
    return [found.hexdigest().encode()]


def large(_: Environ, start_response: Start) -> Iterator[bytes]:
    """Make 16 MiB, a piece at a time."""
    start_response("200 OK", [*TEXT, ("Content-Length", str(16 * MIB))])
    return (bytes(MIB // 4) for _ in range(64))


def thread(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with what a thread of the application's own has put into a queue, and with what it left of a local."""
    local.mine = "request"

    def work() -> None:
        local.mine = "thread"
        answers.put(b"from a thread")

    threading.Thread(target=work).start()
    start_response("200 OK", TEXT)
    return [answers.get(timeout=10), b", ", local.mine.encode()]


def process(_: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with what another process says."""
    said = subprocess.run(["echo", "from a process"], check=True, capture_output=True).stdout
    start_response("200 OK", TEXT)
    return [said]


def loopback(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Ask this very server over a blocking socket: one process cannot, unless waiting is cooperative."""
    with socket.create_connection((environ["SERVER_NAME"], int(environ["SERVER_PORT"])), 10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    start_response("200 OK", TEXT)
    return [received.partition(b"\r\n\r\n")[2]]


def fail(_: Environ, __: Start) -> Iterable[bytes]:
    """Raise as applications do that were told to stop."""
    raise SystemExit("the application wants to end")


def block(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Run for as many milliseconds as the query says, and let nobody else run."""
    until = time.perf_counter() + int(environ["QUERY_STRING"]) / 1000
    while time.perf_counter() < until:
        pass
    start_response("200 OK", TEXT)
    return [b"%d" % os.getpid()]
