"""Clients that take their time, and how it went for them. Each function is the whole life of one."""

import select
import socket
import time
from dataclasses import dataclass, field

from integration.answers import AnswerReader
from integration.running import DEADLINE, Server
from integration.wire import connect, is_readable, receive_to_end

MIB = 1024 * 1024
STEP = 0.05
"""Seconds between two bytes of a client that drips: 20 bytes a second."""
BURST = 0.8
"""Seconds between two bursts of a client that may pause for two."""
ENOUGH = 4.8
"""Seconds for which a client that may go on is watched."""
MOST = 8.0
"""Seconds for which a client that may not is watched."""


@dataclass
class Course:
    """How it went for a client: from its first byte on until the server ended it, or to its own end."""

    began: float = field(default_factory=time.monotonic)
    received: bytes = b""
    size: int = 0
    """Bytes that were received, if they were not kept."""
    seconds: float = 0.0
    reset: bool = False

    def end(self) -> "Course":
        self.seconds = time.monotonic() - self.began
        return self

    def ended_after(self, connection: socket.socket) -> "Course":
        """The course at the end of the stream, when that comes by itself."""
        self.received = receive_to_end(connection)
        return self.end()


def drip(site: Server, head: bytes, piece: bytes) -> Course:
    """Send a body a piece at a time without a pause, until the server has something to say."""
    connection = connect(site)
    course = Course()
    connection.sendall(b"POST /whole/x HTTP/1.1\r\nHost: x\r\n" + head)
    while not is_readable(connection, STEP):
        assert time.monotonic() < course.began + DEADLINE, "it may drip for ever"
        connection.sendall(piece)
    return course.ended_after(connection)


def send_in_bursts(site: Server, size: int, pause: float) -> Course:
    """Send a body of `size` bytes every `pause` seconds for a while, and return when it is answered."""
    bursts = int(ENOUGH / pause)
    connection = connect(site)
    course = Course()
    connection.sendall(b"POST /digest/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (bursts * size))
    for number in range(bursts):
        assert not is_readable(connection, max(0.0, course.began + number * pause - time.monotonic()))
        connection.sendall(bytes(size))
    course.received = AnswerReader(connection).read("POST").body
    return course.end()


def ask(site: Server, path: str, receive_buffer: int = 4096) -> socket.socket:
    """Ask for a large answer, the last on its connection, with a small buffer, so that not much is on its way."""
    [address] = site.addresses
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    connection = socket.socket(family)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before the first window is told
    connection.settimeout(DEADLINE)
    connection.connect(address.removeprefix("unix:") if family == socket.AF_UNIX else ("127.0.0.1", site.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


def is_reset_within(connection: socket.socket, seconds: float) -> bool:
    """Tell whether a reset comes in so many seconds; what was sent before stays unread."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(max(0.0, seconds) * 1000))


def read_slowly(connection: socket.socket, size: int, pause: float, most: float) -> Course:
    """Read `size` bytes every `pause` seconds until a reset comes, or for `most` seconds and then all that is left."""
    course = Course()
    with connection:
        for number in range(int(most / pause)):
            if is_reset_within(connection, course.began + number * pause - time.monotonic()):
                course.reset = True
                return course.end()
            left = size
            while left and is_readable(connection, 0.2):
                data = connection.recv(left)
                left -= len(data)
                course.size += len(data)
        course.end()
        try:
            while data := connection.recv(MIB):
                course.size += len(data)
        except ConnectionResetError:
            course.reset = True
    return course


def go_on_behind_a_refusal(site: Server, piece: bytes) -> Course:
    """Send on behind an answer 413 until that fails."""
    connection = connect(site)
    connection.sendall(b"POST /whole/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n")
    course = Course(received=receive_to_end(connection))
    connection.setblocking(False)
    while not is_reset_within(connection, STEP):
        assert time.monotonic() < course.began + DEADLINE, "it lingers for ever"
        try:
            connection.send(piece)
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    return course.end()
