"""capture_output: what the processes write to their standard output and error goes to a file."""

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Any

STANDARD = (1, 2)


class Capture:
    """Where descriptors 1 and 2 of this process lead. Main thread."""

    def __init__(self) -> None:
        self.file: IO[Any] | None = None
        """The file that they lead to; None while they lead to where they did at the start."""
        self._path = Path()
        self._before: list[int] = []

    def hold(self, path: str) -> IO[Any]:
        """Let both lead to the file from now on, and return it. Raises `OSError`."""
        _flush()
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115, PTH123 - stays open
        if self.file is None:
            self._before = [os.dup(fd) for fd in STANDARD]
        else:
            self.file.close()
        self.file, self._path = file, Path(path).absolute()
        self._lead(file.fileno())
        return file

    def release(self) -> None:
        """Let both lead to where they did before."""
        if self.file is None:
            return
        _flush()
        for fd, before in zip(STANDARD, self._before, strict=True):
            os.dup2(before, fd)
            os.close(before)
        self.file.close()
        self.file = None

    def reopen(self) -> None:
        """Take the file that has the name now. Raises `OSError`."""
        if self.file is not None:
            with self._path.open("ab") as new:
                os.dup2(new.fileno(), self.file.fileno(), inheritable=False)
            self._lead(self.file.fileno())

    def _lead(self, to: int) -> None:
        for fd in STANDARD:
            os.dup2(to, fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


OUTPUT = Capture()
"""The descriptors of this process."""
