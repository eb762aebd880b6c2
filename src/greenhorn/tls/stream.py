"""A socket that speaks TLS without ever waiting: what the rest of the server uses as it uses a plain one."""

import functools
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

RECORD = 16384
"""Bytes of a record, at the most (RFC 8446 5.1)."""
READ = 65536
"""Bytes taken off the wire at once, at the most, where much is expected."""
WIRE_RECORD = RECORD + 512
"""Bytes taken off the wire at once, where little is expected: room for a whole record."""
WORTH = 64
"""Bytes of the wire that a byte may take, and more: a record of its own has up to 40."""
MOST_BARREN = 256 * 1024
"""Bytes of the wire that may bring nothing, such as new keys, which cost the server more than the client."""
BATCH = 65536
"""Bytes that are encrypted at once: what the kernel does not take of them is kept."""
PAST_THE_LOCK = frozenset(
    {
        *("accept", "bind", "connect", "connect_ex", "detach", "do_handshake", "dup", "listen", "makefile", "read"),
        *("recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "sendall", "sendfile", "sendmsg_afalg"),
        *("sendto", "unwrap", "write"),
    }
)
"""Calls of sockets and engines that an application must not find here: they would send and read past the encryption,
or past what waits to be sent."""


class Engine(ssl.SSLObject):
    """The state of one TLS connection, in memory. `server_name` is what the client asked for by SNI."""

    server_name: str | None = None


class SecureSocket:
    """The calls of a non-blocking socket that a connection needs, over TLS.

    Whatever was read off the wire is decrypted and returned at once: nothing waits inside, so that the poller's view
    of the descriptor is the whole truth. What is sent counts once the kernel has all of its record. After a
    `BlockingIOError` the same bytes have to come again, as with OpenSSL's SSL_write: they are encrypted already.

    The lock is OpenSSL's need: one thread may send what waits while another reads. Any thread.
    """

    __slots__ = (
        "_barren",
        "_ended",
        "_engine",
        "_incoming",
        "_left",
        "_lock",
        "_outgoing",
        "_owed",
        "_socket",
        "_strict",
        "_unsent",
        "_wire",
        "is_within_record",
    )

    def __init__(self, sock: socket.socket, credentials: Any, received: bytes = b"") -> None:
        """Speak TLS on `sock` with `credentials`; `received` was read of it already."""
        self._socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._engine: Engine = credentials.wrap(self._incoming, self._outgoing)
        self._strict = credentials.strict_end
        self._lock = threading.Lock()
        self._unsent = memoryview(b"")
        """Encrypted and not taken by the kernel."""
        self._wire = 0
        """How long that was when it was encrypted."""
        self.is_within_record = False
        """Whether some of a record has come, and its end has not, as far as is known."""
        self._barren = 0
        """Bytes of the wire in which nothing came."""
        self._owed = 0
        """How many bytes of the caller's are in it."""
        self._ended = False
        """Whether the client sends nothing more."""
        self._left = False
        """Whether the goodbye was said, or there is nobody to say it to."""
        if received:
            self._incoming.write(received)

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is complete.

        If not, the client has to send more, or to take what `is_full` says. Raises `ssl.SSLError`, whose alert is
        sent, and `OSError`.
        """
        with self._lock:
            while True:
                try:
                    self._engine.do_handshake()
                except ssl.SSLWantReadError:
                    self._deliver()
                except OSError:
                    self._left = True
                    with suppress(OSError):
                        self._deliver()
                    raise
                else:
                    self._deliver()
                    return not self._unsent  # the client may wait for the end of it
                try:
                    data = self._socket.recv(WIRE_RECORD)
                except BlockingIOError:
                    return False
                if not data:
                    raise ConnectionResetError("the client left in the handshake")
                self._incoming.write(data)

    @property
    def is_full(self) -> bool:
        """Whether something that is encrypted waits for the kernel."""
        return bool(self._unsent)

    @property
    def underway(self) -> int:
        """Bytes that the kernel took of what does not count as sent yet."""
        return self._wire - len(self._unsent) if self._unsent else 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """All that has come, `size` bytes or a few records more; less than `size` only if nothing else has come.

        Unless it came in records that carry next to nothing: then others have their turn first, and `is_within_record`
        says that there may be more. Empty at the end of the stream. Raises `BlockingIOError`, and `OSError`, also for
        what is no TLS and, with `strict_end`, for an end without a goodbye. With `flags` it is the wire's bytes.
        """
        if flags:
            return self._socket.recv(size, flags)
        data = b""
        room, taken = WIRE_RECORD, 0
        incoming = self._incoming
        is_cut = False
        with self._lock:
            drained = self._ended
            wire = b""
            while True:
                try:
                    while incoming.pending and not self._ended:
                        piece = self._engine.read(RECORD)
                        data += piece
                        if not piece:  # the goodbye; what comes behind it is nobody's
                            drained = self._ended = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:  # the same, after ours
                    drained = self._ended = True
                except OSError as error:
                    drained = self._break_off(error, data)
                if self._outgoing.pending:
                    self._reply()
                if drained or len(data) >= size:
                    break
                if taken > 2 * len(data):  # a flood of tiny records, or of new keys, could go on for ever
                    is_cut = True
                    break
                try:
                    wire = self._socket.recv(room)
                except BlockingIOError:
                    break
                if wire:
                    drained = len(wire) < room
                    taken += len(wire)
                    if size > RECORD:
                        room = READ
                    incoming.write(wire)
                else:
                    self._note_end(data)
                    break
        if taken > WORTH * len(data) or self._barren:
            self._weigh(taken, len(data))
        if not data and not self._ended:
            self.is_within_record = bool(self.is_within_record or wire)
            raise BlockingIOError
        self.is_within_record = is_cut
        if data and self._ended:
            # Nobody reads now, and nothing more may come over the wire: the poller is to tell of the end as of any.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        return data

    def _weigh(self, taken: int, count: int) -> None:
        """Note how many bytes of the wire brought how many; raises `ConnectionAbortedError` if it is all in vain."""
        self._barren = max(0, self._barren + taken - WORTH * count)
        if self._barren > MOST_BARREN:
            raise ConnectionAbortedError("the client sends records, and nothing in them")

    def _note_end(self, data: bytes) -> None:
        """Note that the wire has ended without a goodbye; behind `data` that will be found again."""
        if not data:
            self._ended = True
            if self._strict:
                raise ConnectionResetError("the client ended the stream without a TLS goodbye")

    def _reply(self) -> None:
        """Send what a client asked for without the caller's doing: that nothing is renegotiated, or a new key."""
        self._deliver()
        if self._outgoing.pending > RECORD:
            raise ConnectionAbortedError("the client asks for new keys and reads none of them")

    def _break_off(self, error: OSError, data: bytes) -> bool:
        """Note that what came is no TLS, and say so to the client; raises `OSError` unless there is `data` before."""
        self._left = self._ended = True
        with suppress(OSError):
            self._deliver()
        if not data:
            raise ConnectionAbortedError(reason_of(error)) from error
        return True

    def send(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes and return how many bytes. Raises `BlockingIOError` for none, and `OSError`."""
        size = len(data)
        with self._lock:
            if self._unsent or self._owed or not 0 < size <= RECORD:
                return self._settle() or self._send(data)
            # Most answers are one record: what `_send` does, without a call for each of its steps.
            try:
                self._engine.write(data)
            except ssl.SSLError as error:
                self._left = True
                raise ConnectionAbortedError(reason_of(error)) from error
            wire = self._outgoing.read()
            try:
                sent = self._socket.send(wire)
            except BlockingIOError:
                sent = 0
            if sent == len(wire):
                return size
            self._keep(wire, sent)
            self._owed = size
            raise BlockingIOError

    def sendmsg(self, parts: Sequence[bytes | memoryview]) -> int:
        """Send what the kernel takes of the parts, one after the other, as `send` does."""
        with self._lock:
            if owed := self._settle():
                return owed
            if sum(map(len, parts)) <= BATCH:
                return self._send(b"".join(parts))
            total = 0
            for part in parts:
                try:
                    sent = self._send(part)
                except BlockingIOError:
                    if total:
                        return total
                    raise
                total += sent
                if sent < len(part):
                    break
            return total

    def send_region(self, fd: int, offset: int, count: int) -> int:
        """Send what the kernel takes of `count` bytes of a file, as `send` does; 0 if the file ends before `offset`."""
        with self._lock:
            return self._settle() or self._send(os.pread(fd, min(count, 4 * BATCH), offset))

    def _settle(self) -> int:
        """Send what was encrypted before, and return how many bytes of the caller's that were."""
        if self._unsent:
            self._deliver()
            if self._unsent:
                raise BlockingIOError
        owed, self._owed = self._owed, 0
        return owed

    def _send(self, data: bytes | memoryview) -> int:
        size = len(data)
        total = 0
        view = memoryview(data) if size > RECORD else data
        write = self._engine.write
        try:
            while total < size:
                at = total
                if size <= RECORD:
                    at += write(view)
                else:
                    end = min(size, total + BATCH)
                    while at < end:
                        at += write(view[at : min(end, at + RECORD)])
                self._deliver()
                if self._unsent:
                    self._owed = at - total
                    if not total:
                        raise BlockingIOError
                    break
                total = at
        except ssl.SSLError as error:
            self._left = True
            raise ConnectionAbortedError(reason_of(error)) from error
        return total

    def _deliver(self) -> None:
        """Give what is encrypted to the kernel, which may not take all of it."""
        if self._unsent:
            self._unsent = self._unsent[self._push(self._unsent) :]
            if self._unsent:
                return
        if self._outgoing.pending:
            wire = self._outgoing.read()
            sent = self._push(wire)
            if sent < len(wire):
                self._keep(wire, sent)

    def _keep(self, wire: bytes, sent: int) -> None:
        """Note what the kernel did not take of what is encrypted."""
        self._wire = len(wire)
        self._unsent = memoryview(wire)[sent:]

    def _push(self, wire: bytes | memoryview) -> int:
        try:
            return self._socket.send(wire)
        except BlockingIOError:
            return 0

    def shutdown(self, how: int) -> None:
        """End the stream, with a goodbye (RFC 8446 6.1) if it is the one to the client."""
        if how != socket.SHUT_RD:
            self._part()
        self._socket.shutdown(how)

    def abandon(self) -> None:
        """Say no goodbye any more: it would make what was sent a whole answer."""
        self._left = True

    def close(self) -> None:
        """Say goodbye if that was not done, and close the descriptor."""
        self._part()
        self._socket.close()

    def _part(self) -> None:
        with self._lock:
            if not self._left:
                self._left = True
                with suppress(OSError):  # WANT_READ: the client's goodbye is still to come
                    self._engine.unwrap()
                with suppress(OSError):
                    self._deliver()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    @property
    def engine(self) -> Engine:
        """What OpenSSL knows of the connection."""
        return self._engine

    def __getattr__(self, name: str) -> Any:
        """What else a socket has, and what an `ssl.SSLSocket` tells of the connection: `getpeercert`, `cipher`...

        Raises `AttributeError` for what would send or read without encryption.
        """
        if name in PAST_THE_LOCK:
            raise AttributeError(f"a socket that speaks TLS has no {name}; it has recv, send and sendmsg")
        if hasattr(self._socket, name):  # eventlet puts another class in the place of socket.socket
            return getattr(self._socket, name)
        with self._lock:
            told = getattr(self._engine, name)
        return functools.partial(self._ask, told) if callable(told) else told

    def _ask(self, ask: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Ask the engine while no thread sends or reads."""
        with self._lock:
            return ask(*arguments, **named)


def reason_of(error: Exception) -> str:
    """What OpenSSL complains about, in its words."""
    reason = getattr(error, "reason", None)
    verdict = getattr(error, "verify_message", None)
    text = str(reason).replace("_", " ").lower() if reason else str(error)
    return f"{text}: {verdict}" if verdict else text
