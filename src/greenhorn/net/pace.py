"""How long a client may keep the server waiting, and how much it may store: the measures of patience."""

import select
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from greenhorn.net.kernel import poll_one

SHARE = 1024 * 1024
"""Bytes of temporary files that anybody may have as long as there are any."""


class Pace(NamedTuple):
    """A longest pause and a minimum rate in one: who waits has so many seconds left, and each byte earns some."""

    most: float
    """Seconds that a client may have left; `inf` for no limit."""
    per_byte: float = 0.0
    """Seconds that a byte earns; `inf` where any byte earns all of them."""

    @classmethod
    def of(cls, timeout: int, rate: int = 0) -> "Pace":
        """The pace of two settings: seconds and bytes per second, 0 each for no limit."""
        return cls(timeout or float("inf"), 1 / rate if rate else float("inf"))

    def earn(self, left: float, count: int) -> float:
        """The seconds left after `count` more bytes."""
        return min(self.most, left + count * self.per_byte) if count else left


class Patience:
    """How long one client may still keep the server waiting, reckoned from look to look."""

    __slots__ = ("at", "left", "mark")

    def __init__(self, pace: Pace, at: float, mark: int) -> None:
        self.left = pace.most
        """Seconds."""
        self.at = at
        """When that was reckoned."""
        self.mark = mark
        """How many bytes the client had brought or taken by then."""

    def is_over(self, pace: Pace, now: float, mark: int, longest: float) -> bool:
        """Whether nothing is left, now that the client has come to `mark`; of a longer time than `longest` none counts.

        So much later than it was meant to, a look comes only where the server itself did something else.
        """
        passed = now - self.at
        self.left = pace.earn(self.left - passed if passed <= longest else self.left, max(0, mark - self.mark))
        self.at, self.mark = now, mark
        return self.left <= 0


class Allotment:
    """So many bytes of temporary files for all connections of a worker together. Any thread.

    `make_room` ends somebody's use of some, and says whether it did.
    """

    def __init__(self, most: int, make_room: Callable[[], bool] = lambda: False) -> None:
        self._most = self._left = most or float("inf")
        self._lock = threading.Lock()
        self.make_room = make_room

    def take(self, count: int, held: int = 0) -> bool:
        """Take `count` bytes; False if there are not so many even after room was made.

        Who has more than `SHARE` with what is `held` already has to leave as much to all others: no few of them can
        use it up.
        """
        while count <= self._most:
            share = held + count
            with self._lock:
                if self._left - count >= (share if share > SHARE else 0):
                    self._left -= count
                    return True
            if not self.make_room():
                return False
        return False

    def has(self, count: int) -> bool:
        """Whether `count` bytes could be taken."""
        if self.take(count):
            self.give(count)
            return True
        return False

    def give(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += count


class Buffers:
    """How much is kept of the answers to clients that do not keep up, in bytes and seconds.

    A tray that all connections of a worker share. Only `memory` changes, by the poller's thread.
    """

    __slots__ = (
        "allotment",
        "folder",
        "lagging",
        "memory",
        "most",
        "on_lagging",
        "pace",
        "peeks",
        "sendfile",
        "wait",
        "waiters",
    )

    def __init__(
        self,
        *,
        memory: int,
        most: int,
        pace: Pace,
        folder: str | None = None,
        sendfile: bool = True,
        allotment: Allotment | None = None,
        waiters: int = 1,
    ) -> None:
        self.memory = memory
        """In memory, beyond that in a temporary file."""
        self.most = most
        """In memory and file together, beyond that the application's thread waits."""
        self.pace = pace
        """For how long a client may be waited for."""
        self.folder = folder
        """Where temporary files live; None: the system's folder."""
        self.sendfile = sendfile
        """Whether files are sent by the kernel."""
        self.allotment = allotment or Allotment(0)
        """What the temporary files of all together may hold."""
        self.waiters = threading.BoundedSemaphore(waiters)
        """As many threads may wait at a time; the others go on to fill files."""
        self.peeks = not hasattr(select, "epoll")
        """Whether nobody tells that a client left while a request of it is worked on."""
        self.wait: Callable[[int, int, float], bool] = lambda fd, event, seconds: poll_one(fd, event, seconds) != 0
        """Waits for an event of `select.poll` on a descriptor within so many seconds; whether there was any."""
        self.lagging: dict[Any, bool] = {}
        """Connections whose client did not keep up with an application that goes on."""
        self.on_lagging: Callable[[], None] = lambda: None
        """Called when there is one more of them. Any thread."""
