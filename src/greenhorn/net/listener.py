"""Listening sockets: addresses as gunicorn writes them, binding, who holds a busy port, accepting."""

import contextlib
import errno
import os
import re
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from greenhorn.errors import ConfigError
from greenhorn.net.kernel import poll_one, turn_newcomers_away

DEFAULT_PORT = 8000
LISTEN_STATE = "0A"
LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a unix socket's path, beside the zero at its end."""


class Address(NamedTuple):
    """Where to listen: a host and port, a path of a unix socket, or a descriptor that is open already.

    A descriptor has a number, or the name that a service manager gave it.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    name: str = ""

    def __str__(self) -> str:
        if self.fd >= 0 or self.name:
            return f"fd://{self.name or self.fd}"
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
        if number.isascii() and number.isdigit():
            return Address(fd=int(number))
        if not re.fullmatch(r"[\w.-]{1,255}", number, re.ASCII):
            raise ConfigError(f"bind: {text!r} has neither a descriptor's number nor a name; write fd://3 or fd://web")
        return Address(name=number)
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


class Manner(NamedTuple):
    """How sockets are bound."""

    backlog: int = 2048
    umask: int = 0
    """What is taken away from the permissions of a unix socket."""
    uid: int = -1
    """Owner and group of unix sockets; -1 leaves them."""
    gid: int = -1
    reuse_port: bool = False
    """Whether each worker gets a TCP socket of its own, with a queue of its own."""


class Listener:
    """A bound, listening, non-blocking socket that the children of this process inherit.

    `reserved` ones are bound only: each worker listens at the same address by itself (`own`). A socket that was
    `lent`, as by a service manager, is not unlinked.
    """

    def __init__(
        self, sock: socket.socket, address: Address, *, path: str = "", reserved: bool = False, lent: bool = False
    ) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.address = address
        self.fd = sock.fileno()
        self.reserved = reserved
        self.lent = lent
        self._path = path
        self._identity = Path(path).stat().st_ino if path else 0
        self.name = self._name()

    # What hooks written for gunicorn ask of a listening socket.

    @property
    def sock(self) -> socket.socket:
        """The socket itself."""
        return self.socket

    @property
    def cfg_addr(self) -> tuple[str, int] | str:
        """The address as it was asked for."""
        return self.address.path or (self.address.host, self.address.port)

    def getsockname(self) -> object:
        """The address as the kernel has it."""
        return self.socket.getsockname()

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    def own(self, backlog: int) -> "Listener":
        """This listener, or in place of a reserved one another at its address; raises `OSError`. In a worker."""
        if not self.reserved:
            return self
        own = socket.socket(self.socket.family, self.socket.type, self.socket.proto)
        _prepare(own, only_ipv6=_only_ipv6(self.socket), reuse_port=True)
        own.bind(self.socket.getsockname())
        own.listen(backlog)
        self.close()
        return Listener(own, self.address)

    def _name(self) -> tuple[str, str]:
        """Host and port as they go into SERVER_NAME and SERVER_PORT; the path and "" of a unix socket."""
        own = self.socket.getsockname()
        if isinstance(own, tuple):
            return str(own[0]), str(own[1])
        return os.fsdecode(own), ""

    def url(self, scheme: str) -> str:
        """Where clients that speak `scheme` find it; for a unix socket the path alone says that."""
        host, port = self.name
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{host}"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def __str__(self) -> str:
        return self.url("http")

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

    def has_arrivals(self) -> bool:
        """Whether anybody waits to be accepted."""
        return poll_one(self.fd, select.POLLIN) != 0

    def is_reachable(self) -> bool:
        """Whether the path of a unix socket still leads here; somebody may have removed or replaced it."""
        try:
            return not self._path or Path(self._path).stat().st_ino == self._identity
        except OSError:
            return False

    def seal(self) -> bool:
        """Let nobody connect here any more, while who waits can be accepted; whether some may still be on their way."""
        if self.lent or self.reserved:
            return False
        self.unlink()
        return turn_newcomers_away(self.socket)

    def close(self, *, unlink: bool = False) -> None:
        """Stop listening here; `unlink` removes the path of a unix socket, if it still is this socket's."""
        self.socket.close()
        if unlink:
            self.unlink()

    def unlink(self) -> None:
        """Remove the path of a unix socket, if it still is this socket's."""
        if self._path and self.is_reachable():
            Path(self._path).unlink(missing_ok=True)


