"""The listening sockets of a worker: when it accepts, how many at once, and when it leaves them to others."""

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener
from greenhorn.net.poller import Poller
from greenhorn.net.state import State
from greenhorn.observe.logger import Logger
from greenhorn.workers.accepting import ACCEPTS, PAUSE, Doorkeeper
from greenhorn.workers.crowd import Crowd
from greenhorn.workers.pool import Pool

LEFT_TO_OTHERS = 0.02
"""Seconds after which is looked whether other workers take the connections that are left to them."""
LOOKED_AGAIN = 0.005
"""Seconds after which a connection that still waits then is one that nobody takes."""
BUSY_FOR = 1.0
"""Seconds for which all workers are then taken to be busy."""
EXPECTED = 0.05
"""Seconds for which a new connection that is silent yet is expected to need a thread."""

UNSERVED = frozenset((State.NEW, State.QUEUED))
"""States of a connection that no thread has come to."""

Welcome = Callable[[Listener, socket.socket, tuple[str, str] | None], Connection]


class Acceptor:
    """Accepts for one worker. Poller's thread only.

    `welcome(listener, socket, peer)` makes a connection of what was accepted, and raises `OSError` if it cannot.
    `shares` says that other workers accept as well. `listen_at` is when `look` wants to be called, on the monotonic
    clock; 0 means that a thread has become free.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        poller: Poller,
        pool: Pool[Connection],
        welcome: Welcome,
        crowd: Crowd,
        log: Logger,
        *,
        shares: bool,
    ) -> None:
        self._all: Sequence[Listener] = listeners
        self._poller = poller
        self._pool = pool
        self._welcome = welcome
        self._doorkeeper = Doorkeeper(crowd.is_full, crowd.make_room, self._take_in if shares else welcome, log)
        self._watched: dict[int, Listener] = {}
        self._recent: deque[tuple[float, Connection]] = deque()
        self._shares = shares
        self._alone_until = 0.0
        """Until when no other worker is expected to have a thread free."""
        self._leaves = False
        """Whether it accepts nothing because others may be quicker."""
        self._seen = False
        """Whether a connection waited for them when that was last looked at."""
        self.listen_at = math.inf

    def listen(self) -> None:
        """Accept from now on."""
        self.listen_at = math.inf
        self._leaves = False
        for listener in self._all:
            if listener.fd not in self._watched:
                self._watched[listener.fd] = listener
                self._poller.watch(listener.fd, exclusive=True)

    def look(self, now: float) -> None:
        """Accept again when `listen_at` has come, unless others take what is left to them."""
        if self._leaves and self.listen_at:
            if not any(listener.has_arrivals() for listener in self._all):
                self._seen = False
                self.listen_at = now + LEFT_TO_OTHERS
                return
            if not self._seen:
                self._seen = True
                self.listen_at = now + LOOKED_AGAIN
                return
            self._alone_until = now + BUSY_FOR
        self.listen()

    def watches(self, fd: int) -> bool:
        """Whether `fd` is a listener on which this worker accepts just now."""
        return fd in self._watched

    def attend(self, fd: int) -> bool:
        """Accept if `fd` is a listener of this worker's; whether it is."""
        listener = self._watched.get(fd)
        if listener is None:
            return False
        most = ACCEPTS
        if self._shares and not self._pool.quick:
            most = min(most, self.unclaimed())
            if most <= 0:
                most = ACCEPTS if time.monotonic() < self._alone_until else 1
        if not self._doorkeeper.accept(listener, most):
            self._stop()
            self.listen_at = time.monotonic() + PAUSE
        return True

    def unclaimed(self) -> int:
        """How many of the threads that sleep the newest connections will not need."""
        long_ago = time.monotonic() - EXPECTED
        while self._recent and self._recent[0][0] < long_ago:
            self._recent.popleft()
        return self._pool.idle - sum(connection.state in UNSERVED for _, connection in self._recent)

    def _take_in(self, listener: Listener, sock: socket.socket, peer: tuple[str, str] | None) -> None:
        self._recent.append((time.monotonic(), self._welcome(listener, sock, peer)))

    def leave_to_others(self) -> bool:
        """Let workers that have a thread free be quicker, for a moment; whether this one accepted until now."""
        now = time.monotonic()
        if not self._watched or now < self._alone_until:
            return False
        self._stop()
        self._leaves = True
        self._seen = False
        self.listen_at = now + LEFT_TO_OTHERS
        return True

    def _stop(self) -> None:
        for fd in self._watched:
            self._poller.forget(fd)
        self._watched.clear()

    def end(self, backlog: int, others_serve: AbstractSet[int]) -> None:
        """Accept what already waits, up to `backlog` of each listener that no other serves; then close all of them."""
        self._stop()
        for listener in self._all:
            # The kernel wakes one worker for each that connects: the last one may be known to this worker alone.
            self._doorkeeper.accept(listener, 1 if listener.fd in others_serve else backlog)
            listener.close()
        self._all = ()
