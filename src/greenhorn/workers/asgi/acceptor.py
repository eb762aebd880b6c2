"""The listening sockets of an ASGI worker: when it accepts, and how many connections it holds."""

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from typing import Any, NamedTuple

from greenhorn.errors import HTTPError
from greenhorn.http.peer import Networks
from greenhorn.net.listener import Listener
from greenhorn.observe.counters import Counters
from greenhorn.observe.logger import Logger
from greenhorn.tls.entrance import Entrance
from greenhorn.tls.stream import reason_of
from greenhorn.workers.accepting import ACCEPTS, PAUSE, Doorkeeper
from greenhorn.workers.asgi.engine import Engine, Guard, unheard_since
from greenhorn.workers.asgi.kind import Application
from greenhorn.workers.asgi.proxied import Peer, first_byte, take_proxy_header
from greenhorn.workers.crowd import GAVE_WAY, IDLE_FOR
from greenhorn.workers.handshake import FAILED, HELLO

AN_INSTANT = 0.001
"""Seconds for a handshake whose time is over: a loop takes no 0."""
NEVER = 86400.0
"""Seconds that stand for no limit."""


class Door(NamedTuple):
    """What stands behind one listener."""

    entrance: Entrance
    enter: Mapping[bool, Application]
    """What requests go through, by whether the peer is trusted."""


class Manner(NamedTuple):
    """How connections are accepted."""

    most: int
    """Connections that are held at once."""
    first_byte_timeout: float | None
    """Seconds in which a client has to begin, where something comes before its first request; None for no limit."""
    handshake_timeout: float
    """Seconds for all that comes before the first request, since then."""
    proxy_versions: str
    proxies: Networks
    """Whose headers of the PROXY protocol are taken."""
    trusted: Networks
    shares: bool
    """Whether other workers accept as well."""


