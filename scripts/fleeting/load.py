"""Sixteen clients that send a request now and then, half over kept connections, half over fresh ones.

All of them live in one thread with one selector. A client sends its next request when the one before is over and its
interval has passed.
"""

from __future__ import annotations

import errno
import itertools
import random
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from attacking.answers import AnswerParser, BadAnswer
from fleeting.requests import CUT_SHORT, NO_ANSWER, REFUSED, RESET, WRONG, Attempt, Request

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
OK = 200
PATIENCE_SECONDS = 10.0
TICK_SECONDS = 0.01
JOIN_SECONDS = PATIENCE_SECONDS + 5.0
QUICK_SECONDS, SELDOM_SECONDS = 0.04, 0.7
# Of those that keep connections two are seldom heard of: what they keep is idle when a worker leaves.
INTERVALS = [(True, QUICK_SECONDS)] * 6 + [(True, SELDOM_SECONDS)] * 2 + [(False, QUICK_SECONDS)] * 8
RECEIVE_BYTES = 65_536


class Client:
    """A client, its connection, and the request that is under way, if any.

    `interval` is None for one that sends a single request; `group` names those that came together.
    """

    def __init__(self, *, kept: bool, interval: float | None, path: str = "/", group: str = "") -> None:
        self.kept = kept
        self.interval = interval
        self.path = path
        self.group = group
        self.due = 0.0
        self.over = False
        self.began = 0.0
        self.deadline = 0.0
        self.attempt: Attempt | None = None
        self.lost: Attempt | None = None
        """The attempt that is repeated."""
        self.sock: socket.socket | None = None
        self.connected = False
        self.reused = False
        self.received = False
        self.parser = AnswerParser()

    def message(self, number: int) -> bytes:
        """Return the request of this number."""
        close = "" if self.kept else "Connection: close\r\n"
        return f"GET {self.path}?{number} HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode()


