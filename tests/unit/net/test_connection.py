"""A connection: reading, sending in parts, keeping what the client does not take, and the wait for it."""

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import ClientGone
from greenhorn.net.connection import IOV_MAX, Connection
from greenhorn.net.state import State
from unit.net.sockets import buffers, connected, drain, open_files
from unit.net.waiting import DEADLINE, wait_until


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


# Reading.


def test_nothing_there_is_none_and_the_end_is_empty():
    with connected(buffers()) as (client, connection):
        assert connection.recv(10) is None
        client.send(b"abc")
        assert connection.recv(2) == b"ab"
        assert connection.recv(10) == b"c"
        client.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""


@pytest.mark.parametrize("act", [lambda c: c.recv(1), lambda c: c.send(b"x"), lambda c: c.send_all([b"x", b"y"])])
def test_a_reset_is_a_client_that_is_gone(act: Callable[[Connection], object]):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    server.setblocking(False)
    connection = Connection(server, None, lambda _connection, _service: State.CLOSED, buffers())
    try:
        with pytest.raises(ClientGone):
            act(connection)
    finally:
        connection.close()


def test_what_is_left_to_a_client_that_is_gone_says_so():
    with connected(buffers()) as (client, connection):
        connection.send(b"x" * 500_000)
        client.close()
        with pytest.raises(ClientGone):
            connection.flush()


# Sending.


def test_what_the_socket_takes_is_sent_at_once_and_nothing_is_kept():
    with connected(buffers(), small=False) as (client, connection):
        connection.send(b"abc")
        connection.send_all([b"de", b"", b"f"])
        assert connection.outbox is None
        assert receive(client, 6) == b"abcdef"


def test_parts_keep_their_order_across_memory_file_and_held_parts(tmp_path: Path):
    parts = [bytes([65 + number]) * size for number, size in enumerate((9000, 400, 500, 5000, 10, 70_000))]
    file = tmp_path / "file"
    file.write_bytes(b"F" * 30_000)
    with connected(buffers(memory=1000, folder=tmp_path)) as (client, connection), file.open("rb") as opened:
        for part in parts:
            connection.send(part)
        connection.send_all([b"v" * 40_000, b"", b"w" * 3])
        region = connection.measure(opened)
        assert region is not None
        connection.send_file(region)
        connection.send(b"!")
        expected = b"".join(parts) + b"v" * 40_000 + b"www" + b"F" * 30_000 + b"!"
        assert connection.outbox is not None
        assert drain(client, connection, len(expected)) == expected
        connection.flush()
        assert connection.outbox is None
        assert connection.outbox is None


def test_more_parts_than_one_system_call_takes_are_all_sent():
    parts = [b"%d," % number for number in range(3 * IOV_MAX + 7)]
    for small in (True, False):
        with connected(buffers(), small=small) as (client, connection):
            connection.send_all([*parts, b""])
            expected = b"".join(parts)
            assert drain(client, connection, len(expected)) == expected
            connection.flush()
        assert connection.outbox is None


def test_a_socket_that_takes_half_of_a_part_gets_the_other_half_later():
    with connected(buffers()) as (client, connection):
        parts = [bytes([number % 256]) * 3333 for number in range(50)]
        connection.send_all(parts)
        assert connection.outbox is not None
        assert 0 < connection.outbox.size < sum(map(len, parts))
        connection.flush()
        assert connection.outbox is not None
        expected = b"".join(parts)
        assert drain(client, connection, len(expected)) == expected


