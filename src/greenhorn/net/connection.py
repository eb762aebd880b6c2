"""One client's connection: its socket, what was read of it and not yet parsed, what is to be sent, and its state."""

import contextlib
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from greenhorn.errors import ClientGone, RequestBodyError, StorageError
from greenhorn.net.kernel import poll_one, unacknowledged
from greenhorn.net.outbox import FileRegion, Outbox
from greenhorn.net.pace import Allotment, Buffers, Pace
from greenhorn.net.state import State

IOV_MAX = 1024
HALF_CLOSE = 0.5
"""Seconds after its request in which the end of a client's stream is no more than that; later it means that the client
has given up."""
GOODBYE = 40
"""Bytes that are more than a TLS goodbye, and less than the shortest request in a record of its own."""
CLOSING = (0x15, 0x17)
"""The types of records that a goodbye may have: an alert, and, encrypted with TLS 1.3, anything (RFC 8446 5.1)."""
RECKON_EVERY = 1.0
"""Seconds between two looks at whether a client that is waited for goes on reading."""
ROOM = 1024 * 1024
"""Bytes of temporary files that have to be free before a thread that waits for some goes on."""
TRY_EVERY = 0.001
"""Seconds between two looks at whether a client that did not keep up does so again, while the application goes on."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket that is closed without waiting for what was not delivered."""


