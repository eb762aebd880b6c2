"""The main path: one thread waits for every connection, a pool of threads works on those that are ready."""

import math
import signal
import time

from greenhorn.errors import HTTPError
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import Networks
from greenhorn.http.response import server_fields
from greenhorn.net.connection import Buffers, Connection, State
from greenhorn.net.listener import Listener
from greenhorn.net.poller import best_poller
from greenhorn.workers.base import SERVER, Worker
from greenhorn.workers.pool import Pool
from greenhorn.workers.serve import read_proxy, refuse, serve
from greenhorn.wsgi.environ import Environ

IDLE, QUEUED, ACTIVE = State.IDLE, State.QUEUED, State.ACTIVE
TICK = 1.0
"""Most seconds between two sweeps of the deadlines, beats to the master, and renewals of the Date."""
ACCEPTS = 16
"""Connections accepted of one listener before the ones that are ready have their turn."""
LINGER_TIME = 2.0
"""Seconds that a client has to take note of the last answer."""
SHORT_TICK = 0.1
"""The same while accepting pauses, or the worker is about to leave."""
FAREWELL = 0.5
"""Seconds that a worker which is told to stop gives connections on which it has no request."""
TELL_PAUSE_EVERY = 60.0
SILENT = 1.0
"""Seconds without a byte after which a new connection counts as idle where room is needed."""

BETWEEN_REQUESTS = frozenset((State.NEW, State.IDLE))
EXPIRED = {
    State.HEAD: HTTPError(408, "the head did not come in time"),
    State.BODY: HTTPError(408, "the body did not come in time"),
}
"""What a client is told whose time is up; in the other states it is told nothing."""


