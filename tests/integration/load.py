"""Clients that ask again and again while a test does something to the server, and what befell them."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from integration.answers import AnswerReader
from integration.running import DEADLINE, Server, wait_until
from integration.wire import is_readable

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PACE = 0.01
"""Seconds between an answer and the next request of the same client."""
IDLE = 0.3
"""Seconds without a request, on a machine that did not let the client run, after which a server that leaves may have
closed a kept connection, so that the client has to repeat the request."""


class Answered(NamedTuple):
    """A request that was answered with 200: how long that took, and what the answer says."""

    seconds: float
    text: str


class Load:
    """Clients in threads of their own; half of them keep their connections, the others make one for each request."""

    def __init__(self, port: int, clients: int, trust: ssl.SSLContext | None = None) -> None:
        self.answers: list[Answered] = []
        self.failures: list[str] = []
        self.repeated = 0
        """Requests on connections that had been idle for `IDLE` and were closed just then."""
        self._address = ("127.0.0.1", port)
        self._trust = trust
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on_one_connection if number % 2 else self._ask_on_many, daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when every client has got its last answer."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * DEADLINE)
            assert not thread.is_alive(), "a client still waits for its answer"

    def more(self, count: int) -> list[Answered]:
        """Return the next answers, at least so many."""
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + count or self.failures, what=f"{count} answers")
        assert not self.failures, self.failures
        return self.answers[before:]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, DEADLINE)
        if self._trust is None:
            return connection
        return self._trust.wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False)

    def _ask_on_many(self) -> None:
        while not self._over.wait(PACE):
            began = time.monotonic()
            try:
                with self._connect() as connection:
                    connection.sendall(LAST_GET)
                    self._note(began, AnswerReader(connection))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"on a fresh connection, after {time.monotonic() - began:.3f} s: {error!r}")

    def _ask_on_one_connection(self) -> None:
        while not self._over.is_set():
            try:
                with self._connect() as connection:
                    self._ask_until_closed(connection)
            except OSError as error:
                self.failures.append(f"at a connection to be kept: {error!r}")

    def _ask_until_closed(self, connection: socket.socket) -> None:
        reader = AnswerReader(connection)
        kept, answered = True, time.monotonic()
        # Behind a handshake there are session tickets to read.
        expected = self._trust is not None
        while kept and not self._over.wait(PACE) and (expected or not is_readable(connection, 0)):
            expected = False
            began = time.monotonic()
            try:
                connection.sendall(GET)
                kept = self._note(began, reader)
            except (OSError, http.client.HTTPException) as error:
                if began - answered < IDLE:
                    self.failures.append(f"on a kept connection, after {time.monotonic() - began:.3f} s: {error!r}")
                else:
                    self.repeated += 1
                return
            answered = time.monotonic()

    def _note(self, began: float, reader: AnswerReader) -> bool:
        """Take note of an answer; whether the server keeps the connection."""
        answer = reader.read()
        seconds = time.monotonic() - began
        if answer.status == 200:
            self.answers.append(Answered(seconds, answer.text))
        else:
            self.failures.append(f"{answer.status} {answer.text}")
        return answer.headers["Connection"] != "close"


@contextmanager
def load(site: Server, clients: int = 8, port: int | None = None) -> Iterator[Load]:
    """Ask for `/` at the site, or at a port, until the block ends; AssertionError if a request failed.

    With TLS if the site's launch says so.
    """
    clients_at_work = Load(site.port if port is None else port, clients, site.launch.trust)
    clients_at_work.start()
    try:
        yield clients_at_work
    finally:
        clients_at_work.stop()
    assert not clients_at_work.failures, clients_at_work.failures


def slowest(answers: list[Answered]) -> float:
    """Return the seconds that the slowest of the answers took."""
    return max(answer.seconds for answer in answers)


def usual(answers: list[Answered]) -> float:
    """Return the seconds that 99 of 100 answers did not exceed."""
    return sorted(answer.seconds for answer in answers)[len(answers) * 99 // 100]
