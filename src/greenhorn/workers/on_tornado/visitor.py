"""One client's connection on Tornado's server, as the rest of greenhorn knows connections."""

import asyncio
import time
from collections.abc import Callable, Mapping

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from greenhorn.errors import ClientGone
from greenhorn.net.connection import Connection
from greenhorn.net.kernel import unacknowledged
from greenhorn.net.pace import Buffers, Pace
from greenhorn.net.state import State
from greenhorn.workers.on_tornado.streams import Sink, Watched
from greenhorn.workers.serve import LINGER_BYTES, TLS_HERE, serve
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import CLIENT_DISCONNECTED

GOING_AWAY = b"\x88\x02\x03\xe9"
"""A WebSocket's frame that closes it with the code 1001 (RFC 6455 5.5.1, 7.4.1)."""
READ = 65536


class Visitor(Connection):
    """A connection whose requests Tornado reads, and whose answers go out through Tornado's stream.

    The loop's thread owns it, but for the time in which a thread of the pool has a whole request of it. A deadline of
    the states in which the client has the move is on the monotonic clock; `on_gone` is called at its end.
    `arrived` is the connection before Tornado had it.
    """

    __slots__ = (
        "_after",
        "_deafness",
        "_is_left",
        "_is_lent",
        "_loop",
        "_on_gone",
        "_paces",
        "_service",
        "exchange",
        "is_native",
        "is_upgraded",
        "on_end_of_native",
        "sink",
        "stream",
        "whole",
    )

    def __init__(
        self,
        stream: Watched,
        arrived: Connection,
        buffers: Buffers,
        paces: Mapping[State, Pace],
        service: Service,
        on_gone: Callable[["Visitor"], None],
    ) -> None:
        self.stream = stream
        self._loop = asyncio.get_running_loop()
        self.sink = Sink(stream, self._loop)
        super().__init__(self.sink, arrived.peer, serve, buffers)  # type: ignore[arg-type]  # it has the shape of a socket
        stream.watcher = self
        self.exchange: HTTP1Connection
        """Tornado's view of the request that is awaited, read or answered."""
        self.is_native = False
        """Whether Tornado's application answers the request."""
        self.is_upgraded = False
        """Whether the connection went over to WebSocket."""
        self.on_end_of_native: Callable[[], None] | None = None
        """Called if the connection ends before Tornado's application has answered."""
        self.whole = True
        """Whether all of the request was read, so that Tornado reads nothing just now."""
        self.drained = True
        self._after: State | None = None
        self._deafness: asyncio.Future[None] | None = None
        self._is_lent = False
        """Whether a thread of the pool has it."""
        self._is_left = False
        """Whether that thread is stuck, and nobody waits for it."""
        self._paces = paces
        self._service = service
        self._on_gone = on_gone
        self.secure = stream.secure
        self.entrance, self.trusted, self.names = arrived.entrance, arrived.trusted, arrived.names
        self.template = {**arrived.template, **dict.fromkeys(CLIENT_DISCONNECTED, self.client_disconnected)}
        self._move(State.NEW)

    # What the stream tells.

    def on_bytes(self) -> None:
        """Begin to count the time of a head with its first byte."""
        if self.state in (State.NEW, State.IDLE):
            self._move(State.HEAD)

    def on_room(self) -> None:
        """Go on with an answer that its client did not keep up with."""
        if self.outbox is not None:
            if self.state is not State.FLUSH:
                self.catch_up()
                return
            try:
                outcome = self.turn(self, self._service)
            except ClientGone:
                self._end_early()
                return
            if self.stream.abrupt:  # it was given up just now
                self.stream.close()
            else:
                self.settle(outcome)
        elif self._after is not None and not self.sink.unsent:
            after, self._after = self._after, None
            self._go(after)

    def on_stranger(self) -> None:
        """Count a client that speaks TLS where that is not spoken."""
        self._service.counters.add(TLS_HERE)

    def _end_early(self) -> None:
        """End an answer whose client is gone, or whose file became shorter: then what was there of it still leaves."""
        if self.outbox is None or self.stream.closed() or self.secure is not None:  # a goodbye would pass for its end
            self.stream.close()
            return
        self.outbox.close()
        self.outbox = None
        self.settle(State.CLOSED)

    def on_end(self) -> None:
        """Take note that the client is gone; what a thread has of it stays until that comes back."""
        self.gone = True
        self.sink.end()
        if self._deafness is not None and not self._deafness.done():
            self._deafness.set_result(None)
        if self.stream.error is not None:
            self._service.log.debug("a client is gone: %s", self.stream.error)
        if self.on_end_of_native is not None:
            told, self.on_end_of_native = self.on_end_of_native, None
            told()
        if not self._is_lent:
            self._leave()

    def _leave(self) -> None:
        if self.template is not None:  # not yet
            self.state = State.CLOSED
            self.close()
            self._on_gone(self)

    # From request to request. Loop's thread.

    def await_request(self, exchange: HTTP1Connection) -> None:
        """Wait for the first or next request."""
        self.exchange = exchange
        self.head = None
        if self.requests:
            self._move(State.IDLE)

    def await_body(self) -> None:
        """Wait for the body of a request whose head is here."""
        self.whole = False
        self._move(State.BODY)

    def work(self, *, native: bool) -> None:
        """Have a whole request, which the application works on."""
        self.whole = self._is_lent = not native
        self.is_native = native
        self.state = State.ACTIVE if native else State.WHOLE
        self.was = State.ACTIVE

    def settle(self, outcome: State) -> None:
        """Do what the outcome of an exchange asks for, once Tornado has sent all of the answer."""
        self._is_lent = False
        if self.stream.closed():
            self._leave()
        elif self._is_left or (outcome is State.CLOSED and (self.stream.abrupt or self.outbox is not None)):
            self.stream.close()  # in the midst of an answer that comes to no good end
        elif self.outbox is not None:
            self._flush()
        else:
            # Who speaks TLS says goodbye, too, and would get a reset for it.
            self._after = State.LINGER if outcome is State.CLOSED and self.secure is not None else outcome
            if self.sink.unsent:
                self._flush()
            else:
                self.on_room()

    def leave_to_its_thread(self) -> None:
        """Take no part in the loop any more: the thread that is stuck with its request ends it, if it comes back."""
        self._is_left = True
        self._on_gone(self)

    def send_last(self, data: bytes) -> None:
        """As any connection does. Loop's thread."""
        super().send_last(data)
        asyncio.get_running_loop().call_soon(self._end_sending)  # in the loop's next round, behind the data

    def _end_sending(self) -> None:
        if not self.stream.closed():
            self.stream.end_sending()

    def _flush(self) -> None:
        if self.state is not State.FLUSH:
            self.taken()
            self._move(State.FLUSH)
        if not self.sink.unsent:
            asyncio.get_running_loop().call_soon(self.on_room)

    def _go(self, after: State) -> None:
        if self.stream.closed():
            self._leave()
        elif after is State.LINGER:
            self._linger()
        elif after is State.CLOSED:
            self.stream.close()
        else:
            self._move(State.IDLE)
            self.exchange.finish()

    def _linger(self) -> None:
        """Let the client take note of the last answer: what it still sends is thrown away, for a while."""
        self._move(State.LINGER)
        self.stream.end_sending()
        if self.whole:
            task = asyncio.ensure_future(self._discard())
            task.add_done_callback(lambda done: done.exception())

    async def _discard(self) -> None:
        try:
            while self.discarded < LINGER_BYTES:
                self.discarded += len(await self.stream.read_bytes(READ, partial=True))
        except StreamClosedError:
            pass

    def ignore(self, size: int) -> "asyncio.Future[None] | None":
        """Throw away `size` bytes of a body that nobody wants any more.

        Beyond a certain amount nothing more is read: Tornado is to wait for what is returned, which ends with the
        connection. The client has time to read the answer, which it would lose by a reset.
        """
        self.discarded += size
        if self.discarded <= LINGER_BYTES:
            return None
        self._deafness = asyncio.get_running_loop().create_future()
        return self._deafness

    def end_ignoring(self) -> None:
        """Take note that all of such a request was read."""
        self.whole = True
        if self.state is State.LINGER:
            self._linger()

    @property
    def is_parting(self) -> bool:
        """Whether it has its last answer, or is gone: Tornado goes on with what it has read before the end."""
        return self.stream.closed() or self.state is State.LINGER or self._after in (State.LINGER, State.CLOSED)

    def _move(self, state: State) -> None:
        self.deadline = time.monotonic() + self._paces[state].most
        self.gained = 0
        self.state = self.was = state

    def say_goodbye(self) -> None:
        """Tell the other end of a WebSocket that the server leaves."""
        if self.is_upgraded and not self.stream.closed():
            self.stream.write(GOING_AWAY)

    # What differs from a connection that reads and writes by itself. Any thread.

    def _wait_for(self, event: int, seconds: float) -> bool:  # noqa: ARG002 - it only ever waits for room
        began = time.monotonic()
        self.waits = True
        try:
            return self.sink.wait_for_room(seconds)
        finally:
            self.waited += time.monotonic() - began
            self.waits = False

    def _known(self) -> int:
        try:
            known = self.stream.sent - unacknowledged(self.sink)  # type: ignore[arg-type]  # it has a descriptor
        except ValueError:  # which the loop has closed meanwhile
            raise ClientGone("the client is gone") from None
        return known + self.secure.underway if self.secure is not None else known

    def give_up(self) -> bool:
        """Give back at once what its unread answer holds, and let the connection be reset; whether there was one."""
        outbox = self.outbox
        if outbox is None or self.stream.abrupt:
            return False
        self.reset()
        outbox.close()
        self._loop.call_soon_threadsafe(self.stream.close)
        return True

    def cut(self, *, abruptly: bool) -> None:
        """End it under the hands of the thread that works on a request of it. Loop's thread."""
        if abruptly:
            self.reset()
        self.stream.close()