class Connection:
    """A connection and all that belongs to it. It has one owner at a time and therefore no lock.

    `turn(connection, service)` is what a pool thread runs when the connection is ready; it returns the next state.
    """

    __slots__ = (
        "awaits_continue",
        "begin",
        "body",
        "buffer",
        "buffers",
        "checked",
        "claim",
        "deadline",
        "deaf",
        "discarded",
        "drained",
        "entrance",
        "fd",
        "gained",
        "gone",
        "head",
        "mark",
        "names",
        "outbox",
        "peer",
        "queued_at",
        "read_at",
        "requests",
        "secure",
        "socket",
        "spool",
        "state",
        "stays",
        "taken_at",
        "template",
        "trusted",
        "turn",
        "waited",
        "waits",
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
        self.peer = peer  # the client's address and port; None for a unix socket
        self.turn = self.begin = turn  # `begin`: the turn behind what a proxy tells at first, if one is expected to
        self.buffers = buffers
        self.entrance: Any = None  # what is spoken where it came in
        self.secure: Any = None  # what encrypts it, since its first byte
        self.state = State.NEW
        self.was = State.NEW  # the last in which the poller owned it; ACTIVE if a turn began what has its own time
        self.gained = 0  # how many bytes its client gave or took since the deadline was last reckoned
        self.mark = 0  # how much of an answer the client was known to have when it was last asked
        self.queued_at = 0.0  # when it became ready, on the monotonic clock
        self.read_at = self.taken_at = 0.0  # its head was read, a thread took the whole request on; if logs need it
        self.waited = 0.0  # seconds that the thread of its request has waited for its client
        self.waits = False  # whether it does so now
        self.gone = False  # whether its client is known to wait for nothing any more
        self.drained = False  # whether all was read that had come, so that anything new will be told
        self.woken = False  # whether something happened while a thread had it
        self.deadline = 0.0  # the end of the wait, on the monotonic clock; seconds that were left, while not parked
        self.buffer = b""  # read and not yet parsed
        self.checked = 0  # how much of the buffer was found to be no whole head
        self.deaf = False  # whether nothing more is read: only the end of the stream is waited for
        self.discarded = 0  # bytes, after the last answer
        self.requests = 0  # that were answered
        self.head: Any = None  # the head of the request that is being read or answered
        self.claim: Any = None  # who answers its request, where the application's time is limited
        self.awaits_continue = False  # whether the client holds the body back until it is told to go on
        self.body: Any = None  # the decoder of its body while that has not all come
        self.spool: Any = None  # what was decoded of it
        self.outbox: Outbox | None = None  # what of an answer waits for the client
        self.stays = True  # whether the connection goes on once the outbox is empty
        self.template: Any = None  # what the environs of its requests have in common
        self.trusted = False  # whether what the peer tells about the client is believed
        self.names: Any = None  # as this peer may use them

    def recv(self, size: int) -> bytes | None:
        """Up to `size` bytes; empty at the end of the stream; None when nothing is there. Raises `ClientGone`."""
        try:
            return self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone(str(error)) from error

    def receive(self, size: int, pace: Pace, left: float) -> tuple[bytes, float]:
        """Up to `size` bytes, waited for, and the seconds left of `left` by `pace`; empty at the end of the stream.

        The thread that runs the application calls it. Raises `RequestBodyError` 408, and `ClientGone`.
        """
        data = self.recv(size)
        while data is None:
            began = time.monotonic()
            if not self._wait_for(select.POLLIN, left):
                raise RequestBodyError(408, "the body did not come in time")
            left -= time.monotonic() - began
            data = self.recv(size)
        if data:
            self.queued_at = time.monotonic()  # only now it may be whole
            self.gone = False
        left = pace.earn(left, len(data))
        if left <= 0:
            raise RequestBodyError(408, "the body comes too slowly")
        return data, left

    def _wait_for(self, event: int, seconds: float) -> bool:
        """Let the thread wait for the client; whether there was anything within so many seconds."""
        began = time.monotonic()
        self.waits = True
        try:
            return self.buffers.wait(self.fd, event, seconds)
        finally:
            self.waited += time.monotonic() - began
            self.waits = False

    def client_disconnected(self) -> bool:
        """Whether nobody waits for the answer any more: the client reset the connection, or closed it after a while.

        `environ["greenhorn.client_disconnected"]`. Any thread of the application.
        """
        return self.gone or (self.buffers.peeks and self._has_ended())

    def _has_ended(self) -> bool:
        try:
            waiting = self.socket.recv(GOODBYE, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        ended = not waiting or (self.secure is not None and len(waiting) < GOODBYE and waiting[0] in CLOSING)
        return ended and time.monotonic() > self.queued_at + HALF_CLOSE

    def has_news(self) -> bool:
        """Whether anything has come that was not read. Owner's thread."""
        return poll_one(self.fd, select.POLLIN) != 0

    def note_end(self, *, broken: bool) -> None:
        """Take note that the client ended its stream, or that the connection is `broken`. Poller's thread.

        What the poller reports may be meant for an earlier connection of this number, so that it is only a hint.
        """
        if self._is_broken() if broken else self._has_ended():
            self.gone = True

    def _is_broken(self) -> bool:
        return poll_one(self.fd, 0) & (select.POLLERR | select.POLLHUP) != 0

    def send_interim(self, data: bytes) -> None:
        """Send an interim answer as `send` does; raises `ClientGone`."""
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send `data`, or keep what the socket does not take. Raises `ClientGone`, and `StorageError`.

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
        outbox = self.outbox or self._begin_outbox()
        self.buffers.lagging[self] = True
        self.buffers.on_lagging()
        try:
            outbox.push(data)
        except StorageError as error:
            outbox.hold([data])
            if error.errno != errno.EDQUOT or not self._wait_for_client(outbox, 0, self.buffers.allotment):
                raise
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
            if len(parts) <= IOV_MAX and sent == sum(map(len, parts)):
                return
        (self.outbox or self._begin_outbox()).hold(parts, sent)

    def measure(self, file: Any) -> FileRegion | None:
        """The rest of `file` as a region that the kernel can send, or None if there is no such."""
        return FileRegion.rest_of(file) if self.buffers.sendfile else None

    def send_file(self, region: FileRegion) -> None:
        """Send a region of a file, or keep what the socket does not take. Raises `ClientGone`."""
        (self.outbox or self._begin_outbox()).hold_file(region.with_own_descriptor())
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

    def _begin_outbox(self) -> Outbox:
        buffers = self.buffers
        outbox = self.outbox = Outbox(buffers.memory, buffers.folder, buffers.allotment)
        outbox.left = buffers.pace.most
        self.mark = self._known()
        return outbox

    def _relieve(self, outbox: Outbox) -> None:
        """Give the socket a chance, and hold the thread while more is kept than may be."""
        most = self.buffers.most
        if time.monotonic() - outbox.tried_at < TRY_EVERY and outbox.size <= most:
            return
        outbox.flush(self.socket)
        self._reckon(outbox)
        if outbox.size > most:
            self._wait_for_client(outbox, most)
        if not outbox.size:
            self.keeps_up()
            outbox.close()
            self.outbox = None

    def _wait_for_client(self, outbox: Outbox, most: int, room: Allotment | None = None) -> bool:
        """Hold the thread until no more than `most` bytes wait, or there is `room` again.

        False if as many threads as may do so already. Raises `ClientGone`.
        """
        waiters = self.buffers.waiters
        if not waiters.acquire(blocking=False):
            return False
        try:
            while outbox.size > most and not (room is not None and room.has(ROOM)):
                if self._wait_for(select.POLLOUT, min(outbox.left, RECKON_EVERY)):
                    outbox.flush(self.socket)
                self._reckon(outbox)
        finally:
            waiters.release()
        return True

    def catch_up(self) -> None:
        """Send what the socket takes while the application goes on. The spare thread, which does not own it."""
        outbox = self.outbox
        if outbox is not None:
            with contextlib.suppress(ClientGone):  # its thread will find out
                outbox.flush(self.socket)

    def keeps_up(self) -> None:
        """Take note that nobody needs to do that any more. Owner's thread."""
        self.buffers.lagging.pop(self, None)

    def _reckon(self, outbox: Outbox) -> None:
        """Take from the client's time what has passed, and give it what it earned; raises `ClientGone`."""
        now = time.monotonic()
        passed = now - (outbox.tried_at or now)
        outbox.tried_at = now
        outbox.left = self.buffers.pace.earn(outbox.left - passed, self.taken())
        if outbox.left <= 0:
            self.reset()
            raise ClientGone("the client stopped reading, or reads too slowly")

    def taken(self) -> int:
        """How many bytes of what waits the client's system has confirmed since this was last asked.

        The kernel's buffer hides for long that a slow client goes on reading. Owner's thread.
        """
        known = self._known()
        # On unix sockets the kernel counts more than it was given, so that this may go back.
        taken = max(0, known - self.mark)
        self.mark += taken
        return taken

    def _known(self) -> int:
        """How many bytes of what goes through the outbox, less what went before, its client is known to have."""
        known = -unacknowledged(self.socket)
        if self.outbox is not None:
            known += self.outbox.sent
        if self.secure is not None:
            known += self.secure.underway
        return known

    def shut(self) -> None:
        """Tell the client that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def end_reading(self) -> None:
        """Let the stream of the client end behind what has come already."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)

    def cut(self, *, abruptly: bool) -> None:
        """End the connection in both directions under the hands of its owner, whose next use fails. Any thread.

        `abruptly`: by a reset, where an orderly end would pass for the end of an answer. The descriptor then stays
        open on nothing until the owner closes it, so that nobody else gets its number.
        """
        with self._closing(), contextlib.suppress(OSError):
            if not abruptly:
                self.socket.shutdown(socket.SHUT_RDWR)
            elif self.socket.fileno() == self.fd:
                self.reset()
                nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nothing, self.fd, inheritable=False)
                os.close(nothing)

    def send_last(self, data: bytes) -> None:
        """Send what fits of `data` and end the stream, for a thread that does not come back. Any thread."""
        with contextlib.suppress(OSError):
            self.socket.send(data)
        self.shut()

    def reset(self) -> None:
        """Let the kernel forget what the client did not take, at once, when the connection is closed."""
        if self.secure is not None:
            self.secure.abandon()
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        """Give socket, files and memory back. The poller must have forgotten the descriptor before."""
        self.drop_request()
        self.keeps_up()
        self.template = None  # it knows this connection: a circle
        if self.outbox is not None:
            if self.secure is not None:  # a goodbye would pass for the end of the answer
                self.secure.abandon()
            self.outbox.close()
            self.outbox = None
        with self._closing(), contextlib.suppress(OSError):
            self.socket.close()

    def _closing(self) -> contextlib.AbstractContextManager[Any]:
        """Keeps the descriptor from being closed while it is cut off; only where somebody else may do that."""
        return contextlib.nullcontext() if self.claim is None else self.claim.lock

    def drop_request(self) -> None:
        """Forget the request that was being read or answered."""
        if self.spool is not None:
            self.spool.close()
        self.head = self.body = self.spool = None
