"""What a server process is to its system: user and groups, title, owner of files, daemon, threads."""

import contextlib
import errno
import importlib
import json
import os
import pwd
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

from greenhorn.errors import ConfigError

DAEMON_UMASK = 0o022
LAST_STANDARD_FD = 2
SILENT_END = (
    "greenhorn: the daemon ended before it could serve; start without --daemon to see why, or see its error log"
)


class Identity(NamedTuple):
    """Whom the workers run as; None leaves user or group as it is.

    `initgroups`: with all groups of the user, instead of the one group only.
    """

    uid: int | None
    gid: int | None
    initgroups: bool


def check_identity(identity: Identity) -> None:
    """Raise `ConfigError` if this process may not become that; found out by a child that tries. Master, before forking.

    Trying is the only test that knows of capabilities, containers and their mapped user ids.
    """
    if identity.initgroups and _user_name(identity.uid) is None:
        raise ConfigError(
            f"initgroups: user id {identity.uid} has no name on this system, so its groups are unknown; "
            "name a user of `getent passwd`, or leave initgroups out"
        )
    if _is_already(identity):
        return
    child = os.fork()
    if not child:
        code = errno.EPERM
        try:
            become(identity)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    refusal = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if refusal:
        raise ConfigError(_refusal(identity, refusal))


def _refusal(identity: Identity, number: int) -> str:
    asked = {"user": identity.uid, "group": identity.gid}
    wanted = {name: value for name, value in asked.items() if value is not None} or {"initgroups": os.geteuid()}
    settings = " and ".join(name.split()[0] for name in wanted)
    ids = " and ".join(f"{name} {value}" for name, value in wanted.items())
    start = f"{settings}: this process (user {os.geteuid()}, group {os.getegid()}) cannot become {ids}"
    if number == errno.EINVAL:
        return f"{start}: there is no such id in this container; give one that its user namespace maps"
    if os.geteuid():
        return f"{start}: only root can; start as root, or as that user without {settings}"
    reason = os.strerror(number) if number > 0 else f"the attempt was ended by signal {-number}"
    return f"{start}: {reason}; give it the capabilities SETUID and SETGID, or start as that user without {settings}"


def become(identity: Identity) -> None:
    """Take on groups, group and user for good; nothing happens if this process is that already. In the worker.

    Raises `OSError` if the system refuses, or if there would be a way back.
    """
    if _is_already(identity):
        return
    uid, gid = _target(identity)
    before = os.geteuid(), os.getegid()
    if identity.initgroups:
        name = _user_name(uid)
        if name is None:
            raise OSError(errno.ENOENT, f"user id {uid} has no name, so its groups are unknown")
        os.initgroups(name, gid)
    else:
        os.setgroups([gid])
    if _ids("gid") != {gid}:
        os.setgid(gid)
    if _ids("uid") != {uid}:
        os.setuid(uid)
    _verify(uid, gid, before)


def _verify(uid: int, gid: int, before: tuple[int, int]) -> None:
    """Raise `PermissionError` unless this process is `uid` and `gid` and stays that; root can always become another."""
    if _ids("uid") == {uid} and _ids("gid") == {gid}:
        if not uid:
            return
        for regain, old in [(os.setuid, old) for old in {0, before[0]} - {uid}] + [
            (os.setgid, old) for old in {0, before[1]} - {gid}
        ]:
            with contextlib.suppress(OSError):
                regain(old)
                break
        else:
            return
    raise PermissionError(errno.EPERM, f"user {uid} and group {gid} would not be for good")


def _target(identity: Identity) -> tuple[int, int]:
    uid = os.geteuid() if identity.uid is None else identity.uid
    return uid, os.getegid() if identity.gid is None else identity.gid


def _is_already(identity: Identity) -> bool:
    uid, gid = _target(identity)
    if (identity.uid is not None and _ids("uid") != {uid}) or (identity.gid is not None and _ids("gid") != {gid}):
        return False
    if not identity.initgroups:
        return True
    name = _user_name(uid)
    return name is not None and {gid, *os.getgroups()} == set(os.getgrouplist(name, gid))


def _ids(kind: str) -> set[int]:
    """Return the real, effective and (where the system tells) saved ids; `kind` is uid or gid."""
    tell = getattr(os, f"getres{kind}", None)
    return set(tell()) if tell else {getattr(os, f"get{kind}")(), getattr(os, f"gete{kind}")()}


def _user_name(uid: int | None) -> str | None:
    try:
        return pwd.getpwuid(os.geteuid() if uid is None else uid).pw_name
    except KeyError:
        return None


