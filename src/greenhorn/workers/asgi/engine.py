"""uvicorn's protocols, which speak HTTP and WebSocket, set up for connections that were accepted here."""

import asyncio
import contextlib
import socket
import struct
import sys
from asyncio import current_task
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
from greenhorn.net.pace import Patience
from greenhorn.observe.counters import Counters
from greenhorn.workers.asgi.encrypted import Encrypted, Shown
from greenhorn.workers.asgi.intake import REFUSED, announced, refuse, size_of_head
from greenhorn.workers.asgi.kind import Application, Receive, Scope, Send
from greenhorn.workers.handshake import PLAIN_HERE
from greenhorn.workers.serve import TLS_HELLO, TLS_HERE

OLDEST = (0, 34)
"""The oldest version of uvicorn whose protocols are made and asked as they are here."""
CLOSE = (b"connection", b"close")

READ = 262144
"""Bytes that a loop reads at once, at the most: beyond that h11 refuses what `Guard` has refused before."""
HEAD_TOO_LARGE = "the head is larger than limit_request_head, or all of its fields"
LEAVING = HTTPError(503, "the server is about to leave")
LINGERING = 65536
"""Bytes that are thrown away at most of a client that has its answer and goes on to send."""
OPENING = 512
"""Bytes of a request's beginning that are kept to be told, at most."""
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
    counters: Counters
    handshakes: ServerState = field(default_factory=ServerState)
    """The same state, for WebSockets: their handshake must not say that the connection closes."""

    open: bool = True
    """Whether WebSockets may begin: not while the worker is about to leave."""

    def __post_init__(self) -> None:
        base = self.config.http_protocol_class
        # Behind their names, since super() would cost as much as they do.
        behind = ("data_received", "on_headers_complete", "on_response_complete")
        own = {name: getattr(base, method, None) for name, method in zip(BEHIND, behind, strict=True)}
        own["__doc__"] = "A connection of this worker."
        self.protocol: Callable[..., Guard] = type(f"Guarded{base.__name__}", (Guard, base), own)
        self.handshakes.connections = self.state.connections
        self.handshakes.tasks = self.state.tasks

    def renew_fields(self, server: str, *, keep_alive: bool) -> None:
        """Set the fields that every answer begins with, also those whose requests run: once a second."""
        fields = [(b"server", server.encode("latin-1")), (b"date", formatdate(usegmt=True).encode("ascii"))]
        self.handshakes.default_headers[:] = fields
        self.state.default_headers[:] = fields if keep_alive else [*fields, CLOSE]


BEHIND = ("feed", "feed_head", "feed_answered")
"""What a Guard calls the methods of uvicorn's protocol that it stands in front of."""


