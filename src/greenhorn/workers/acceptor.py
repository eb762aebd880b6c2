"""The listening sockets of a worker: when it accepts, how many at once, and when it leaves them to others."""

import math
import socket
import time
from collections.abc import Callable, Sequence

from greenhorn.net.listener import Listener
from greenhorn.net.poller import Poller
from greenhorn.observe.logger import Logger

ACCEPTS = 16
"""Connections accepted of one listener before the ones that are ready have their turn."""
PAUSE = 0.1
"""Seconds for which accepting pauses when there is no room."""
LEFT_TO_OTHERS = 0.05
"""Seconds for which connections are left to other workers at most."""
BUSY_FOR = 1.0
"""Seconds for which all workers are taken to be busy when none of them took what was left to it."""
TELL_EVERY = 60.0

Welcome = Callable[[Listener, socket.socket, tuple[str, str] | None], None]


class Acceptor:
    """Accepts for one worker. Poller's thread only.

    `welcome(listener, socket, peer)` takes a connection in, and raises `OSError` if it cannot. `has_room()` makes room
    if there is none, and says whether there is. `shares` says that other workers accept as well. `listen_at` is when
    `listen` wants to be called, on the monotonic clock; 0 means that a thread has become free.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        poller: Poller,
        welcome: Welcome,
        has_room: Callable[[], bool],
        log: Logger,
        *,
        shares: bool,
    ) -> None:
        self._all: Sequence[Listener] = listeners
        self._poller = poller
        self._welcome = welcome
        self._has_room = has_room
        self._log = log
        self._watched: dict[int, Listener] = {}
        self._tell_at = 0.0
        self._alone_until = 0.0 if shares else math.inf
        """Until when nobody else is expected to have a thread free."""
        self.listen_at = math.inf

    def listen(self) -> None:
        """Accept from now on."""
        if 0 < self.listen_at < math.inf:  # its time has come, and no thread was free before
            self._alone_until = max(self._alone_until, time.monotonic() + BUSY_FOR)
        self.listen_at = math.inf
        for listener in self._all:
            if listener.fd not in self._watched:
                self._watched[listener.fd] = listener
                self._poller.watch(listener.fd, exclusive=True)

    def attend(self, fd: int, free: int) -> bool:
        """Accept if `fd` is a listener of this worker's; whether it is. `free` is how many threads sleep."""
        listener = self._watched.get(fd)
        if listener is None:
            return False
        alone = time.monotonic() < self._alone_until
        self._accept(listener, ACCEPTS if alone else max(1, min(ACCEPTS, free)))
        return True

    def _accept(self, listener: Listener, most: int) -> None:
        for _ in range(most):
            if not self._has_room():
                self._pause("worker_connections are reached, and none of them is idle or slow")
                return
            try:
                accepted = listener.accept()
                if accepted is None:
                    return
                self._welcome(listener, *accepted)
            except OSError as error:
                self._pause(str(error))
                return

    def _pause(self, reason: str) -> None:
        """Accept nothing for a moment; who connects waits in the kernel's queue."""
        now = time.monotonic()
        self._stop()
        self.listen_at = now + PAUSE
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            self._log.warning("Accepting pauses: %s", reason)

    def leave_to_others(self) -> bool:
        """Let workers that have a thread free be quicker, for a moment; whether this one accepted until now."""
        now = time.monotonic()
        if not self._watched or now < self._alone_until:
            return False
        self._stop()
        self.listen_at = now + LEFT_TO_OTHERS
        return True

    def _stop(self) -> None:
        for fd in self._watched:
            self._poller.forget(fd)
        self._watched.clear()

    def end(self, backlog: int) -> None:
        """Accept what already waits, up to `backlog` of each listener, and then close them."""
        self._stop()
        for listener in self._all:
            self._accept(listener, backlog)
            listener.close()
        self._all = ()
