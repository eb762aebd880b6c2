"""Whose time is up."""

import time
from collections.abc import Iterator, Mapping

from greenhorn.errors import HTTPError
from greenhorn.net.connection import Connection
from greenhorn.net.pace import Pace
from greenhorn.net.state import State

BETWEEN_REQUESTS = frozenset((State.NEW, State.IDLE))
TOLD = {
    State.HEAD: HTTPError(408, "the head did not come in time"),
    State.BODY: HTTPError(408, "the body did not come in time"),
}
"""What a client is told whose time is up; in the other states it is told nothing."""
FAREWELL = 0.5
"""Seconds that a worker which is told to stop gives connections on which it has no request."""
LONG_FAREWELL = 2.0
"""The same where others serve on: nobody waits for it to end, and who sends a request is told to come back to them."""


def departure(graceful_timeout: float, *, others_serve: bool) -> tuple[float, float]:
    """When a worker that is told to stop is gone, and when it closes connections without a request, at the latest.

    Both on the monotonic clock. `others_serve`: where it listens, others do as well.
    """
    now = time.monotonic()
    return now + graceful_timeout, now + (LONG_FAREWELL if others_serve else FAREWELL)


def expired(
    parked: dict[Connection, bool], paces: Mapping[State, Pace], now: float, *, farewell: bool
) -> Iterator[tuple[Connection, State]]:
    """Take those connections out of `parked` whose clients kept the server waiting for too long, and yield them.

    In FLUSH what the client's system has confirmed since the last time is reckoned first. `farewell`: those without a
    request leave, too. Poller's thread.
    """
    for connection in list(parked):
        state = connection.state
        flushes = state is State.FLUSH
        over = connection.deadline <= now or (farewell and state in BETWEEN_REQUESTS)
        if (over or flushes) and parked.pop(connection, False):
            if flushes:
                left = paces[state].earn(connection.deadline - now, connection.taken())
                connection.deadline = now + left
                over = left <= 0
            if over:
                yield connection, state
            else:
                parked[connection] = True