class Acceptor:
    """Accepts for one worker, and makes connections of what it accepts. Loop's thread."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        doors: Sequence[Door],
        engine: Engine,
        manner: Manner,
        log: Logger,
        counters: Counters,
    ) -> None:
        self._doors = dict(zip(listeners, doors, strict=True))
        self._doorkeeper = Doorkeeper(self._is_full, self._make_room, self._take_in, log)
        self._engine = engine
        self._loop = engine.loop
        self._manner = manner
        self._log = log
        self._counters = counters
        self._ended = False
        self.arriving: set[asyncio.Task[None]] = set()
        """Connections that were accepted and are not taken on yet: their handshakes are under way."""
        self._silent: dict[asyncio.Task[None], float] = {}
        """Those of them whose clients have said nothing yet, and since when."""

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._engine.state.connections) + len(self.arriving)

    def listen(self) -> None:
        """Accept from now on."""
        if self._ended:
            return
        most = 1 if self._manner.shares else ACCEPTS
        for listener in self._doors:
            self._loop.add_reader(listener.fd, self._accept, listener, most)

    def _accept(self, listener: Listener, most: int) -> None:
        if not self._doorkeeper.accept(listener, most):
            self._stop()
            self._loop.call_later(PAUSE, self.listen)

    def _is_full(self) -> bool:
        return self.count >= self._manner.most and not self._ended

    def _take_in(self, listener: Listener, sock: socket.socket, peer: Peer) -> None:
        task = self._loop.create_task(self._welcome(sock, peer, self._doors[listener]))
        self.arriving.add(task)
        task.add_done_callback(self.arriving.discard)

    def _make_room(self) -> bool:
        """Close the connection without a request that was silent for longest; whether there was one."""
        heard_before = time.monotonic() - IDLE_FOR
        silent_ones = [(_silent_since(one, heard_before), one) for one in self._engine.state.connections]
        idle = [pair for pair in silent_ones if pair[0] < math.inf]
        since, longest = min(idle, key=itemgetter(0), default=(heard_before, None))
        silent, accepted = next(iter(self._silent.items()), (None, math.inf))
        if silent is not None and accepted < since:
            del self._silent[silent]
            silent.cancel()
        elif longest is not None:
            longest.transport.close()
        else:
            return False
        self._counters.add(GAVE_WAY)
        return True

    def _stop(self) -> None:
        for listener in self._doors:
            if listener.socket.fileno() >= 0:
                self._loop.remove_reader(listener.fd)

    def end(self, backlog: int, others_serve: AbstractSet[int]) -> None:
        """Accept what already waits, up to `backlog` of each listener that no other serves; then close all of them."""
        self._stop()
        self._ended = True
        for listener in self._doors:
            # The kernel may have woken this worker alone for the last one.
            self._doorkeeper.accept(listener, 1 if listener.fd in others_serve else backlog)
            listener.close()

    async def _welcome(self, sock: socket.socket, peer: Peer, door: Door) -> None:
        """Take a connection on, after what comes before its first request."""
        manner = self._manner
        credentials = door.entrance.credentials
        try:
            if credentials is None and manner.proxy_versions == "off":
                await self._connect(sock, peer, door, {})
                return
            if not await self._hear(sock):
                sock.close()
                return
            ends = self._loop.time() + manner.handshake_timeout
            if manner.proxy_versions != "off":
                async with asyncio.timeout_at(ends):
                    peer = await take_proxy_header(sock, peer, manner.proxy_versions, manner.proxies)
            if credentials is None:
                await self._connect(sock, peer, door, {})
                return
            async with asyncio.timeout_at(ends):
                begin = await first_byte(sock)
            if not begin or begin[0] != HELLO:
                await self._turn_plain_away(sock, peer, door, begin)
                return
            left = max(AN_INSTANT, ends - self._loop.time())
            await self._connect(sock, peer, door, {"ssl": credentials.context, "ssl_handshake_timeout": left})
        except HTTPError as error:
            self._log.debug("%s: %s", peer[0] if peer else "a unix socket", error.detail)
            sock.close()
        except (OSError, asyncio.CancelledError) as error:
            if credentials is not None:
                self._tell(peer, error)
            sock.close()

    async def _hear(self, sock: socket.socket) -> bool:
        """Wait until a client begins; whether it does so before it leaves, and in time."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._silent[task] = time.monotonic()
        try:
            async with asyncio.timeout(self._manner.first_byte_timeout):
                return bool(await first_byte(sock))
        except (OSError, asyncio.CancelledError):  # TimeoutError is one
            return False
        finally:
            self._silent.pop(task, None)

    async def _turn_plain_away(self, sock: socket.socket, peer: Peer, door: Door, begin: bytes) -> None:
        """Answer who speaks HTTP where TLS is spoken; whatever else it is gets nothing."""
        if begin.isalpha():
            await self._connect(sock, peer, door, {}, is_misplaced=True)
        else:
            self._counters.add(FAILED, quiet=True)
            sock.close()

    async def _connect(
        self, sock: socket.socket, peer: Peer, door: Door, secured: dict[str, Any], *, is_misplaced: bool = False
    ) -> None:
        """Let the engine have a connection; `secured` is what a loop has to know to encrypt it."""
        enter = door.enter[peer is None or peer[0] in self._manner.trusted]
        client = (peer[0], int(peer[1])) if peer is not None else None
        engine, credentials = self._engine, door.entrance.credentials
        shown = credentials.watch() if secured and credentials is not None else None

        def make() -> Guard:
            made = engine.protocol(engine, enter, client, shown)
            made.is_misplaced = is_misplaced
            return made

        await self._loop.connect_accepted_socket(make, sock, **secured)

    def say_farewell(self) -> None:
        """End the connections whose clients have not begun."""
        for task in list(self._silent):
            task.cancel()

    def _tell(self, peer: Peer, error: BaseException) -> None:
        """Note a handshake that fails: scanners do little else, but a certificate that is refused is somebody's."""
        self._counters.add(FAILED, quiet=True)
        name = peer[0] if peer else "a unix socket"
        if isinstance(error, ssl.SSLCertVerificationError):
            self._log.info("The client certificate from %s is refused: %s", name, reason_of(error))
        else:
            why = reason_of(error) if isinstance(error, Exception) else "the worker leaves"
            self._log.debug("a TLS handshake with %s fails: %s", name, why)


def _silent_since(connection: Any, heard_before: float) -> float:
    """Since when a connection that has no request is silent; `inf` for one that is to stay."""
    if connection.transport.is_closing():
        return math.inf
    if isinstance(connection, Guard):
        idle = connection.is_free and (connection.is_idle or connection.heard_at < heard_before)
        return connection.heard_at if idle else math.inf
    since = unheard_since(connection)
    return since if 0 < since < heard_before else math.inf
