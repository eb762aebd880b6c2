"""Requests on Tornado's HTTP server: WSGI applications in threads, and applications of Tornado's own in its loop."""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import tornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.wsgi import WSGIContainer

from greenhorn.app import check_wsgi
from greenhorn.errors import ConfigError
from greenhorn.http.response import server_fields
from greenhorn.net.connection import Connection
from greenhorn.net.listener import Listener
from greenhorn.net.state import ARMED, State
from greenhorn.workers import inflight
from greenhorn.workers.accepting import ACCEPTS, PAUSE, Doorkeeper
from greenhorn.workers.answer import exchange, resume, turn_away
from greenhorn.workers.base import Worker
from greenhorn.workers.composition import SERVER, buffers, paces, reception
from greenhorn.workers.crowd import GAVE_WAY, UNREAD_GAVE_WAY, dispensable, slow_readers
from greenhorn.workers.deadlines import TOLD, departure, expired
from greenhorn.workers.loading import Application
from greenhorn.workers.on_tornado.arrivals import Arrivals, first_turn
from greenhorn.workers.on_tornado.front import Front, WSGIEngine
from greenhorn.workers.on_tornado.loggers import adopt_loggers
from greenhorn.workers.on_tornado.native import NativeEngine
from greenhorn.workers.on_tornado.streams import Watched
from greenhorn.workers.on_tornado.visitor import Visitor
from greenhorn.workers.pool import Pool
from greenhorn.workers.serve import refuse, tell_end
from greenhorn.workers.spare import Spare

OLDEST = (6, 5)
"""The oldest Tornado that this was tried with."""
TICK = 1.0
"""Most seconds between two sweeps of the deadlines and beats to the master."""
SHORT_TICK = 0.1
"""The same while the worker is about to leave."""
STUCK_TICK = 0.25
"""The same while the application's time is limited."""
BEYOND = 65536
"""Bytes of a head beyond the limits for which the client is still told; then Tornado closes the connection."""
UNREAD = 1048576
"""Bytes that Tornado may read ahead of a WSGI application."""
UNLIMITED = 2**62

OWN_KINDS = (HTTPServerConnectionDelegate, WSGIContainer)
"""What Tornado calls an application."""


