"""One client's connection: its socket, what was read of it and not yet parsed, what is to be sent, and its state."""

import contextlib
import enum
import math
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from greenhorn.errors import ClientGone
from greenhorn.net.outbox import FileRegion, Outbox

IOV_MAX = 1024


class State(enum.IntEnum):
    """Where a connection is in its life. An outcome of a turn is the state that the connection goes to."""

    NEW = 0  # accepted, no byte yet; the poller waits
    HEAD = 1  # some bytes of a head; the poller waits
    BODY = 2  # the head and some of its body; the poller waits
    IDLE = 3  # between requests; the poller waits
    FLUSH = 4  # an answer waits for the client to read; the poller waits
    LINGER = 5  # the last answer is sent; the poller waits for the client's end
    QUEUED = 6  # ready; waits for a thread
    ACTIVE = 7  # a thread has it
    CLOSED = 8


ARMED = frozenset((State.NEW, State.HEAD, State.BODY, State.IDLE, State.FLUSH, State.LINGER))
"""The states in which the poller's thread owns a connection."""

TRANSITIONS: dict[State, frozenset[State]] = {
    **{state: frozenset((State.QUEUED, State.CLOSED)) for state in ARMED},
    State.HEAD: frozenset((State.QUEUED, State.FLUSH, State.LINGER, State.CLOSED)),
    State.BODY: frozenset((State.QUEUED, State.FLUSH, State.LINGER, State.CLOSED)),
    State.QUEUED: frozenset((State.ACTIVE, State.CLOSED)),
    State.ACTIVE: frozenset(
        (
            State.NEW,
            State.HEAD,
            State.BODY,
            State.IDLE,
            State.FLUSH,
            State.LINGER,
            State.QUEUED,
            State.CLOSED,
        )
    ),
    State.CLOSED: frozenset(),
}
"""Every move there is; tests run the server with each of them checked."""


class Buffers(NamedTuple):
    """How much of an answer is kept for a client that does not keep up, in bytes and seconds."""

    memory: int
    """In memory, beyond that in a temporary file."""
    most: int
    """In memory and file together, beyond that the application's thread waits."""
    patience: float
    """For how long it waits without the client taking a byte; 0: for ever."""
    folder: str | None
    """Where temporary files live; None: the system's folder."""
    sendfile: bool
    """Whether files are sent by the kernel."""