class Load:
    """The thread of all clients, from the beginning of the block on. `stop` returns what they saw."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count(1)
        self._dice = random.Random(1)  # noqa: S311 - so that clients do not march in step
        self._selector = selectors.DefaultSelector()
        self._clients = [Client(kept=kept, interval=interval) for kept, interval in INTERVALS]
        self._newcomers: deque[Client] = deque()
        self._requests: list[Request] = []
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        now = time.monotonic()
        for client in self._clients:
            client.due = now + self._dice.random() * (client.interval or 0.0)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all clients at once."""
        self._stopping = True
        for client in self._clients:
            client.deadline = 0.0
        self._thread.join(JOIN_SECONDS)

    def burst(self, count: int, path: str, group: str) -> None:
        """Let `count` more clients connect and send one request each."""
        self._newcomers.extend(Client(kept=False, interval=None, path=path, group=group) for _ in range(count))

    def waiting(self, group: str) -> int:
        """Return how many clients of a group have sent their request and have no answer yet."""
        return sum(client.group == group and client.connected for client in list(self._clients))

    def numbers(self, group: str) -> set[int]:
        """Return the numbers of the requests of a group that are under way."""
        attempts = [client.attempt for client in list(self._clients) if client.group == group]
        return {attempt.number for attempt in attempts if attempt is not None}

    def over(self, group: str) -> list[Request]:
        """Return the requests of a group that are over, well or not."""
        return [request for request in list(self._requests) if request.group == group]

    def stop(self) -> list[Request]:
        """Let the requests that are under way end, and return all. Raises what has ended the thread."""
        self._stopping = True
        self._thread.join(JOIN_SECONDS)
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise RuntimeError("the clients do not come to their end")
        return self._requests

    # The thread.

    def _run(self) -> None:
        try:
            while True:
                self._turn()
                if self._stopping and not any(client.attempt for client in self._clients):
                    break
        except BaseException as error:  # noqa: BLE001 - `stop` raises it
            self._error = error
        for client in self._clients:
            self._disconnect(client)
        self._selector.close()

    def _turn(self) -> None:
        now = time.monotonic()
        if self._newcomers:
            self._clients = [client for client in self._clients if not client.over]
            while self._newcomers:
                self._clients.append(self._newcomers.popleft())
        sleep = TICK_SECONDS
        for client in self._clients:
            if client.attempt is not None:
                if now >= client.deadline:
                    self._fail(client, NO_ANSWER)
            elif client.over or self._stopping:
                continue
            elif client.due <= now:
                self._begin(client, now)
            else:
                sleep = min(sleep, client.due - now)
        for key, _ in self._selector.select(sleep):
            self._attend(key.data)

    def _begin(self, client: Client, now: float) -> None:
        client.began = now
        client.deadline = now + PATIENCE_SECONDS
        client.lost = None
        self._try(client)

    def _try(self, client: Client) -> None:
        """Send the request, over a new connection if there is none."""
        client.received = False
        client.parser = AnswerParser()
        if client.sock is not None:
            client.reused = True
            client.attempt = Attempt(next(self._numbers), client.sock.getsockname()[1])
            self._send(client)
            return
        client.reused = client.connected = False
        client.sock = socket.socket()
        client.sock.setblocking(False)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = client.sock.connect_ex((HOST, self._port))
        client.attempt = Attempt(next(self._numbers), client.sock.getsockname()[1])
        self._selector.register(client.sock, selectors.EVENT_WRITE, client)
        if code not in (0, errno.EINPROGRESS):
            self._fail(client, _kind(code))

    def _send(self, client: Client) -> None:
        if client.sock is None or client.attempt is None:
            return
        try:
            client.sock.send(client.message(client.attempt.number))
        except OSError as error:
            self._end_of_stream(client, _kind(error.errno))

    def _attend(self, client: Client) -> None:
        if client.sock is None:
            return
        if not client.connected:
            code = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._fail(client, _kind(code))
                return
            client.connected = True
            self._selector.modify(client.sock, selectors.EVENT_READ, client)
            self._send(client)
            return
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end_of_stream(client, _kind(error.errno))
            return
        if client.attempt is None:  # between two requests: closed, which everybody may
            self._disconnect(client)
        elif not data:
            self._end_of_stream(client, NO_ANSWER)
        else:
            self._feed(client, data)

    def _feed(self, client: Client, data: bytes) -> None:
        client.received = True
        try:
            answer = client.parser.feed(data)
        except BadAnswer:
            self._fail(client, WRONG)
            return
        if answer is None:
            return
        if not (answer.stays and client.kept):
            self._disconnect(client)
        self._finish(client, "" if answer.status == OK else WRONG)

    def _end_of_stream(self, client: Client, kind: str) -> None:
        """Repeat what was sent over a connection that had been kept, and which was closed meanwhile; once."""
        if client.reused and not client.received and client.lost is None:
            self._disconnect(client)
            client.lost = client.attempt
            self._try(client)
        else:
            self._fail(client, CUT_SHORT if client.received else kind)

    def _fail(self, client: Client, kind: str) -> None:
        self._disconnect(client)
        self._finish(client, kind)

    def _finish(self, client: Client, failure: str) -> None:
        now = time.monotonic()
        if client.attempt is not None:
            seconds = now - client.began
            self._requests.append(
                Request(client.began, seconds, failure, client.attempt, client.lost, client.kept, client.group)
            )
        client.attempt = None
        if client.interval is None:
            client.over = True
        else:
            client.due = max(now, client.began + client.interval * (0.8 + 0.4 * self._dice.random()))

    def _disconnect(self, client: Client) -> None:
        if client.sock is not None:
            self._selector.unregister(client.sock)
            client.sock.close()
        client.sock = None
        client.connected = False


def _kind(code: int | None) -> str:
    if code == errno.ECONNREFUSED:
        return REFUSED
    return RESET if code in (errno.ECONNRESET, errno.EPIPE) else errno.errorcode.get(code or 0, NO_ANSWER)
