"""Metrics to a StatsD server, one datagram at a time: gunicorn's names and formats, and the tags of DogStatsD."""

import contextlib
import ipaddress
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from greenhorn.errors import ConfigError

RETRY = 10.0
"""Seconds after which a server that cannot be reached is looked up again."""
PACKET = 1400
"""Bytes that fit into one packet of a usual network. Metrics that do not fit together go one by one."""
UNIX = "unix://"
MAPPED = "::ffff:"
"""An IPv4 address as a socket of IPv6 knows it (RFC 4291 2.5.5.2)."""
# A name or a value with one of these would be read as something else, or as two metrics.
_SEPARATORS = str.maketrans(dict.fromkeys(":|\r\n", "_"))


class StatsD:
    """Sends metrics to `address`: HOST:PORT, or unix://PATH for a datagram socket.

    No method blocks, and none raises but the constructor (`ConfigError`): what cannot be sent is lost. Any thread.
    The master makes it and its children inherit the socket, so that whoever connects it does so for all of them: a
    name is looked up by the workers (`look_up`), each in a thread of its own; the master never waits for an answer.
    """

    def __init__(self, address: str, prefix: str = "", tags: str = "") -> None:
        self.identity = (address, prefix, tags)
        """What the constructor was given."""
        self._begin = prefix.rstrip(".") + "." if prefix.strip(".") else prefix
        self._end = f"|#{tags}" if tags else ""
        self._duration = f"{self._begin}gunicorn.request.duration:"
        self._answers: dict[int, str] = {}
        self._tell: Callable[..., object] | None = None
        self._told = False
        self._looking = threading.Lock()
        self._look_at = 0.0
        self._path = self._host = ""
        self._port = 0
        if address.startswith(UNIX):
            self._path = _path(address)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        else:
            host, _, port = address.rpartition(":")
            self._host, self._port = host.strip("[]"), int(port)
            self._socket = _open(self._host)
            self._literal = _is_literal(self._host)
            if self._literal:
                self._look_at = time.monotonic() + RETRY
                self._connect(self._host)
        self._socket.setblocking(False)
        weakref.finalize(self, self._socket.close)

    def close(self) -> None:
        """Give the socket of this process back; what comes later is lost. Happens by itself when nobody has it."""
        self._host = ""
        self._socket.close()

    # What happens with each request.

    def answered(self, status: int, seconds: float) -> None:
        """Count a request that took so many seconds: three metrics in one datagram."""
        end = self._answers.get(status) or self._answers_with(status)
        self._send(f"{self._duration}{round(seconds * 1000, 3)}{end}".encode())

    def refused(self, status: int) -> None:
        """Count a request that never came to the application: the time of that says nothing."""
        end = self._answers.get(status) or self._answers_with(status)
        self._send(end.partition("\n")[2].encode())

    def _answers_with(self, status: int) -> str:
        begin, end = self._begin, self._end
        text = (
            f"|ms{end}\n{begin}gunicorn.requests:1|c|@1.0{end}\n{begin}gunicorn.request.status.{status}:1|c|@1.0{end}"
        )
        if status < 1000:  # noqa: PLR2004 - three digits (RFC 9110 15): the memo is bounded
            self._answers[status] = text
        return text

    # Single metrics, with gunicorn's names of the methods.

    def gauge(self, name: str, value: object) -> None:
        """Say how much there is of something."""
        self._measure(name, value, "g")

    def increment(self, name: str, value: object, sampling_rate: float = 1.0) -> None:
        """Count `value` more; `sampling_rate` is the part of all events that is told."""
        self._measure(name, value, f"c|@{sampling_rate}")

    def decrement(self, name: str, value: object, sampling_rate: float = 1.0) -> None:
        """Count `value` less."""
        self._measure(name, f"-{value}", f"c|@{sampling_rate}")

    def timer(self, name: str, value: object) -> None:
        """Say that something took `value` milliseconds."""
        self._measure(name, value, "ms")

    def histogram(self, name: str, value: object) -> None:
        """Add `value` to a distribution."""
        self._measure(name, value, "h")

    def _measure(self, name: str, value: object, kind: str) -> None:
        name, text = str(name).translate(_SEPARATORS), str(value).translate(_SEPARATORS)
        self._send(f"{self._begin}{name}:{text}|{kind}{self._end}".encode("utf-8", "replace"))

    # The way there.

    def _send(self, data: bytes) -> None:
        if len(data) > PACKET:
            for line in data.split(b"\n"):
                self._post(line)
        else:
            self._post(data)

    def _post(self, data: bytes) -> None:
        try:
            if self._path:
                self._socket.sendto(data, self._path)  # finds a server that has begun anew by itself
            else:
                self._socket.send(data)
        except BlockingIOError:
            pass  # the kernel has no room: nobody waits for metrics
        except OSError:
            self._find_again()

    def _find_again(self) -> None:
        now = time.monotonic()
        if not self._host or now < self._look_at:
            return
        self._look_at = now + RETRY
        if self._literal:
            self._connect(self._host)
        elif self._tell is not None:
            self.look_up(self._tell)

    def look_up(self, tell: Callable[..., object]) -> None:
        """Look the server's name up, now and whenever it cannot be reached, and connect the socket of all processes.

        In a worker, at its boot. Takes no time: a thread of its own waits for the answer. `tell` logs a warning; it is
        called by that thread, once until a name was found.
        """
        self._tell = tell
        if not self._host or self._literal or not self._looking.acquire(blocking=False):
            return
        self._look_at = time.monotonic() + RETRY
        try:
            threading.Thread(target=self._look, name="statsd", daemon=True).start()
        except RuntimeError:  # no more threads; there may be some again later
            self._looking.release()

    def _look(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            # IPv4 first: servers on this machine listen there, whatever localhost is first of all.
            addresses = sorted((str(rest[0]) for *_, rest in found), key=lambda address: ":" in address)
            if not any(self._connect(address) for address in addresses):
                raise OSError("no address of it can be reached")  # noqa: TRY301 - one way to tell
            self._told = False
        except (OSError, UnicodeError) as error:
            if not self._told and self._tell is not None:
                self._told = True
                self._tell(
                    "statsd_host: %r: %s; there are no metrics until it is found, which is tried again every %.0f s",
                    self._host,
                    error.strerror if isinstance(error, OSError) and error.strerror else error,
                    RETRY,
                )
        finally:
            self._looking.release()

    def _connect(self, address: str) -> bool:
        """Send to `address` from now on, in all processes that have the socket."""
        if self._socket.family == socket.AF_INET6 and ":" not in address:
            address = MAPPED + address
        with contextlib.suppress(OSError):
            if self._socket.getpeername()[:2] == (address, self._port):
                return True
        try:
            self._socket.connect((address, self._port))
        except OSError:
            return False
        return True


def _is_literal(host: str) -> bool:
    """Whether `host` is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _open(host: str) -> socket.socket:
    """A socket that can be connected to `host`; to one of either version of IP if it is a name."""
    if not _is_literal(host) or ":" in host:
        with contextlib.suppress(OSError):  # a kernel without IPv6
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            try:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            except OSError:
                sock.close()
                raise
            return sock
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _path(address: str) -> str:
    path = str(Path(address.removeprefix(UNIX)).absolute())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(path)
    except OSError as error:
        if error.errno is None:  # Python's own: the kernel is not asked
            raise ConfigError(f"statsd_host: {path!r} is too long for a unix socket; choose a shorter path") from error
    return path
