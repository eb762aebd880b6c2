"""A StatsD server as tests need it: it keeps what it is sent."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unit.net.waiting import DEADLINE


class Receiver:
    """A datagram socket on a port that the kernel picks, or at a path. `address` is what statsd_host calls it."""

    def __init__(self, path: Path | None = None, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.socket = socket.socket(socket.AF_UNIX if path else family, socket.SOCK_DGRAM)
        if path:
            self.socket.bind(str(path))
            self.address = f"unix://{path}"
        else:
            self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            self.port: int = self.socket.getsockname()[1]
            self.address = f"127.0.0.1:{self.port}" if family == socket.AF_INET else f"[::1]:{self.port}"
        self.socket.settimeout(DEADLINE)

    def datagram(self) -> str:
        """The next datagram, which must come."""
        return self.socket.recv(65536).decode()

    def until(self, wanted: Callable[[list[str]], object]) -> list[str]:
        """Every metric that comes, line by line, until `wanted` is true of all of them."""
        metrics: list[str] = []
        while not wanted(metrics):
            try:
                metrics += self.datagram().split("\n")
            except TimeoutError:
                raise AssertionError(f"nothing more came than {metrics}") from None
        return metrics

    def is_silent(self) -> bool:
        """Whether nothing has come that was not read yet."""
        return not select.select([self.socket], [], [], 0)[0]


@contextmanager
def receiving(path: Path | None = None, family: socket.AddressFamily = socket.AF_INET) -> Iterator[Receiver]:
    """A receiver that is closed at the end."""
    receiver = Receiver(path, family)
    try:
        yield receiver
    finally:
        receiver.socket.close()
