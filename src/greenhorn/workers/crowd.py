"""Many connections at once: how much each may keep, and who has to leave when there is no room for all."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from greenhorn.net.connection import Connection
from greenhorn.net.kernel import keep_little
from greenhorn.net.pace import Buffers, Pace
from greenhorn.net.state import State
from greenhorn.workers.service import HEAD_READ, Service

MANY = 128
"""Connections from which on each may keep less: what all of them keep in memory is bounded."""
MEMORY = 16 * 1024 * 1024
LEAST_MEMORY = 4096
UNSENT = 131072
"""Bytes that the kernel keeps for a client that does not read, when there are many."""

IDLE_FOR = 1.0
"""Seconds without a byte after which a connection that has no request counts as idle."""
SLOW_FOR = 2.0
"""Seconds for which a client has kept the server waiting in all, above its pace, that make it slow."""
GAVE_WAY = "connections closed to make room for others"
"""What they are counted as."""
UNREAD_GAVE_WAY = "answers given up since they were not read and tmp_files_max was reached"
"""The same."""
NEW_FOR = 0.1
"""Seconds for which a connection is too new to leave: its first request is on its way."""

Paces = Mapping[State, Pace]

WITHOUT_REQUEST = frozenset((State.IDLE, State.NEW, State.LINGER))
UNPROVEN = frozenset((State.NEW, State.HANDSHAKE, State.HEAD))
AT_WORK = frozenset((State.HANDSHAKE, State.HEAD, State.BODY, State.FLUSH))


class Crowd:
    """The connections of a worker taken together. Poller's thread, but for `drop_least_read`.

    It reads `connections` and `parked`, the connections that wait for their client, and takes out of the latter what it
    gives to `close`.
    """

    def __init__(
        self,
        *,
        connections: dict[int, Connection],
        parked: dict[Connection, bool],
        most: int,
        paces: Paces,
        service: Service,
        buffers: Buffers,
        close: Callable[[Connection], None],
    ) -> None:
        self._connections = connections
        self._parked = parked
        self._most = most
        self._paces = paces
        self._service = service
        self._buffers = buffers
        self._close = close
        self._body_memory = service.body_memory
        self._response_memory = buffers.memory
        buffers.allotment.make_room = self.drop_least_read

    def take_in(self, connection: Connection) -> None:
        """Note that a connection has come."""
        if len(self._connections) > MANY:
            keep_little(connection.socket, UNSENT)
            self.share_memory()

    def share_memory(self) -> None:
        """Let each connection keep as much as there is for each, if there are many."""
        count = len(self._connections)
        share = max(LEAST_MEMORY, MEMORY // count) if count > MANY else sys.maxsize
        self._service.head_read = min(HEAD_READ, share)
        self._service.body_memory = min(self._body_memory, share)
        self._buffers.memory = min(self._response_memory, share)

    def is_full(self) -> bool:
        """Whether another connection may not come. A worker that is about to leave takes what already waits."""
        return len(self._connections) >= self._most and not self._service.draining

    def make_room(self) -> bool:
        """Close some connections that can be done without; whether there were any."""
        enough = self._most - max(1, self._most // 64)
        closed = False
        for connection in dispensable(list(self._parked), self._paces, time.monotonic()):
            if not self._parked.pop(connection, False):
                continue
            if connection.state in WITHOUT_REQUEST and connection.has_news():
                self._parked[connection] = True  # of which the poller will tell
                continue
            self._service.counters.add(GAVE_WAY)
            if connection.outbox is not None:
                connection.reset()  # an orderly end would pass for the end of the answer
            self._close(connection)
            closed = True
            if len(self._connections) <= enough:
                break
        return closed

    def drop_least_read(self) -> bool:
        """Give up the answer that its client reads slowest, for room in temporary files; whether there was any.

        Any thread.
        """
        for victim in slow_readers(list(self._parked), self._paces, time.monotonic()):
            if self._parked.pop(victim, False):
                self._service.counters.add(UNREAD_GAVE_WAY)
                victim.reset()
                self._close(victim)
                return True
        return False


def waited(connection: Connection, pace: Pace, now: float) -> float:
    """How many seconds of its client's patience a parked connection has used up; 0 where there is no limit."""
    return pace.most - (connection.deadline - now) if pace.most != float("inf") else 0.0


def dispensable(parked: Iterable[Connection], paces: Paces, now: float) -> Iterator[Connection]:
    """The connections that may be closed to make room, the most dispensable first.

    Those that are idle, those that are slow, those that carried no request yet, and those that rest between two; of
    each the one that has waited for longest first. Requests that come as they should are not among them, nor are
    connections that are quite new; and for as long as these may turn out to be silent, none that rests.
    """
    idle, slow, unproven, resting = [], [], [], []
    some_are_new = False
    for connection in parked:
        state = connection.state
        if state not in paces:
            continue
        pace = paces[state]
        used = waited(connection, pace, now)
        if state in WITHOUT_REQUEST and (used >= IDLE_FOR or pace.most == float("inf")):
            idle.append((used, connection))
        elif state in AT_WORK and used >= SLOW_FOR:
            slow.append((used, connection))
        elif state in UNPROVEN and not connection.requests:
            if used >= NEW_FOR or pace.most == float("inf"):
                unproven.append((used, connection))
            else:
                some_are_new = True
        elif state is State.IDLE:
            resting.append((used, connection))
    if some_are_new:
        resting.clear()
    for group in (idle, slow, unproven, resting):
        group.sort(key=lambda pair: pair[0], reverse=True)
        yield from (connection for _, connection in group)


def slow_readers(parked: Iterable[Connection], paces: Paces, now: float) -> list[Connection]:
    """The connections whose clients are slow with their answers, the slowest first."""
    pace = paces[State.FLUSH]
    flushing = [(waited(each, pace, now), each) for each in parked if each.state is State.FLUSH]
    flushing.sort(key=lambda pair: pair[0], reverse=True)
    return [each for used, each in flushing if used >= SLOW_FOR]
