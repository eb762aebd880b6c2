"""Listening sockets: addresses as gunicorn writes them, binding, who holds a busy port, accepting."""

import contextlib
import errno
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from greenhorn.errors import ConfigError

DEFAULT_PORT = 8000
LISTEN_STATE = "0A"


class Address(NamedTuple):
    """Where to listen: a host and port, a path of a unix socket, or a descriptor that is open already."""

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        if self.fd >= 0:
            return f"fd://{self.fd}"
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `text` stands for: HOST, HOST:PORT, [IPv6]:PORT, tcp://..., unix:PATH or fd://N.

    A port that is not there is 8000, an empty text 0.0.0.0:8000, an empty host every IPv4 address. Raises
    `ConfigError`.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("//") else path
        if not path:
            raise ConfigError(f"bind: {text!r} names no path; write unix:/path/to/socket")
        return Address(path=path)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not (number.isascii() and number.isdigit()):
            raise ConfigError(f"bind: {text!r} has no descriptor's number; write fd://3")
        return Address(fd=int(number))
    rest = text.removeprefix("tcp://")
    if "://" in rest:
        raise ConfigError(f"bind: {text!r} has an unknown scheme; tcp://, unix: and fd:// are known")
    match = re.fullmatch(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<four>[^\[\]:]*))(?::(?P<port>[^:]*))?", rest)
    if match is None:
        raise ConfigError(f"bind: {text!r} is no address; write HOST:PORT, [IPv6]:PORT, unix:PATH or fd://N")
    port = _parse_port(match["port"], text)
    if match["six"] is not None:
        return Address(host=match["six"].lower(), port=port)
    return Address(host=match["four"].lower() or "0.0.0.0", port=port)


def _parse_port(port: str | None, text: str) -> int:
    if port is None:
        return DEFAULT_PORT
    if not (port.isascii() and port.isdigit()) or int(port) >= 2**16:
        raise ConfigError(f"bind: {port!r} in {text!r} is no port; a number from 0 to 65535 is")
    return int(port)


class Listener:
    """A bound, listening, non-blocking socket that the children of this process inherit."""

    def __init__(self, sock: socket.socket, *, path: str = "") -> None:
        sock.setblocking(False)
        self.socket = sock
        self.fd = sock.fileno()
        self._path = path
        self._identity = Path(path).stat().st_ino if path else 0
        self.name = self._name()

    def _name(self) -> tuple[str, str]:
        """Host and port as they go into SERVER_NAME and SERVER_PORT; the path and "" of a unix socket."""
        own = self.socket.getsockname()
        if isinstance(own, tuple):
            return str(own[0]), str(own[1])
        return os.fsdecode(own), ""

    def __str__(self) -> str:
        host, port = self.name
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{host}"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def accept(self) -> tuple[socket.socket, tuple[str, str] | None] | None:
        """The next connection, non-blocking, with its peer's address and port; None when nobody waits.

        Raises `OSError` when the process or the system is out of descriptors or memory. Poller's thread.
        """
        try:
            sock, address = self.socket.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return None
        sock.setblocking(False)
        if isinstance(address, tuple) and address:
            return sock, (address[0].removeprefix("::ffff:"), str(address[1]))
        return sock, None

    def close(self, *, unlink: bool = False) -> None:
        """Stop listening here; `unlink` removes the path of a unix socket, if it still is this socket's."""
        self.socket.close()
        if unlink and self._path:
            with contextlib.suppress(OSError):
                if Path(self._path).stat().st_ino == self._identity:
                    Path(self._path).unlink()


def listen_all(addresses: Sequence[Address], backlog: int) -> list[Listener]:
    """Listen at all of `addresses`, or at none. Raises `ConfigError` that says why, and who holds a busy port.

    `[::]` takes IPv4 clients as well, unless an IPv4 address with the same port is among the others.
    """
    listeners: list[Listener] = []
    ports_of_ipv4 = {address.port for address in addresses if address.host and ":" not in address.host}
    try:
        for address in addresses:
            listeners.append(listen(address, backlog, only_ipv6=address.port in ports_of_ipv4))  # noqa: PERF401 - closed below
    except ConfigError:
        for listener in listeners:
            listener.close(unlink=True)
        raise
    return listeners


def listen(address: Address, backlog: int, *, only_ipv6: bool = False) -> Listener:
    """Bind `address` and listen. Raises `ConfigError` that says why it cannot, and who holds a busy port."""
    if address.fd >= 0:
        return _adopt(address)
    try:
        return _listen_unix(address, backlog) if address.path else _listen_tcp(address, backlog, only_ipv6=only_ipv6)
    except UnicodeError:
        raise ConfigError(f"cannot listen at {address}: {address.host!r} is no host name") from None
    except OSError as error:
        raise ConfigError(f"cannot listen at {address}: {_reason(error, address)}") from error


def _adopt(address: Address) -> Listener:
    try:
        sock = socket.socket(fileno=address.fd)
    except OverflowError:
        raise ConfigError(f"cannot listen at {address}: there is no such descriptor") from None
    except OSError as error:
        raise ConfigError(f"cannot listen at {address}: {error.strerror}") from error
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()  # it is somebody else's
        raise ConfigError(f"cannot listen at {address}: the descriptor is no listening socket")
    return Listener(sock)


def _listen_tcp(address: Address, backlog: int, *, only_ipv6: bool) -> Listener:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, resolved = min(found, key=lambda info: info[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it: an answer must not wait for the acknowledgement of the piece before it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        sock.bind(resolved)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return Listener(sock)


def _listen_unix(address: Address, backlog: int) -> Listener:
    path = address.path
    if Path(path).exists():
        if not Path(path).is_socket():
            raise ConfigError(f"cannot listen at {address}: there is a file that is no socket")
        if _answers(path):
            raise ConfigError(f"cannot listen at {address}: another process listens there")
        Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0)  # a proxy that runs as another user is to connect, as with gunicorn's default umask
    try:
        sock.bind(path)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return Listener(sock, path=path)


def _answers(path: str) -> bool:
    """Whether somebody accepts connections at this path: a socket that was left behind does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) in (0, errno.EAGAIN, errno.EINPROGRESS)


def _reason(error: OSError, address: Address) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {address.host!r} has no address here ({error.strerror})"
    if error.errno == errno.EADDRINUSE and address.port:
        return f"the port is in use by {port_holder(address.port) or 'another process'}"
    if error.errno == errno.EACCES and 0 < address.port < 1024:  # noqa: PLR2004 - the privileged ports
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address"
    return error.strerror or str(error)


def port_holder(port: int) -> str | None:
    """Process id and command of who listens on a TCP port, where /proc tells; else None."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == LISTEN_STATE and int(words[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{words[9]}]")
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:80]})"
    return None