def listen_all(addresses: Sequence[Address], manner: Manner, existing: Sequence[Listener] = ()) -> list[Listener]:
    """Listen at all of `addresses`, or at none. Raises `ConfigError` that says why, and who holds a busy port.

    Those of `existing` are taken as they are. `[::]` takes IPv4 clients as well, unless an IPv4 address with the same
    port is among the others.
    """
    listeners: list[Listener] = []
    unused = list(existing)
    ports_of_ipv4 = {address.port for address in addresses if address.host and ":" not in address.host}
    try:
        for address in addresses:
            known = next((one for one in unused if one.address == address and one.is_reachable()), None)
            if known is None:
                known = listen(address, manner, only_ipv6=address.port in ports_of_ipv4)
            else:
                unused.remove(known)
                _listen_on(known, manner)
            listeners.append(known)
    except ConfigError:
        for listener in listeners:
            if listener not in existing:
                listener.close(unlink=True)
        raise
    return listeners


def listen(address: Address, manner: Manner, *, only_ipv6: bool = False) -> Listener:
    """Bind `address` and listen. Raises `ConfigError` that says why it cannot, and who holds a busy port."""
    if address.name:
        raise ConfigError(f"bind: cannot listen at {address}: no socket of that name was passed on (LISTEN_FDNAMES)")
    if address.fd >= 0:
        return adopt(address.fd, address)
    try:
        return _listen_unix(address, manner) if address.path else _listen_tcp(address, manner, only_ipv6=only_ipv6)
    except UnicodeError:
        raise ConfigError(f"bind: cannot listen at {address}: {address.host!r} is no host name") from None
    except OSError as error:
        raise ConfigError(f"bind: cannot listen at {address}: {reason_for(error, address)}") from error


def _listen_on(listener: Listener, manner: Manner) -> None:
    if listener.reserved is not (manner.reuse_port and bool(listener.address.host)):
        raise ConfigError(f"reuse_port cannot be changed while {listener.address} is listened at: stop and start again")
    if not listener.reserved:
        listener.socket.listen(manner.backlog)


def adopt(fd: int, address: Address, *, lent: bool = True) -> Listener:
    """Take over a descriptor that somebody else opened, for `address`; raises `ConfigError`.

    `lent`: a unix socket's path stays the other's.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OverflowError:
        raise ConfigError(f"bind: cannot listen at {address}: there is no such descriptor") from None
    except OSError as error:
        raise ConfigError(f"bind: cannot listen at {address}: {error.strerror}") from error
    reserved = not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if reserved and (lent or not address.host):
        sock.detach()  # it is somebody else's
        raise ConfigError(f"bind: cannot listen at {address}: the descriptor is no listening socket")
    path = address.path if not lent and Path(address.path).is_socket() else ""
    return Listener(sock, address, path=path, reserved=reserved, lent=lent)


def _only_ipv6(sock: socket.socket) -> bool:
    return sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def _prepare(sock: socket.socket, *, only_ipv6: bool, reuse_port: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Connections inherit it: an answer must not wait for the acknowledgement of the piece before it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)


def _listen_tcp(address: Address, manner: Manner, *, only_ipv6: bool) -> Listener:
    sock, resolved = resolve(address, address.port)
    try:
        _prepare(sock, only_ipv6=only_ipv6, reuse_port=manner.reuse_port)
        sock.bind(resolved)
        if not manner.reuse_port:
            sock.listen(manner.backlog)
    except OSError:
        sock.close()
        raise
    return Listener(sock, address, reserved=manner.reuse_port)


def resolve(address: Address, port: int) -> tuple[socket.socket, Any]:
    """A socket of the family that the host has, IPv4 if it can be, and what to bind it to."""
    found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, resolved = min(found, key=lambda info: info[0] != socket.AF_INET)
    return socket.socket(family, kind, protocol), resolved


def _listen_unix(address: Address, manner: Manner) -> Listener:
    path = address.path
    if Path(path).exists():
        if not Path(path).is_socket():
            raise ConfigError(f"bind: cannot listen at {address}: there is a file that is no socket")
        if _answers(path):
            raise ConfigError(f"bind: cannot listen at {address}: another process listens there")
        Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(manner.umask)
    bound = False
    try:
        sock.bind(path)
        bound = True
        if (manner.uid, manner.gid) != (-1, -1):
            os.chown(path, manner.uid, manner.gid)
        sock.listen(manner.backlog)
    except OSError:
        sock.close()
        if bound:
            Path(path).unlink(missing_ok=True)
        raise
    finally:
        os.umask(mask)
    return Listener(sock, address, path=path)


def _answers(path: str) -> bool:
    """Whether somebody accepts connections at this path: a socket that was left behind does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) in (0, errno.EAGAIN, errno.EINPROGRESS)


def reason_for(error: OSError, address: Address) -> str:
    """Why nobody can listen at an address, in words."""
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
