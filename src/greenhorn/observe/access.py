"""The access log: a line per answer, whole and unforgeable, in a file or on the standard output."""

import contextlib
import json
import os
import re
import select
import stat
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sized
from typing import Any, NamedTuple, Protocol

from greenhorn.errors import ConfigError
from greenhorn.observe.formats import Format
from greenhorn.observe.lines import Answered, Asked, Timed, compile_line

MOST_LINES = 64
"""Lines that are written at once at most."""
MOST_WAITING = 10000
"""Lines that wait for a reader who has stalled; beyond that the oldest are lost."""
PATIENCE = 1.0
"""Seconds that a pipe or terminal may be full before lines are lost."""
PIECE = 4096
"""Bytes that a pipe takes at once from several processes without mixing them (PIPE_BUF of Linux)."""


DOTS = b"..."
_HALF_ESCAPE = re.compile(rb"\\(?:x[0-9A-Fa-f]?)?\Z")


class Unread(NamedTuple):
    """What stands for the head of a request that could not be read."""

    request_line: str
    """As much of it as there is."""
    method: str = ""
    target: str = "-"
    version: str = "-"
    path: str = "-"
    query: str = ""
    fields: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


class NotTimed(NamedTuple):
    """The times of a request that could not be read."""

    queued_at: float = 0.0
    read_at: float = 0.0
    taken_at: float = 0.0


class Refusal(NamedTuple):
    """An answer of the server's own."""

    status: str
    """The code."""
    sent: int
    """Bytes of its body."""
    reason: str
    """Why the request was turned away."""
    headers: tuple[tuple[str, str], ...] = ()


class AccessLog(Protocol):
    """Where the turns of a connection write down each answer. Pool threads and the poller's; no method raises."""

    tells_durations: bool
    """Whether the times of a request are to be measured."""
    tells_id: bool
    """Whether each request needs an id."""

    def answered(self, times: Timed, environ: Mapping[str, Any], head: Any, answer: Answered) -> None:
        """Write down what the application answered to the request with this head, a `RequestHead`."""

    def refused(self, times: Timed, environ: Mapping[str, Any], head: Any, refusal: Refusal) -> None:
        """Write down how the server turned a request away, whose head may be `Unread`."""

    def flush(self) -> None:
        """Write what waits to be written."""


