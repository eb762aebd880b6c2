"""uvicorn's protocols, which speak HTTP and WebSocket, set up for connections that were accepted here."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from time import monotonic
from typing import Any

import uvicorn
from uvicorn.config import Config
from uvicorn.server import ServerState

from greenhorn.errors import ConfigError, HTTPError
from greenhorn.http.head import Limits
from greenhorn.workers.asgi.intake import REFUSED, refuse
from greenhorn.workers.asgi.kind import Application, Receive, Scope, Send

OLDEST = (0, 34)
"""The oldest version of uvicorn whose protocols are made and asked as they are here."""
CLOSE = (b"connection", b"close")

READ = 262144
"""Bytes that a loop reads at once, at the most: beyond that h11 refuses what `Guard` has refused before."""
LEAVING = HTTPError(503, "the server is about to leave")
LINGERING = 65536
"""Bytes that are thrown away at most of a client that has its answer and goes on to send."""
Refuse = Callable[["Guard", int, str], bytes]
"""Makes the answer to what is refused, with a status and the reason, and writes it down, unless there is a request to
which that happens: then its own line tells."""


def check_version() -> None:
    """Raise `ConfigError` for a version of uvicorn that is too old."""
    found = tuple(int(part) for part in uvicorn.__version__.split(".")[:2])
    if found < OLDEST:
        raise ConfigError(
            f"worker_class: uvicorn {uvicorn.__version__} is too old for the worker class asgi: "
            "pip install --upgrade 'greenhorn[asgi]'"
        )


async def _nobody(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand where uvicorn wants an application before there is one."""


def engine_config(*, http: str, ws_max_size: int, keepalive: int, root_path: str, largest_head: int) -> Config:
    """What the protocols are told, with everything off that is done here: logs, signals, proxies, fields, limits."""
    config = Config(
        _nobody,
        http=http,
        lifespan="off",
        loop="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        root_path=root_path,
        ws_max_size=ws_max_size or sys.maxsize,
        timeout_keep_alive=keepalive,
        h11_max_incomplete_event_size=largest_head + READ,
        workers=1,
    )
    config.load()
    return config


class CountedState(ServerState):
    """The state of a server that tells how many requests there were, as each is answered."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._total = 0
        super().__init__()

    @property
    def total_requests(self) -> int:
        """The number of requests."""
        return self._total

    @total_requests.setter
    def total_requests(self, total: int) -> None:
        self._total = total
        if total:
            self._count(total)


@dataclass(eq=False)
class Engine:
    """What all connections of a worker have in common. Loop's thread."""

    config: Config
    loop: asyncio.AbstractEventLoop
    state: ServerState
    app_state: dict[str, Any]
    """What the application has put there at its start; each request has a copy."""
    limits: Limits
    grace: float
    """Seconds that the application has to finish once its client has left."""
    linger: float
    """Seconds in which a client that is turned away can take its answer."""
    refuse: Refuse
    handshakes: ServerState = field(default_factory=ServerState)
    """The same state, for WebSockets: their handshake must not say that the connection closes."""

    open: bool = True
    """Whether WebSockets may begin: not while the worker is about to leave."""

    def __post_init__(self) -> None:
        base = self.config.http_protocol_class
        own = {"feed": base.data_received, "__doc__": "A connection of this worker."}
        self.protocol: Callable[..., Guard] = type(f"Guarded{base.__name__}", (Guard, base), own)
        self.handshakes.connections = self.state.connections
        self.handshakes.tasks = self.state.tasks

    def renew_fields(self, server: str, *, keep_alive: bool) -> None:
        """Set the fields that every answer begins with, also those whose requests run: once a second."""
        fields = [(b"server", server.encode("latin-1")), (b"date", formatdate(usegmt=True).encode("ascii"))]
        self.handshakes.default_headers[:] = fields
        self.state.default_headers[:] = fields if keep_alive else [*fields, CLOSE]


