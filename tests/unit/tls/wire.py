"""A `SecureSocket` and its client on a pair of sockets, driven from one thread; what is on the wire can be had."""

import contextlib
import socket
import ssl
from typing import Any, Self

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.stream import SecureSocket
from unit.tls.making import SERVER
from unit.tls.talking import client_context

PLENTY = 1 << 20


class Narrow:
    """A socket whose kernel takes `room` bytes and no more until it is given more room."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.room = PLENTY

    def send(self, data: bytes | memoryview) -> int:
        """Take what there is room for."""
        if not self.room:
            raise BlockingIOError
        sent = self._socket.send(data[: self.room])
        self.room -= sent
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class Wire:
    """A server's end, and the client's, which gives and takes bytes only when it is told to."""

    def __init__(self, credentials: Credentials, context: ssl.SSLContext | None = None, *, shaken: bool = True) -> None:
        near, self.far = socket.socketpair()
        near.setblocking(False)
        for end in (near, self.far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PLENTY)
        self.narrow = Narrow(near)
        self.server = SecureSocket(self.narrow, credentials)  # type: ignore[arg-type]
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = (context or client_context()).wrap_bio(self._arrived, self._leaving, server_hostname=SERVER)
        self.ended = False
        """Whether the server has closed the connection, in the view of the client's kernel."""
        if shaken:
            while not self.step():
                self.put(self.made())
                self.server.shake_hands()
            self.put(self.made())
            assert self.server.shake_hands()
            self.received()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.far.close()

    # What the client does.

    def step(self) -> bool:
        """Let the client go on with its handshake; whether it is complete."""
        self.take()
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def made(self) -> bytes:
        """What the client wants to have on the wire."""
        return self._leaving.read()

    def records(self, *pieces: bytes) -> bytes:
        """The records of these pieces, not sent yet."""
        for piece in pieces:
            self.client.write(piece)
        return self.made()

    def put(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.far.sendall(data)

    def say(self, *pieces: bytes) -> None:
        """Send pieces in records."""
        self.put(self.records(*pieces))

    def goodbye(self) -> bytes:
        """The record of the client's goodbye."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.unwrap()
        return self.made()

    def take(self) -> None:
        """Take from the wire what has come."""
        try:
            while data := self.far.recv(65536, socket.MSG_DONTWAIT):
                self._arrived.write(data)
            self.ended = True
        except BlockingIOError:
            pass

    def received(self) -> bytes:
        """What the server has said, as far as it has come. Raises `ssl.SSLError` for an alert."""
        self.take()
        data = b""
        try:
            while piece := self.client.read(65536):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data

    # What the server does.

    def everything(self, size: int) -> bytes:
        """What the server can read, `size` bytes at a time."""
        data = b""
        try:
            while piece := self.server.recv(size):
                data += piece
        except BlockingIOError:
            pass
        return data

    def send_all(self, data: bytes) -> bytes:
        """Send everything as an owner of the connection does, while the client reads; what that has received."""
        got = b""
        rest = data
        while rest:
            try:
                rest = rest[self.server.send(rest) :]
            except BlockingIOError:
                self.narrow.room = PLENTY
            got += self.received()
        return got
