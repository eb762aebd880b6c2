"""What the worker classes on greenlets have in common: one greenlet per connection, which waits for its client."""

import abc
import atexit
import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from greenlet import getcurrent

from greenhorn.app import check_wsgi
from greenhorn.http.head import RequestHead
from greenhorn.http.response import server_fields
from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener
from greenhorn.net.state import State
from greenhorn.workers import inflight
from greenhorn.workers.accepting import ACCEPTS, PAUSE, Doorkeeper
from greenhorn.workers.answer import exchange
from greenhorn.workers.base import Worker
from greenhorn.workers.composition import SERVER, buffers, paces, reception
from greenhorn.workers.crowd import Crowd
from greenhorn.workers.deadlines import BETWEEN_REQUESTS, TOLD, departure
from greenhorn.workers.loading import Application
from greenhorn.workers.serve import refuse, tell_end
from greenhorn.workers.service import Service
from greenhorn.workers.spare import CATCH_UP_EVERY

IDLE, QUEUED, FLUSH, CLOSED = State.IDLE, State.QUEUED, State.FLUSH, State.CLOSED
TICK = 1.0
"""Most seconds between two beats to the master."""
SHORT_TICK = 0.05
"""Seconds between two looks at whether all has ended, while the worker is about to leave."""

STUCK_TICK = 0.25
"""Most seconds between two beats while the application's time is limited."""

Socket = socket.socket
"""The socket of the standard library, also after it was replaced: the waiting is done here."""


class Request(NamedTuple):
    """A request that a greenlet works on."""

    connection: Connection
    greenlet: Any
    since: float

    def record(self, head: RequestHead | None, now: float, service: Service) -> str:
        """What the log says of it: method, path, age, client, and the Python stack of the greenlet."""
        frame = self.greenlet.gr_frame or sys._getframe()  # noqa: SLF001 - of the one that runs, which was interrupted
        told = inflight.describe(self.connection, head, now - self.since, service)
        return f"{told}:\n{inflight.stack_from(frame)}"


