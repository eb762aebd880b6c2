"""A stand-in for the service manager's end of NOTIFY_SOCKET."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from integration.running import DEADLINE

CREDENTIALS = struct.calcsize("3i")


@dataclass(frozen=True)
class Told:
    """One datagram: its assignments, the process that sent it, and when it was received (monotonic)."""

    words: dict[str, str]
    pid: int
    at: float

    @property
    def about(self) -> str:
        """The first assignment's name, which says what it is about."""
        return next(iter(self.words))


class Manager:
    """Receives what a service tells; `address` is the value of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(DEADLINE)

    def receive(self) -> Told:
        """Return the next datagram."""
        data, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(CREDENTIALS))
        [(_, _, credentials)] = ancillary
        pid, _, _ = struct.unpack("3i", credentials[:CREDENTIALS])
        pairs = [line.partition("=") for line in data.decode().split("\n")]
        return Told({name: value for name, _, value in pairs}, pid, time.monotonic())

    def until(self, condition: Callable[[Told], bool]) -> list[Told]:
        """Return the next datagrams up to the first that fulfils the condition."""
        told = [self.receive()]
        while not condition(told[-1]):
            told.append(self.receive())
        return told

    def until_about(self, name: str) -> list[Told]:
        """Return the next datagrams up to the first one about this."""
        return self.until(lambda told: told.about == name)

    def is_silent_for(self, seconds: float) -> bool:
        """Tell whether nothing comes within so many seconds."""
        return not select.select([self._socket], [], [], seconds)[0]

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager(folder: Path, *, abstract: bool = False) -> Iterator[Manager]:
    """Open a socket to be told at: a path in `folder`, or in the abstract name space."""
    opened = Manager(f"@greenhorn test {os.getpid()} {folder}"[:100] if abstract else str(folder / "notify"))
    try:
        yield opened
    finally:
        opened.close()