def set_title(role: str, name: str) -> None:
    """Show "greenhorn: ROLE [NAME]" in process lists, if setproctitle is installed. Any process, after its fork."""
    if sys.platform == "darwin":
        return  # it asks frameworks that no forked process may touch
    with contextlib.suppress(ImportError):
        importlib.import_module("setproctitle").setproctitle(f"greenhorn: {role} [{name}]")


def own(paths: Iterable[str], identity: Identity) -> None:
    """Give unix sockets and log files to the user and group of the workers, who then may reopen them. Master.

    Raises `ConfigError` if that is refused. What is no socket or regular file is passed over, a symbolic link as
    well: whoever may replace one could have any file given to him.
    """
    uid, gid = -1 if identity.uid is None else identity.uid, -1 if identity.gid is None else identity.gid
    for path in paths:
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
            continue
        if uid in (-1, found.st_uid) and gid in (-1, found.st_gid):
            continue
        try:
            os.chown(path, uid, gid, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(
                f"user, group: {path} cannot be given to user {found.st_uid if uid < 0 else uid}, "
                f"group {found.st_gid if gid < 0 else gid}: {error.strerror}; change its owner, or start as root"
            ) from error


class Launch:
    """The daemon's word to the process that started it and waits; `Launch()` is for a server that is no daemon.

    The first of `succeeded`, `failed` and `forget` counts, the others then do nothing. Main thread.
    """

    def __init__(self, pipe: int = -1) -> None:
        self._pipe = pipe

    def succeeded(self) -> None:
        """Let the launching process exit with 0: the daemon serves."""
        self._tell(0, "")

    def failed(self, text: str, code: int) -> None:
        """Let the launching process print `text` on its stderr and exit with `code` (1 to 255)."""
        self._tell(code or 1, text)

    def forget(self) -> None:
        """Close this process's end without a word; for a forked child, whose life says nothing of the daemon's."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _tell(self, code: int, text: str) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "wb", buffering=0) as report:
                _write_all(report.fileno(), json.dumps([code, text]).encode() + b"\n")


def daemonize(*, keep_output: bool = False) -> Launch:
    """Go on in a process without a terminal, whose parent is init; only that one comes back from this call.

    It has a session of its own, umask 022 and /dev/null as stdin, stdout and stderr; with `keep_output`, stdout and
    stderr stay unless they are a terminal. The process that called waits for what the daemon tells by the `Launch`
    and exits. Main thread, before any other starts. Raises `ConfigError` if the system refuses to fork.
    """
    null = _null()  # first of all, so that no other descriptor takes the place of a closed standard one
    reader, writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.flush()
    try:
        middle = os.fork()
    except OSError as error:
        raise ConfigError(f"daemon: {_no_fork(error)}") from error
    if middle:
        os.close(writer)
        _await_daemon(middle, reader)
    os.close(reader)
    launch = Launch(writer)
    os.setsid()
    try:
        if os.fork():  # the daemon leads no session, so that no terminal it opens becomes its own
            os._exit(0)
    except OSError as error:
        launch.failed(f"greenhorn: daemon: {_no_fork(error)}", 1)
        os._exit(1)
    os.umask(DAEMON_UMASK)
    for fd in range(LAST_STANDARD_FD + 1):
        if not (keep_output and fd and not os.isatty(fd)):
            os.dup2(null, fd)
    os.close(null)
    return launch


def _no_fork(error: OSError) -> str:
    return f"this process cannot fork: {error.strerror}; raise its limit of processes, or run it in the foreground"


def _null() -> int:
    """Open /dev/null, and see that the three standard descriptors are open."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD_FD:
        os.set_inheritable(fd, True)
    return fd


def _await_daemon(middle: int, reader: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an impatient Ctrl-C ends this process, without a traceback
    with contextlib.suppress(ChildProcessError):
        os.waitpid(middle, 0)
    with os.fdopen(reader, "rb") as pipe:
        report = pipe.readline()
    try:
        code, text = json.loads(report)
    except ValueError:
        code, text = 1, SILENT_END
    if text:
        with contextlib.suppress(OSError):
            _write_all(LAST_STANDARD_FD, text.rstrip("\n").encode(errors="replace") + b"\n")
    os._exit(code)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def other_threads() -> list[str]:
    """Return the names of the threads beside this one, which a fork would lose; on Linux those of C libraries too."""
    current = threading.current_thread()
    others = [thread for thread in threading.enumerate() if thread is not current]
    known = {threading.get_native_id(), *(thread.native_id for thread in others)}
    names = [thread.name for thread in others]
    if socket.socket.__module__ != "socket":
        return names  # where a library replaces what blocks, the others are its own, which it makes anew
    with contextlib.suppress(OSError):
        for task in sorted(Path("/proc/self/task").iterdir()):
            if int(task.name) not in known:
                with contextlib.suppress(OSError):  # it ended meanwhile
                    names.append((task / "comm").read_text(errors="replace").strip())
    return names