class GreenWorker(Worker):
    """A worker whose connections are greenlets: they run the same turns as those of gthread, and wait in between.

    A subclass says how to wait. Everything runs in one thread, one greenlet at a time; who waits lets others run.
    """

    without_effect = ("threads", "queue_size", "queue_timeout")

    # What a subclass says.

    @abc.abstractmethod
    def spawn(self, run: Callable[..., None], *arguments: Any) -> None:
        """Let `run(*arguments)` run in a greenlet of its own."""

    @abc.abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds; 0: until each had its turn."""

    @abc.abstractmethod
    def waiter(self, fd: int) -> Callable[[bool, float], bool]:
        """A function that waits until `fd` can be read, or, if its first argument is true, written to.

        The second one is a number of seconds, `inf` for ever. It returns whether it was before that.
        """

    # Its life.

    @classmethod
    def check_application(cls, application: Application) -> None:
        """Refuse an application of ASGI."""
        check_wsgi(application)

    def init(self) -> None:
        """Make what each connection is given."""
        settings = self.settings
        self._buffers = buffers(settings, self.service.allotment)
        self._buffers.peeks = True
        self._buffers.wait = self._wait
        self._buffers.on_lagging = self._help_lagging
        self._helps = False
        self.connections: dict[int, Connection] = {}
        self._parked: dict[Connection, bool] = {}
        """Those whose greenlets wait for their clients, the longest first."""
        self._reception = reception(settings, self.listeners, self.spoken, self._buffers, self.log, self.is_ready)
        self._at_work: dict[Connection, Request] = {}
        """The requests that the application works on."""
        self._stuck: set[Connection] = set()
        """Those of them that took too long, and were answered without it."""
        self._exchange = exchange if self.attendance is None else self.attendance.exchange
        self._paces = paces(settings)
        self._crowd = Crowd(
            connections=self.connections,
            parked=self._parked,
            most=settings.worker_connections,
            paces=self._paces,
            service=self.service,
            buffers=self._buffers,
            close=self._see_off,
        )
        self._leave_at = math.inf
        self._farewell_at = math.inf
        self._doorkeeper = Doorkeeper(self._crowd.is_full, self._crowd.make_room, self._welcome, self.log)

    def run(self) -> None:
        """Serve until TERM, INT or QUIT, or until the master is gone."""
        self.spawn(self._follow, self.signals.fileno(), self._signalled)
        self.spawn(self._follow, self.channel.fileno(), self.follow_orders)
        for listener in self.listeners:
            self.spawn(self._listen, listener)
        every = min(STUCK_TICK if self.service.timed else TICK, self.settings.timeout / 3 or TICK)
        beat_at = 0.0
        draining = False
        while True:
            now = time.monotonic()
            draining = self.service.draining
            if now >= beat_at:
                beat_at = now + every
                self._tick(now)
            if now >= self._farewell_at:
                self._say_farewell()
            if draining and (not self.connections or now >= self._leave_at):
                break
            self.sleep(SHORT_TICK if draining else every)
        self.service.counters.tell(self.log, math.inf)

    def _tick(self, now: float) -> None:
        self.service.fields = server_fields(SERVER)
        self.beat()
        self._crowd.share_memory()
        for connection in self._parked:
            if connection.state is FLUSH:
                self._reckon(connection)
        if self.service.timed:
            self._end_overdue(now)
        if complaint := self.wear.complaint(now):
            self.ask_exchange(complaint)
        self.service.counters.tell(self.log, now)

    def _end_overdue(self, now: float) -> None:
        """Answer for greenlets that are stuck, and ask to be exchanged if there are many."""
        most = self.settings.request_timeout
        for connection, request in list(self._at_work.items()):
            claim = connection.claim
            if claim is None or connection.waits or now - claim.began - connection.waited < most:
                continue
            if connection not in self._stuck and inflight.end(request, self.service, now):
                self._stuck.add(connection)
                self._forget(connection)
        if len(self._stuck) > self.settings.max_stuck_threads:
            self.ask_exchange(f"{len(self._stuck)} requests are stuck")

    def _follow(self, fd: int, follow: Callable[[], bool]) -> None:
        """Call `follow` whenever `fd` can be read, until it says that there will be nothing more."""
        wait = self.waiter(fd)
        while wait(False, math.inf) and follow():
            pass

    def _signalled(self) -> bool:
        self.follow_signals()
        return True

    # Accepting.

    def _listen(self, listener: Listener) -> None:
        wait = self.waiter(listener.fd)
        while not self.service.draining:
            # Not for ever: the end of the listening is seen by looking.
            if wait(False, TICK) and not self.service.draining and not self._doorkeeper.accept(listener, ACCEPTS):
                self.sleep(PAUSE)

    def _welcome(self, listener: Listener, sock: socket.socket, peer: tuple[str, str] | None) -> None:
        if type(sock) is not Socket:
            sock = Socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
            sock.setblocking(False)
        connection = self._reception.welcome(listener, sock, peer)
        self.connections[connection.fd] = connection
        self._crowd.take_in(connection)
        self.spawn(self._attend, connection)

    # The life of a connection.

    def _attend(self, connection: Connection) -> None:
        """What the greenlet of a connection does."""
        wait = self.waiter(connection.fd)
        connection.was = State.ACTIVE
        outcome = State.NEW
        try:
            while outcome is not CLOSED:
                if outcome is QUEUED:
                    self.sleep(0)
                else:
                    over = self._wait_for_client(connection, outcome, wait)
                    if over is not None:
                        outcome = over
                        continue
                outcome = self._work(connection)
        finally:
            self._close(connection)

    def _wait_for_client(
        self, connection: Connection, state: State, wait: Callable[[bool, float], bool]
    ) -> State | None:
        """Wait for what the state says; the state that follows if its time is over, None if something has come."""
        pace = self._paces[state]
        if state is not connection.was or state is IDLE:
            left = pace.most
            connection.was = state
        else:
            left = pace.earn(connection.deadline, connection.taken() if state is FLUSH else connection.gained)
        connection.gained = 0
        connection.state = state
        self._parked[connection] = True
        connection.deadline = time.monotonic() + left
        came = False
        while left > 0 and not came:
            if connection.deaf:
                self.sleep(left)
            else:
                came = wait(state is FLUSH, left)
            if state is FLUSH:
                self._reckon(connection)
            left = connection.deadline - time.monotonic()
        self._parked.pop(connection, None)
        if connection.state is CLOSED:
            return CLOSED
        connection.deadline = left
        connection.queued_at = time.monotonic()
        return None if came else self._expire(connection, state)

    def _reckon(self, connection: Connection) -> None:
        """Give a client that reads the time it has earned, which room in the kernel's buffer does not tell for long."""
        now = time.monotonic()
        left = max(0.0, connection.deadline - now)
        connection.deadline = now + self._paces[FLUSH].earn(left, connection.taken())

    def _help_lagging(self) -> None:
        if not self._helps:
            self._helps = True
            self.spawn(self._catch_up)

    def _catch_up(self) -> None:
        """Send what is there to clients that did not keep up with applications that go on."""
        while self._buffers.lagging:
            self.sleep(CATCH_UP_EVERY)
            for connection in list(self._buffers.lagging):
                connection.catch_up()
        self._helps = False

    def _expire(self, connection: Connection, state: State) -> State:
        if state in TOLD:
            return refuse(connection, self.service, TOLD[state])
        if state is FLUSH:
            connection.reset()
        return CLOSED

    def _work(self, connection: Connection) -> State:
        """Run a turn of a connection, and the application if it has a whole request."""
        connection.state = State.ACTIVE
        try:
            outcome = connection.turn(connection, self.service)
            if outcome is State.WHOLE:
                self._at_work[connection] = Request(connection, getcurrent(), time.monotonic())
                try:
                    outcome = self._exchange(connection, self.service)
                finally:
                    del self._at_work[connection]
                    self._stuck.discard(connection)
        except Exception as error:  # noqa: BLE001 - it is logged
            tell_end(error, self.log)
            outcome = CLOSED
        return outcome

    def _wait(self, fd: int, event: int, seconds: float) -> bool:
        """Wait in the midst of a request, as for a body that is read while it comes."""
        return self.waiter(fd)(event == select.POLLOUT, seconds)

    def _close(self, connection: Connection) -> None:
        connection.state = CLOSED
        self._parked.pop(connection, None)
        self._forget(connection)
        connection.close()

    def _forget(self, connection: Connection) -> None:
        if self.connections.get(connection.fd) is connection:
            del self.connections[connection.fd]

    def _see_off(self, connection: Connection) -> None:
        """End a connection whose greenlet waits: that sees the end, and closes it."""
        connection.state = CLOSED
        self._forget(connection)
        connection.cut(abruptly=False)

    def dump(self) -> None:  # noqa: D102 - the contract stands in the base class
        now = time.monotonic()
        for connection, request in list(self._at_work.items()):
            self.log.warning("In flight: %s", request.record(connection.head, now, self.service))
        counts = ", ".join(f"{count} {name}" for name, count in self.service.counters.totals().items())
        self.log.warning(
            "%d in flight, %d stuck, %d connections wait for their clients%s",
            len(self._at_work),
            len(self._stuck),
            len(self._parked),
            f"; so far {counts}" if counts else "",
        )

    def handle_abort(self, number: int, frame: object) -> None:
        """Tell what is in flight as well: the interpreter shows but the greenlet that runs."""
        if self.booted:
            self.dump()
        super().handle_abort(number, frame)

    # The end.

    def quit(self) -> None:  # noqa: D102 - the contract stands in the base class
        self._leave_at = 0.0
        self.service.draining = True

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:  # noqa: D102
        if self.service.draining:
            return
        self.service.draining = True
        self.service.keep_alive = False
        graceful_timeout = self.settings.graceful_timeout
        self._leave_at, self._farewell_at = departure(graceful_timeout, others_serve=bool(others_serve))
        for listener in self.listeners:
            self._doorkeeper.accept(listener, 1 if listener.fd in others_serve else self.settings.backlog)
            listener.close()

    def depart(self, code: int) -> None:
        """End the process although greenlets still have requests: what they hold, Python might wait for at its end."""
        if self.booted and self._at_work:
            atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself calls
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def _say_farewell(self) -> None:
        """Close what has no request: who waits there sees the end of the stream, after what came before it."""
        for connection in list(self._parked):
            if connection.state in BETWEEN_REQUESTS:
                connection.end_reading()
