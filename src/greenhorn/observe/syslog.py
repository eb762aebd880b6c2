"""Records to a syslog daemon (RFC 3164), which may be away: nobody waits for it, and what it cannot take is lost."""

import errno
import logging
import logging.handlers
import os
import select
import socket
import time
from typing import NamedTuple

from greenhorn.errors import ConfigError

PATIENCE = 0.2
"""Seconds that the first record of a process may wait for the connection."""
RETRY = 1.0
"""Seconds after which a daemon that could not be reached is tried again."""
BACKLOG = 65536
"""Bytes that wait for a stream to take them; what does not fit is lost."""
SHORT = 2048
"""Bytes of a record that is too large for the daemon's datagrams."""
PORT = logging.handlers.SYSLOG_UDP_PORT
FACILITIES = logging.handlers.SysLogHandler.facility_names
LEVELS = logging.handlers.SysLogHandler.priority_names
SEVERITIES = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
KINDS = {"": (socket.SOCK_DGRAM, socket.SOCK_STREAM), "dgram": (socket.SOCK_DGRAM,), "stream": (socket.SOCK_STREAM,)}


class Address(NamedTuple):
    """Where a daemon listens: a family, the kinds of sockets to try, and the address as a socket takes it."""

    family: socket.AddressFamily
    kinds: tuple[socket.SocketKind, ...]
    address: str | tuple[str, int]


def parse_syslog_address(text: str) -> Address:
    """Read udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH with #dgram or #stream behind it.

    A name is looked up now, so that nobody waits for that later. Raises `ConfigError`.
    """
    scheme, _, rest = text.partition(":")
    rest = rest.removeprefix("//")
    if scheme == "unix":
        path, _, mark = rest.partition("#")
        if path and mark in KINDS:
            return Address(socket.AF_UNIX, KINDS[mark], path)
    elif scheme in ("udp", "tcp"):
        host, _, port = rest.rpartition(":") if not rest.endswith("]") and ":" in rest else (rest, "", str(PORT))
        kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
        try:
            family, *_, address = socket.getaddrinfo(host.strip("[]"), int(port), type=kind)[0]
        except (OSError, ValueError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"syslog_addr: {text!r}: {why}; name a host that is known, or an address such as udp://127.0.0.1:514"
            ) from error
        return Address(family, (kind,), address)  # type: ignore[arg-type]
    raise ConfigError(
        f"syslog_addr: {text!r} is no address; write udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, "
        "behind which #dgram or #stream may stand"
    )


class SyslogHandler(logging.Handler):
    """Sends records to a daemon. Any thread and any process that inherits it: each has a connection of its own."""

    def __init__(self, address: Address, facility: str) -> None:
        super().__init__()
        self._address = address
        self._facility = FACILITIES[facility]
        self._socket: socket.socket | None = None
        self._is_stream = False
        self._pid = 0
        self._retry_at = 0.0
        self._unsent = b""
        """What a stream has not taken yet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or lose it."""
        try:
            severity = LEVELS[SEVERITIES.get(record.levelname, "warning")]
            message = f"<{self._facility << 3 | severity}>{self.format(record)}"
            self._send(message.encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)

    def _send(self, message: bytes) -> None:
        for _ in range(2):  # a daemon that was started anew is found at once
            if not self._is_connected():
                return
            try:
                if self._is_stream:
                    self._send_in_stream(message)
                else:
                    self._send_datagram(message)
            except BlockingIOError:
                return
            except OSError:
                self._forget()
                self._retry_at = 0.0
            else:
                return
        self._retry_at = time.monotonic() + RETRY

    def _is_connected(self) -> bool:
        if self._pid != os.getpid():
            self._forget()  # the parent's: bytes of two processes would mix
            self._pid = os.getpid()
            self._connect(PATIENCE)
        elif self._socket is None and time.monotonic() >= self._retry_at:
            self._connect(0.0)
        return self._socket is not None

    def _connect(self, patience: float) -> None:
        self._retry_at = time.monotonic() + RETRY
        for kind in self._address.kinds:
            sock = socket.socket(self._address.family, kind)
            sock.setblocking(False)
            try:
                sock.connect(self._address.address)
            except OSError as error:
                if error.errno != errno.EINPROGRESS:
                    sock.close()
                    continue
                select.select([], [sock], [], patience)
            self._socket, self._is_stream, self._unsent = sock, kind == socket.SOCK_STREAM, b""
            return

    def _send_datagram(self, message: bytes) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            sock.send(message)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            sock.send(message[:SHORT])

    def _send_in_stream(self, message: bytes) -> None:
        """Send what waited before, and then this: with its line ends replaced, since one ends it (RFC 6587 3.4.2).

        Daemons that listen at a path expect a NUL there, as syslog(3) sends it.
        """
        sock = self._socket
        if sock is None:
            return
        end = b"\0" if self._address.family == socket.AF_UNIX else b"\n"
        framed = message.replace(b"\n", b"#012").replace(b"\0", b"#000") + end
        if len(self._unsent) + len(framed) <= BACKLOG:
            self._unsent += framed
        try:
            self._unsent = self._unsent[sock.send(self._unsent) :]
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EAGAIN):  # the first while a connection is under way
                raise

    def _forget(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def close(self) -> None:
        """Close the connection; the next record opens another."""
        self.acquire()
        try:
            self._forget()
            self._retry_at = 0.0
        finally:
            self.release()
        super().close()
