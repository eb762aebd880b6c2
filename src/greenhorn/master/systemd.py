"""What systemd and the master tell each other: sockets that come open, states, the watchdog's beat."""

import errno
import math
import os
import re
import socket
import stat
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from greenhorn.errors import ConfigError

FIRST_FD = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
LONGEST_STATUS = 900
"""Characters of a status: systemd reads 4096 bytes of a datagram."""
MICROSECONDS = 1_000_000
UNSENT = 16
"""Datagrams that are kept for later; the oldest goes first."""
PASSING = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""A full queue or a want of descriptors: the next call tries again."""


class Activated(NamedTuple):
    """A socket that systemd opened: its descriptor, and its name (FileDescriptorName=)."""

    fd: int
    name: str


def activated_sockets(environ: Mapping[str, str], pid: int) -> list[Activated]:
    """Return the sockets that systemd passed to process `pid`, in their order; none if they are for another one.

    See sd_listen_fds(3). From now on no program inherits them. Raises `ConfigError` for a malformed LISTEN_PID,
    LISTEN_FDS or LISTEN_FDNAMES, and for a descriptor that is no open socket.
    """
    if "LISTEN_PID" not in environ or "LISTEN_FDS" not in environ or _number(environ, "LISTEN_PID") != pid:
        return []
    count = _number(environ, "LISTEN_FDS")
    given = environ.get("LISTEN_FDNAMES")
    names = given.split(":") if given is not None else []
    if names and count and len(names) != count:
        raise ConfigError(
            f"LISTEN_FDNAMES={given!r} has {len(names)} names for LISTEN_FDS={count} sockets; "
            "give one name each, separated by colons, or leave it out"
        )
    sockets = []
    for index in range(count):
        fd = FIRST_FD + index
        _check_socket(fd, count)
        os.set_inheritable(fd, False)
        sockets.append(Activated(fd, names[index] if names and names[index] else "unknown"))
    return sockets


def _check_socket(fd: int, count: int) -> None:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        raise ConfigError(f"LISTEN_FDS={count}: descriptor {fd} is not open; start by a systemd socket unit") from None
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"LISTEN_FDS={count}: descriptor {fd} is no socket; a socket unit needs ListenStream=")


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name].strip()
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise ConfigError(f"{name}={environ[name]!r} in the environment is no number; unset it, systemd sets its own")
    return int(text)


class Notifier:
    """Tells systemd the state of the service; without NOTIFY_SOCKET every call does nothing. Master's thread.

    See sd_notify(3) and sd_watchdog_enabled(3). Each call sends one datagram, never waits and never raises: what the
    socket does not take at once goes ahead of the next call's. `pid` is the process that the watchdog has to be for;
    the constructor raises `ConfigError` for a malformed WATCHDOG_USEC or WATCHDOG_PID.
    """

    active: bool
    watchdog: float
    """Seconds between two beats that are safe, half of WATCHDOG_USEC; infinite if it is off or another's."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        target = environ.get("NOTIFY_SOCKET", "")
        self.active = target.startswith(("/", "@")) and len(target) > 1
        self.watchdog = _watchdog(environ, pid) if self.active else math.inf
        self._address = os.fsencode(target if target.startswith("/") else f"\0{target[1:]}")
        self._unsent: deque[bytes] = deque(maxlen=UNSENT)
        self._status = ""
        self._next_beat = -math.inf

    def ready(self, status: str, *, main_pid: int | None = None) -> None:
        """Tell that the service serves, after its start or a reload; `main_pid` if systemd must learn it."""
        self._status = status
        self._send("READY=1", f"STATUS={_one_line(status)}", *([f"MAINPID={main_pid}"] if main_pid else []))

    def reloading(self) -> None:
        """Tell that a reload has begun, with the time that Type=notify-reload asks for; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, patience: float) -> None:
        """Tell that the service stops and may need `patience` seconds for it, however short TimeoutStopSec= is."""
        longer = [f"EXTEND_TIMEOUT_USEC={math.ceil(patience * MICROSECONDS)}"] if 0 < patience < math.inf else []
        self._send("STOPPING=1", *longer)

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`, if it differs from the one before."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={_one_line(text)}")

    def hand_over(self, pid: int) -> None:
        """Tell that another process is the main one from now on. Unless NotifyAccess=all, only the old one may."""
        self._send(f"MAINPID={pid}")

    def beat(self, now: float) -> None:
        """Tell the watchdog that the master lives, when that is due at `now` (monotonic); call it as often as you like.

        Due is half of `watchdog`: a caller that comes by every `watchdog` seconds is never late.
        """
        if now >= self._next_beat and self.watchdog < math.inf:
            self._next_beat = now + self.watchdog / 2
            self._send("WATCHDOG=1")
        elif self._unsent:
            self._flush()

    def _send(self, *assignments: str) -> None:
        if self.active:
            self._unsent.append("\n".join(assignments).encode(errors="replace"))
            self._flush()

    def _flush(self) -> None:
        # A socket per call: none has to be kept from the children.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                while self._unsent:
                    sock.sendto(self._unsent[0], self._address)
                    self._unsent.popleft()
        except OSError as error:
            if error.errno not in PASSING:
                self._unsent.clear()  # nobody is there


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    if not environ.get("WATCHDOG_USEC"):
        return math.inf
    period = _number(environ, "WATCHDOG_USEC") / MICROSECONDS
    if not period or (environ.get("WATCHDOG_PID") and _number(environ, "WATCHDOG_PID") != pid):
        return math.inf
    return period / 2


def _one_line(text: str) -> str:
    """Return `text` so that no part of it is taken for another assignment."""
    return " ".join(text[:LONGEST_STATUS].split())