class Connection:
    """A connection and all that belongs to it. It has one owner at a time and therefore no lock.

    `turn(connection, service)` is what a pool thread runs when the connection is ready; it returns the next state.
    """

    __slots__ = (
        "awaits_continue",
        "body",
        "buffer",
        "buffers",
        "checked",
        "deadline",
        "deaf",
        "discarded",
        "drained",
        "fd",
        "head",
        "names",
        "outbox",
        "peer",
        "requests",
        "socket",
        "spool",
        "state",
        "stays",
        "template",
        "trusted",
        "turn",
        "was",
        "woken",
    )

    def __init__(
        self,
        sock: socket.socket,
        peer: tuple[str, str] | None,
        turn: Callable[["Connection", Any], State],
        buffers: Buffers,
    ) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self.peer = peer
        """The client's address and port; None for a unix socket."""
        self.turn = turn
        self.buffers = buffers
        self.state = State.NEW
        self.was = State.NEW
        """The last state in which the poller owned it: its deadline is kept while that stays, unless a turn that made
        progress has set this to ACTIVE."""
        self.drained = False
        """Whether all was read that had come, so that anything new will be told."""
        self.woken = False
        """Whether something happened while a thread had it."""
        self.deadline = 0.0
        """When the poller's thread ends the wait, on the monotonic clock; `inf` for never."""
        self.buffer = b""
        """Read and not yet parsed."""
        self.checked = 0
        """How much of the buffer was found to be no whole head."""
        self.deaf = False
        """Whether nothing more is read: only the end of the stream is waited for."""
        self.discarded = 0
        """How many bytes were thrown away after the last answer."""
        self.requests = 0
        """How many requests were answered."""
        self.head: Any = None
        """The head of the request whose body is being collected."""
        self.awaits_continue = False
        """Whether the client holds the body back until it is told to go on."""
        self.body: Any = None
        """The decoder of that body."""
        self.spool: Any = None
        """What was decoded of it."""
        self.outbox: Outbox | None = None
        """What of an answer waits for the client; None when nothing does."""
        self.stays = True
        """Whether the connection goes on once the outbox is empty."""
        self.template: Any = None
        """What the environs of its requests have in common."""
        self.trusted = False
        """Whether what the peer tells about the client is believed."""
        self.names: Any = None
        """The field names as this peer may use them."""

    def recv(self, size: int) -> bytes | None:
        """Up to `size` bytes; empty at the end of the stream; None when nothing is there. Raises `ClientGone`."""
        try:
            return self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone(str(error)) from error

    def send(self, data: bytes) -> None:
        """Send `data`, or keep what the socket does not take. Raises `ClientGone`.

        Waits for the client only when more than `buffers.most` bytes are kept.
        """
        if self.outbox is None:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ClientGone(str(error)) from error
            if sent == len(data):
                return
            data = data[sent:]
            self.outbox = Outbox(self.buffers.memory, self.buffers.folder)
        outbox = self.outbox
        outbox.push(data)
        self._relieve(outbox)

    def send_all(self, parts: list[bytes]) -> None:
        """Send `parts`, or keep what the socket does not take without copying it. Raises `ClientGone`."""
        sent = 0
        if self.outbox is None:
            try:
                sent = self.socket.sendmsg(parts[:IOV_MAX])
            except BlockingIOError:
                pass
            except OSError as error:
                raise ClientGone(str(error)) from error
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
                continue
            if self.outbox is None:
                self.outbox = Outbox(self.buffers.memory, self.buffers.folder)
            self.outbox.hold(memoryview(part)[sent:] if sent else part)
            sent = 0

    def measure(self, file: Any) -> FileRegion | None:
        """The rest of `file` as a region that the kernel can send, or None if there is no such."""
        return FileRegion.rest_of(file) if self.buffers.sendfile else None

    def send_file(self, region: FileRegion) -> None:
        """Send a region of a file, or keep what the socket does not take. Raises `ClientGone`."""
        if self.outbox is None:
            self.outbox = Outbox(self.buffers.memory, self.buffers.folder)
        self.outbox.hold_file(region.with_own_descriptor())
        self.flush()

    def flush(self) -> int:
        """Send what waits and the socket takes, and return how many bytes; the outbox is gone when nothing waits.

        Raises `ClientGone`.
        """
        outbox = self.outbox
        if outbox is None:
            return 0
        sent = outbox.flush(self.socket)
        if not outbox.size:
            outbox.close()
            self.outbox = None
        return sent

    def _relieve(self, outbox: Outbox) -> None:
        """Give the socket a chance, and hold the thread while more is kept than may be."""
        patience = self.buffers.patience or math.inf
        now = time.monotonic()
        if outbox.flush(self.socket) or not outbox.stuck_since:
            outbox.stuck_since = now
        elif now - outbox.stuck_since > patience:
            raise ClientGone("the client stopped reading")
        while outbox.size > self.buffers.most:
            waiting = select.poll()
            waiting.register(self.fd, select.POLLOUT)
            if not waiting.poll(self.buffers.patience * 1000 if self.buffers.patience else None):
                raise ClientGone("the client stopped reading")
            if not outbox.flush(self.socket):
                raise ClientGone("the client is gone")
        if not outbox.size:
            outbox.close()
            self.outbox = None

    def shut(self) -> None:
        """Tell the client that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give socket, files and memory back. The poller must have forgotten the descriptor before."""
        self.drop_request()
        if self.outbox is not None:
            self.outbox.close()
            self.outbox = None
        with contextlib.suppress(OSError):
            self.socket.close()

    def drop_request(self) -> None:
        """Forget the request whose body was being collected."""
        if self.spool is not None:
            self.spool.close()
        self.head = self.body = self.spool = None
