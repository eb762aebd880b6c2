"""Accepting what waits at a listening socket, for as long as there is room."""

import errno
import socket
import time
from collections.abc import Callable

from greenhorn.net.listener import Listener
from greenhorn.observe.logger import Logger

ACCEPTS = 16
"""Connections accepted of one listener before the ones that are ready have their turn."""
PAUSE = 0.1
"""Seconds for which accepting pauses when there is no room."""
TELL_EVERY = 60.0
"""Seconds after which is told again that accepting pauses."""
OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE))

Welcome = Callable[[Listener, socket.socket, tuple[str, str] | None], object]


class Doorkeeper:
    """Accepts for one worker. The thread that accepts only.

    `is_full` says whether another connection may not come, `make_room` ends some and says whether there were any,
    `welcome(listener, socket, peer)` takes one on, and raises `OSError` if it cannot.
    """

    def __init__(
        self, is_full: Callable[[], bool], make_room: Callable[[], bool], welcome: Welcome, log: Logger
    ) -> None:
        self._is_full = is_full
        self._make_room = make_room
        self._welcome = welcome
        self._log = log
        self._tell_at = 0.0

    def accept(self, listener: Listener, most: int) -> bool:
        """Accept up to `most` that wait; False, with a line in the log now and then, if it has to pause."""
        for _ in range(most):
            if self._is_full():
                if not listener.has_arrivals():
                    return True  # nobody is to leave for nobody
                if not self._make_room():
                    return self._tell("worker_connections are reached, and none of them is idle or slow")
            try:
                accepted = listener.accept()
                if accepted is None:
                    return True
                self._welcome(listener, *accepted)
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS or not self._make_room():
                    return self._tell(str(error))
        return True

    def _tell(self, reason: str) -> bool:
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            self._log.warning("Accepting pauses: %s", reason)
        return False
