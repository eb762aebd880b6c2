"""Clients that speak TLS as the tests tell them: in flights, in records, with sessions, and the command openssl."""

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509

from integration.answers import Answer, AnswerReader
from integration.running import DEADLINE, Server, wait_until
from integration.staging import dump
from integration.wire import is_readable

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
READ = 65536


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context, which speaks no other version any more."""
    context.minimum_version = context.maximum_version = version
    return context


def ask(connection: socket.socket, path: str = "/", fields: str = "") -> Answer:
    """Ask for `path` on a connection that goes on; `fields` are whole lines."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
    return AnswerReader(connection).read()


def shown_certificate(connection: ssl.SSLSocket | ssl.SSLObject) -> x509.Certificate:
    """The certificate that the server has shown."""
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


class Visit(NamedTuple):
    """One connection with one request: its session for the next one, and whether it went on with an older one."""

    session: ssl.SSLSession | None
    resumed: bool
    answer: Answer
    certificate: x509.Certificate | None


def visit(site: Server, context: ssl.SSLContext, path: str = "/", **options: Any) -> Visit:
    """Connect, ask for `path`, and say goodbye; `options` are those of wrap_socket, such as `session`."""
    port = options.pop("port", None)
    with site.secure(site.dial(port), context, **options) as connection:
        answer = ask(connection, path)
        der = connection.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(der) if der else None
        return Visit(connection.session, bool(connection.session_reused), answer, certificate)


class Steps:
    """A client that sends what and when it is told, over a connection without TLS of its own.

    `hello` are the bytes with which it begins.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        with pytest.raises(ssl.SSLWantReadError):
            self.engine.do_handshake()
        self.hello = self._outgoing.read()

    def next_flight(self) -> bytes:
        """Read until there is something to say in the handshake, and return that."""
        while True:
            self._receive()
            try:
                self.engine.do_handshake()
            except ssl.SSLWantReadError:
                if flight := self._outgoing.read():
                    return flight
            else:
                return self._outgoing.read()

    def shake_hands(self) -> "Steps":
        """Send everything at once, and return when the handshake is complete on this side."""
        self.connection.sendall(self.hello)
        while flight := self.next_flight():
            self.connection.sendall(flight)
            if self.engine.version() == "TLSv1.3":
                break
        return self

    def records(self, *pieces: bytes) -> bytes:
        """Return the bytes on the wire that carry the pieces, each in a record of its own."""
        for piece in pieces:
            self.engine.write(piece)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the bytes on the wire that end this side of the stream."""
        with pytest.raises(ssl.SSLWantReadError):
            self.engine.unwrap()
        return self._outgoing.read()

    def goodbye_behind_theirs(self) -> bytes:
        """Return the same when the server has said its own."""
        self.engine.unwrap()
        return self._outgoing.read()

    def read_rest(self) -> bytes:
        """Return what the server says up to the end of the stream, however it ends."""
        received = bytearray()
        with suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ConnectionResetError):
            while True:
                try:
                    data = self.engine.read(READ)
                except ssl.SSLWantReadError:
                    self._receive()
                else:
                    if not data:
                        break
                    received += data
        return bytes(received)

    def read_to_end(self) -> bytes:
        """Return what the server says up to its goodbye; `ssl.SSLEOFError` if the stream ends without one."""
        received = bytearray()
        while True:
            try:
                data = self.engine.read(READ)
            except ssl.SSLWantReadError:
                self._receive()
            except ssl.SSLZeroReturnError:
                return bytes(received)
            else:
                if not data:
                    return bytes(received)
                received += data

    def read_until(self, end: bytes) -> bytes:
        """Return what the server says up to `end`, and all that came with it."""
        received = bytearray()
        while end not in received:
            try:
                received += self.engine.read(READ)
            except ssl.SSLWantReadError:
                self._receive()
        return bytes(received)

    def _receive(self) -> None:
        data = self.connection.recv(READ)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def ends_within(connection: socket.socket, seconds: float = DEADLINE) -> bytes:
    """Return what comes before the server ends the connection, in order or not, within so many seconds."""
    received = bytearray()
    assert is_readable(connection, seconds), f"nothing happens within {seconds} s"
    try:
        while data := connection.recv(READ):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)


def s_client(port: int, *arguments: str, request: bytes = LAST_GET) -> tuple[int, str]:
    """Run `openssl s_client` with a request; return its exit code, and all that it says, the answer included.

    It verifies, and ends with the connection.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-verify_return_error", "-ign_eof"]
    done = subprocess.run(
        [*command, *arguments], input=request, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace")


def s_client_told(port: int, folder: Path, *arguments: str, steps: Sequence[tuple[bytes, str]]) -> str:
    """Run `openssl s_client`, type each line when it has said what is expected of the one before, and return all of it.

    A single letter is a command: R renegotiates, K changes the keys. It ends with the connection.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    said = folder / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    assert process.stdin is not None
    try:
        read, expected = 0, "Verify return code"
        for line, answer in (*steps, (b"", "")):
            wait_until(
                lambda wanted=expected, seen=read: wanted in said.read_text(errors="replace")[seen:],
                what=repr(expected),
            )
            read = len(said.read_text(errors="replace"))
            process.stdin.write(line)
            process.stdin.flush()
            expected = answer
        process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
    return said.read_text(errors="replace")


def line_of(text: str, name: str) -> str:
    """The value in the first line `name: value` or `name=value`."""
    for line in text.splitlines():
        if line.strip().startswith(name):
            return line.strip().removeprefix(name).lstrip(" :=").strip()
    raise AssertionError(f"there is no line {name!r} in:\n{text}")


def port_of(site: Server, scheme: str, number: int = 0) -> int:
    """The port of the server's first, or another, address of a scheme."""
    wanted = [address for address in site.addresses if address.startswith(f"{scheme}://")]
    return int(wanted[number].rpartition(":")[2])


def failed_handshakes(site: Server) -> int:
    """How many handshakes have failed so far, as the log tells it on request."""
    found = re.search(r"(\d+) TLS handshakes failed", dump(site))
    return int(found[1]) if found else 0


def wait_for_failed_handshakes(site: Server, count: int) -> None:
    """Return when so many handshakes have failed, and no more."""
    wait_until(lambda: failed_handshakes(site) >= count, what=f"{count} failed handshakes")
    assert failed_handshakes(site) == count
