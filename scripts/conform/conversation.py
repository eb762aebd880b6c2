"""A conversation: one delivery of one case over a connection of its own, and all that came back."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conform.answers import Answer, parse_answers
from conform.deliveries import MODES
from conform.records import Claim, Records

if TYPE_CHECKING:
    from conform.cases import Case

HOST = "127.0.0.1"
RECEIVE_BYTES = 65536
# A server that takes no byte for so long will take no more.
SEND_SECONDS = 5.0
# After the last answer that is expected: time for an end of stream, or for an answer too many.
SETTLE_SECONDS = 0.05
# After the half-close: time to see the end of stream, answer what was sent, and close.
END_SECONDS = 1.0
# Up to so many pieces are paced, so that the server sees them one by one; more would take too long.
PACED_PIECES = 512
PACE_SECONDS = 0.0002


@dataclass(slots=True, eq=False)
class Exchange:
    """What one conversation led to.

    `early` counts the final answers that came before the client closed its side, `ended` says that the
    server closed before that, `cut` are bytes of an answer that was never finished, `claim` holds the
    application's calls.
    """

    claim: Claim = field(default_factory=Claim)
    answers: tuple[Answer, ...] = ()
    early: int = 0
    ended: bool = False
    cut: bytes = b""
    garbage: str = ""
    failure: str = ""

    def shown(self) -> str:
        """Say in one line what came back and what the application saw."""
        parts = [f"{answer.status}{'' if answer.record else ' by the server'}" for answer in self.answers]
        parts.append("closed" if self.ended else "left open")
        parts += [f"cut answer {self.cut[:60]!r}"] if self.cut else []
        parts += [f"garbage: {self.garbage}"] if self.garbage else []
        parts += [self.failure] if self.failure else []
        calls = [record.shown() for record in self.claim.records]
        return ", ".join(parts) + (f"; application: {', '.join(calls)}" if calls else "")


class Conversation:
    """Plays one case in one mode.

    `quiet` is how long a server may say nothing until it counts as waiting, in seconds.
    """

    def __init__(self, case: Case, mode: str, records: Records, quiet: float) -> None:
        self.case = case
        self.mode = mode
        self.records = records
        self.quiet = quiet
        self.exchange = Exchange()
        self.received = bytearray()
        self.stream_ended = False

    def play(self, port: int) -> Exchange:
        """Connect to `port`, send, wait, half-close, wait for the end; return all that came of it."""
        try:
            connection = socket.create_connection((HOST, port), timeout=SEND_SECONDS)
        except OSError as error:
            self.exchange.failure = f"no connection: {error}"
            return self.exchange
        with connection:
            self.exchange.claim = self.records.claim(connection.getsockname()[1])
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self.send(connection)
            self.wait_for_answers(connection)
            self.exchange.early = len(self.exchange.answers)
            self.exchange.ended = self.stream_ended
            self.half_close(connection)
        self.records.update()
        return self.exchange

    def send(self, connection: socket.socket) -> None:
        """Send every piece, unless the server ends the stream first."""
        pieces = list(MODES[self.mode](self.case.parts))
        pace = PACE_SECONDS if 1 < len(pieces) <= PACED_PIECES else 0.0
        for piece in pieces:
            if not self.send_piece(connection, piece):
                return
            if pace:
                time.sleep(pace)

    def send_piece(self, connection: socket.socket, piece: bytes) -> bool:
        """Send one piece and take what has arrived meanwhile; False when the server takes no more."""
        rest = memoryview(piece)
        while rest:
            self.receive(connection)
            if self.stream_ended:
                return False
            try:
                rest = rest[connection.send(rest) :]
            except BlockingIOError:
                ready = select.select([connection], [connection], [], SEND_SECONDS)
                if not (ready[0] or ready[1]):
                    return False
            except OSError:
                self.receive(connection)
                return False
        return True

    def wait_for_answers(self, connection: socket.socket) -> None:
        """Wait for as many answers as the case needs, then a moment more; or until the server is quiet."""
        wanted = self.case.n if self.case.expect in ("accept", "either") else 1 + self.case.ok_before
        settle = SETTLE_SECONDS if self.case.close is None else self.quiet
        self.parse()
        while not self.stream_ended:
            enough = len(self.exchange.answers) >= wanted or self.exchange.garbage
            if not self.wait(connection, settle if enough else self.quiet):
                return

    def half_close(self, connection: socket.socket) -> None:
        """Say that nothing more will come, and take what the server still has to say."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + END_SECONDS
        while not self.stream_ended and (left := deadline - time.monotonic()) > 0:
            self.wait(connection, left)
        self.parse()

    def wait(self, connection: socket.socket, seconds: float) -> bool:
        """Wait for bytes or the end of stream and take them; False if nothing came in time."""
        if not select.select([connection], [], [], seconds)[0]:
            return False
        self.receive(connection)
        self.parse()
        return True

    def receive(self, connection: socket.socket) -> None:
        """Take what has arrived, without waiting. A reset ends the stream as well."""
        try:
            while not self.stream_ended:
                data = connection.recv(RECEIVE_BYTES)
                self.received += data
                self.stream_ended = not data
        except BlockingIOError:
            pass
        except OSError:
            self.stream_ended = True

    def parse(self) -> None:
        """Bring the answers up to date with what was received."""
        found = parse_answers(bytes(self.received), ended=self.stream_ended, is_head=self.is_head)
        self.exchange.answers = found.whole
        self.exchange.garbage = found.garbage
        self.exchange.cut = found.rest if self.stream_ended and not found.garbage else b""

    def is_head(self, index: int, number: str) -> bool:
        """Say whether the request behind an answer was a HEAD, by its record or by what the case sends."""
        record = self.records.find(number) if number else None
        if record is not None:
            return record.method == "HEAD"
        methods = self.case.methods or (self.case.first_line.split(b" ")[0].decode("latin-1"),)
        return index < len(methods) and methods[index] == "HEAD"
