"""The main path: one thread waits for every connection, a pool of threads works on those that are ready."""

import functools
import math
import socket
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from greenhorn.app import check_wsgi
from greenhorn.http.response import server_fields
from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener
from greenhorn.net.poller import best_poller
from greenhorn.net.state import State
from greenhorn.workers import inflight
from greenhorn.workers.acceptor import Acceptor
from greenhorn.workers.answer import exchange, resume, turn_away
from greenhorn.workers.base import Worker
from greenhorn.workers.composition import SERVER, buffers, paces, reception
from greenhorn.workers.crowd import Crowd
from greenhorn.workers.deadlines import TOLD, departure, expired
from greenhorn.workers.loading import Application
from greenhorn.workers.pool import Pool
from greenhorn.workers.serve import refuse, tell_end
from greenhorn.workers.service import Service
from greenhorn.workers.spare import Spare

IDLE, QUEUED, ACTIVE, WHOLE = State.IDLE, State.QUEUED, State.ACTIVE, State.WHOLE
TICK = 1.0
"""Most seconds between two sweeps of the deadlines, beats to the master, and renewals of the Date."""
SHORT_TICK = 0.1
"""The same while the worker is about to leave."""
STUCK_TICK = 0.25
"""The same while the application's time is limited."""
HURRY = 4
"""The part of queue_timeout, a fourth, for which requests wait while worker_connections is reached."""