class TornadoWorker(Worker):
    """The worker class `tornado`.

    Tornado's loop, in the main thread, accepts, reads requests and sends answers. A WSGI application runs in a pool of
    threads, with greenhorn's own container, which streams, keeps large bodies in files and lets hooks take part. What
    Tornado calls an application (`tornado.web.Application`, any `HTTPServerConnectionDelegate`, a `WSGIContainer`) runs
    in the loop.
    """

    @classmethod
    def setup(cls) -> None:
        """Refuse versions that this was not tried with."""
        if tornado.version_info < OLDEST:
            raise ConfigError(
                f"needs Tornado 6.5 or newer, this is {tornado.version}: pip install 'greenhorn[tornado]'"
            )

    @classmethod
    def check_application(cls, application: Application) -> None:
        """Refuse an application of ASGI."""
        if not isinstance(application, OWN_KINDS):
            check_wsgi(application)

    def load_wsgi(self) -> Application:
        """Make the loop before the application is imported, which may ask for it. One of the master's is no use."""
        self._asyncio_loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._asyncio_loop)
        self._loop = IOLoop.current()
        return super().load_wsgi()

    def init(self) -> None:
        """Make Tornado's server, and the threads of a WSGI application; raises `ConfigError`."""
        settings, service = self.settings, self.service
        if settings.stream_request_body:
            self.log.warning("stream_request_body: the worker class tornado collects the bodies for WSGI applications")
        self.visitors: dict[Connection, Visitor] = {}
        self._paces = paces(settings)
        self._buffers = buffers(settings, service.allotment)
        service.allotment.make_room = self._drop_least_read
        self._reception = reception(
            settings, self.listeners, self.spoken, self._buffers, self.log, self.is_ready, first_turn
        )
        self._arrivals = Arrivals(self._loop, service, self._paces, self._hand_over, self._leave_if_last)
        self._spare = Spare(lambda _: None, self._give_up, settings.queue_timeout)
        self.pool: Pool[Connection] = Pool(settings.threads, self.work, self._spare.call)
        self._exchange = exchange if self.attendance is None else self.attendance.exchange
        self._is_native = isinstance(self.wsgi, OWN_KINDS)
        most = service.limits.largest + BEYOND
        self._most_unread = None if self._is_native else max(UNREAD, 2 * most)
        common: dict[str, Any] = {
            "max_header_size": most,
            "no_keep_alive": not service.keep_alive,
            "max_body_size": UNLIMITED if service.limits.body or not self._is_native else None,
        }
        self._server = HTTPServer(self._front(), **common)
        self._listening: dict[int, Listener] = {}
        self._leave_at = self._farewell_at = math.inf
        self._every = min(STUCK_TICK if settings.request_timeout else TICK, settings.timeout / 3 or TICK)
        self._ticking = PeriodicCallback(self._tick, self._every * 1000)
        self._doorkeeper = Doorkeeper(self._is_full, self._make_room, self._welcome, self.log)
        adopt_loggers(self.log)

    def _front(self) -> Front:
        if not self._is_native:
            return Front(self.service, WSGIEngine(self.service, self._submit))
        count: Callable[[], None] = self.attendance.count if self.attendance is not None else lambda: None
        engine = NativeEngine(self.service, HTTPServer(self.wsgi), count, self.settings.request_id_header)
        return Front(self.service, engine)

    def start(self) -> None:
        """Start the threads."""
        if not self._is_native:
            self.pool.start()
            self._spare.start(self.pool)

    def run(self) -> None:
        """Serve until TERM, INT or QUIT, or until the master is gone."""
        loop = self._loop
        loop.add_handler(self.signals, lambda *_: self.follow_signals(), IOLoop.READ)
        loop.add_handler(self.channel, lambda *_: self._obey(), IOLoop.READ)
        self._asyncio_loop.call_soon(self._listen)
        self._ticking.start()
        if self.alive:  # nobody has said already that it is to leave
            loop.start()
        self._ticking.stop()
        for connection in (*self.visitors, *self._arrivals.waiting):
            self._close(connection)
        if not self._is_native:
            self._spare.stop()
            self.pool.stop(max(0.0, self._leave_at - time.monotonic()))
        self.service.counters.tell(self.log, math.inf)

    def _obey(self) -> None:
        if not self.follow_orders():
            self._loop.remove_handler(self.channel)

    # Who comes.

    def _listen(self) -> None:
        if self.service.draining:
            return
        for listener in self.listeners:
            if listener.fd not in self._listening:
                self._listening[listener.fd] = listener
                self._loop.add_handler(listener.socket, lambda sock, _: self._accept_at(sock), IOLoop.READ)

    def _stop_listening(self) -> None:
        for listener in self._listening.values():
            self._loop.remove_handler(listener.socket)
        self._listening.clear()

    def _accept_at(self, sock: socket.socket) -> None:
        listener = self._listening.get(sock.fileno())
        if listener is not None and not self._doorkeeper.accept(listener, ACCEPTS):
            self._stop_listening()
            self._asyncio_loop.call_later(PAUSE, self._listen)

    def _is_full(self) -> bool:
        count = len(self.visitors) + len(self._arrivals.waiting)
        return count >= self.settings.worker_connections and not self.service.draining

    def _make_room(self) -> bool:
        """Close the connection that can be done without most easily; whether there was one."""
        waiting = [each for each in (*self.visitors, *self._arrivals.waiting) if each.state in ARMED]
        for connection in dispensable(waiting, self._paces, time.monotonic()):
            self.service.counters.add(GAVE_WAY)
            self._close(connection)
            return True
        return False

    def _drop_least_read(self) -> bool:
        """Give up the answer that its client reads slowest, for room in temporary files. Any thread."""
        flushing = [visitor for visitor in list(self.visitors.values()) if visitor.state is State.FLUSH]
        for victim in slow_readers(flushing, self._paces, time.monotonic()):
            if self.visitors[victim].give_up():
                self.service.counters.add(UNREAD_GAVE_WAY)
                return True
        return False

    def _welcome(self, listener: Listener, sock: socket.socket, peer: tuple[str, str] | None) -> None:
        self._arrivals.take_in(self._reception.welcome(listener, sock, peer))

    def _hand_over(self, connection: Connection) -> None:
        """Let Tornado read the requests of a connection."""
        sock: Any = connection.socket
        try:
            stream = Watched(sock, connection.secure, connection.buffer, self._most_unread)
        except OSError:
            connection.close()
            self._leave_if_last()
            return  # it left at once
        visitor = Visitor(stream, connection, self._buffers, self._paces, self.service, self._forget)
        self.visitors[visitor] = visitor
        peer = connection.peer
        self._server.handle_stream(stream, (peer[0], int(peer[1])) if peer else ("",))

    def _forget(self, visitor: Visitor) -> None:
        self.visitors.pop(visitor, None)  # it may have been left to a thread before
        self._leave_if_last()

    def _leave_if_last(self) -> None:
        if self.service.draining and not self._is_busy:
            self._loop.add_callback(self._tick)

    @property
    def _is_busy(self) -> bool:
        return bool(self.visitors or self._arrivals.waiting)

    # What threads do.

    def _submit(self, visitor: Visitor) -> State | None:
        """Queue a request for a thread, or turn it away and say how that ended. Loop's thread."""
        most = self.settings.queue_size
        if most and self.pool.requests >= most:
            return turn_away(visitor, self.service, "the queue was full")
        self.pool.put_whole(visitor, new=not visitor.requests)
        return None

    def work(self, visitor: Connection) -> None:
        """Run the application for a whole request. Pool thread."""
        self._act(visitor, runs=True)

    def _give_up(self, visitor: Connection) -> None:
        """End the wait of a request for a thread. Spare thread."""
        self._act(visitor, runs=False)

    def _act(self, visitor: Connection, *, runs: bool) -> None:
        assert isinstance(visitor, Visitor)  # noqa: S101 - nothing else is queued
        visitor.state = State.ACTIVE
        try:
            outcome = resume(visitor, self.service)
            if outcome is State.WHOLE and runs:
                outcome = self._exchange(visitor, self.service)
        except BaseException as error:  # noqa: BLE001 - it is logged
            tell_end(error, self.log)
            outcome = State.CLOSED
        if not self._asyncio_loop.is_closed():
            self._asyncio_loop.call_soon_threadsafe(visitor.settle, outcome)

    # What is done again and again.

    def _tick(self) -> None:
        now = time.monotonic()
        self.service.fields = server_fields(SERVER)
        self.beat()
        self._sweep(now)
        if self.service.timed:
            self._end_overdue(now)
        if complaint := self.wear.complaint(now):
            self.ask_exchange(complaint)
        self.service.counters.tell(self.log, now)
        if self.service.draining and (not self._is_busy or now >= self._leave_at):
            self._loop.stop()

    def _sweep(self, now: float) -> None:
        waiting = dict(self._arrivals.waiting)
        for visitor in list(self.visitors.values()):
            if visitor.state in (State.BODY, State.FLUSH):
                pace = self._paces[visitor.state]
                count = visitor.gained if visitor.state is State.BODY else visitor.taken()
                visitor.deadline = now + pace.earn(visitor.deadline - now, count)
                visitor.gained = 0
            elif visitor.is_native and visitor.state is State.ACTIVE:
                self._watch_writing(visitor, now)
            if visitor.state in ARMED:
                waiting[visitor] = True
        for connection, state in expired(waiting, self._paces, now, farewell=now >= self._farewell_at):
            self._expire(connection, state)

    def _watch_writing(self, visitor: Visitor, now: float) -> None:
        """Close the connection of a client that does not read what Tornado's application has sent it."""
        pace = self._paces[State.FLUSH]
        taken = visitor.taken()
        if taken or not visitor.stream.writing():
            visitor.deadline = now + pace.most
        elif visitor.deadline <= now:
            visitor.reset()
            visitor.stream.close()

    def _expire(self, connection: Connection, state: State) -> None:
        visitor = self.visitors.get(connection)
        if visitor is not None and state in TOLD:
            visitor.settle(refuse(visitor, self.service, TOLD[state]))
            return
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection.state is State.FLUSH:
            connection.reset()
        visitor = self.visitors.get(connection)
        if visitor is not None:
            visitor.stream.close()
        else:
            self._arrivals.close(connection)

    def _end_overdue(self, now: float) -> None:
        for request in inflight.overdue(self.pool, self.settings.request_timeout, now):
            if inflight.end(request, self.service, now):
                self.visitors[request.connection].leave_to_its_thread()
                if not request.slot.lost:
                    self.pool.replace(request.slot)
        stuck = self.pool.count_lost()
        if stuck > self.settings.max_stuck_threads:
            self.ask_exchange(f"{stuck} threads are stuck")

    # The end.

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:
        """Accept what already waits, then nothing more; what runs has until graceful_timeout.

        Connections without a request have a moment for one that is on its way. Those of WebSockets are told that the
        server leaves.
        """
        if self.service.draining:
            return
        self._stop_listening()
        self.service.draining = True
        self.service.keep_alive = False
        graceful_timeout = self.settings.graceful_timeout
        self._leave_at, self._farewell_at = departure(graceful_timeout, others_serve=bool(others_serve))
        for listener in self.listeners:
            self._doorkeeper.accept(listener, 1 if listener.fd in others_serve else self.settings.backlog)
            listener.close()
        for visitor in list(self.visitors.values()):
            visitor.say_goodbye()
        self._ticking.stop()
        self._ticking = PeriodicCallback(self._tick, SHORT_TICK * 1000)
        self._ticking.start()
        self._loop.add_callback(self._tick)

    def quit(self) -> None:
        """Leave at once."""
        self._leave_at = 0.0
        self.alive = False
        self.service.draining = True
        self._loop.add_callback(self._loop.stop)

    def dump(self) -> None:
        """Log what is in flight."""
        if not self._is_native:
            inflight.dump(self.pool, self.service)
            return
        running = [visitor for visitor in self.visitors.values() if visitor.state is State.ACTIVE]
        now = time.monotonic()
        for visitor in running:
            if visitor.head is not None:
                head = visitor.head
                self.log.warning("In flight: %s %s for %.1f s", head.method, head.target, now - visitor.taken_at)
        self.log.warning("%d in flight", len(running))
