"""Answers as a test sees them: read off a raw socket, or by curl."""

import io
import shlex
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse, parse_headers
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class Answer:
    """A final answer: `headers` are found in any case, `body` is decoded from its framing."""

    version: str
    status: int
    reason: str
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()


class AnswerReader:
    """Reads the answers of one connection in order, pipelined ones too. The socket stays its owner's."""

    def __init__(self, connection: socket.socket) -> None:
        self._stream = _Stream(_Received(connection))

    def begin(self, method: str = "GET") -> HTTPResponse:
        """Return the next answer when its head is there, for the test to read the body piece by piece."""
        response = HTTPResponse(self._stream, method=method)  # type: ignore[arg-type]
        response.begin()
        return response

    def read(self, method: str = "GET") -> Answer:
        """Return the next answer whole; `method` is that of its request, since HEAD has no body.

        An interim 100 is skipped. Raises http.client.RemoteDisconnected at the end of the stream and
        IncompleteRead in the middle of an answer.
        """
        response = self.begin(method)
        version = "HTTP/1.1" if response.version == 11 else "HTTP/1.0"
        return Answer(version, response.status, response.reason, response.headers, response.read())

    def rest(self) -> bytes:
        """Return all bytes up to the orderly end of the stream; ConnectionResetError if it is reset."""
        return self._stream.read()


class _Received(io.RawIOBase):
    """What arrives, as a raw file that, unlike that of `makefile()`, does not keep a closed socket open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._connection.recv_into(buffer)


class _Stream(io.BufferedReader):
    """Both the socket that HTTPResponse wants and the file that it makes of it."""

    def makefile(self, *_: Any) -> "_Stream":
        return self

    def close(self) -> None:
        """Stay open: HTTPResponse closes its stream after each answer, and the next one is behind it."""


def curl(*arguments: str, data: bytes | None = None, stdin: BinaryIO | None = None) -> Answer:
    """Run curl, with `data` or the file `stdin` as its standard input, and return the last answer.

    AssertionError with curl's own words when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        head, body = Path(folder, "head"), Path(folder, "body")
        command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50"]
        command += ["--dump-header", str(head), "--output", str(body), *arguments]
        source: dict[str, Any] = {"input": data} if data is not None else {"stdin": stdin or subprocess.DEVNULL}
        result = subprocess.run(command, capture_output=True, check=False, timeout=55, **source)
        assert result.returncode == 0, f"{shlex.join(command)}: {result.stderr.decode()}"
        content = body.read_bytes() if body.exists() and "--head" not in arguments else b""
        last = head.read_bytes().rstrip(b"\r\n").split(b"\r\n\r\n")[-1]  # behind interim answers and redirects
    line, _, fields = last.partition(b"\r\n")
    version, status, reason = (*line.decode().split(" ", 2), "")[:3]
    return Answer(version, int(status), reason, parse_headers(io.BytesIO(fields + b"\r\n\r\n")), content)
