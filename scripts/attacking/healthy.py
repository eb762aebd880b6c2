"""A process that plays healthy clients: `python -m attacking.healthy PORT CLIENTS INTERVAL PATH [CERTFILE]`.

Each client is a thread that sends a GET over its kept connection every INTERVAL seconds, and one in fifty over
a new connection. With CERTFILE they speak TLS, and believe that certificate. An answer that takes longer is waited
for, up to a limit, and what it delayed is left out. The line `stop` on the standard input ends them and is answered
with all samples, as JSON.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.answers import AnswerParser, BadAnswer
from attacking.companion import Companion, Orders
from attacking.swarm import SERVER_HOST

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 5.0
NEW_EVERY = 50
INTERVAL_SECONDS = 0.005
CLIENTS = 4
OK = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it began on the system's monotonic clock, what it took, and why it failed, if it did."""

    began: float
    seconds: float
    failure: str


class Healthy(Companion):
    """The process of healthy clients of one server, from the beginning of the block on."""

    def __init__(
        self,
        port: int,
        *,
        clients: int = CLIENTS,
        interval: float = INTERVAL_SECONDS,
        path: str = "/",
        certfile: Path | None = None,
    ) -> None:
        super().__init__("healthy", port, clients, interval, path, *([certfile] if certfile else []))

    def stop(self) -> list[Sample]:
        """End all clients, and return their requests in no order."""
        return [Sample(*row) for row in self.ask("stop")]


class _Client:
    def __init__(self, port: int, path: str, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context
        self._kept = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self._single = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        self._connection: socket.socket | None = None
        self.samples: list[Sample] = []

    def run(self, over: threading.Event, interval: float) -> None:
        """Send requests until it is over."""
        due = time.monotonic()
        while not over.is_set():
            self._request(new=len(self.samples) % NEW_EVERY == NEW_EVERY - 1)
            now = time.monotonic()
            due = max(due + interval, now)
            time.sleep(due - now)

    def _request(self, *, new: bool) -> None:
        began = time.monotonic()
        failure = ""
        try:
            status = self._over_new_connection() if new else self._over_kept_connection()
            if status != OK:
                failure = str(status)
        except TimeoutError:
            failure = "timeout"
        except (OSError, BadAnswer) as error:
            failure = type(error).__name__
        if failure and not new and self._connection is not None:
            self._connection.close()
            self._connection = None
        if failure and new:
            failure += " of a new connection"
        self.samples.append(Sample(began, time.monotonic() - began, failure))

    def _over_new_connection(self) -> int:
        with self._connect() as connection:
            return _exchange(connection, self._single)[0]

    def _over_kept_connection(self) -> int:
        if self._connection is None:
            self._connection = self._connect()
        status, stays = _exchange(self._connection, self._kept)
        if not stays:
            self._connection.close()
            self._connection = None
        return status

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((SERVER_HOST, self._port), PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return connection
        return self._context.wrap_socket(connection, server_hostname=SERVER_HOST)


def _exchange(connection: socket.socket, request: bytes) -> tuple[int, bool]:
    """Return the status, and whether the connection stays."""
    expires = time.monotonic() + PATIENCE_SECONDS
    connection.settimeout(PATIENCE_SECONDS)
    connection.sendall(request)
    parser = AnswerParser()
    while True:
        answer = parser.feed(connection.recv(65_536))
        if answer is not None:
            return answer.status, answer.stays
        if time.monotonic() > expires:
            raise TimeoutError


def main() -> None:
    """Play the clients that the command line describes, until told to stop or to end."""
    port, clients, interval, path, *certfile = sys.argv[1:]
    context = ssl.create_default_context(cafile=certfile[0]) if certfile else None
    over = threading.Event()
    everybody = [_Client(int(port), path, context) for _ in range(int(clients))]
    threads = [threading.Thread(target=one.run, args=(over, float(interval)), daemon=True) for one in everybody]
    for thread in threads:
        thread.start()
    orders = Orders()
    for order in iter(orders.read, [None]):
        if "stop" in order:
            over.set()
            for thread in threads:
                thread.join()
            samples = (sample for one in everybody for sample in one.samples)
            orders.reply([[sample.began, sample.seconds, sample.failure] for sample in samples])


if __name__ == "__main__":
    main()
