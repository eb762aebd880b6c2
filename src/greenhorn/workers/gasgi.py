"""The worker class asgi: uvicorn's protocols for the application, and everything else as in the other workers."""

import asyncio
import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any

from uvicorn.server import ServerState

from greenhorn.errors import HTTPError
from greenhorn.http.peer import Networks
from greenhorn.http.response import error_response
from greenhorn.net.pace import Pace
from greenhorn.observe.access import Refusal, Unread
from greenhorn.tls.entrance import Entrance
from greenhorn.workers.asgi.acceptor import NEVER, Acceptor, Door, Manner
from greenhorn.workers.asgi.attended import Attendance
from greenhorn.workers.asgi.deadlines import Deadlines, sweep
from greenhorn.workers.asgi.engine import (
    Engine,
    Guard,
    check_version,
    engine_config,
    has_shaken_hands,
    unheard_since,
)
from greenhorn.workers.asgi.enginelog import forward_engine_log
from greenhorn.workers.asgi.inflight import dump
from greenhorn.workers.asgi.intake import TakeIn, Trust, make_take_in, refuse
from greenhorn.workers.asgi.kind import Application, Receive, Scope, Send, as_asgi3
from greenhorn.workers.asgi.lifespan import Lifespan
from greenhorn.workers.asgi.loops import check_loop, new_loop, serves_websockets
from greenhorn.workers.asgi.redirecting import redirecting
from greenhorn.workers.base import OF_THREADS, Worker
from greenhorn.workers.composition import (
    SERVER,
    DroppedNames,
    field_names,
    flush_access_log,
    forwarding,
    secure_schemes,
)
from greenhorn.workers.deadlines import departure
from greenhorn.workers.recorded import NO_TIMES

