"""Scenario: a chunked upload of 200 MiB to a server that takes 1 MiB."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.answers import Answer, AnswerParser, BadAnswer
from attacking.launching import serving, until
from attacking.swarm import SERVER_HOST
from attacking.verdicts import Outcome
from benching.servers import NotServing

if TYPE_CHECKING:
    from attacking.launching import Bench, Target

MIB = 1_048_576
SIZE = 200 * MIB
LIMIT = 1 * MIB
PIECE = 65_536
# Python's parsers need their time for 200 MiB.
MOST_SECONDS = 30.0
CLEANING_SECONDS = 3.0
TOO_LARGE = 413
TITLE = f"chunked upload of {SIZE // MIB} MiB, --limit-request-body {LIMIT}"
_HEAD = b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNK = b"%x\r\n" % PIECE + b"x" * PIECE + b"\r\n"
_LAST = b"0\r\n\r\n"


@dataclass(slots=True)
class Upload:
    """How an upload went: bytes sent, the answer, or why there was none, and the most there was on the disk."""

    sent: int = 0
    answer: Answer | None = None
    failure: str = ""
    disk: int = 0


def play(bench: Bench, server: str) -> Outcome:
    """Upload, and return what became of it."""
    outcome = Outcome("upload", server)
    try:
        with serving(bench, server, ("--limit-request-body", str(LIMIT))) as target:
            began = time.monotonic()
            upload = _send(target)
            seconds = time.monotonic() - began
            clean = until(lambda: target.disk_bytes() == 0, CLEANING_SECONDS)
            found = str(upload.answer.status) if upload.answer else upload.failure
            outcome.note("answer", found, str(TOO_LARGE), kept=found == str(TOO_LARGE))
            outcome.note("seconds until then", f"{seconds:.2f}")
            outcome.note("MiB sent until then", f"{upload.sent / MIB:.1f}")
            most = upload.disk <= 2 * LIMIT
            outcome.note(
                "MiB on the disk, at the most", f"{upload.disk / MIB:.1f}", f"{2 * LIMIT / MIB:.1f}", kept=most
            )
            left = target.disk_bytes()
            outcome.note("bytes on the disk afterwards", f"{left:,}", "0", kept=clean is not None)
    except NotServing as failure:
        outcome.failure = str(failure)
    return outcome


def _send(target: Target) -> Upload:
    """Send as fast as the server takes it, until it answers."""
    upload = Upload()
    parser = AnswerParser()
    expires = time.monotonic() + MOST_SECONDS
    pending = memoryview(_HEAD)
    left = SIZE
    with socket.create_connection((SERVER_HOST, target.port), MOST_SECONDS) as connection:
        connection.setblocking(False)
        try:
            while upload.answer is None and time.monotonic() < expires:
                readable, writable, _ = select.select([connection], [connection] if pending else [], [], 1.0)
                if readable:
                    upload.answer = parser.feed(connection.recv(PIECE))
                elif writable:
                    sent = connection.send(pending)
                    upload.sent += sent
                    pending = pending[sent:]
                if not pending and left >= 0:
                    upload.disk = max(upload.disk, target.disk_bytes()) if not left % MIB else upload.disk
                    pending = memoryview(_CHUNK if left else _LAST)
                    left -= PIECE
        except (OSError, BadAnswer) as error:
            upload.failure = type(error).__name__
    upload.failure = upload.failure or "none"
    return upload
