"""Holds requests in the application `staged`, one by one, for as long as the test wants."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integration.answers import AnswerReader
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.wire import connect, is_readable

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

DUMP: int = getattr(signal, "SIGINFO", None) or signal.SIGPWR
"""What makes the master ask for what is in flight."""
RECORD = re.compile(
    r"(?P<what>Request beyond request_timeout|In flight): (?P<method>\S+) (?P<path>\S+) for (?P<age>[\d.]+) s, "
    r"from 127\.0\.0\.1:(?P<port>\d+)(?:, in thread \S+)?:\n(?P<stack>(?:  .*\n?)*)"
)
"""What the log says of a request that takes long."""


def ask(path: str, method: str = "GET", fields: str = "", version: str = "HTTP/1.1") -> bytes:
    """Return a request without a body; `fields` are whole lines."""
    return f"{method} {path} {version}\r\nHost: x\r\n{fields}\r\n".encode()


class Held:
    """A request that the application waits in: its query, the pid of its process, and when it was noticed."""

    def __init__(self, connection: socket.socket) -> None:
        self.since = time.monotonic()
        self._connection = connection
        line = bytearray()
        while not line.endswith(b"\n"):
            data = connection.recv(1)
            assert data, "the application left the stage at once"
            line += data
        self.name, pid = line.decode().split(" ")
        self.pid = int(pid)

    def left(self) -> set[bool]:
        """Return what the application is told about its client: whether it has left, under both keys."""
        self._connection.sendall(b"?")
        told = bytearray()
        while len(told) < 2:
            data = self._connection.recv(2)
            assert data, "the application does not wait any more"
            told += data
        return {letter == ord("1") for letter in told}

    def release(self) -> None:
        """Let it go on."""
        self._connection.close()


class Stage:
    """Where the application tells of each request that it waits in."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE)
        self._all: list[Held] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def next(self) -> Held:
        """Return the next request that the application waits in."""
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE)
        held = Held(connection)
        self._all.append(held)
        return held

    def is_empty_for(self, seconds: float) -> bool:
        """Tell whether no other request comes to wait within so many seconds."""
        return not is_readable(self._listener, seconds)

    def close(self) -> None:
        """Let everything go on, now and from now on."""
        self._listener.close()
        for held in self._all:
            held.release()


class Theatre:
    """Starts servers of the application `staged` whose requests wait on `stage`."""

    def __init__(self, server: StartServer, applications: Path, stage: Stage) -> None:
        self._server = server
        self._applications = applications
        self.stage = stage

    def start(self, *arguments: str, **options: Any) -> Server:
        env = {"STAGE": str(self.stage.port)}
        flags = ("--access-logfile", "-", *arguments)
        return self._server("staged", *flags, pythonpath=(self._applications,), env=env, **options)

    def hold(self, site: Server, path: str = "/held", fields: str = "") -> tuple[socket.socket, Held]:
        """Ask for `path` on a new connection, and return it and the request once the application waits in it."""
        connection = connect(site)
        connection.sendall(ask(path, fields=fields))
        return connection, self.stage.next()


@contextmanager
def theatre(server: StartServer, applications: Path) -> Iterator[Theatre]:
    """A stage and the means to start servers on it; at the end no request waits any more."""
    stage = Stage()
    try:
        yield Theatre(server, applications, stage)
    finally:
        stage.close()


def status_on(connection: socket.socket, request: bytes = GET) -> int:
    """Send `request` on a kept connection and return the status of the answer."""
    connection.sendall(request)
    return AnswerReader(connection).read().status


def records(site: Server, what: str) -> list[re.Match[str]]:
    """Return the records in the log that begin with `what`."""
    return [record for record in RECORD.finditer(site.log()) if record["what"].startswith(what)]


def wait_for_records(site: Server, what: str, count: int) -> list[re.Match[str]]:
    """Return the records in the log that begin with `what` when there are `count` of them, and no more."""
    wait_until(lambda: len(records(site, what)) >= count, what=f"{count} records")
    found = records(site, what)
    assert len(found) == count
    return found


def assert_tells(record: re.Match[str], port: int, path: str, *calls: str) -> None:
    """Check that `record` is that of a request for `path` from `port`, and that its stack names all `calls`."""
    assert record["path"] == path
    assert int(record["port"]) == port
    for call in calls:
        assert re.search(rf"staged\.py\", line \d+, in {call}\n", record["stack"]), record["stack"]


def port_of(connection: socket.socket) -> int:
    """Return the port of this end of the connection."""
    return int(connection.getsockname()[1])


def post(path: str, body: bytes, fields: str = "") -> bytes:
    """Return a request with a body."""
    return ask(path, "POST", f"Content-Length: {len(body)}\r\n{fields}") + body


def wait_seconds(since: float, seconds: float) -> None:
    """Return when so many seconds have passed since then, on the monotonic clock."""
    wait_until(lambda: time.monotonic() - since > seconds, what=f"{seconds} s")


def pass_the_poller(site: Server) -> None:
    """Return when the server has noticed all that happened before: it works although all threads are held.

    It takes no connection, so that nothing is counted that the test did not open.
    """
    dump(site)


def seen(site: Server) -> list[str]:
    """Return the queries of the requests that were given to the application."""
    return site.request(ask("/seen")).text.split()


def dump(site: Server) -> str:
    """Return the sum of what is in flight, as the log tells it on request."""
    pattern = re.compile(r"\d+ in flight, .*$", re.MULTILINE)
    before = len(pattern.findall(site.log()))
    site.signal(DUMP)
    wait_until(lambda: len(pattern.findall(site.log())) > before, what="the sum of what is in flight")
    return str(pattern.findall(site.log())[-1])
