"""What of an answer the socket has not taken yet: bytes, regions of files, and a temporary file for the rest."""

import contextlib
import errno
import io
import os
import socket
import stat
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from greenhorn.errors import ClientGone, StorageError
from greenhorn.net.pace import Allotment

PER_TURN = 4 * 1024 * 1024
"""Bytes that one turn sends at the most: a client that takes all it gets does not keep a thread either."""
PER_CALL = 1024 * 1024
PARTS_PER_CALL = 64
"""Parts of a list that one call sends: beyond the first few, a call costs more for what the socket does not take."""
SMALL_PIECE = 4096
"""Pieces are joined up to this size: each costs memory of its own."""
LARGEST_FILE = 16 * 1024 * 1024
"""A temporary file is not reused in part: beyond this size the next one is begun, so that what was sent is freed."""


class FileRegion:
    """`count` bytes of a file from `offset` on."""

    __slots__ = ("count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd = fd
        self.offset = offset
        self.count = count

    @classmethod
    def rest_of(cls, file: Any) -> "FileRegion | None":
        """From where `file` stands to its end; None for what is no plain regular file.

        Of objects around a file, such as those of tempfile and Django, `file.file` is asked. Others, such as those
        of gzip, have a descriptor as well, whose bytes are not theirs.
        """
        file = getattr(file, "file", file)
        if not isinstance(file, io.FileIO) and not isinstance(getattr(file, "raw", None), io.FileIO):
            return None
        try:
            fd = file.fileno()
            offset = file.tell()
            status = os.fstat(fd)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return cls(fd, offset, max(0, status.st_size - offset))

    def with_own_descriptor(self) -> "FileRegion":
        """The same region, which outlives the file of the application and has to be closed."""
        return FileRegion(os.dup(self.fd), self.offset, self.count)

    def send(self, sock: Any, most: int) -> int:
        """Send up to `most` bytes and return how many.

        Raises `BlockingIOError`, and `ClientGone` for a file that was cut short.
        """
        most = min(self.count, most)
        encrypt = getattr(sock, "send_region", None)
        if encrypt is not None:
            sent: int = encrypt(self.fd, self.offset, most)
        else:
            sent = os.sendfile(sock.fileno(), self.fd, self.offset, most)
        if not sent:
            raise ClientGone("the file became shorter while it was sent")
        self.offset += sent
        self.count -= sent
        return sent

    def close(self) -> None:
        """Give the descriptor back."""
        with contextlib.suppress(OSError):  # whoever closed it, it is closed
            os.close(self.fd)


class Spill(FileRegion):
    """A temporary file that is sent while it grows."""

    __slots__ = ("_allotment", "_taken")

    def __init__(self, folder: str | None, allotment: Allotment) -> None:
        try:
            fd, path = tempfile.mkstemp(dir=folder, prefix="greenhorn-")
            Path(path).unlink()
        except OSError as error:
            raise StorageError(error.errno, error.strerror) from error
        super().__init__(fd, 0, 0)
        self._allotment = allotment
        self._taken = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end; raises `StorageError`."""
        if not self._allotment.take(len(data)):
            raise StorageError(errno.EDQUOT, "tmp_files_max is reached")
        self._taken += len(data)
        view = memoryview(data)
        end = self.offset + self.count
        try:
            while view:
                written = os.pwrite(self.fd, view, end)
                view = view[written:]
                end += written
        except OSError as error:
            raise StorageError(error.errno, error.strerror) from error
        self.count += len(data)

    def close(self) -> None:
        """Give the descriptor and the bytes of the allotment back."""
        super().close()
        self._allotment.give(self._taken)
        self._taken = 0


class Piece(NamedTuple):
    """Bytes that wait in memory and were made for this client."""

    data: memoryview


class Parts:
    """The rest of a list of byte strings that somebody else keeps alive anyway, from byte `at` of its `index`-th on."""

    __slots__ = ("at", "index", "parts")

    def __init__(self, parts: Sequence[bytes], index: int, at: int) -> None:
        self.parts = parts
        self.index = index
        self.at = at

    def send(self, sock: socket.socket) -> int:
        """Send what the socket takes of the next parts and return how many bytes. Raises `BlockingIOError`."""
        window = [memoryview(self.parts[self.index])[self.at : self.at + PER_CALL]]
        size = len(window[0])
        for part in self.parts[self.index + 1 : self.index + PARTS_PER_CALL]:
            if size >= PER_CALL:
                break
            window.append(memoryview(part))
            size += len(part)
        sent = sock.sendmsg(window)
        self.at += sent
        self.skip()
        return sent

    def skip(self) -> None:
        """Go on to the part in which the next byte is."""
        while self.index < len(self.parts) and self.at >= len(self.parts[self.index]):
            self.at -= len(self.parts[self.index])
            self.index += 1

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.index >= len(self.parts)


class Outbox:
    """A queue of bytes and file regions.

    Its lock is for the time in which the application goes on to fill it while another thread sends what is there.

    Bytes that are pushed are kept in memory up to `memory`, beyond that in a temporary file in `folder`.
    """

    __slots__ = (
        "_allotment",
        "_entries",
        "_folder",
        "_in_memory",
        "_lock",
        "_memory",
        "_spill",
        "left",
        "sent",
        "size",
        "tried_at",
    )

    def __init__(self, memory: int, folder: str | None, allotment: Allotment | None = None) -> None:
        self._allotment = allotment or Allotment(0)
        self._entries: deque[Piece | Parts | FileRegion] = deque()
        self._memory = memory
        self._folder = folder
        self._in_memory = 0
        self._lock = threading.Lock()
        self._spill: Spill | None = None
        self.size = 0
        """Bytes that wait, wherever they are."""
        self.sent = 0
        """Bytes that the socket took of it."""
        self.left = 0.0
        """How many seconds the client has left while the application goes on; kept by the connection."""
        self.tried_at = 0.0
        """When that was last reckoned."""

    def hold(self, parts: Sequence[bytes], sent: int = 0) -> None:
        """Queue what follows the first `sent` bytes of `parts`, which stay as they are and are not copied."""
        rest = Parts(parts, 0, sent)
        rest.skip()
        with self._lock:
            if not rest.done:
                self._entries.append(rest)
                self.size += sum(map(len, parts)) - sent
                self._spill = None

    def hold_file(self, region: FileRegion) -> None:
        """Queue a region of a file, whose descriptor is closed here."""
        with self._lock:
            self._entries.append(region)
            self.size += region.count
            self._spill = None

    def push(self, data: bytes) -> None:
        """Queue bytes that were made for this client; raises `StorageError`."""
        with self._lock:
            self._push(data)

    def _push(self, data: bytes) -> None:
        if self._spill is None:
            if self._in_memory + len(data) <= self._memory:
                self._push_to_memory(data)
                return
            self._spill = Spill(self._folder, self._allotment)
            self._entries.append(self._spill)
        spill = self._spill
        spill.append(data)
        self.size += len(data)
        if spill.offset + spill.count >= LARGEST_FILE:
            self._spill = None

    def _push_to_memory(self, data: bytes) -> None:
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Piece) and len(last.data) + len(data) <= SMALL_PIECE:
            self._entries[-1] = Piece(memoryview(last.data.tobytes() + data))
        else:
            self._entries.append(Piece(memoryview(data)))
        self._in_memory += len(data)
        self.size += len(data)

    def flush(self, sock: socket.socket) -> int:
        """Send what the socket takes, up to `PER_TURN`; returns how many bytes. Raises `ClientGone`."""
        with self._lock:
            return self._flush(sock)

    def _flush(self, sock: socket.socket) -> int:
        total = 0
        try:
            while self._entries and total < PER_TURN:
                sent = self._send_first(sock)
                total += sent
                self.sent += sent
                self.size -= sent
        except BlockingIOError:
            pass
        except OSError as error:
            raise ClientGone(str(error)) from error
        return total

    def _send_first(self, sock: socket.socket) -> int:
        first = self._entries[0]
        if isinstance(first, FileRegion):
            sent = first.send(sock, PER_CALL) if first.count else 0
            if not first.count:
                self._entries.popleft()
                first.close()
                if first is self._spill:
                    self._spill = None
            return sent
        if isinstance(first, Parts):
            sent = first.send(sock)
            if first.done:
                self._entries.popleft()
            return sent
        sent = sock.send(first.data)
        self._in_memory -= sent
        if sent == len(first.data):
            self._entries.popleft()
        else:
            self._entries[0] = Piece(first.data[sent:])
        return sent

    def close(self) -> None:
        """Forget what waits and give the files back."""
        with self._lock:
            for entry in self._entries:
                if isinstance(entry, FileRegion):
                    entry.close()
            self._entries.clear()
            self._spill = None
            self.size = 0
