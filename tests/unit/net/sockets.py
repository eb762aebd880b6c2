"""Connections over real sockets whose buffers are small, so that little is needed to fill them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from greenhorn.net.connection import Connection
from greenhorn.net.pace import Buffers, Pace
from greenhorn.net.state import State
from unit.net.waiting import DEADLINE

SMALLEST = 1
"""The kernel makes of it the smallest buffer that it offers."""


def never(_connection: Connection, _service: object) -> State:
    """A turn that nobody takes."""
    raise AssertionError("no turn was asked for")


def buffers(
    memory: int = 1000,
    most: int = 10**9,
    patience: float = DEADLINE,
    folder: Path | None = None,
    *,
    kernel: bool = True,
) -> Buffers:
    """How much is kept: by default 1000 bytes in memory and any number in files."""
    return Buffers(
        memory=memory,
        most=most,
        pace=Pace(patience, float("inf")),
        folder=None if folder is None else str(folder),
        sendfile=kernel,
    )


@contextmanager
def connected(kept: Buffers, *, small: bool = True) -> Iterator[tuple[socket.socket, Connection]]:
    """A client's socket, which blocks with a deadline, and the server's connection to it."""
    client, server = socket.socketpair()
    server.setblocking(False)
    client.settimeout(DEADLINE)
    if small:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
    connection = Connection(server, ("192.0.2.7", "4242"), never, kept)
    try:
        yield client, connection
    finally:
        client.close()
        connection.close()


def drain(client: socket.socket, connection: Connection, size: int) -> bytes:
    """Read `size` bytes as a client, while the connection flushes whenever nothing is there."""
    parts = []
    client.setblocking(False)
    idle = 0
    while size and idle < 1000:
        try:
            data = client.recv(size)
        except BlockingIOError:
            connection.flush()
            idle += 1
            continue
        if not data:
            break
        idle = 0
        parts.append(data)
        size -= len(data)
    client.settimeout(DEADLINE)
    return b"".join(parts)


def open_files() -> list[str]:
    """What the descriptors of this process that are files stand for, deleted ones included."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            name = str(entry.readlink())
        except OSError:
            continue
        if name.startswith("/") and not name.startswith(("/dev/", "/proc/")):
            names.append(name)
    return sorted(names)


def has_ipv6() -> bool:
    """Tell whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
