"""A socket that speaks TLS: what it reads, sends and says at the end, however the bytes come and go."""

import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.stream import READ, RECORD, WIRE_RECORD, SecureSocket
from unit.tls.making import SERVER
from unit.tls.talking import client_context
from unit.tls.wire import PLENTY, Wire

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def nothing(secure: SecureSocket) -> bool:
    """Whether there is nothing to read."""
    try:
        secure.recv(1)
    except BlockingIOError:
        return True
    return False


# Handshakes.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_goes_on_with_each_byte_that_comes(wired: Callable[..., Wire], version: ssl.TLSVersion):
    wire = wired(client_context(newest=version), shaken=False)
    complete = False
    while not (wire.step() and complete):
        for byte in wire.made():
            assert not complete
            wire.put(bytes([byte]))
            complete = wire.server.shake_hands()
            assert not wire.server.is_full
    wire.say(b"hello")
    assert wire.everything(100) == b"hello"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_for_which_the_kernel_has_no_room_goes_on_when_it_has(
    wired: Callable[..., Wire], version: ssl.TLSVersion
):
    wire = wired(client_context(newest=version), shaken=False)
    complete = False
    turns = 0
    while not (wire.step() and complete):
        wire.put(wire.made())
        wire.narrow.room = 0
        complete = wire.server.shake_hands()
        while wire.server.is_full:
            assert not complete
            wire.narrow.room = 7
            complete = wire.server.shake_hands()
            turns += 1
        assert turns < 10_000
    assert turns > 100
    wire.put(wire.made())
    wire.narrow.room = PLENTY
    assert wire.send_all(b"hello") == b"hello"


def test_what_was_read_before_tls_began_counts(credentials: Credentials):
    near, far = socket.socketpair()
    near.setblocking(False)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(down, up, server_hostname=SERVER)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    secure = SecureSocket(near, credentials, up.read())
    with far:
        assert not secure.shake_hands()
        down.write(far.recv(65536))
        client.do_handshake()
        client.write(b"with the last flight")
        far.sendall(up.read())
        assert secure.shake_hands()
        assert secure.recv(100) == b"with the last flight"
        secure.close()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", bytes(100), b"\x80\x2e\x01" + bytes(45)]
)
def test_what_is_no_handshake_is_refused(wired: Callable[..., Wire], data: bytes):
    wire = wired(shaken=False)
    wire.put(data)
    with pytest.raises(ssl.SSLError):
        wire.server.shake_hands()


def test_a_client_that_leaves_in_the_handshake_is_told(wired: Callable[..., Wire]):
    wire = wired(shaken=False)
    wire.step()
    wire.put(wire.made())
    assert not wire.server.shake_hands()
    wire.far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError, match="left in the handshake"):
        wire.server.shake_hands()


def test_a_client_that_is_refused_is_told_why(wired: Callable[..., Wire]):
    old = client_context()
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    wire = wired(old, shaken=False)
    wire.step()
    wire.put(wire.made())
    with pytest.raises(ssl.SSLError):
        wire.server.shake_hands()
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake failure"):
        wire.step()


# Reading.


def test_nothing_is_read_where_nothing_has_come(wire: Wire):
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            wire.server.recv(100)
    assert not wire.server.is_within_record


def test_a_record_is_read_when_all_of_it_is_here(wire: Wire):
    *most, last = wire.records(b"hello")
    for byte in most:
        wire.put(bytes([byte]))
        with pytest.raises(BlockingIOError):
            wire.server.recv(100)
        assert wire.server.is_within_record
    wire.put(bytes([last]))
    assert wire.server.recv(100) == b"hello"
    assert not wire.server.is_within_record


@pytest.mark.parametrize("size", [1, 100, RECORD, READ])
def test_no_record_that_has_come_is_left_behind(wire: Wire, size: int):
    pieces = [b"a" * 10, b"b" * 1000, b"c", b"d" * 3000]
    wire.say(*pieces)
    assert wire.server.recv(size) == b"".join(pieces)
    assert nothing(wire.server)


