"""A request's body on its way in: in memory up to a cap, then in an unlinked temporary file."""

import contextlib
import errno
import io
import tempfile
from typing import BinaryIO, cast

from greenhorn.net.pace import Allotment

MOST_PARTS = 64
"""Pieces that are kept apart: each costs memory of its own."""


class Spool:
    """Collects bytes. Belongs to the connection's owner, so needs no lock.

    `memory` is how many bytes are kept in memory; `folder` where the file beyond that lives (None: the system's).
    `size` is how many bytes it holds.
    """

    __slots__ = ("_allotment", "_file", "_folder", "_memory", "_parts", "_taken", "size")

    def __init__(self, memory: int, folder: str | None, allotment: Allotment | None = None) -> None:
        self._allotment = allotment or Allotment(0)
        self._taken = 0
        self._memory = memory
        self._folder = folder
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add `data`; raises `OSError` when the folder is full or not there, or the allotment is used up."""
        self.size += len(data)
        if self._file is None:
            self._parts.append(data)
            if len(self._parts) >= MOST_PARTS:
                self._parts = [b"".join(self._parts)]
            if self.size <= self._memory:
                return
            # Without a buffer of its own: it costs more memory than it saves calls, and hides when the disk is full.
            file = tempfile.TemporaryFile(dir=self._folder, prefix="greenhorn-", buffering=0)  # noqa: SIM115 - `close` ends it
            self._file = cast("BinaryIO", file)
            data = b"".join(self._parts)
            self._parts.clear()
        self._store(self._file, data)

    def _store(self, file: BinaryIO, data: bytes) -> None:
        if not self._allotment.take(len(data), self._taken):
            raise OSError(errno.EDQUOT, "tmp_files_max is reached")
        self._taken += len(data)
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def open(self) -> BinaryIO:
        """What was collected, as a file at its beginning. The spool is closed with it or by `close`."""
        if self._file is None:
            return io.BytesIO(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._file.seek(0)
        self._file = cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", self._file)))
        return self._file

    def close(self) -> None:
        """Give memory and file back; may be called again."""
        self._parts.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk has not taken is not wanted any more
                self._file.close()
        if self._taken:
            self._allotment.give(self._taken)
            self._taken = 0