TICK = 1.0
"""Most seconds between two beats to the master, sweeps of the deadlines, and renewals of the Date."""
SHORT_TICK = 0.05
"""The same while the worker is about to leave."""
LAST_MOMENT = 1.0
"""Seconds of graceful_timeout that are left, at the most, for requests that are cancelled and for the application to
stop."""
HEARD = (signal.SIGQUIT, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class ASGIWorker(Worker):
    """The worker class `asgi`: one event loop in the process's main thread, which runs the application."""

    without_effect = (
        *(name for name in OF_THREADS if name != "request_timeout"),
        "threads",
        "keepalive_requests",
        "stream_request_body",
        "permit_obsolete_folding",
        "casefold_http_method",
        "strip_header_spaces",
        "sendfile",
        "body_buffer_size",
        "response_buffer_size",
        "response_buffer_max",
        "tmp_files_max",
        "tmp_upload_dir",
    )
    http = "auto"
    """Which of uvicorn's protocols speaks HTTP: httptools where it is installed, or h11."""
    loop_kind = ""
    """Which event loop there is, whatever the settings say; empty for what they say."""

    @classmethod
    def setup(cls) -> None:
        """Look at the version of uvicorn."""
        check_version()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Look whether the loop that is asked for is installed, and tell where nobody speaks WebSocket."""
        check_loop(cls.loop_kind or cfg.asgi_loop)
        if not serves_websockets():
            log.warning("WebSockets are not served: pip install websockets")

    @classmethod
    def check_application(cls, application: Callable[..., Any]) -> None:
        """Refuse an application of WSGI, and a factory."""
        as_asgi3(application)

    def init(self) -> None:
        """Make the loop, and judge the application."""
        settings = self.settings
        forward_engine_log(self.log)
        self._application = as_asgi3(self.service.app)
        self.loop = new_loop(self.loop_kind or settings.asgi_loop)
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._note_exception)
        self.waiting = (None,)  # access lines wait for those of the same turn of the loop
        self._lifespan = Lifespan(self._application, settings.asgi_lifespan, self.log)
        self._every = min(TICK, settings.timeout / 3 or TICK)
        self._reserve = min(LAST_MOMENT, settings.graceful_timeout / 4)
        self._flushes = self._breaks_off = False
        self._leave_at = self._farewell_at = math.inf
        self._left: asyncio.Future[None] = self.loop.create_future()

    def start(self) -> None:
        """Let the application start, and make everything that requests need."""
        self.loop.run_until_complete(self._lifespan.startup())
        settings = self.settings
        self._lifespan.state["greenhorn.ready"] = self.is_ready
        self._engine = Engine(
            config=engine_config(
                http=self.http,
                ws_max_size=settings.websocket_max_message_size,
                keepalive=settings.keepalive,
                root_path=settings.root_path,
                largest_head=min(self.service.limits.largest, sys.maxsize),
            ),
            loop=self.loop,
            state=ServerState(),
            app_state=self._lifespan.state,
            limits=self.service.limits,
            grace=settings.asgi_disconnect_grace_period,
            linger=settings.linger_timeout,
            refuse=self._refuse,
            counters=self.service.counters,
        )
        self._deadlines = Deadlines(
            first_byte=settings.first_byte_timeout or math.inf,
            head=settings.header_timeout or math.inf,
            body=Pace.of(settings.body_timeout, settings.body_min_rate),
            write=Pace.of(settings.write_timeout, settings.write_min_rate),
        )
        dropped = DroppedNames(self.log)
        take_in = {
            trusted: make_take_in(
                self.service.limits,
                Trust(
                    names=field_names(settings, dropped, trusted=trusted),
                    forwarding=forwarding(settings) if trusted else None,
                    secure_schemes=secure_schemes(settings) if trusted else {},
                ),
            )
            for trusted in (False, True)
        }
        manner = Manner(
            most=settings.worker_connections,
            first_byte_timeout=settings.first_byte_timeout or None,
            handshake_timeout=settings.handshake_timeout or NEVER,
            proxy_versions=settings.proxy_protocol,
            proxies=Networks(settings.proxy_allow_ips),
            trusted=Networks(settings.forwarded_allow_ips),
            shares=settings.workers > 1,
        )
        doors = [self._door(entrance, take_in) for entrance in self.spoken]
        self._acceptor = Acceptor(self.listeners, doors, self._engine, manner, self.log, self.service.counters)
        self._renew_fields()

    def _door(self, entrance: Entrance, take_in: dict[bool, TakeIn]) -> Door:
        application = redirecting(entrance.redirect) if entrance.redirect else self._application
        if self.settings.max_requests or self.settings.pre_request or self.settings.post_request:
            application = self._counting(application)
        return Door(entrance, {trusted: self._entry(application, trusted, each) for trusted, each in take_in.items()})

    def _entry(self, application: Application, trusted: bool, take_in: TakeIn) -> Application:
        """What the requests of peers go through that are trusted, or not: no more than the settings ask for."""
        settings, access = self.settings, self.service.access
        if access is None and not (settings.pre_request or settings.post_request or settings.request_timeout):

            def enter(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
                try:
                    take_in(scope)
                except HTTPError as error:
                    return refuse(scope, send, error)
                return application(scope, receive, send)

            return enter
        attendance = Attendance(
            self,
            access=access,
            flush=self._flush_soon,
            identify=self.service.identify,
            pre_request=settings.pre_request,
            post_request=settings.post_request,
            timeout=settings.request_timeout,
        )
        return attendance.attend(application, take_in, trusted=trusted)

    def run(self) -> None:
        """Serve until TERM, INT or QUIT, or until the master is gone."""
        if not isinstance(self.loop, asyncio.BaseEventLoop):
            # Such a loop has a wake-up descriptor of its own, and lets the handlers run.
            for number in HEARD:
                signal.signal(number, self._hear)
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()
        self.service.counters.tell(self.log, math.inf)

    def _hear(self, number: int, _frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_sender.fileno(), bytes((number,)))

    async def _serve(self) -> None:
        self.loop.add_reader(self.signals.fileno(), self.follow_signals)
        self.loop.add_reader(self.channel.fileno(), self._follow_master)
        self._acceptor.listen()
        self._tick()
        await self._left
        self._ticking.cancel()
        flush_access_log(self.service)
        if self._leave_at > 0:
            await self._end_tasks(self._engine.state.tasks, "the time to finish is over")
            await self._lifespan.shutdown(max(0.0, self._leave_at + self._reserve - time.monotonic()))
        for connection in list(self._engine.state.connections):
            connection.transport.abort()
        others = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        await self._end_tasks(others, "")
        await self.loop.shutdown_asyncgens()
        flush_access_log(self.service)

    async def _end_tasks(self, tasks: set[asyncio.Task[Any]], why: str) -> None:
        running = {task for task in tasks if not task.done()}
        if not running:
            return
        if why:
            self._breaks_off = True
            self.log.warning("%d requests are cancelled: %s", len(running), why)
        for task in running:
            task.cancel(why or None)
        await asyncio.wait(running, timeout=self._reserve / 2)

    # What the loop does beside.

    def _tick(self) -> None:
        """Do what is due once a second, or more often while the worker is about to leave."""
        now = time.monotonic()
        draining = self.service.draining
        self._ticking = self.loop.call_later(SHORT_TICK if draining else self._every, self._tick)
        self._renew_fields()
        self.beat()
        sweep(self._engine, self._deadlines, now)
        if draining:
            self._part(now)
        elif complaint := self.wear.complaint(now):
            self.ask_exchange(complaint)
        self.service.counters.tell(self.log, now)

    def _part(self, now: float) -> None:
        """Close what has no request any more; leave when nothing is left, or the time is over."""
        state = self._engine.state
        for connection in list(state.connections):
            if not isinstance(connection, Guard):
                if unheard_since(connection) and now >= self._farewell_at:
                    connection.transport.abort()
                elif not connection.transport.is_closing() and has_shaken_hands(connection):
                    connection.shutdown()
            elif connection.is_free and now >= self._farewell_at and not connection.transport.is_closing():
                connection.shutdown()
        if now >= self._farewell_at:
            self._acceptor.say_farewell()
        if now >= self._leave_at or not (state.connections or state.tasks or self._acceptor.arriving):
            self._go()

    def _go(self) -> None:
        if not self._left.done():
            self._left.set_result(None)

    def _renew_fields(self) -> None:
        self._engine.renew_fields(SERVER, keep_alive=self.service.keep_alive)

    def _follow_master(self) -> None:
        if not self.follow_orders():
            self.loop.remove_reader(self.channel.fileno())
        self._renew_fields()

    def _flush_soon(self) -> None:
        """Write access lines when this turn of the loop is over."""
        if not self._flushes:
            self._flushes = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        flush_access_log(self.service)

    def _counting(self, application: Application) -> Application:
        def counted(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["type"] == "http":
                self.nr += 1
                if self.nr == self.wear.most_requests:
                    self.ask_exchange("max_requests is reached")
            return application(scope, receive, send)

        return counted

    def _refuse(self, connection: Guard, status: int, reason: str) -> bytes:
        """The answer to what is no request that could be passed on; it is written down."""
        answer = error_response(
            status,
            reason,
            "".join(
                f"{name.decode('latin-1').title()}: {value.decode('latin-1')}\r\n"
                for name, value in self._engine.handshakes.default_headers
            ),
        )
        access, client = self.service.access, connection.whose
        if connection.is_free:
            self.log.info("Invalid request from ip=%s: %d %s", client[0] if client else "unix", status, reason)
        if access is not None and connection.is_free:
            environ = {"REMOTE_ADDR": client[0] if client else ""}
            if connection.encrypted is not None:
                environ |= connection.encrypted.variables
            line = connection.opening.lstrip(b"\r\n").partition(b"\r\n")[0].decode("latin-1")
            size = len(answer) - answer.find(b"\r\n\r\n") - 4
            unread = Unread(line if connection.cycle is None else "-")
            access.refused(NO_TIMES, environ, unread, Refusal(str(status), size, reason))
        return answer

    def _note_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, (ConnectionError, TimeoutError)):
            self.log.debug("a connection failed: %s", error)
        else:
            self.log.error("The event loop: %s", context.get("message"), exc_info=error)

    # Orders.

    def drain(self, others_serve: AbstractSet[int] = frozenset()) -> None:
        """Accept what already waits, then nothing more; what runs has until graceful_timeout.

        WebSockets are closed with code 1012. Connections without a request have a moment for one that is on its way.
        """
        if self.service.draining:
            return
        self.service.draining = True
        self.service.keep_alive = False
        self._engine.open = False
        graceful_timeout = self.settings.graceful_timeout - self._reserve
        self._leave_at, self._farewell_at = departure(graceful_timeout, others_serve=bool(others_serve))
        self._acceptor.end(self.settings.backlog, others_serve)
        self._renew_fields()
        for connection in self._engine.state.connections:
            if isinstance(connection, Guard) and not connection.is_free:
                connection.shutdown()
        self._ticking.cancel()
        self._tick()

    def quit(self) -> None:
        """Let `run` return without waiting for anything."""
        self._leave_at = 0.0
        self._breaks_off = True
        self.service.draining = True
        self._go()

    def depart(self, code: int) -> None:
        """Let the process end though a thread still runs a function for a request that nobody waits for any more."""
        if getattr(self, "_breaks_off", False):
            threading.Thread(target=_end_process, args=(code,), name="greenhorn-end", daemon=True).start()

    def dump(self) -> None:
        """Log the requests in flight, each with the stack of its task."""
        dump(self._engine.state, self.log, self.service.counters)


class H11Worker(ASGIWorker):
    """The worker class `asgi-h11`: HTTP is spoken in Python, over the standard library's loop."""

    http = "h11"
    loop_kind = "asyncio"


def _end_process(code: int) -> None:
    """End the process unless it ends by itself: Python waits for the threads of an executor without end."""
    time.sleep(LAST_MOMENT)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