operations = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 9000)),
        st.tuples(st.just("send_all"), st.lists(st.integers(0, 4000), min_size=1, max_size=6)),
        st.tuples(st.just("send_file"), st.tuples(st.integers(0, 500), st.integers(0, 9000))),
        st.tuples(st.just("read"), st.integers(1, 12_000)),
        st.tuples(st.just("flush"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(steps=operations, memory=st.sampled_from([0, 100, 3000, 10**6]))
def test_a_client_that_reads_when_and_what_it_likes_gets_every_byte_in_order(
    steps: list[tuple[str, object]], memory: int
):
    expected, got = bytearray(), bytearray()

    def fresh(size: int) -> bytes:
        start = len(expected)
        data = bytes((start + at) * 7919 % 251 for at in range(size))
        expected.extend(data)
        return data

    with connected(buffers(memory=memory)) as (client, connection):
        client.setblocking(False)
        for step, value in steps:
            if step == "send":
                connection.send(fresh(value))  # type: ignore[arg-type]
            elif step == "send_all":
                connection.send_all([fresh(size) for size in value])  # type: ignore[attr-defined]
            elif step == "send_file":
                before, size = value  # type: ignore[misc]
                with tempfile.TemporaryFile() as file:
                    file.write(b"-" * before + fresh(size))
                    file.seek(before)
                    region = connection.measure(file)
                    assert region is not None
                    assert region.count == size
                    connection.send_file(region)
            elif step == "read":
                try:
                    got += client.recv(value)  # type: ignore[call-overload]
                except BlockingIOError:
                    continue
            else:
                connection.flush()
        got += drain(client, connection, len(expected) - len(got))
        assert got == expected
        connection.flush()
        assert connection.outbox is None
        assert connection.outbox is None


# The wait for a client that is far behind.


def test_the_thread_goes_on_while_no_more_is_kept_than_may_be(tmp_path: Path):
    with connected(buffers(memory=1000, most=300_000, folder=tmp_path)) as (_, connection):
        for _ in range(10):
            connection.send(b"x" * 30_000)
        assert connection.outbox is not None
        assert connection.outbox.size <= 300_000


def test_the_thread_waits_when_too_much_is_kept_and_goes_on_when_the_client_reads():
    sent = threading.Event()
    with connected(buffers(memory=1000, most=20_000)) as (client, connection):

        def send() -> None:
            connection.send(b"x" * 200_000)
            sent.set()

        thread = threading.Thread(target=send)
        thread.start()
        assert not sent.wait(0.05)
        client.setblocking(False)
        got = 0

        def read_until_sent() -> bool:
            nonlocal got
            with contextlib.suppress(BlockingIOError):
                got += len(client.recv(4096))
            return sent.is_set()

        wait_until(read_until_sent, "the thread to go on")
        thread.join(DEADLINE)
        assert got > 50_000
        assert connection.outbox is None or connection.outbox.size <= 20_000
        assert len(drain(client, connection, 200_000 - got)) == 200_000 - got


def test_a_client_that_does_not_read_for_too_long_is_gone():
    with connected(buffers(memory=1000, most=20_000, patience=0.05)) as (_, connection):
        began = time.monotonic()
        with pytest.raises(ClientGone, match="stopped reading"):
            connection.send(b"x" * 200_000)
        assert 0.04 < time.monotonic() - began < DEADLINE


def test_a_client_that_reads_slowly_but_reads_is_waited_for():
    patience = 0.6
    with connected(buffers(memory=1000, most=10_000, patience=patience)) as (client, connection):
        thread = threading.Thread(target=lambda: connection.send(b"x" * 700_000))
        began = time.monotonic()
        thread.start()
        got = 0
        while thread.is_alive():
            got += len(client.recv(10_000))
            threading.Event().wait(0.015)  # a pause of the client: all of them are longer than the patience
        thread.join(DEADLINE)
        assert time.monotonic() - began > patience
        assert got + len(drain(client, connection, 700_000 - got)) == 700_000


def test_a_client_that_leaves_while_it_is_waited_for_is_gone():
    failures: list[BaseException] = []
    with connected(buffers(memory=1000, most=20_000)) as (client, connection):

        def send() -> None:
            try:
                connection.send(b"x" * 200_000)
            except ClientGone as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: connection.outbox is not None and connection.outbox.size > 20_000, "the full outbox")
        client.close()
        thread.join(DEADLINE)
        assert len(failures) == 1


# The end.


def test_shutting_ends_the_stream_and_may_be_done_to_a_client_that_is_gone():
    with connected(buffers()) as (client, connection):
        connection.shut()
        assert client.recv(1) == b""
        connection.close()
        connection.shut()


def test_closing_gives_files_back_whatever_was_kept(tmp_path: Path):
    before = open_files()
    file = tmp_path / "file"
    file.write_bytes(b"F" * 300_000)
    with connected(buffers(memory=10, folder=tmp_path)) as (_, connection):
        connection.send(b"x" * 300_000)
        with file.open("rb") as opened:
            region = connection.measure(opened)
            assert region is not None
            connection.send_file(region)
        connection.send(b"x" * 300_000)
        assert len(open_files()) == len(before) + 3
        connection.close()
        assert open_files() == before
        connection.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_regular_file_is_not_measured(tmp_path: Path):
    with connected(buffers()) as (client, connection), connected(buffers(kernel=False)) as (_, without):
        assert connection.measure(BytesIO(b"abc")) is None
        assert connection.measure(client) is None
        assert connection.measure(None) is None
        (tmp_path / "file").write_bytes(b"abc")
        with (tmp_path / "file").open("rb") as opened:
            assert without.measure(opened) is None
        assert connection.measure(opened) is None