class Guard(asyncio.Protocol):
    """The part of a connection's protocol that is ours, in front of one of uvicorn's; its attributes are used here.

    `enter` is what requests go through, up to the application. `client` is whose connection it is: address and port,
    or None for a unix socket. `shown` tells the certificate that it was shown, where there is one.
    """

    cycle: Any
    transport: Any
    flow: Any
    scope: Any
    headers: Any
    parser: Any
    expect_100_continue: bool
    pipeline: Any = ()
    """Requests that wait for those before them; h11 has none."""
    feed: Callable[[bytes], None]
    """What uvicorn does with what has come."""
    feed_head: Callable[[], None]
    """What it does when a head is whole; httptools only."""
    feed_answered: Callable[[], None]
    """What it does when a request is answered."""

    def __init__(
        self, engine: Engine, enter: Application, client: tuple[str, int] | None, shown: Shown | None = None
    ) -> None:
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
        self.sending: Patience | None = None
        """How long the client may still take over the body that comes; None until that is looked at."""
        self.writing: Patience | None = None
        """How long it may still take over what is written for it; None while nothing waits."""
        self.task: asyncio.Task[Any] | None = None
        """What runs the application for the request."""
        self.since = 0.0
        """Since when."""
        self.encrypted: Encrypted | None = None
        """What is known of its TLS."""
        self.is_misplaced = False
        """Whether it came without TLS to where that is spoken."""
        self.opening = b""
        """How its first request begins."""
        self._shown = shown
        self._enter = enter
        self._upgraded = False
        self._lingers = False
        self._ends = False
        """Whether what comes is thrown away: behind what is malformed or too large, nothing can be told apart."""
        self._complaint = ""
        """Why what follows the last request is no request, which is told once that is answered."""
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

    @property
    def is_behind(self) -> bool:
        """Whether the last request waits until those before it are answered."""
        return bool(self.pipeline)

    def _run(self, scope: Scope, receive: Receive, send: Send) -> Any:
        self.task = current_task()
        self.since = self.heard_at
        return self._enter(scope, receive, send)

    def _run_encrypted(self, scope: Scope, receive: Receive, send: Send) -> Any:
        assert self.encrypted is not None  # noqa: S101 - that is why this is run
        self.encrypted.tell(scope)
        return self._run(scope, receive, send)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection on."""
        super().connection_made(transport)
        self.client = self.whose
        if self._shown is not None:
            try:
                self.encrypted = Encrypted(transport.get_extra_info("ssl_object"), self._shown)
            except ValueError:  # a certificate that is believed, and cannot be read
                self.transport.abort()
            self.app = self._run_encrypted
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
        elif self._ends:
            pass
        elif cycle is None or cycle.response_complete:
            if cycle is None:
                self.opening = (self.opening + data[:OPENING])[:OPENING]
                if self.is_misplaced:
                    self.turn_away(400, PLAIN_HERE)
                    return
            size = len(data) + (self.received if self.head_since else 0)
            self.feed(data)
            if self.cycle is not cycle:
                self._begin(size)
            elif not self._upgraded:
                self.head_since = self.head_since or now
                self.received = size
                if size > self.engine.limits.largest + len(b"\r\n"):
                    self.turn_away(431, HEAD_TOO_LARGE)
        else:
            before = len(cycle.body)
            self.feed(data)
            self.received += len(cycle.body) - before
            if self.cycle is not cycle:
                self._begin(len(data))
            else:
                self._bound_body()

    def _begin(self, size: int) -> None:
        """Take note of a request whose head is whole, of which no more than `size` bytes have come."""
        cycle, limits = self.cycle, self.engine.limits
        self.head_since, self.received, self.sending = 0.0, len(cycle.body), None
        if size > limits.largest and size_of_head(cycle.scope) > limits.largest:
            cycle.scope[REFUSED] = HTTPError(431, HEAD_TOO_LARGE)
        if self.received:
            cycle.waiting_for_100_continue = False  # RFC 9110 10.1.1: it does not wait for that
        if cycle.more_body:
            self._bound_body(announced(cycle.scope) if limits.body else 0)
        elif self.received:
            self._bound_body()

    def _bound_body(self, length: int = 0) -> None:
        """Refuse a body that is too large, by what has come of it or by the `length` that is announced."""
        most = self.engine.limits.body
        if most and max(self.received, length) > most:
            self.turn_away(413, "the body is larger than limit_request_body")

    def on_headers_complete(self) -> None:
        """Let a request begin; httptools calls it."""
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        # What follows a chunked body is added to the list that was there, and is no field of the head (RFC 9110 6.5.1).
        self.scope["headers"] = self.headers[:]
        cycle = self.cycle
        self.feed_head()
        begun = self.cycle
        if begun is not cycle and not (begun.keep_alive and self.parser.should_keep_alive()):
            begun.keep_alive = False  # the oldest versions see no "close" among other options, and do not say it
            if CLOSE not in begun.default_headers:
                begun.default_headers = [*begun.default_headers, CLOSE]

    def on_response_complete(self) -> None:
        """Go on to what came behind a request that is answered; uvicorn calls it."""
        cycle = self.cycle
        self.feed_answered()
        if self.cycle is not cycle:
            self._begin(0)
        elif self._complaint and self.is_free:
            self.turn_away(400, self._complaint)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a request that nobody waits for any more end."""
        super().connection_lost(exc)
        task = self.task
        if task is not None and not self.is_free and not task.done():
            self.engine.loop.call_later(self.engine.grace, task.cancel)
        self.task = None

    def turn_away(self, status: int, reason: str) -> None:
        """Answer in the application's place, if no answer has begun, and end the connection."""
        transport, cycle = self.transport, self.cycle
        if self._lingers or transport.is_closing():
            return
        if self.is_behind:
            self._ends = True
            cycle.scope[REFUSED] = HTTPError(status, reason)
            return
        if not self.is_free:
            begun = cycle.response_started
            cycle.scope[REFUSED] = HTTPError(status, reason)
            cycle.disconnected = True
            cycle.message_event.set()
            if begun:
                reset(transport)
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
        """Answer what is no HTTP, after what stood before it; uvicorn calls it."""
        if self.cycle is None and TLS_HELLO.startswith(self.opening[:2]) and self.encrypted is None:
            self.engine.counters.add(TLS_HERE)
            self.transport.close()
            return
        reason = msg.rstrip(".").lower()
        if self.is_free or self.cycle.more_body:
            self.turn_away(400, reason)
        else:
            self._ends, self._complaint = True, reason

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Let another protocol take the connection over; uvicorn calls it."""
        self._upgraded = True
        behind: Any = super()
        behind.handle_websocket_upgrade(*arguments)

    def _make_websocket(self, *, config: Config, app_state: dict[str, Any], **_others: Any) -> asyncio.Protocol:
        make: Any = config.ws_protocol_class
        made = make(config=config, server_state=self.engine.handshakes, app_state=app_state)
        made.unheard_since, made.writing = monotonic(), None  # what deadlines go by
        engine, enter, client = self.engine, self._enter, self.whose

        def run(scope: Scope, receive: Receive, send: Send) -> Any:
            made.unheard_since = 0.0
            scope["client"] = client
            if self.encrypted is not None:
                self.encrypted.tell(scope)
            return enter(scope, receive, send) if engine.open else refuse(scope, send, LEAVING)

        made.app = run
        protocol: asyncio.Protocol = made
        return protocol


def reset(transport: Any) -> None:
    """End a connection so that the client cannot take what it has for all."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def unheard_since(websocket: Any) -> float:
    """Since when a WebSocket's handshake has waited for the client; 0 if the application has it.

    What its protocol cannot make sense of, it may leave unanswered.
    """
    since: float = websocket.unheard_since
    return since


def has_shaken_hands(websocket: Any) -> bool:
    """Whether a WebSocket's handshake is over, so that it can be closed in the orderly way."""
    completed = getattr(websocket, "handshake_completed_event", None)
    return bool(completed.is_set() if completed is not None else websocket.handshake_complete)