class ThreadWorker(Worker):
    """The worker class `gthread`.

    The poller's thread, which is the process's main thread, accepts, waits, sweeps and signals; it reads no byte of
    a client. A connection that is ready goes through the queue to a pool thread, which runs its turn and settles
    the outcome.
    """

    @classmethod
    def check_application(cls, application: Application) -> None:
        """Refuse an application of ASGI."""
        check_wsgi(application)

    def init(self) -> None:
        """Make the poller, the pool and what each connection is given."""
        settings = self.settings
        self.poller = best_poller()
        prepare = functools.partial(self._act, turn=self._turn_until_whole)
        turn_late_away = functools.partial(self._act, turn=resume)
        self._buffers = buffers(settings, self.service.allotment)
        self._spare = Spare(prepare, turn_late_away, settings.queue_timeout, self._buffers.lagging)
        self._buffers.on_lagging = self._spare.call
        self.pool = self.make_pool()
        self.waiting = self.pool.ready
        self.connections: dict[int, Connection] = {}
        self._parked: dict[Connection, bool] = {}
        """The connections that wait for their client, the longest first. Taking one out, which is atomic, is taking it
        over."""
        self._reception = reception(settings, self.listeners, self.spoken, self._buffers, self.log, self.is_ready)
        self._exchange = exchange if self.attendance is None else self.attendance.exchange
        self._tick_at = self._due_at = 0.0
        # Three beats before the master could miss one.
        self._every = min(STUCK_TICK if settings.request_timeout else TICK, settings.timeout / 3 or TICK)
        self._keeps_watching = self.poller.keeps_watching
        self._paces = paces(settings)
        self._keepalive = self._paces[IDLE].most
        self._crowd = Crowd(
            connections=self.connections,
            parked=self._parked,
            most=settings.worker_connections,
            paces=self._paces,
            service=self.service,
            buffers=self._buffers,
            close=self._close,
        )
        self._shares = settings.workers > 1
        self._acceptor = Acceptor(
            self.listeners, self.poller, self.pool, self._welcome, self._crowd, self.log, shares=self._shares
        )
        self._leave_at = math.inf
        self._farewell_at = math.inf

    def make_pool(self) -> Pool[Connection]:
        """The threads that work on what is ready, not started yet."""
        return Pool(self.settings.threads, self.work, self._spare.call)

    def start(self) -> None:
        """Start the threads."""
        self.poller.watch(self.signals.fileno())
        self.poller.watch(self.channel.fileno())
        self.pool.start()
        self._spare.start(self.pool)

    def run(self) -> None:
        """Serve until TERM, INT or QUIT, or until the master is gone."""
        poller, pool, parked, connections = self.poller, self.pool, self._parked, self.connections
        ending, broken = poller.ENDING, poller.BROKEN
        self._acceptor.listen()
        now = time.monotonic()
        while True:
            wait = 0.0 if pool.oversee() else self._due_at - now
            events_of = poller.wait(max(0.0, wait))
            now = time.monotonic()
            ready: list[Connection] = []
            new: list[Connection] = []
            others: list[int] = []
            for fd, events in events_of:
                connection = connections.get(fd)
                if connection is None:
                    others.append(fd)
                elif parked.pop(connection, False) or self._wake(connection, events):
                    # The end of a stream is told once, and the next turn may read only what came before it.
                    if events & ending:
                        connection.woken = True
                        if events & broken:
                            connection.note_end(broken=True)
                    else:
                        connection.woken = False
                    connection.queued_at = now
                    if connection.state is IDLE:
                        ready.append(connection)
                    else:
                        connection.deadline -= now  # what is left: the queue is not the client's fault
                        (ready if connection.requests else new).append(connection)
                    connection.state = QUEUED
            if ready or new:
                pool.put_all(ready, new)
                if self._shares and not pool.idle:
                    self._leave_to_others()
            if others:
                # Last, since who is accepted may need the room of one on which nothing has come; signals before them.
                for fd in sorted(others, key=self._acceptor.watches):
                    self._attend(fd)
            if now >= self._due_at:
                self._tick(now)
            if self.service.draining and (not connections or now >= self._leave_at):
                break
        self._spare.stop()
        pool.stop(max(0.0, self._leave_at - time.monotonic()))
        self.service.counters.tell(self.log, math.inf)

    # What the poller's thread does.

    def _tick(self, now: float) -> None:
        """Do what is due: accept again, and what is done once a second, or more often when there is reason to."""
        acceptor = self._acceptor
        if now >= acceptor.listen_at:
            acceptor.look(now)
            self._bound_queue()
        if now >= self._tick_at:
            self._tick_at = now + (SHORT_TICK if self.service.draining else self._every)
            self.service.fields = server_fields(SERVER)
            self.beat()
            self._sweep(now)
            self._crowd.share_memory()
            self._bound_queue()
            if self.service.timed:
                self._end_overdue(now)
            if complaint := self.wear.complaint(now):
                self.ask_exchange(complaint)
            self.service.counters.tell(self.log, now)
        self._due_at = min(self._tick_at, acceptor.listen_at)

    def _wake(self, connection: Connection, events: int) -> bool:
        """Tell whoever has the connection that there is news; whether it was parked just now, and is ours."""
        if events & self.poller.ENDING:
            connection.note_end(broken=events & self.poller.BROKEN != 0)
        connection.woken = True
        return self._parked.pop(connection, False)  # parked before its thread could see that

    def _attend(self, fd: int) -> None:
        """Look after what is ready and is no connection: a listener, a signal, the master's end of the channel."""
        if self._acceptor.attend(fd):
            self._due_at = min(self._due_at, self._acceptor.listen_at)
            if self._shares and self._acceptor.unclaimed() <= 0:
                self._leave_to_others()
        elif fd == self.signals.fileno():
            self.follow_signals()
        elif fd == self.channel.fileno() and not self.follow_orders():
            self.poller.forget(fd)

    def _welcome(self, listener: Listener, sock: socket.socket, peer: tuple[str, str] | None) -> Connection:
        """Take a new connection in; raises `OSError` if the poller cannot."""
        connection = self._reception.welcome(listener, sock, peer)
        connection.deadline = time.monotonic() + self._paces[State.NEW].most
        self.connections[connection.fd] = connection
        self._crowd.take_in(connection)
        try:
            self.poller.add(connection.fd)
        except OSError:
            self._close(connection)
            raise
        self._parked[connection] = True
        return connection

    def _bound_queue(self) -> None:
        """Let whole requests wait for a thread, but less long while they keep others from being accepted."""
        most = self.settings.queue_timeout / (HURRY if self._crowd.is_full() else 1)
        self._spare.queue_timeout = most
        self.service.queue_timeout = most or math.inf

    def _leave_to_others(self) -> None:
        """Accept nothing while no thread is free, so that workers that have one are quicker; not for long.

        Where threads are free again within a moment, that would cost more than it gains.
        """
        if not self.pool.quick and self._acceptor.leave_to_others():
            self._due_at = min(self._due_at, self._acceptor.listen_at)
            self.pool.on_idle = self._accept_again
            if self._acceptor.unclaimed() > 0:  # one fell asleep before it could see that
                self.pool.on_idle = None
                self._accept_again()

    def _accept_again(self) -> None:
        """Any thread."""
        self._acceptor.listen_at = self._due_at = 0.0
        self.poller.wake()

    def _end_overdue(self, now: float) -> None:
        """Answer for threads that are stuck, put others in their place, and ask to be exchanged if there are many."""
        for request in inflight.overdue(self.pool, self.settings.request_timeout, now):
            if inflight.end(request, self.service, now):
                self._forget(request.connection)
                if not request.slot.lost:
                    self.pool.replace(request.slot)
        stuck = self.pool.count_lost()
        if stuck > self.settings.max_stuck_threads:
            self.ask_exchange(f"{stuck} threads are stuck")

    def quit(self) -> None:  # noqa: D102
        self._leave_at = 0.0
        self.service.draining = True

    def dump(self) -> None:  # noqa: D102 - the contract stands in the base class
        inflight.dump(self.pool, self.service)

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:
        """Accept what already waits, then nothing more; what runs has until graceful_timeout.

        Connections without a request have a moment for one that is on its way, and are then closed. Who waits at the
        listeners that others serve is left to them.
        """
        if self.service.draining:
            return
        self.service.draining = True
        self.service.keep_alive = False
        graceful_timeout = self.settings.graceful_timeout
        self._leave_at, self._farewell_at = departure(graceful_timeout, others_serve=bool(others_serve))
        self._tick_at = self._due_at = 0.0
        self._acceptor.end(self.settings.backlog, others_serve)

    def _sweep(self, now: float) -> None:
        for connection, state in expired(self._parked, self._paces, now, farewell=now >= self._farewell_at):
            self._expire(connection, state)

    def _expire(self, connection: Connection, state: State) -> None:
        outcome = State.CLOSED
        try:
            if state in TOLD:
                outcome = refuse(connection, self.service, TOLD[state])
            elif state is State.FLUSH:
                connection.reset()
        except Exception:
            self.log.exception("cannot tell a client that its time is up")
        self.settle(connection, outcome)

    # What pool threads do.

    def work(self, connection: Connection) -> None:
        """Run a turn of a connection, and the application if it has a whole request, and settle the outcome."""
        connection.state = ACTIVE
        try:
            outcome = connection.turn(connection, self.service)
            if outcome is WHOLE:
                outcome = self._exchange(connection, self.service)
        except BaseException as error:  # noqa: BLE001 - it is logged
            tell_end(error, self.log)
            outcome = State.CLOSED
        if outcome is IDLE and connection.drained and self._keeps_watching:
            # What settle() would do, but without a call of the kernel: this is the hot path.
            connection.deadline = time.monotonic() + self._keepalive
            connection.was = connection.state = IDLE
            self._parked[connection] = True
            if connection.woken:
                self._reclaim(connection)
        else:
            self._settle_safely(connection, outcome)

    def _settle_safely(self, connection: Connection, outcome: State) -> None:
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
        elif outcome is QUEUED or outcome is WHOLE:
            connection.state = outcome
            if outcome is WHOLE:
                connection.turn = resume
                self.pool.put_whole(connection, new=not connection.requests)
            else:
                connection.queued_at = time.monotonic()
                self.pool.put_behind(connection)
        else:
            now = time.monotonic()
            pace = self._paces[outcome]
            if outcome is not connection.was or outcome is IDLE:
                connection.deadline = now + pace.most
                connection.was = outcome
            else:
                count = connection.taken() if outcome is State.FLUSH else connection.gained
                left = pace.earn(connection.deadline, count)
                if left <= 0:  # its time ran out between two sweeps
                    self._expire(connection, outcome)
                    return
                connection.deadline = now + left
            connection.gained = 0
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
            connection.state = QUEUED
            connection.queued_at = time.monotonic()
            self.pool.put(connection)

    def _close(self, connection: Connection) -> None:
        connection.state = State.CLOSED
        self._forget(connection)
        connection.close()
        if self.service.draining:
            self.poller.wake()

    def _forget(self, connection: Connection) -> None:
        """Count and watch a connection no longer."""
        fd = connection.fd
        # The application may have closed the socket itself: then somebody else may have the number already.
        if self.connections.get(fd) is connection:
            del self.connections[fd]
        if connection.socket.fileno() == fd:
            self.poller.forget(fd)  # before the number can come back

    # What the spare thread does.

    def _turn_until_whole(self, connection: Connection, service: Service) -> State:
        """Run a turn; a request that is whole then waits for a thread of the pool, or is turned away."""
        outcome = connection.turn(connection, service)
        if outcome is WHOLE:
            most = self.settings.queue_size
            if most and self.pool.requests >= most:
                return turn_away(connection, service, "the queue was full")
        return outcome

    def _act(self, connection: Connection, turn: Callable[[Connection, Service], State]) -> None:
        connection.state = ACTIVE
        try:
            outcome = turn(connection, self.service)
        except BaseException as error:  # noqa: BLE001 - it is logged
            tell_end(error, self.log)
            outcome = State.CLOSED
        self._settle_safely(connection, outcome)
