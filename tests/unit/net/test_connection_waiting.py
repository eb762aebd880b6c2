"""A thread's waits for a client, what a client has taken, and whether it is still there."""

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from greenhorn.errors import ClientGone, RequestBodyError
from greenhorn.net.connection import HALF_CLOSE, Connection
from greenhorn.net.pace import Buffers, Pace
from unit.net.sockets import buffers, connected, drain, never
from unit.net.waiting import DEADLINE, wait_until

PATIENT = Pace(DEADLINE, math.inf)


@contextmanager
def over_tcp() -> Iterator[tuple[socket.socket, Connection]]:
    """A client's socket with a small buffer, and the server's connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(DEADLINE)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        server.setblocking(False)
        connection = Connection(server, ("127.0.0.1", "1"), never, buffers())
        try:
            yield client, connection
        finally:
            connection.close()


# Receiving.


def test_what_is_there_costs_no_time():
    with connected(buffers()) as (client, connection):
        client.send(b"abcdef")
        assert connection.receive(4, Pace(5.0, 0.0), 3.0) == (b"abcd", 3.0)
        assert connection.receive(4, Pace(5.0, 0.0), 3.0) == (b"ef", 3.0)


@pytest.mark.parametrize(
    ("pace", "left", "after"),
    [
        (Pace(5.0, 0.1), 3.0, 3.4),
        (Pace(5.0, 0.1), 4.9, 5.0),
        (Pace(5.0, math.inf), 0.5, 5.0),
        (Pace(math.inf), math.inf, math.inf),
    ],
)
def test_each_byte_earns_its_share_and_never_more_than_there_may_be(pace: Pace, left: float, after: float):
    with connected(buffers()) as (client, connection):
        client.send(b"abcd")
        data, remaining = connection.receive(4, pace, left)
        assert data == b"abcd"
        assert remaining == pytest.approx(after)


@pytest.mark.parametrize("pace", [Pace(DEADLINE, 0.0), Pace(math.inf)])
def test_the_wait_ends_when_something_comes_and_costs_its_time(pace: Pace):
    with connected(buffers()) as (client, connection):
        got: list[tuple[bytes, float]] = []
        thread = threading.Thread(target=lambda: got.append(connection.receive(9, pace, pace.most)))
        before = time.monotonic()
        thread.start()
        thread.join(0.05)
        assert got == []
        client.send(b"abc")
        thread.join(DEADLINE)
        [(data, left)] = got
        assert data == b"abc"
        if pace.most == math.inf:
            assert left == math.inf
        else:
            assert pace.most - (time.monotonic() - before) <= left <= pace.most - 0.04


def test_nothing_in_time_is_408():
    with connected(buffers()) as (_, connection):
        before = time.monotonic()
        with pytest.raises(RequestBodyError, match="in time") as raised:
            connection.receive(9, Pace(DEADLINE, math.inf), 0.05)
        assert raised.value.status == 408
        assert 0.05 <= time.monotonic() - before < DEADLINE


def test_too_little_is_408_although_something_comes():
    with connected(buffers()) as (client, connection):
        client.send(b"abc")
        with pytest.raises(RequestBodyError, match="slowly") as raised:
            connection.receive(9, Pace(5.0, 0.001), -0.01)
        assert raised.value.status == 408


def test_the_end_of_the_stream_is_empty_and_a_reset_a_client_that_is_gone():
    with connected(buffers()) as (client, connection):
        client.send(b"abc")
        client.shutdown(socket.SHUT_WR)
        assert connection.receive(9, PATIENT, 1.0)[0] == b"abc"
        assert connection.receive(9, PATIENT, 1.0) == (b"", 1.0)
    with over_tcp() as (client, connection):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ClientGone):
            connection.receive(9, PATIENT, 1.0)


def test_a_connection_that_is_cut_under_its_reader_ends_the_wait():
    with connected(buffers()) as (_, connection):
        got: list[bytes] = []

        def read() -> None:
            with suppress(ClientGone):
                got.append(connection.receive(9, PATIENT, DEADLINE)[0])

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(0.02)
        connection.cut(abruptly=True)
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert got in ([], [b""])


# What the client has taken.


def fill(connection: Connection, size: int = 8_000_000) -> None:
    """Send more than the kernel takes, and flush until it takes no more."""
    connection.send_all([bytes(size)])
    while connection.flush():
        continue
    connection.taken()


def confirmed_by_reading(client: socket.socket, connection: Connection, size: int) -> int:
    """How many bytes count as taken after the client has read `size`, as soon as some do."""
    received = 0
    while received < size:
        received += len(client.recv(size - received))
    return wait_until(connection.taken, "the client's confirmation")


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux tells what a client has confirmed")
def test_what_a_client_reads_out_of_the_kernels_buffer_counts_as_taken():
    with over_tcp() as (client, connection):
        fill(connection)
        assert connection.taken() == 0
        taken = confirmed_by_reading(client, connection, 60_000)
        assert 0 < taken <= 60_000 + 8192
        assert connection.outbox is not None
        before = connection.outbox.size
        with contextlib.suppress(AssertionError):
            wait_until(connection.taken, "what is still on its way", timeout=0.05)
        assert connection.taken() == 0
        assert connection.outbox.size == before


@pytest.mark.parametrize("piece", [100, 4000, 100_000])
def test_a_client_never_counts_as_having_given_back_what_it_took(piece: int):
    with connected(buffers(memory=10_000_000), small=False) as (client, connection):
        for _ in range(3_000_000 // piece):
            connection.send(bytes(piece))
        while connection.flush():
            continue
        connection.taken()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while client.recv(65536):
                continue
        assert connection.taken() > 0
        assert connection.flush() > 0
        assert connection.taken() >= 0


# Whether it is still there.


def test_an_end_soon_after_the_request_is_no_farewell():
    with connected(buffers()) as (_, connection):
        connection.queued_at = time.monotonic()
        connection.note_end(broken=False)
        assert not connection.gone
        assert not connection.client_disconnected()


def test_an_end_later_and_a_broken_connection_are():
    for broken, seconds in ((False, HALF_CLOSE + 0.1), (True, 0.0)):
        with connected(buffers()) as (client, connection):
            connection.queued_at = time.monotonic() - seconds
            if broken:
                client.close()
            else:
                client.shutdown(socket.SHUT_WR)
            connection.note_end(broken=broken)
            assert connection.gone
            assert connection.client_disconnected()


def test_what_is_reported_of_an_earlier_connection_of_this_number_is_not_believed():
    with connected(buffers()) as (_, connection):
        connection.note_end(broken=True)
        assert not connection.gone


def test_an_end_behind_bytes_that_were_not_read_is_none_yet():
    with connected(buffers()) as (client, connection):
        connection.queued_at = time.monotonic() - HALF_CLOSE - 0.1
        client.sendall(b"GET")
        client.shutdown(socket.SHUT_WR)
        connection.note_end(broken=False)
        assert not connection.gone


def test_where_nobody_tells_the_connection_looks_for_the_end_itself():
    with connected(buffers()) as (client, connection):
        connection.buffers.peeks = True
        connection.queued_at = time.monotonic() - HALF_CLOSE - 0.1
        assert not connection.client_disconnected()
        client.send(b"the next request")
        assert not connection.client_disconnected()
        assert connection.recv(100) == b"the next request"
        client.shutdown(socket.SHUT_WR)
        assert connection.client_disconnected()
        connection.queued_at = time.monotonic()
        assert not connection.client_disconnected()


def test_where_nobody_tells_a_reset_is_seen_at_once():
    with over_tcp() as (client, connection):
        connection.buffers.peeks = True
        connection.queued_at = time.monotonic()
        assert not connection.client_disconnected()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert wait_until(connection.client_disconnected, "the reset")


# How many threads may wait.


def small(waiters: int, patience: float = DEADLINE) -> Buffers:
    """No more than 20 kB are kept for an answer, unless too many threads wait already."""
    return Buffers(memory=1000, most=20_000, pace=Pace(patience, math.inf), waiters=waiters)


def test_where_no_thread_may_wait_more_is_kept_instead():
    with connected(small(0)) as (client, connection):
        connection.send(b"x" * 200_000)
        assert connection.outbox is not None
        assert connection.outbox.size > 20_000
        assert drain(client, connection, 200_000) == b"x" * 200_000


def send_in_thread(connection: Connection, results: list[BaseException | None]) -> threading.Thread:
    def send() -> None:
        try:
            connection.send(b"x" * 200_000)
        except ClientGone as error:
            results.append(error)
        else:
            results.append(None)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("end", ["reads", "leaves"])
def test_one_waits_and_others_go_on_and_the_place_is_free_again_however_the_wait_ends(end: str):
    kept = small(1)
    assert kept.waiters is not None
    results: list[BaseException | None] = []
    with connected(kept) as (client, connection), connected(kept) as (other, second):
        thread = send_in_thread(connection, results)
        wait_until(lambda: not place_is_free(kept), "the first thread to wait")
        second.send(b"x" * 200_000)  # in this thread, which does not wait
        assert second.outbox is not None
        assert second.outbox.size > 20_000
        if end == "reads":
            assert read_until(client, lambda: bool(results)) > 100_000
        else:
            client.close()
        thread.join(DEADLINE)
        assert isinstance(results[0], ClientGone) == (end == "leaves")
        assert place_is_free(kept)
        assert other.recv(1) == b"x"


def place_is_free(kept: Buffers) -> bool:
    assert kept.waiters is not None
    free = kept.waiters.acquire(blocking=False)
    if free:
        kept.waiters.release()
    return free


def read_until(client: socket.socket, done: Callable[[], bool]) -> int:
    """Read as a client until `done`, and return how many bytes."""
    client.setblocking(False)
    size = 0

    def read() -> bool:
        nonlocal size
        with contextlib.suppress(BlockingIOError):
            size += len(client.recv(4096))
        return done()

    wait_until(read, "the thread to go on")
    return size
