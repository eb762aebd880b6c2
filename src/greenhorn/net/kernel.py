"""What the kernel knows of a socket, where it can be asked: Linux, and a word for everywhere else."""

import contextlib
import ctypes
import select
import socket
import struct
import sys

if sys.platform == "linux":
    import fcntl
    import termios

    def unacknowledged(sock: socket.socket) -> int:
        """Bytes that were sent on `sock` and not confirmed by the other side's system; 0 if that is not known."""
        answer = bytearray(4)
        try:
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, answer)
        except OSError:
            return 0
        count: int = struct.unpack("i", answer)[0]
        return count

else:

    def unacknowledged(sock: socket.socket) -> int:  # noqa: ARG001 - there is no portable way
        """Bytes that were sent on `sock` and not confirmed by the other side's system: not known here."""
        return 0


_poll = select.poll
"""Also after it was replaced by one that lets others run, or taken away."""

ACKED = 120
"""Where tcpi_bytes_acked stands in a struct tcp_info, 64 bits since Linux 4.1."""


def confirmed(sock: socket.socket) -> int | None:
    """All bytes that the other side's system has confirmed on this connection; None if that is not known."""
    return _tcp_info(sock, ACKED, "Q")


UNACKED = 24
"""Where tcpi_unacked stands in a struct tcp_info: on a listening socket the connections that wait to be accepted."""


def waiting_connections(listening: socket.socket) -> int | None:
    """How many connections wait to be accepted; None if that is not known: Linux tells it of TCP."""
    return _tcp_info(listening, UNACKED, "I")


def _tcp_info(sock: socket.socket, at: int, form: str) -> int | None:
    """What stands there in a struct tcp_info; None where the kernel has none, or an older one that ends before."""
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return None
    end = at + struct.calcsize(form)
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
    except OSError:
        return None
    value: int | None = struct.unpack_from(form, told, at)[0] if len(told) >= end else None
    return value


NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def keep_little(sock: socket.socket, most: int) -> None:
    """Let the kernel take no more than `most` bytes beyond what is on its way to the client.

    Otherwise it keeps megabytes for each client that does not read, and a thousand of them use up its memory for all
    connections of the machine.
    """
    if NOTSENT_LOWAT is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, most)


SO_ATTACH_FILTER = 26
# A program for the kernel's packet filter: load the byte of flags (RFC 9293 3.1), and drop what asks for a connection.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def turn_newcomers_away(listening: socket.socket) -> bool:
    """Let nobody begin to connect any more, while those whose handshake is under way still can be accepted.

    Who comes later is not answered, asks again after a second, and is then refused, or served by whoever listens there
    by then: a socket that is simply closed resets whoever the kernel has just let in. Holds for all processes that
    share the socket. Whether the kernel can do it: Linux can, for TCP.
    """
    if sys.platform != "linux" or listening.family == socket.AF_UNIX:
        return False
    code = b"".join(struct.pack("HBBI", *step) for step in DROP_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    try:
        described = struct.pack("HP", len(DROP_SYN), ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
    except OSError:
        return False
    return True


def poll_one(fd: int, events: int, seconds: float = 0.0) -> int:
    """Which of `events`, and of those that are always told, happen on `fd` within so many seconds; `inf`: for ever."""
    waiting = _poll()
    waiting.register(fd, events)
    told = waiting.poll(None if seconds == float("inf") else max(0.0, seconds) * 1000)
    return told[0][1] if told else 0
