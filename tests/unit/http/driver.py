"""A client and its connection in one thread: bytes go in, the real turns run on a real socket, answers come out."""

import io
import os
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from greenhorn.config import Settings
from greenhorn.http.forwarded import Forwarding
from greenhorn.http.head import STRICT, Leniency, Limits
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import Networks
from greenhorn.http.response import server_fields
from greenhorn.net.connection import Connection
from greenhorn.net.pace import Buffers, Pace
from greenhorn.net.state import ARMED, TRANSITIONS, State
from greenhorn.observe.access import AccessLog
from greenhorn.observe.logger import Logger
from greenhorn.workers.answer import exchange
from greenhorn.workers.serve import read_proxy, serve
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import connection_template, environ_template

SECURE_SCHEMES = {"HTTP_X_FORWARDED_PROTOCOL": "ssl", "HTTP_X_FORWARDED_PROTO": "https"}
BUFFERS = Buffers(memory=1 << 20, most=1 << 22, pace=Pace(5.0), folder=None, sendfile=False)
FIELDS = server_fields("greenhorn")
TEMPLATE = environ_template(
    server=("127.0.0.1", "80"),
    scheme="http",
    software="greenhorn",
    errors=io.StringIO(),
    script_name="",
    multithread=True,
    multiprocess=False,
)
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How the server is set up; the defaults are its defaults."""

    limits: Limits = DEFAULT_LIMITS
    leniency: Leniency = STRICT
    header_map: str = "drop"
    strip_spaces: bool = False
    allowed: tuple[str, ...] = ()
    trusts_scheme: bool = False
    proxy_versions: str = "off"
    proxies: tuple[str, ...] = ("127.0.0.1",)
    forwarding: Forwarding | None = None
    dropped: Callable[[str], None] | None = None


class Seen(NamedTuple):
    """One call of the application."""

    environ: dict[str, Any]
    body: bytes


class Recorder:
    """An application that keeps what it was called with, and answers with the number of the call."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.seen.append(Seen(environ, environ["wsgi.input"].read()))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answer %d" % len(self.seen)]


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """Sends to one connection and runs every turn that becomes due, as the worker's threads would."""

    def __init__(self, setup: Setup | None = None, access: AccessLog | None = None) -> None:
        setup = setup or Setup()
        near, self._far = socket.socketpair()
        near.setblocking(False)
        self._far.setblocking(False)
        self.app = Recorder()
        self.received = b""
        self.server_ended = False
        self.connection = Connection(near, ("127.0.0.1", "50000"), serve, BUFFERS)
        if setup.proxy_versions != "off":
            self.connection.turn = read_proxy
        self.connection.template = connection_template(
            TEMPLATE, self.connection.peer, near, self.connection.client_disconnected
        )
        self.connection.trusted = setup.trusts_scheme
        self.connection.names = FieldNames(
            header_map=setup.header_map,
            allowed=setup.allowed,
            strip_spaces=setup.strip_spaces,
            telling=(
                *(SECURE_SCHEMES if setup.trusts_scheme else ()),
                *(setup.forwarding.keys if setup.forwarding else ()),
            ),
            on_dropped=setup.dropped,
        )
        self._service = Service(
            app=self.app,
            log=LOG,
            access=access,
            limits=setup.limits,
            leniency=setup.leniency,
            keep_alive=True,
            body_memory=65536,
            body_folder=None,
            secure_schemes=SECURE_SCHEMES,
            proxy_versions=setup.proxy_versions,
            proxies=Networks(setup.proxies),
            forwarding=setup.forwarding,
            fields=FIELDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self._far.close()

    @property
    def state(self) -> State:
        return self.connection.state

    def send(self, data: bytes) -> None:
        """Send `data`; whatever the server has closed already is not sent any more."""
        if self.state is not State.CLOSED and data:
            self._far.sendall(data)
            self._run(len(data))

    def end(self) -> None:
        """End the client's half of the connection."""
        if self.state is not State.CLOSED:
            self._far.shutdown(socket.SHUT_WR)
            self._run(0)

    def _run(self, size: int) -> None:
        for _ in range(20 + size):
            if not self._is_due():
                return
            self._turn()
            self._receive()
        raise AssertionError(f"the connection does not come to rest: {self.state!r}")

    def _is_due(self) -> bool:
        if self.state in (State.QUEUED, State.FLUSH):
            return True
        return self.state is not State.CLOSED and self._is_readable()

    def _is_readable(self) -> bool:
        try:
            self.connection.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def _turn(self) -> None:
        connection = self.connection
        for state in (State.QUEUED, State.ACTIVE):
            assert state is connection.state or state in TRANSITIONS[connection.state]
            connection.state = state
        try:
            outcome = connection.turn(connection, self._service)
            if outcome is State.WHOLE:
                outcome = exchange(connection, self._service)
        except OSError:  # as the worker does
            outcome = State.CLOSED
        assert outcome in TRANSITIONS[State.ACTIVE]
        if outcome in ARMED:
            connection.was = outcome
        if outcome is State.IDLE and connection.drained:  # then an edge-triggered poller will not tell again
            assert not self._is_readable()
        connection.state = outcome
        if outcome is State.CLOSED:
            connection.close()

    def _receive(self) -> None:
        try:
            while data := self._far.recv(65536):
                self.received += data
            self.server_ended = True
        except BlockingIOError:
            pass

    def answers(self, *, to_head: bool = False) -> list[Answer]:
        """Every answer so far, interim ones too; anything that is not one fails the test."""
        answers = []
        rest = self.received
        while rest:
            head, end, rest = rest.partition(b"\r\n\r\n")
            assert end, f"an answer without an end of its head: {head!r}"
            status_line, *lines = head.decode("latin-1").split("\r\n")
            status = re.fullmatch(r"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*", status_line)
            assert status, status_line
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            assert len(fields) == len(lines), f"a field twice: {lines}"
            length = 0 if status[1].startswith("1") or to_head else int(fields["content-length"])
            assert len(rest) >= length, f"an answer that is too short: {rest!r}"
            answers.append(Answer(int(status[1]), fields, rest[:length]))
            rest = rest[length:]
        return answers


LOG = Logger(Settings(errorlog=os.devnull, loglevel="critical"))
