"""Whose time is up: what uvicorn waits for without end."""

from dataclasses import dataclass
from typing import Any

from greenhorn.net.kernel import confirmed, unacknowledged
from greenhorn.net.pace import Pace, Patience
from greenhorn.workers.asgi.engine import Engine, Guard, reset, unheard_since

LONGEST = 2.5
"""Seconds between two looks, beyond which the loop was held up: no client is charged for them."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds that a client may take, `inf` for ever; and the pace of what it sends and takes."""

    first_byte: float
    head: float
    body: Pace
    write: Pace


def sweep(engine: Engine, deadlines: Deadlines, now: float) -> None:
    """End the connections whose clients kept the server waiting for too long. Once a second, loop's thread."""
    connections: list[Any] = list(engine.state.connections)
    for connection in connections:
        unsent = connection.transport.get_write_buffer_size()
        if not unsent:
            connection.writing = None
        elif _reads_too_slowly(connection, deadlines.write, unsent, now):
            reset(connection.transport)
        if not unsent and not connection.transport.is_closing():
            _judge(connection, deadlines, now)


def _judge(connection: Any, deadlines: Deadlines, now: float) -> None:
    """End a connection on whose client something else waits than what is written for it."""
    if not isinstance(connection, Guard):
        if 0 < unheard_since(connection) < now - deadlines.head:
            connection.transport.abort()
    elif connection.is_free:
        if connection.head_since:
            if now - connection.head_since > deadlines.head:
                connection.turn_away(408, "the head did not come in time")
        elif connection.cycle is None and now - connection.began > deadlines.first_byte:
            connection.transport.close()
    elif connection.cycle.more_body and _sends_too_slowly(connection, deadlines.body, now):
        connection.turn_away(408, "the body did not come in time")


def _reads_too_slowly(connection: Any, pace: Pace, unsent: int, now: float) -> bool:
    """Whether a client has no time left to take what is written for it."""
    taken = _taken(connection, unsent)
    if connection.writing is None:
        connection.writing = Patience(pace, now, taken)
        return False
    over: bool = connection.writing.is_over(pace, now, taken, LONGEST)
    return over


def _taken(connection: Any, unsent: int) -> int:
    """How many bytes the client's system has confirmed, from a beginning that nobody knows.

    Where only what waits is known, this goes back when the application adds to it.
    """
    sock = connection.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return -unsent
    known = confirmed(sock)
    return known if known is not None else -unsent - unacknowledged(sock)


def _sends_too_slowly(connection: Guard, pace: Pace, now: float) -> bool:
    """Whether a client has no time left for the body that it sends; what does not wait for it does not count."""
    cycle = connection.cycle
    if connection.sending is None:
        connection.sending = Patience(pace, connection.since, 0)
    if cycle.waiting_for_100_continue or connection.flow.read_paused or connection.is_behind:
        connection.sending.at, connection.sending.mark = now, connection.received
        return False
    return connection.sending.is_over(pace, now, connection.received, LONGEST)