class ThreadWorker(Worker):
    """The worker class `gthread`.

    The poller's thread, which is the process's main thread, accepts, waits, sweeps and signals; it reads no byte of
    a client. A connection that is ready goes through the queue to a pool thread, which runs its turn and settles
    the outcome.
    """

    def init(self) -> None:
        """Make the poller, the pool and what each connection is given."""
        settings = self.settings
        self.poller = best_poller()
        self.pool: Pool[Connection] = Pool(settings.threads, self.work)
        self.connections: dict[int, Connection] = {}
        self._parked: dict[Connection, bool] = {}
        """The connections that wait for their client, the longest first. Taking one out, which is atomic, is taking it
        over."""
        self._buffers: Buffers = self.buffers()
        self._trusted = Networks(settings.forwarded_allow_ips)
        self._names: dict[bool, FieldNames] = {trusted: self.field_names(trusted=trusted) for trusted in (False, True)}
        self._templates: dict[int, Environ] = {listener.fd: self.template(listener) for listener in self.listeners}
        self._listeners: dict[int, Listener] = {}
        self._tick_at = 0.0
        self._every = min(TICK, settings.timeout / 3 or TICK)  # three beats before the master could miss one
        self._tell_pause_at = 0.0
        self._first_turn = serve if settings.proxy_protocol == "off" else read_proxy
        self._keeps_watching = self.poller.keeps_watching
        self._keepalive: float = settings.keepalive or math.inf
        self._timeouts: dict[State, float] = {
            State.NEW: settings.first_byte_timeout or math.inf,
            State.HEAD: settings.header_timeout or math.inf,
            State.BODY: settings.body_timeout or math.inf,
            State.IDLE: self._keepalive,
            State.FLUSH: settings.write_timeout or math.inf,
            State.LINGER: LINGER_TIME,
        }
        self._leave_at = math.inf
        self._farewell_at = math.inf

    def run(self) -> None:
        """Serve until TERM, INT or QUIT, or until the master is gone."""
        poller, pool, parked, connections = self.poller, self.pool, self._parked, self.connections
        ending = poller.ENDING
        poller.watch(self.signals.fileno())
        poller.watch(self.channel.fileno())
        self._listen()
        pool.start()
        while True:
            wait = 0.0 if pool.oversee() else self._tick_at - time.monotonic()
            ready = []
            for fd, events in poller.wait(max(0.0, wait)):
                connection = connections.get(fd)
                if connection is None:
                    self._attend(fd)
                elif parked.pop(connection, False) or self._wake(connection):
                    # The end of a stream is told once, and the next turn may read only what came before it.
                    connection.woken = events & ending != 0
                    if connection.state is not IDLE:
                        connection.deadline -= time.monotonic()  # what is left: the queue is not the client's fault
                    connection.state = QUEUED
                    ready.append(connection)
            if ready:
                pool.put_all(ready)
            now = time.monotonic()
            if now >= self._tick_at:
                self._tick(now)
            if self.service.draining and (not connections or now >= self._leave_at):
                break
        pool.stop(max(0.0, self._leave_at - time.monotonic()))

    # What the poller's thread does.

    def _tick(self, now: float) -> None:
        """Do what is done once a second; more often while accepting pauses or the worker is about to leave."""
        self._tick_at = now + self._every
        self.service.fields = server_fields(SERVER)
        self.tell("beat")
        self._sweep(now)
        if self.service.draining:
            self._tick_at = now + SHORT_TICK
        elif len(self._listeners) < len(self.listeners):
            self._listen()

    def _listen(self) -> None:
        for listener in self.listeners:
            if listener.fd not in self._listeners:
                self._listeners[listener.fd] = listener
                self.poller.watch(listener.fd, exclusive=True)

    def _stop_listening(self) -> None:
        for fd in self._listeners:
            self.poller.forget(fd)
        self._listeners.clear()

    def _wake(self, connection: Connection) -> bool:
        """Tell whoever has the connection that there is news; whether it was parked just now, and is ours."""
        connection.woken = True
        return self._parked.pop(connection, False)  # parked before its thread could see that

    def _attend(self, fd: int) -> None:
        """Look after what is ready and is no connection: a listener, a signal, the master's end of the channel."""
        listener = self._listeners.get(fd)
        if listener is not None:
            self._accept(listener, ACCEPTS)
        elif fd == self.signals.fileno():
            for number in self.read_signals():
                self._obey(number)
        elif fd == self.channel.fileno() and self._master_is_gone():
            self.log.warning("The master is gone: worker %d finishes what it has and leaves", self.pid)
            self.poller.forget(fd)
            self._drain()

    def _master_is_gone(self) -> bool:
        try:
            return not self.channel.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _accept(self, listener: Listener, most: int) -> None:
        for _ in range(most):
            full = len(self.connections) >= self.settings.worker_connections and not self.service.draining
            if full and not self._make_room():
                self._pause(f"worker_connections ({self.settings.worker_connections}) are open")
                return
            try:
                accepted = listener.accept()
            except OSError as error:
                self._pause(str(error))
                return
            if accepted is None:
                return
            sock, peer = accepted
            connection = Connection(sock, peer, self._first_turn, self._buffers)
            connection.template = self._templates[listener.fd]
            connection.trusted = peer is None or peer[0] in self._trusted
            connection.names = self._names[connection.trusted]
            connection.deadline = time.monotonic() + self._timeouts[State.NEW]
            self.connections[connection.fd] = connection
            try:
                self.poller.add(connection.fd)
            except OSError as error:
                self._close(connection)
                self._pause(str(error))
                return
            self._parked[connection] = True

    def _make_room(self) -> bool:
        """Close the connections that have been idle for longest, a few of them; whether there was any."""
        now = time.monotonic()
        silent_since = now + self._timeouts[State.NEW] - SILENT
        closed = 0
        for connection in list(self._parked):
            state = connection.state
            idle = state is IDLE or (state is State.NEW and connection.deadline < silent_since)
            if idle and self._parked.pop(connection, False):
                self._close(connection)
                closed += 1
                if closed == ACCEPTS:
                    break
        return closed > 0

    def _pause(self, reason: str) -> None:
        """Accept nothing for a moment; who connects waits in the kernel's queue."""
        now = time.monotonic()
        self._stop_listening()
        self._tick_at = now + SHORT_TICK
        if now >= self._tell_pause_at:
            self._tell_pause_at = now + TELL_PAUSE_EVERY
            self.log.warning("Accepting pauses: %s", reason)

    def _obey(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._drain()
        elif number in (signal.SIGINT, signal.SIGQUIT):
            self._leave_at = 0.0
            self.service.draining = True

    def _drain(self) -> None:
        """Accept what already waits, then nothing more; what runs has until graceful_timeout.

        Connections without a request have a moment for one that is on its way, and are then closed.
        """
        if self.service.draining:
            return
        self.service.draining = True
        self.service.keep_alive = False
        now = time.monotonic()
        self._leave_at = now + self.settings.graceful_timeout
        self._farewell_at = now + FAREWELL
        self._tick_at = now
        self._stop_listening()
        for listener in self.listeners:
            self._accept(listener, self.settings.backlog)
            listener.close()

    def _sweep(self, now: float) -> None:
        """End the waits whose time is up."""
        farewell = now >= self._farewell_at
        for connection in list(self._parked):
            state = connection.state
            over = connection.deadline <= now or (farewell and state in BETWEEN_REQUESTS)
            if over and self._parked.pop(connection, False):
                self._expire(connection, state)

    def _expire(self, connection: Connection, state: State) -> None:
        outcome = State.CLOSED
        try:
            if state in EXPIRED:
                outcome = refuse(connection, self.service, EXPIRED[state])
        except Exception:
            self.log.exception("cannot tell a client that its time is up")
        self.settle(connection, outcome)

    # What pool threads do.

    def work(self, connection: Connection) -> None:
        """Run a turn of a connection and settle its outcome. Pool threads."""
        connection.state = ACTIVE
        try:
            outcome = connection.turn(connection, self.service)
        except (ConnectionError, TimeoutError) as error:  # ClientGone is one
            self.log.debug("a client is gone: %s", error)
            outcome = State.CLOSED
        except BaseException:
            self.log.exception("a turn failed; its connection is closed")
            outcome = State.CLOSED
        if outcome is IDLE and connection.drained and self._keeps_watching:
            # What settle() would do, but without a call of the kernel: this is the hot path.
            connection.deadline = time.monotonic() + self._keepalive
            connection.was = connection.state = IDLE
            self._parked[connection] = True
            if connection.woken:
                self._reclaim(connection)
        else:
            try:
                self.settle(connection, outcome)
            except BaseException:
                self.log.exception("a connection cannot be settled")

    def settle(self, connection: Connection, outcome: State) -> None:
        """Do what the outcome of a turn asks for: park, queue or close.

        The deadline is set before the state, then the connection is armed, then parked, and then touched no more:
        it belongs to whoever takes it out of the parked ones.
        """
        if outcome is State.CLOSED:
            self._close(connection)
        elif outcome is State.QUEUED:
            connection.state = State.QUEUED
            self.pool.put(connection)
        else:
            if outcome is not connection.was or outcome is IDLE:
                connection.deadline = time.monotonic() + self._timeouts[outcome]
                connection.was = outcome
            elif connection.deadline > 0:
                connection.deadline += time.monotonic()
            else:  # its time ran out between two sweeps
                self._expire(connection, outcome)
                return
            poller = self.poller
            interest = poller.WRITE if outcome is State.FLUSH else poller.END if connection.deaf else poller.READ
            try:
                poller.arm(connection.fd, interest)
            except OSError:  # the application closed the socket
                self._close(connection)
                return
            connection.state = outcome
            self._parked[connection] = True
            if connection.woken and not connection.deaf:
                self._reclaim(connection)

    def _reclaim(self, connection: Connection) -> None:
        """Queue a connection on which something happened while a thread had it, unless it was taken already."""
        if self._parked.pop(connection, False):
            connection.woken = False
            if connection.state is not IDLE:
                connection.deadline -= time.monotonic()
            connection.state = State.QUEUED
            self.pool.put(connection)

    def _close(self, connection: Connection) -> None:
        connection.state = State.CLOSED
        fd = connection.fd
        # The application may have closed the socket itself: then somebody else may have the number already.
        if self.connections.get(fd) is connection:
            del self.connections[fd]
        if connection.socket.fileno() == fd:
            self.poller.forget(fd)  # before the number can come back
        connection.close()
        if self.service.draining:
            self.poller.wake()
