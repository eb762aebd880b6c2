"""The pidfile: which process is the master, and a lock that says whether it still lives."""

import contextlib
import errno
import fcntl
import os
import pwd
import re
import stat
import time
from pathlib import Path

from greenhorn.errors import ConfigError

MODE = 0o644
OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""No link is followed: whoever may put one there could have any file of the system overwritten."""
LOCKLESS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What flock says on file systems that know no locks, such as some mounts of NFS."""
ATTEMPTS = 100
"""How often the file may vanish between opening and locking it, which more than once or twice is a fault elsewhere."""
LARGEST = 64
"""Bytes that are read: no pid is longer, and a file that is was not written by a server."""
SERVER = re.compile(r"(gunicorn|greenhorn)[0-9.]*")
"""Names of the programs that run from a pidfile, as distributions install them."""


class Pidfile:
    """A file with this process's pid and an exclusive lock on it. Main thread of the master only.

    The lock counts: the kernel drops it with the process, so a file that a killed master left behind, and whose number
    belongs to somebody else by now, is stale. `path` becomes absolute at once: the folder may be changed later.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - takes what Path.absolute leaves: "..", which chdir would move
        self._fd = -1
        self._owner = 0

    def acquire(self) -> str | None:
        """Lock the file and write this process's pid; return a sentence if it replaced a stale one, else None.

        Raises `ConfigError` if another process holds it or if it cannot be written. Where the file system has no
        locks, a pid that is alive counts as a holder.
        """
        for _ in range(ATTEMPTS):
            fd = self._open()
            try:
                locked = self._lock(fd)
                if not _is_at(fd, self.path):  # its owner removed it, or another one put a new one there
                    os.close(fd)
                    continue
                stale = self._examine(fd, locked=locked)
                self._write(fd)
            except BaseException:
                os.close(fd)
                raise
            self._fd, self._owner = fd, os.getpid()
            return stale
        raise ConfigError(f"pidfile: {self.path} is removed as fast as it is made; give each server a --pid of its own")

    def rename(self, path: str) -> None:
        """Move the file to `path` and keep the lock: so a new master takes the place of the one that left.

        Raises `ConfigError`, and changes nothing, if another process holds the file at `path` or it cannot be moved.
        """
        target = Pidfile(path)
        if target.path == self.path:
            return
        if not _is_at(self._fd, self.path):  # somebody removed it: there is nothing to move
            target.acquire()
            self.forget()
            self.path, self._fd, self._owner = target.path, target._fd, target._owner
            return
        occupied = target._open_existing()
        try:
            if occupied >= 0:  # its lock keeps others off until the file is in place
                target._examine(occupied, locked=target._lock(occupied))
            Path(self.path).replace(target.path)
        except OSError as error:
            raise ConfigError(f"pidfile: {self.path} cannot become {target.path}: {error.strerror}") from error
        finally:
            if occupied >= 0:
                os.close(occupied)
        self.path = target.path

    def rewrite(self) -> None:
        """Write the file again if it is gone, changed or replaced. Raises `ConfigError` as `acquire` does."""
        if _is_at(self._fd, self.path):
            if _content(self._fd) != _line():
                self._write(self._fd)
            return
        lost = self._fd
        self.acquire()
        if lost >= 0:
            os.close(lost)

    def forget(self) -> None:
        """Close the descriptor and leave file and lock to the master; for a forked child."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Remove the file if it is still the one that this process locked, and give up the lock."""
        if self._owner == os.getpid() and _is_at(self._fd, self.path):
            with contextlib.suppress(OSError):  # the end of a process is not held up by a file
                Path(self.path).unlink()
        self.forget()

    def _open(self) -> int:
        try:
            return os.open(self.path, OPEN | os.O_CREAT, MODE)
        except ValueError as error:
            raise ConfigError(f"pidfile: {self.path!r} is no path: {error}") from None
        except OSError as error:
            raise ConfigError(self._complaint(error)) from error

    def _open_existing(self) -> int:
        try:
            return os.open(self.path, OPEN)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise ConfigError(self._complaint(error)) from error

    def _complaint(self, error: OSError) -> str:
        """Say why the file cannot be opened, and what to do instead."""
        path, folder = self.path, Path(self.path).parent
        if Path(path).is_symlink():
            return (
                f"pidfile: {path} is a symbolic link, which is not followed; name the file itself, or remove the link"
            )
        if isinstance(error, IsADirectoryError):
            return f"pidfile: {path} is a folder; name a file in it, such as {path}/greenhorn.pid"
        if isinstance(error, FileNotFoundError):
            return f"pidfile: {path} cannot be made: the folder {folder} does not exist; create it, or name another"
        if isinstance(error, PermissionError):
            who = _user(os.geteuid())
            with contextlib.suppress(OSError):
                owner = _user(Path(path).stat().st_uid)
                return f"pidfile: {path} belongs to {owner}, {who} may not write it; remove it, or name another"
            return f"pidfile: {who} may not write in {folder}; allow it, or name a folder where it may"
        return f"pidfile: {path} cannot be opened: {error.strerror}; name another file"

    def _lock(self, fd: int) -> bool:
        """Take the lock; False where the file system knows none. Raises `ConfigError` if another process has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(self._taken(_pid_in(_content(fd)))) from None
        except OSError as error:
            if error.errno in LOCKLESS:
                return False
            raise ConfigError(f"pidfile: {self.path} cannot be locked: {error.strerror}; name another file") from error
        return True

    def _examine(self, fd: int, *, locked: bool) -> str | None:
        """Say what stale pid the file holds, if any; `ConfigError` if it is no pidfile or its process is a server."""
        content = _content(fd)
        pid = _pid_in(content)
        if not stat.S_ISREG(os.fstat(fd).st_mode) or (pid is None and content.strip(b"\0\r\n\t ")):
            raise ConfigError(f"pidfile: {self.path} is something else than a pidfile; remove it, or name another")
        if pid is None:
            return None
        if pid in (os.getpid(), os.getppid()):
            return f"replaced the stale pidfile {self.path}: process {pid} of now is not the one that wrote it"
        if not _is_alive(pid):
            return f"replaced the stale pidfile {self.path}: process {pid} is gone"
        # gunicorn takes no lock: only its command line tells that it runs from this file.
        if not locked or (is_server(_arguments(pid)) and not _is_younger(pid, os.fstat(fd).st_mtime)):
            raise ConfigError(self._taken(pid))
        return f"replaced the stale pidfile {self.path}: process {pid} is another program{_named(pid)}"

    def _taken(self, pid: int | None) -> str:
        if pid is None:
            holder = "another process that is just starting; give each server a file of its own"
        elif pid == os.getpid() or not _is_alive(pid):
            holder = (
                f"a process that cannot be seen from here, in another container or left behind by process {pid}; "
                "end it, or name another file with --pid"
            )
        else:
            holder = f"process {pid}{_named(pid)}; stop it first (kill {pid}), or name another file with --pid"
        return f"pidfile: {self.path} is held by {holder}"

    def _write(self, fd: int) -> None:
        try:
            with contextlib.suppress(PermissionError):  # somebody else's file, which this process may write
                os.fchmod(fd, MODE)
            os.ftruncate(fd, 0)
            os.pwrite(fd, _line(), 0)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()
            raise ConfigError(f"pidfile: {self.path} cannot be written: {error.strerror}") from error


def _line() -> bytes:
    return b"%d\n" % os.getpid()


def _is_at(fd: int, path: str) -> bool:
    """Whether the open file is the one that has this path now; no file is at no path."""
    if fd < 0:
        return False
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _content(fd: int) -> bytes:
    try:
        return os.pread(fd, LARGEST, 0)
    except OSError:  # a pipe or a terminal
        return b""


def _pid_in(content: bytes) -> int | None:
    """Return the pid that a pidfile holds; None if it holds none."""
    match = re.fullmatch(rb"\s*(\d{1,10})\s*", content.rstrip(b"\0"))
    return int(match[1]) if match else None


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False  # to kill(2), such a number is a group
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _arguments(pid: int) -> list[str]:
    """Return the command line of a process; nothing where /proc does not tell."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
    return []


