"""Tornado's streams with eyes: what comes, what leaves and the end are noticed by whose stream it is."""

import contextlib
import os
import socket
import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Awaitable
from typing import Any, Protocol, cast

from tornado.iostream import IOStream, StreamClosedError

from greenhorn.tls.stream import SecureSocket
from greenhorn.workers.serve import TLS_HELLO

MOST_UNSENT = 262144
"""Bytes of an answer that wait in Tornado's buffer; what is beyond waits where it came from."""


class Watcher(Protocol):
    """Who is told what happens on a stream. Loop's thread."""

    def on_bytes(self) -> None:
        """Something has come from the client."""

    def on_room(self) -> None:
        """The client's system took something."""

    def on_stranger(self) -> None:
        """The client speaks TLS where that is not spoken; the stream ends."""

    def on_end(self) -> None:
        """The stream is closed."""


class Watched(IOStream):
    """A stream over a connection, encrypted if `secure` says how; `waiting` are bytes that were read of it already.

    At most `most` bytes may wait to be read. `watcher` is set before anything is read.
    """

    watcher: Watcher
    sent = 0
    """Bytes that the kernel took so far."""
    received = 0
    """Bytes that have come so far."""
    lines = 0
    """How often a line was asked for, as Tornado does for the size of each chunk, and for nothing else."""
    abrupt = False
    """Whether the end is a reset, so that no goodbye is said."""

    def __init__(self, sock: socket.socket, secure: SecureSocket | None, waiting: bytes, most: int | None) -> None:
        self.secure = secure
        self._waiting = waiting
        super().__init__(cast("socket.socket", sock if secure is None else secure), max_buffer_size=most)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """As IOStream does."""
        is_raw = self.secure is None and not self._waiting
        count = super().read_from_fd(buf) if is_raw else self._take(buf)
        if count:
            if not self.received and self.secure is None and TLS_HELLO.startswith(bytes(buf[: min(2, count)])):
                self.watcher.on_stranger()
                raise ConnectionAbortedError("the client speaks TLS")
            self.received += count
            self.watcher.on_bytes()
        return count

    def _take(self, buf: bytearray | memoryview) -> int | None:
        """Read what was decrypted, of which there may be more than there is room for."""
        data = self._waiting
        if not data:
            try:
                data = self.socket.recv(len(buf))
            except BlockingIOError:
                if self.secure is not None and self.secure.is_within_record:
                    self.watcher.on_bytes()
                return None
        count = min(len(buf), len(data))
        buf[:count] = data[:count]
        self._waiting = data[count:]
        return count

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """As IOStream does."""
        self.lines += 1
        return super().read_until(delimiter, max_bytes)

    def write_to_fd(self, data: memoryview) -> int:
        """As IOStream does."""
        count = super().write_to_fd(data)
        self.sent += count
        return count

    def close_fd(self) -> None:
        """As IOStream does; what speaks TLS says goodbye, unless the client is not to take what it has for all."""
        if self.abrupt and self.secure is not None:
            self.secure.abandon()
        super().close_fd()
        self.watcher.on_end()

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: what leaves later than the piece before it must not wait for that to be acknowledged."""

    def end_sending(self) -> None:
        """Tell the client that nothing more comes."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _is_connreset(self, exc: BaseException) -> bool:
        """Take it for the client's doing as well if what comes is no TLS."""
        return isinstance(exc, ConnectionError) or super()._is_connreset(exc)


class Sink:
    """A stream in the shape of a non-blocking socket, for a `Connection`. Any thread sends; the loop's writes."""

    def __init__(self, stream: Watched, loop: AbstractEventLoop) -> None:
        self._stream = stream
        self._socket = stream.socket
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._changed = threading.Condition()
        self._ended = False
        self._unwritten: deque[bytes] = deque()
        """What was taken and not written yet: threads and the loop send one answer by turns, and it keeps its order."""
        self.unsent = 0
        """Bytes that were taken and have not left."""

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def send(self, data: bytes | memoryview) -> int:
        """Take some of `data` and return how many bytes. Raises `BlockingIOError` and `BrokenPipeError`."""
        count = self._take(len(data))
        self._pass_on(bytes(data[:count]))
        return count

    def sendmsg(self, parts: list[Any]) -> int:
        """Take some of `parts`, and return how many bytes. Raises as `send` does."""
        count = left = self._take(sum(map(len, parts)))
        taken = []
        for part in parts:
            taken.append(part[:left])
            left -= len(taken[-1])
            if not left:
                break
        self._pass_on(b"".join(taken))
        return count

    def send_region(self, fd: int, offset: int, count: int) -> int:
        """Take some of a file, and return how many bytes, 0 at its end. Raises as `send` does."""
        taken = self._take(count)
        data = os.pread(fd, taken, offset)
        self._give_back(taken - len(data))
        if data:
            self._pass_on(data)
        return len(data)

    def _take(self, wanted: int) -> int:
        with self._changed:
            if self._ended:
                raise BrokenPipeError("the client is gone")
            count = min(wanted, MOST_UNSENT - self.unsent)
            if count <= 0 < wanted:
                raise BlockingIOError
            self.unsent += count
        return count

    def _give_back(self, count: int) -> None:
        with self._changed:
            self.unsent -= count
            self._changed.notify_all()

    def _pass_on(self, data: bytes) -> None:
        self._unwritten.append(data)
        # Later in the loop's thread, too: the stream may end in the midst of it, and the caller holds the outbox.
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(self._write_all)
        else:
            self._loop.call_soon_threadsafe(self._write_all)

    def _write_all(self) -> None:
        while self._unwritten:
            self._write(self._unwritten.popleft())

    def _write(self, data: bytes) -> None:
        try:
            written = self._stream.write(data)
        except StreamClosedError:
            self.end()
            return
        written.add_done_callback(lambda _: self._note_written(len(data)))

    def _note_written(self, count: int) -> None:
        self._give_back(count)
        if not self._ended:
            self._stream.watcher.on_room()

    def wait_for_room(self, seconds: float) -> bool:
        """Hold the thread until half of what may wait has left; whether that was within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended or self.unsent <= MOST_UNSENT // 2, seconds)

    def end(self) -> None:
        """Take nothing more: the stream is closed. Loop's thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def recv(self, size: int, flags: int = 0) -> bytes:  # noqa: ARG002 - as a socket has it
        """Raise `BlockingIOError`: it is Tornado that reads."""
        raise BlockingIOError

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Set an option of the socket; to let it end without waiting is to reset it. Raises `OSError`."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._stream.abrupt = True
        self._socket.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """Do nothing: the loop ends the stream once all of it has left."""

    def close(self) -> None:
        """Do nothing: the loop does that."""