def test_more_than_was_asked_for_is_no_more_than_was_on_its_way(wire: Wire):
    sent = os.urandom(500_000)
    writer = threading.Thread(target=wire.far.sendall, args=(wire.records(sent),))
    writer.start()
    got = b""
    while len(got) < len(sent):
        size = 1 + len(got) % 40_000
        try:
            piece = wire.server.recv(size)
        except BlockingIOError:
            continue
        assert 0 < len(piece) <= size + (WIRE_RECORD if size <= RECORD else READ)
        got += piece
    writer.join()
    assert got == sent


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=20),
    size=st.sampled_from([1, 5, 8192, RECORD, 65536]),
)
def test_bytes_are_the_same_however_they_come(credentials: Credentials, pieces: list[int], cuts: list[int], size: int):
    sent = [os.urandom(length) for length in pieces]
    got = b""
    with Wire(credentials) as wire:
        rest = wire.records(*sent)
        while rest:
            cut = cuts[len(rest) % len(cuts)]
            wire.put(rest[:cut])
            rest = rest[cut:]
            got += wire.everything(size)
        assert got == b"".join(sent)
        assert nothing(wire.server)


def test_with_flags_it_is_the_wires_bytes_and_they_stay(wire: Wire):
    record = wire.records(b"hello")
    wire.put(record)
    assert wire.server.recv(100, socket.MSG_PEEK) == record
    assert wire.server.recv(100) == b"hello"


# Sending.


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(["send", "sendmsg", "region"]), st.lists(st.integers(0, 90_000), min_size=1, max_size=4)
        ),
        min_size=1,
        max_size=5,
    ),
    rooms=st.lists(st.integers(0, 70_000), min_size=1, max_size=30),
)
def test_what_is_sent_arrives_once_and_in_order_whatever_the_kernel_takes(
    credentials: Credentials, calls: list[tuple[str, list[int]]], rooms: list[int]
):
    everything, got, turn = b"", b"", 0
    with Wire(credentials) as wire:
        for call, lengths in calls:
            parts = [os.urandom(length) for length in lengths]
            whole = b"".join(parts)
            everything += whole
            done = 0
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(whole)
                while done < len(whole):
                    wire.narrow.room = rooms[turn % len(rooms)] if turn < 200 else PLENTY
                    turn += 1
                    try:
                        sent = send(wire.server, call, parts, done, file.fileno())
                    except BlockingIOError:
                        sent = 0
                    assert wire.server.underway >= 0
                    done += sent
                    got += wire.received()
                    assert everything.startswith(got)
                    assert len(got) >= len(everything) - len(whole) + done  # what counts as sent has left
        assert got == everything


def send(secure: SecureSocket, call: str, parts: list[bytes], done: int, fd: int) -> int:
    """Send what is behind the first `done` bytes of the parts, or some of it."""
    rest = b"".join(parts)[done:]
    if call == "region":
        return secure.send_region(fd, done, len(rest))
    if call == "send":
        return secure.send(memoryview(rest))
    left: list[bytes | memoryview] = []
    for part in parts:
        if done < len(part):
            left.append(memoryview(part)[done:])
        done = max(0, done - len(part))
    return secure.sendmsg(left)


def test_a_region_behind_the_end_of_its_file_is_nothing(wire: Wire):
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(b"0123456789")
        assert wire.server.send_region(file.fileno(), 4, 100) == 6
        assert wire.server.send_region(file.fileno(), 10, 100) == 0
    assert wire.received() == b"456789"


def test_nothing_is_sent_twice_where_the_kernel_took_part_of_a_record(wire: Wire):
    wire.narrow.room = 20
    with pytest.raises(BlockingIOError):
        wire.server.send(b"hello, world")
    assert wire.server.is_full
    assert wire.server.underway == 20
    wire.narrow.room = PLENTY
    assert wire.server.send(b"hello, world") == len(b"hello, world")
    assert (wire.server.is_full, wire.server.underway) == (False, 0)
    assert wire.received() == b"hello, world"


def test_a_caller_may_bring_more_behind_what_had_to_wait(wire: Wire):
    wire.narrow.room = 0
    with pytest.raises(BlockingIOError):
        wire.server.send(b"hello")
    wire.narrow.room = PLENTY
    assert wire.server.sendmsg([b"hel", b"lo, world"]) == len(b"hello")
    assert wire.server.sendmsg([b", world"]) == len(b", world")
    assert wire.received() == b"hello, world"


def test_nothing_is_sent_for_nothing(wire: Wire):
    assert (wire.server.send(b""), wire.server.sendmsg([]), wire.server.sendmsg([b"", b""])) == (0, 0, 0)
    assert wire.received() == b""