class Guard(asyncio.Protocol):
    """The part of a connection's protocol that is ours, in front of one of uvicorn's; its attributes are used here.

    `enter` is what requests go through, up to the application. `client` is whose connection it is: address and port,
    or None for a unix socket.
    """

    cycle: Any
    transport: Any
    flow: Any
    feed: Callable[[bytes], None]
    """What uvicorn does with what has come."""

    def __init__(self, engine: Engine, enter: Application, client: tuple[str, int] | None) -> None:
        behind: Any = super()  # one of uvicorn's
        behind.__init__(config=engine.config, server_state=engine.state, app_state=engine.app_state, _loop=engine.loop)
        self.engine = engine
        self.whose = client
        self.app: Application = self._run
        self.began = self.heard_at = monotonic()
        self.head_since = 0.0
        """When the first byte of a head came that is not whole; 0 while there is none."""
        self.received = 0
        """Bytes of that head, or of the body that comes."""
        self.unsent = 0
        """Bytes that waited to be sent when that was looked at last."""
        self.unsent_since = 0.0
        self.task: asyncio.Task[Any] | None = None
        """What runs the application for the request."""
        self.since = 0.0
        """Since when."""
        self._enter = enter
        self._upgraded = False
        self._lingers = False
        if engine.config.ws_protocol_class is not None:
            self.ws_protocol_class = self._make_websocket

    @property
    def is_free(self) -> bool:
        """Whether there is no request that the application works on."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def is_idle(self) -> bool:
        """Whether the connection is kept between two requests, of which the next has not begun."""
        return self.cycle is not None and bool(self.cycle.response_complete) and not self.head_since

    def _run(self, scope: Scope, receive: Receive, send: Send) -> Any:
        self.task = asyncio.current_task()
        self.since = self.heard_at
        return self._enter(scope, receive, send)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection on."""
        super().connection_made(transport)
        self.client = self.whose
        address = transport.get_extra_info("sockname")
        if isinstance(address, str):  # older versions have no server there
            self.server = (address, None)

    def data_received(self, data: bytes) -> None:
        """Pass on what has come, within the limits that uvicorn does not have."""
        cycle = self.cycle
        self.heard_at = now = monotonic()
        if self._lingers:
            self.received += len(data)
            if self.received > LINGERING:
                self.transport.abort()
        elif cycle is None or cycle.response_complete:
            self.feed(data)
            if self.cycle is not cycle:
                self._begin(len(self.cycle.body))
            elif not self._upgraded:
                self.head_since = self.head_since or now
                self.received += len(data)
                if self.received > self.engine.limits.largest:
                    self.turn_away(431, "the head is larger than limit_request_head, or all of its fields")
        else:
            self.received += len(data)
            if not cycle.more_body or self._bound_body():
                self.feed(data)

    def _begin(self, received: int) -> None:
        """Take note of a request whose head is whole, and of so many bytes of its body."""
        self.head_since, self.received = 0.0, received
        if received:
            self._bound_body()

    def _bound_body(self) -> bool:
        """Refuse a body that is too large; whether it is not."""
        most = self.engine.limits.body
        fits = not most or self.received <= most
        if not fits:
            self.turn_away(413, "the body is larger than limit_request_body")
        return fits

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a request that nobody waits for any more end."""
        super().connection_lost(exc)
        task = self.task
        if task is not None and not self.is_free and not task.done():
            self.engine.loop.call_later(self.engine.grace, task.cancel)
        self.task = None

    def reset(self) -> None:
        """End the connection so that the client cannot take what it has for all."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def turn_away(self, status: int, reason: str) -> None:
        """Answer in the application's place, if no answer has begun, and end the connection."""
        transport, cycle = self.transport, self.cycle
        if self._lingers or transport.is_closing():
            return
        if not self.is_free:
            begun = cycle.response_started
            cycle.scope[REFUSED] = HTTPError(status, reason)
            cycle.disconnected = True
            cycle.message_event.set()
            if begun:
                self.reset()
                return
        transport.write(self.engine.refuse(self, status, reason))
        if not transport.can_write_eof():
            transport.close()
            return
        # Closed at once, the answer would be lost to a client that is still sending.
        self._lingers, self.received = True, 0
        transport.write_eof()
        self.flow.resume_reading()
        self.engine.loop.call_later(self.engine.linger, transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls it."""
        self.turn_away(400, msg.rstrip(".").lower())

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Let another protocol take the connection over; uvicorn calls it."""
        self._upgraded = True
        behind: Any = super()
        behind.handle_websocket_upgrade(*arguments)

    def _make_websocket(self, *, config: Config, app_state: dict[str, Any], **_others: Any) -> asyncio.Protocol:
        make: Any = config.ws_protocol_class
        made = make(config=config, server_state=self.engine.handshakes, app_state=app_state)
        engine, enter, client = self.engine, self._enter, self.whose

        def run(scope: Scope, receive: Receive, send: Send) -> Any:
            scope["client"] = client
            return enter(scope, receive, send) if engine.open else refuse(scope, send, LEAVING)

        made.app = run
        protocol: asyncio.Protocol = made
        return protocol


def has_shaken_hands(websocket: Any) -> bool:
    """Whether a WebSocket's handshake is over, so that it can be closed in the orderly way."""
    completed = getattr(websocket, "handshake_completed_event", None)
    return bool(completed.is_set() if completed is not None else websocket.handshake_complete)
