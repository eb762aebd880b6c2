"""Connections before Tornado has them: what a proxy tells of them, and their handshakes."""

import time
from collections.abc import Callable, Mapping

from tornado.ioloop import IOLoop

from greenhorn.net.connection import Connection
from greenhorn.net.pace import Pace
from greenhorn.net.state import State
from greenhorn.tls.entrance import Entrance
from greenhorn.workers.handshake import agree
from greenhorn.workers.serve import Turn, tell_end
from greenhorn.workers.service import Service


def first_turn(entrance: Entrance) -> Turn:
    """The turn of a connection that Tornado is to read; ACTIVE says that it can have it."""
    return agree if entrance.credentials is not None else _go_on


def _go_on(_connection: Connection, _service: Service) -> State:
    return State.ACTIVE


class Arrivals:
    """Runs the turns of connections before their first request, as the other workers do. Loop's thread.

    `hand_over` is given each that can have requests; `on_gone` is called when one has ended without that.
    """

    def __init__(
        self,
        loop: IOLoop,
        service: Service,
        paces: Mapping[State, Pace],
        hand_over: Callable[[Connection], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._service = service
        self._paces = paces
        self._hand_over = hand_over
        self._on_gone = on_gone
        self.waiting: dict[Connection, bool] = {}
        """All that there are; each waits for its client."""
        self._watched: dict[Connection, int] = {}
        """For what each of them waits, as the loop says it."""

    def take_in(self, connection: Connection) -> None:
        """Begin with a connection that was accepted."""
        connection.was = State.ACTIVE
        self.waiting[connection] = True
        self._work(connection)

    def _work(self, connection: Connection) -> None:
        """Run a turn, and do what its outcome asks for."""
        connection.state = State.ACTIVE
        connection.queued_at = time.monotonic()
        try:
            outcome = connection.turn(connection, self._service)
        except Exception as error:  # noqa: BLE001 - it is logged
            tell_end(error, self._service.log)
            outcome = State.CLOSED
        self.settle(connection, outcome)

    def settle(self, connection: Connection, outcome: State) -> None:
        """Hand a connection over, end it, or let it wait for its client."""
        if outcome is State.CLOSED:
            self.close(connection)
        elif outcome is State.ACTIVE:
            self._let_go(connection)
            self._hand_over(connection)
        else:
            if outcome is State.QUEUED:
                self._loop.add_callback(self._work_again, connection)
            elif outcome is not connection.was:
                connection.deadline = time.monotonic() + self._paces[outcome].most
                connection.was = outcome
            connection.state = outcome
            self._watch(connection, outcome)

    def _work_again(self, connection: Connection) -> None:
        if connection in self.waiting:
            self._work(connection)

    def _watch(self, connection: Connection, state: State) -> None:
        # The loop tells again and again of what is not read.
        events = (
            0 if connection.deaf or state is State.QUEUED else IOLoop.WRITE if state is State.FLUSH else IOLoop.READ
        )
        watched = self._watched.get(connection, 0)
        if watched and not events:
            self._loop.remove_handler(connection.fd)
        elif watched and events != watched:
            self._loop.update_handler(connection.fd, events)
        elif events and not watched:
            self._loop.add_handler(connection.fd, lambda _fd, _events: self._work(connection), events)
        self._watched[connection] = events

    def _let_go(self, connection: Connection) -> None:
        if self._watched.pop(connection, 0):
            self._loop.remove_handler(connection.fd)
        self.waiting.pop(connection, None)

    def close(self, connection: Connection) -> None:
        """End a connection."""
        self._let_go(connection)
        connection.state = State.CLOSED
        connection.close()
        self._on_gone()
