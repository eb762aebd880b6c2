"""A ThreadWorker inside the test's process: in a thread on real sockets, or driven turn by turn."""

import contextlib
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from greenhorn.config import Settings
from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener, Manner, listen, parse_address
from greenhorn.net.state import State
from greenhorn.observe.access import AccessFile
from greenhorn.observe.logger import Logger
from greenhorn.tls.entrance import PLAIN
from greenhorn.workers.composition import template
from greenhorn.workers.gthread import ThreadWorker
from greenhorn.workers.reception import Reception
from unit.net.waiting import DEADLINE, wait_until

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with two words."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!"]


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Digest", hashlib.sha256(body).hexdigest()), ("Content-Length", str(len(body)))])
    yield from (body[at : at + 100_000] for at in range(0, len(body), 100_000))


class Gate:
    """An application that waits in each request until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.entered.set()
        self.opened.wait(DEADLINE)
        return hello(environ, start_response)


class TestWorker:
    """A worker that was prepared as its boot does it, without a process of its own.

    `step` methods drive it from the test's thread; `start` runs it in a thread instead, on `listeners`.
    """

    __test__ = False

    def __init__(
        self, folder: Path, app: Application, bind: Sequence[str] = (), *, access: bool = False, **settings: Any
    ) -> None:
        self._log_file = folder / "error.log"
        self.listeners: list[Listener] = [listen(parse_address(address), Manner(64)) for address in bind]
        self._channel, theirs = socket.socketpair()
        self._signals, receiver = socket.socketpair()
        receiver.setblocking(False)
        theirs.setblocking(False)
        self._log = Logger(Settings(errorlog=str(self._log_file), loglevel="debug"))
        self._access_file = folder / "access.log"
        self._access = AccessFile(str(self._access_file)) if access else None
        self.worker = worker = ThreadWorker(
            1, Settings(**settings), self.listeners, self._log, self._access, theirs, app=app
        )
        worker.pid = os.getpid()
        worker.signals = receiver
        worker._compose()
        self._thread = threading.Thread(target=self._run, name="poller")
        self._failure: BaseException | None = None
        self._clients: list[socket.socket] = []
        self._sockets: list[socket.socket] = []

    # In a thread.

    def start(self) -> "TestWorker":
        """Serve in a thread until `finish`."""
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.worker.start()
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - told in the test's thread
            self._failure = error

    def connect(self, listener: int = 0, receive_buffer: int = 0) -> socket.socket:
        """A client's socket; it is closed at the end of the test."""
        own = self.listeners[listener].socket
        client = socket.socket(own.family, socket.SOCK_STREAM)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(DEADLINE)
        client.connect(own.getsockname())
        self._clients.append(client)
        return client

    def signal(self, number: int) -> None:
        """Do what the signal's handler would: leave its number for the loop."""
        self._signals.send(bytes([number]))

    def lose_master(self) -> None:
        """Close the master's end of the channel."""
        self._channel.close()

    def ended(self) -> bool:
        """Whether the loop has ended by itself; an exception in it is raised here."""
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    # Turn by turn.

    def adopt(self, sock: socket.socket, peer: tuple[str, str] | None = ("192.0.2.7", "4242")) -> Connection:
        """Make a connection of `sock` as `_accept` does it, armed."""
        worker = self.worker
        sock.setblocking(False)
        self._sockets.append(sock)
        connection = self._reception().welcome(self.listeners[0] if self.listeners else NOWHERE, sock, peer)
        worker.connections[connection.fd] = connection
        worker._parked[connection] = True
        worker.poller.add(connection.fd)
        return connection

    def _reception(self) -> Reception:
        """The worker's; where it listens nowhere, with a place where connections of the test come in."""
        reception = self.worker._reception
        if not self.listeners:
            reception._entrances[NOWHERE.fd] = PLAIN
            reception._templates[NOWHERE.fd] = template(
                self.worker.settings, NOWHERE, self.worker.log, self.worker.is_ready
            )
        return reception

    def take(self, connection: Connection) -> None:
        """Wait until the poller reports a parked connection, and take it over as the loop does."""
        expires = time.monotonic() + DEADLINE
        while connection.fd not in dict(self.worker.poller.wait(0.1)):
            assert time.monotonic() < expires, "the poller never reported the connection"
        assert self.worker._parked.pop(connection)
        connection.woken = False
        if connection.state is not State.IDLE:
            connection.deadline -= time.monotonic()
        connection.state = State.QUEUED
        connection.queued_at = time.monotonic()

    # The end.

    def log(self) -> str:
        """What the error log holds."""
        return self._log_file.read_text()

    def access_log(self) -> str:
        """What the access log holds."""
        return self._access_file.read_text()

    def finish(self) -> None:
        """Stop quickly, give everything back, and raise what failed in the loop."""
        if self._thread.ident is not None:
            self.signal(signal.SIGQUIT)
            self._thread.join(DEADLINE)
        for client in self._clients:
            client.close()
        worker = self.worker
        if self._thread.ident is not None:
            worker.pool.stop(DEADLINE)
        for connection in list(worker.connections.values()):
            connection.close()
        worker.poller.close()
        for end in (worker.channel, worker.signals, self._signals, self._channel):
            end.close()
        for listener in self.listeners:
            listener.close(unlink=True)
        for sock in self._sockets:
            sock.close()
        if self._access is not None:
            os.close(self._access._fd)
        for handler in list(self._log.error_log.handlers):
            self._log.error_log.removeHandler(handler)
            handler.close()
        assert not self._thread.is_alive(), "the loop did not end"
        if self._failure is not None:
            raise self._failure


class _Nowhere:
    """Where connections come in that a test has made by itself."""

    name = ("testserver", "80")
    fd = -1


NOWHERE: Any = _Nowhere()


def receive(client: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or fewer at the end of the stream."""
    parts = []
    while size:
        data = client.recv(min(size, 65536))
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def receive_all(client: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            parts.append(data)
    return b"".join(parts)


def read_answer(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer that has a Content-Length; nothing behind it is read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, f"the stream ended in the head: {head!r}"
        head += byte
    length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head, receive(client, int(length[0].partition(b":")[2])) if length else b""


def is_closed(client: socket.socket) -> bool:
    """Whether the server has ended the stream; what it sent before is thrown away."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        client.settimeout(DEADLINE)
    return True


def wait_for_state(worker: TestWorker, wanted: Iterable[Any]) -> None:
    """Wait until the worker's connections are in the states `wanted`, in any order."""
    states = sorted(wanted)
    wait_until(
        lambda: sorted(connection.state for connection in list(worker.worker.connections.values())) == states,
        f"connections in {states}",
    )