class AccessFile:
    """The open file of an access log: a path, or `-` for the standard output. Raises `ConfigError`.

    The master opens it and its children share it; the file that has the name now is taken by `reopen`.
    """

    def __init__(self, target: str) -> None:
        self.path = "" if target == "-" else os.path.abspath(target)  # noqa: PTH100 - as given, but for the folder
        try:
            self._fd = self._open() if self.path else 1
        except OSError as error:
            raise ConfigError(
                f"accesslog: cannot open {target!r}: {error.strerror}; name a file that can be written, or - for the "
                "standard output"
            ) from error
        self._is_cut = False
        self._is_file = False
        self._look()
        self._stalled = False
        """Whether nobody read the pipe or terminal when it was written to last."""
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Write to the file that has the name now, after the one that had it was renamed; raises `OSError`.

        Threads may write meanwhile: the descriptor stays the same.
        """
        if self.path:
            fd = self._open()
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
            self._look()

    def _look(self) -> None:
        """Note whether it is a file; a path may lead to a pipe as well, such as /dev/stdout."""
        with contextlib.suppress(OSError):  # a standard output that is closed
            self._is_file = bool(self.path) and stat.S_ISREG(os.fstat(self._fd).st_mode)

    def close(self) -> None:
        """Give the file back."""
        if self.path:
            os.close(self._fd)

    def write(self, lines: bytes) -> None:
        """Write whole lines in one piece, one thread at a time.

        What finds no room is lost: neither a full disk nor a reader who has stalled may cost answers.
        """
        if self._is_file:
            self._write_whole(lines)
            return
        for piece in pieces(lines):
            self._stalled = not self._poll.poll(0 if self._stalled else PATIENCE * 1000)
            if self._stalled:
                return
            self._write_whole(piece)

    def _write_whole(self, lines: bytes) -> None:
        if self._is_cut:
            lines = b"\n" + lines
        rest = lines
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            pass
        self._is_cut = bool(rest) and (self._is_cut or len(rest) < len(lines))

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # somebody who has the standard output as well does not want to wait for it
            if not self._poll.poll(PATIENCE * 1000):
                raise
            return 0


def pieces(lines: bytes) -> list[bytes]:
    """Whole lines in pieces that a pipe takes at once; a line that is longer than that itself is cut short."""
    if len(lines) <= PIECE:
        return [lines]
    found = [b""]
    for whole in lines.splitlines(keepends=True):
        line = whole if len(whole) <= PIECE else _cut_short(whole)
        if found[-1] and len(found[-1]) + len(line) > PIECE:
            found.append(b"")
        found[-1] += line
    return found


def _cut_short(line: bytes) -> bytes:
    """Begin and end of a line, and three dots between, as much as a pipe takes at once; of JSON its values are cut.

    In two pieces, another process's lines might come between them, and what a client wrote might begin a line.
    """
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        kept = (PIECE - len(DOTS)) // 2
        end = len(line) - kept
        half = _HALF_ESCAPE.search(line, end - 3, end)
        end += 4 - len(half[0]) if half else 0
        return _HALF_ESCAPE.sub(b"", line[:kept]) + DOTS + line[end:]
    most = PIECE
    while len(line) > PIECE and most > 1:
        most //= 2
        cut = {
            name: f"{value[:most]}..." if isinstance(value, str) and len(value) > most else value
            for name, value in values.items()
        }
        line = json.dumps(cut).encode() + b"\n"
    return line if len(line) <= PIECE else b"{}\n"


class Excluded:
    """The paths whose requests the log leaves out; a `*` at the end stands for anything below."""

    def __init__(self, paths: Iterable[str]) -> None:
        texts = tuple(paths)
        self._paths = frozenset(text for text in texts if not text.endswith("*"))
        self._beginnings = tuple(text.removesuffix("*") for text in texts if text.endswith("*"))

    def __contains__(self, path: str) -> bool:
        return path in self._paths or path.startswith(self._beginnings)

    def __bool__(self) -> bool:
        return bool(self._paths or self._beginnings)


class DirectLog:
    """An `AccessLog` that makes its lines itself and writes them past Python's logging.

    While more requests are worked off at once, their lines are written together, whole and in the order of the
    answers: a system call per line costs more than the line.
    """

    def __init__(
        self,
        file: AccessFile,
        form: Format,
        excluded: Excluded | None = None,
        *,
        waiting: Sized = (),
        strict: bool = False,
    ) -> None:
        """Lines wait while there is something `waiting`; `strict`: heads may have changed since they were parsed."""
        self.tells_durations = form.tells_durations
        self.tells_id = form.tells_id
        self._file = file
        self._line = compile_line(form, strict=strict)
        self._excluded = excluded or None
        self._lines: deque[str] = deque(maxlen=MOST_WAITING)
        self._writing = threading.Lock()
        self._waiting = waiting

    def answered(self, times: Timed, environ: Mapping[str, Any], head: Asked, answer: Answered) -> None:
        """Write the line of an answer of the application."""
        if self._excluded is not None and head.path in self._excluded:
            return
        lines = self._lines
        lines.append(self._line(times, environ, head, answer, ""))
        if not self._waiting or len(lines) >= MOST_LINES:
            self.flush()

    def refused(self, times: Timed, environ: Mapping[str, Any], head: Asked, refusal: Refusal) -> None:
        """Write the line of an answer of the server, with its reason."""
        self._lines.append(self._line(times, environ, head, refusal, refusal.reason))
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait, unless another thread is at it, which then does not stop before they are written.

        Any thread, and a handler of a signal.
        """
        lines, writing = self._lines, self._writing
        while lines and writing.acquire(blocking=False):
            try:
                text = "".join([lines.popleft() for _ in range(len(lines))])
                self._file.write(text.encode("utf-8", "backslashreplace"))
            finally:
                writing.release()


def reopen_logs(log: Any, access: AccessFile | None) -> None:
    """Open the log files anew, after they were renamed; say which cannot be opened. Master and workers."""
    for reopen in (log.reopen_files, access.reopen if access is not None else None):
        try:
            if reopen is not None:
                reopen()
        except (OSError, ValueError) as error:
            log.error("Cannot open a log file anew: %s; the old one is written to", error)  # noqa: TRY400 - said
