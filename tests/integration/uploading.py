"""Uploads in parts, to the application `uploads`, whose log tells how far it is."""

import itertools

from integration.answers import Answer, AnswerReader
from integration.running import Server
from integration.wire import connect

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = b"Expect: 100-continue\r\n"
GET = b"GET /unread/get HTTP/1.1\r\nHost: x\r\n\r\n"
_numbers = itertools.count()


def new_name() -> str:
    """Return what one test's request is called, in the log and at its gate, and no other."""
    return f"r{next(_numbers)}"


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upload:
    """A request whose body is sent in parts, in either framing, which the test need not tell apart.

    `framing` is "length" or "chunked"; `size` is that of the body, after which it ends.
    """

    def __init__(self, site: Server, path: str, size: int, framing: str, extra: bytes = b"") -> None:
        self.connection = connect(site)
        self.reader = AnswerReader(self.connection)
        self._chunked = framing == "chunked"
        self._left = size
        field = b"Transfer-Encoding: chunked" if self._chunked else b"Content-Length: %d" % size
        self.connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n\r\n" % (path.encode(), extra, field))

    def encode(self, data: bytes) -> bytes:
        """Return the next part of the body as it is sent."""
        self._left -= len(data)
        if not self._chunked:
            return data
        return chunk(data) + (b"" if self._left else b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send the next part of the body."""
        self.connection.sendall(self.encode(data))

    def answer(self) -> Answer:
        """Return the next answer."""
        return self.reader.read("POST")


def open_gate(site: Server, name: str) -> None:
    """Let the request of this name go on."""
    answer = site.request(f"GET /open/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.body == f"{name} is open".encode()


def assert_four_threads_serve(site: Server) -> None:
    """Let four requests wait for each other in the application."""
    meeting = [connect(site) for _ in range(4)]
    name = new_name()
    for connection in meeting:
        connection.sendall(f"GET /meet/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for connection in meeting:
        assert AnswerReader(connection).read().body == b"met"
        connection.close()