def _named(pid: int) -> str:
    """Return the command of a process in parentheses, short and printable; "" where /proc does not tell."""
    command = " ".join(_arguments(pid))[:80]
    return f" ({''.join(letter if letter.isprintable() else '?' for letter in command)})" if command else ""


def is_server(arguments: list[str]) -> bool:
    """Whether a command line is that of gunicorn or greenhorn: by title, by program or by what its Python runs.

    An editor with gunicorn.conf.py open is none, nor is a shell that started one.
    """
    program, *words = arguments or [""]
    if SERVER.fullmatch(program.partition(":")[0]) or SERVER.fullmatch(Path(program).name):
        return True
    if not Path(program).name.startswith(("python", "pypy")):
        return False
    rest = iter(words)
    for word in rest:
        if word == "-m":
            return SERVER.fullmatch(next(rest, "")) is not None
        if word in {"-X", "-W"}:
            next(rest, None)
        elif word == "-c":
            return False
        elif not word.startswith("-"):
            script = Path(word)
            return SERVER.fullmatch(script.parent.name if script.name == "__main__.py" else script.name) is not None
    return False


def _is_younger(pid: int, written: float) -> bool:
    """Whether a process began after the file was `written` (seconds since the epoch), so that it cannot be its writer.

    False where the system does not tell.
    """
    try:
        began = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return False
    return time.time() - age > written + 1


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
