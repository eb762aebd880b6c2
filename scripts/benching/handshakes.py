"""A client that opens a TLS connection for each request: `python handshakes.py PORT CLIENTS SECONDS full|resumed RING`.

wrk cannot do this: it resumes its sessions where a server lets it, and does not tell. Here the client either never
offers a session, or offers the newest ticket that it was given, and counts how often that was accepted. One process,
one thread and one epoll object; the certificate is not looked at beyond its signature of the handshake. Prints one
line as ring.lua makes wrk do, with latencies from before the connection is opened until the answer is whole.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import time
from collections import Counter
from pathlib import Path

HOST = "127.0.0.1"
RECEIVE_BYTES = 65_536
TIMEOUT_SECONDS = 2.0
END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Client:
    """One client, with one connection after the other."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._session: ssl.SSLSession | None = None
        self.connect()

    def connect(self) -> None:
        """Open a connection and begin the handshake."""
        load = self._load
        self.began = time.monotonic()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = load.context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        if self._session is not None:
            self._tls.session = self._session
        self._shaking = True
        self._received = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        with contextlib.suppress(BlockingIOError):
            self.sock.connect((HOST, load.port))
        # The client's first bytes fit into any socket's buffer: one wait, for being connected, does.
        load.epoll.register(self.sock, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
        load.clients[self.sock.fileno()] = self

    def attend(self, events: int) -> None:
        """Go on, as far as that goes without waiting."""
        doing = "connect"
        try:
            if events & select.EPOLLOUT and self._outgoing.pending:
                self.sock.sendall(self._outgoing.read())
            doing = "read"
            if events & ~select.EPOLLOUT and self._receive():
                self._end("" if self._received[9:12] == b"200" else "status")
        except BlockingIOError:
            pass
        except OSError:
            self._end(doing)

    def _receive(self) -> bool:
        """Take what has come, and say whether it makes the answer whole."""
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)
        try:
            if self._shaking:
                self._tls.do_handshake()
                self._shaking = False
                self._load.resumed += bool(self._tls.session_reused)
                self._tls.write(self._load.request())
            while piece := self._tls.read(RECEIVE_BYTES):
                self._received += piece
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending:
            self.sock.sendall(self._outgoing.read())
        return self._is_whole()

    def _is_whole(self) -> bool:
        head, blank, body = self._received.partition(END)
        _, found, rest = head.lower().partition(LENGTH)
        return bool(blank and found) and len(body) >= int(rest.split(b"\r\n", 1)[0])

    def give_up(self) -> None:
        """Wait no longer, and begin anew."""
        self._end("timeout")

    def _end(self, failure: str) -> None:
        load = self._load
        if failure:
            load.errors[failure] += 1
        else:
            load.latencies.append(time.monotonic() - self.began)
            if load.resumes:
                self._session = self._tls.session
            # Without a goodbye OpenSSL forgets the session.
            with contextlib.suppress(OSError):
                self._tls.unwrap()
            with contextlib.suppress(OSError):
                self.sock.send(self._outgoing.read())
        del load.clients[self.sock.fileno()]
        self.sock.close()
        self.connect()


class Load:
    """All clients, and what they have seen."""

    def __init__(self, port: int, count: int, *, resumes: bool, ring: list[bytes]) -> None:
        self.port = port
        self.resumes = resumes
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self.resumed = 0
        self._ring = ring
        self._turn = 0
        for _ in range(count):
            Client(self)

    def request(self) -> bytes:
        """Return the next request of the ring."""
        self._turn = (self._turn + 1) % len(self._ring)
        return self._ring[self._turn]

    def run(self, seconds: float) -> None:
        """Load the server for so long."""
        end = time.monotonic() + seconds
        look = time.monotonic() + TIMEOUT_SECONDS
        while (now := time.monotonic()) < end:
            for fd, events in self.epoll.poll(min(end - now, 1.0)):
                if (client := self.clients.get(fd)) is not None:
                    client.attend(events)
            if now > look:
                look = now + TIMEOUT_SECONDS
                for client in list(self.clients.values()):
                    if now - client.began > TIMEOUT_SECONDS:
                        client.give_up()

    def report(self, seconds: float) -> str:
        """Return what was measured, as a program can read it."""
        ordered = sorted(self.latencies) or [0.0]
        p50, p99 = (ordered[int(part * (len(ordered) - 1))] * 1e6 for part in (0.5, 0.99))
        kinds = ("connect", "read", "write", "timeout", "status")
        errors = " ".join(f"{kind}={self.errors[kind]}" for kind in kinds)
        return (
            f"measured requests={len(self.latencies)} duration_us={seconds * 1e6:.0f} p50_us={p50:.0f} "
            f"p99_us={p99:.0f} {errors} resumed={self.resumed}"
        )


def main() -> None:
    """Load the server that the command line names."""
    port, count, seconds, kind, ring = sys.argv[1:]
    load = Load(int(port), int(count), resumes=kind == "resumed", ring=Path(ring).read_bytes().split(b"\0"))
    began = time.monotonic()
    load.run(float(seconds))
    print(load.report(time.monotonic() - began))


if __name__ == "__main__":
    main()
