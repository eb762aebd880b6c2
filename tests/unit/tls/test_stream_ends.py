"""How a stream over TLS ends, what breaks it off, what two threads do with it, and what else it tells."""

import contextlib
import ctypes
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from greenhorn.tls.stream import PAST_THE_LOCK, RECORD, SecureSocket
from unit.tls.making import SERVER, options
from unit.tls.talking import client_context
from unit.tls.wire import PLENTY, Wire

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def wire(wired: Callable[..., Wire], request: pytest.FixtureRequest) -> Wire:
    """A client after its handshake, of each version."""
    return wired(client_context(newest=request.param))


# The client's end.


def test_a_goodbye_is_the_end_of_the_stream(wire: Wire):
    wire.put(wire.goodbye())
    assert [wire.server.recv(100) for _ in range(3)] == [b"", b"", b""]


def test_what_comes_before_a_goodbye_counts_and_what_comes_behind_it_does_not(wire: Wire):
    wire.put(wire.records(b"last ", b"words") + wire.goodbye() + b"nobody's")
    assert wire.server.recv(1) == b"last words"
    assert [wire.server.recv(100) for _ in range(2)] == [b"", b""]


def test_after_a_goodbye_of_the_client_the_server_can_still_answer(wire: Wire):
    wire.put(wire.records(b"one more") + wire.goodbye())
    wire.far.shutdown(socket.SHUT_WR)
    assert wire.everything(100) == b"one more"
    wire.server.send(b"answer")
    wire.take()
    assert wire.client.read(100) == b"answer"


def test_an_end_without_a_goodbye_is_an_end(wire: Wire):
    wire.say(b"last words")
    wire.far.shutdown(socket.SHUT_WR)
    assert [wire.server.recv(100) for _ in range(3)] == [b"last words", b"", b""]


def test_an_end_in_the_middle_of_a_record_is_an_end(wire: Wire):
    wire.put(wire.records(b"whole") + wire.records(b"half")[:-3])
    wire.far.shutdown(socket.SHUT_WR)
    assert [wire.server.recv(100) for _ in range(2)] == [b"whole", b""]


def test_where_it_matters_an_end_without_a_goodbye_is_an_error(pair: Pair):
    with Wire(Credentials(options(pair, strict_end=True))) as wire:
        wire.say(b"last words")
        wire.far.shutdown(socket.SHUT_WR)
        assert wire.server.recv(100) == b"last words"
        with pytest.raises(ConnectionResetError, match="without a TLS goodbye"):
            wire.server.recv(100)


def test_where_it_matters_a_goodbye_is_no_error(pair: Pair):
    with Wire(Credentials(options(pair, strict_end=True))) as wire:
        wire.put(wire.goodbye())
        wire.far.shutdown(socket.SHUT_WR)
        assert [wire.server.recv(100) for _ in range(2)] == [b"", b""]


def test_a_connection_that_is_reset_is_an_error_as_of_any_socket(credentials: Credentials):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    secure = SecureSocket(near, credentials)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    with pytest.raises(ConnectionResetError):
        secure.shake_hands()
    secure.close()


# The server's end.


def said_goodbye(wire: Wire) -> bool:
    """Whether the client was told that the stream is whole; nobody said anything else behind what it has read."""
    wire.take()
    assert wire.ended
    try:
        return wire.client.read(1) == b""
    except ssl.SSLWantReadError:
        return False


def test_a_shutdown_says_goodbye_behind_the_answer(wire: Wire):
    wire.server.send(b"answer")
    wire.server.shutdown(socket.SHUT_WR)
    wire.take()
    assert wire.client.read(100) == b"answer"
    assert said_goodbye(wire)


def test_a_close_says_goodbye_once(wire: Wire):
    wire.server.send(b"answer")
    wire.server.close()
    wire.take()
    assert wire.client.read(100) == b"answer"
    assert said_goodbye(wire)
    wire.server.close()


def test_what_was_cut_short_ends_without_a_goodbye(wire: Wire):
    wire.server.send(b"half of an ans")
    wire.server.abandon()
    wire.server.close()
    wire.take()
    assert wire.client.read(100) == b"half of an ans"
    assert not said_goodbye(wire)


def test_the_end_of_reading_is_no_goodbye(wire: Wire):
    wire.server.shutdown(socket.SHUT_RD)
    wire.server.send(b"answer")
    assert wire.received() == b"answer"


def test_after_a_goodbye_what_the_client_says_can_still_be_read(wire: Wire):
    wire.server.shutdown(socket.SHUT_WR)
    wire.say(b"still here")
    assert wire.server.recv(100) == b"still here"
    wire.put(wire.goodbye())
    assert wire.server.recv(100) == b""


def test_a_close_in_the_middle_of_a_handshake_harms_nobody(wired: Callable[..., Wire]):
    wire = wired(shaken=False)
    wire.step()
    wire.put(wire.made()[:50])
    assert not wire.server.shake_hands()
    wire.server.close()
    wire.take()
    assert wire.ended


def test_a_goodbye_for_which_there_is_no_room_is_left_out(wire: Wire):
    wire.narrow.room = 0
    wire.server.close()
    assert not said_goodbye(wire)


# What is no TLS.


def test_garbage_breaks_the_connection_off_and_the_client_is_told(wire: Wire):
    wire.put(b"GET / HTTP/1.1\r\nHost: zq.example\r\n\r\n")
    with pytest.raises(ConnectionAbortedError):
        wire.server.recv(100)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        wire.received()


