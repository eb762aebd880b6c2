"""What raw sockets are told to do in the tests, and what is seen of a server at their other end."""

import re
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import pytest

from integration.running import DEADLINE, Server, wait_until

REFUSAL = re.compile(r'^(\S+) - - \[[^]]+\] "(.*)" (\d{3}) (\d+) "-" "-" "(.+)"$')
"""A line of the access log that has a reason behind it: host, request line, status, bytes, reason."""


def connect(site: Server) -> socket.socket:
    """Return a connection on which every send leaves at once, so that pieces arrive as pieces."""
    connection = site.connect()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send_whole(connection: socket.socket, data: bytes) -> None:
    """Send `data` at once."""
    connection.sendall(data)


def send_byte_by_byte(connection: socket.socket, data: bytes) -> None:
    """Send each byte of `data` on its own."""
    for number in range(len(data)):
        connection.sendall(data[number : number + 1])


DELIVERIES = pytest.mark.parametrize("send", [send_whole, send_byte_by_byte], ids=["whole", "byte by byte"])
"""Runs a test with both ways to send; the argument is `send: Send`."""
Send = Callable[[socket.socket, bytes], None]


def is_readable(connection: socket.socket, timeout: float) -> bool:
    """Tell whether bytes or the end of the stream are there within `timeout` seconds; with TLS, a record."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    return bool(select.select([connection], [], [], timeout)[0])


def receive_to_end(connection: socket.socket) -> bytes:
    """Return all bytes until the server ends the stream in order; ConnectionResetError if it is reset."""
    received = bytearray()
    while data := connection.recv(65536):
        received += data
    return bytes(received)


def receive_head(connection: socket.socket) -> bytes:
    """Return the bytes up to the empty line behind a head and not one more."""
    received = bytearray()
    while not received.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        assert data, f"the stream ended in a head: {bytes(received)!r}"
        received += data
    return bytes(received)


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes."""
    received = bytearray()
    while len(received) < size:
        data = connection.recv(size - len(received))
        assert data, f"the stream ended {size - len(received)} bytes too early"
        received += data
    return bytes(received)


def content_length(head: bytes) -> int:
    """Return the length that a head declares."""
    [length] = re.findall(rb"\r\ncontent-length: (\d+)\r\n", head.lower())
    return int(length)


def reset(connection: socket.socket) -> None:
    """Close the connection as a client does that is killed: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def begin(site: Server, path: str) -> socket.socket:
    """Ask for `path` and return when a thread has the request for certain: later ones have been answered."""
    connection = connect(site)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(3):
        assert site.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
    return connection


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Yield `data` in pieces of `size` bytes."""
    return (data[at : at + size] for at in range(0, len(data), size))


def ends_in_order(connection: socket.socket) -> bool:
    """Tell whether the next thing from the server is the end of the stream and no reset."""
    assert is_readable(connection, DEADLINE), "the connection stays open"
    return connection.recv(1) == b""


def refusals(site: Server) -> list[re.Match[str]]:
    """Return the access-log lines of the requests that the server refused, in order."""
    return [match for line in site.stdout().splitlines() if (match := REFUSAL.match(line))]


def refusals_behind(site: Server, seen: int) -> list[re.Match[str]]:
    """Return those behind the first `seen` ones, of which one at least is on its way."""
    wait_until(lambda: len(refusals(site)) > seen, what="the line of the access log")
    return refusals(site)[seen:]