def test_what_came_before_garbage_counts(wire: Wire):
    wire.put(wire.records(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert wire.server.recv(100) == b"good"
    assert wire.server.recv(100) == b""


@pytest.mark.parametrize("at", [5, 12, -1])
def test_a_record_that_was_changed_on_its_way_is_no_data(wire: Wire, at: int):
    record = bytearray(wire.records(b"pay 100 to zq"))
    record[at] ^= 1
    wire.put(bytes(record))
    with pytest.raises(ConnectionAbortedError, match=r"bad record mac|decryption failed"):
        wire.server.recv(100)


def test_after_garbage_no_goodbye_is_said(wire: Wire):
    wire.put(bytes(100))
    with pytest.raises(ConnectionAbortedError):
        wire.server.recv(100)
    with pytest.raises(ssl.SSLError):
        wire.received()
    wire.server.close()
    wire.take()
    assert wire.ended


# A client that asks for what it does not read.


def library() -> ctypes.CDLL:
    """The library that Python's ssl is linked to."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/libssl." in line:
            return ctypes.CDLL(line.split()[-1])
    pytest.skip("this Python has an OpenSSL of its own inside")


class RawClient:
    """A client that can do what Python's ssl has no call for."""

    def __init__(self, fd: int) -> None:
        self._lib = lib = library()
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(lib, name).restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
        self._ssl = ctypes.c_void_p(lib.SSL_new(self._context))
        lib.SSL_set_fd(self._ssl, fd)

    def connect(self) -> bool:
        """Go on with the handshake; whether it is complete."""
        return bool(self._lib.SSL_connect(self._ssl) == 1)

    def ask_for_new_keys(self) -> bool:
        """Send a KeyUpdate that asks for one (RFC 8446 4.6.3); whether there was room."""
        self._lib.SSL_key_update(self._ssl, 1)
        return bool(self._lib.SSL_do_handshake(self._ssl) == 1)

    def close(self) -> None:
        """Give everything back."""
        self._lib.SSL_free(self._ssl)
        self._lib.SSL_CTX_free(self._context)


@pytest.fixture
def keys(credentials: Credentials) -> Iterator[tuple[SecureSocket, RawClient, socket.socket]]:
    """A connection, its client, which can ask for new keys, and the client's end of the wire."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    secure = SecureSocket(near, credentials)
    client = RawClient(far.fileno())
    while not client.connect() or not secure.shake_hands():
        secure.shake_hands()
    yield secure, client, far
    secure.close()
    client.close()
    far.close()


def test_a_client_that_asks_for_new_keys_and_reads_none_of_them_is_left(
    keys: tuple[SecureSocket, RawClient, socket.socket],
):
    secure, client, _ = keys
    most = 0

    def read() -> None:
        nonlocal most
        for _ in range(200_000):
            if not client.ask_for_new_keys():
                with contextlib.suppress(BlockingIOError):
                    secure.recv(100)
            most = max(most, secure._outgoing.pending)

    with pytest.raises(ConnectionAbortedError, match="reads none of them"):
        read()
    assert most <= RECORD


def test_a_client_that_sends_nothing_but_new_keys_is_left(keys: tuple[SecureSocket, RawClient, socket.socket]):
    secure, client, far = keys

    def read() -> None:
        for _ in range(200_000):
            if not client.ask_for_new_keys():
                with contextlib.suppress(BlockingIOError):
                    secure.recv(100)
                with contextlib.suppress(BlockingIOError):
                    far.recv(1 << 20)

    with pytest.raises(ConnectionAbortedError, match="nothing in them"):
        read()


# Threads.


def test_one_thread_can_send_while_another_reads(wire: Wire):
    sent, said = os.urandom(1_000_000), os.urandom(1_000_000)
    client = threading.Thread(target=wire.put, args=(wire.records(said),))
    heard = b""

    def send() -> None:
        rest = memoryview(sent)
        while rest:
            try:
                rest = rest[wire.server.send(rest) :]
            except BlockingIOError:
                os.sched_yield()

    sender = threading.Thread(target=send)
    sender.start()
    client.start()
    got = b""
    while len(heard) < len(said) or len(got) < len(sent):
        heard += wire.everything(RECORD)
        wire.narrow.room = PLENTY
        got += wire.received()
    sender.join()
    client.join()
    assert (heard, got) == (said, sent)


# What else it tells.


def test_it_answers_as_a_socket_and_as_one_of_tls_does(wire: Wire):
    server = wire.server
    assert server.fileno() == wire.narrow.fileno()
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    assert server.family is socket.AF_UNIX
    assert server.version() in ("TLSv1.2", "TLSv1.3")
    assert server.cipher() == server.engine.cipher()
    assert server.getpeercert() is None
    assert server.server_name == SERVER
    with pytest.raises(AttributeError):
        _ = server.no_such_thing


@pytest.mark.parametrize("name", sorted(PAST_THE_LOCK))
def test_what_would_go_past_the_encryption_is_not_there(wire: Wire, name: str):
    assert not hasattr(wire.server, name)
    with pytest.raises(AttributeError, match=f"a socket that speaks TLS has no {name}; it has recv, send and sendmsg"):
        getattr(wire.server, name)


def test_every_call_that_moves_bytes_is_there_for_tls_or_not_at_all():
    moving = {
        name
        for name in dir(socket.socket)
        if name.startswith(
            ("recv", "send", "accept", "connect", "bind", "listen", "dup", "detach", "makefile", "share")
        )
    }
    assert moving - PAST_THE_LOCK - {"share"} <= set(vars(SecureSocket))
