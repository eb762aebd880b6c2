"""Clients that are silent, stop half-way or do not read cost no thread, and not much memory, with every class."""

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import BUSY, EVERY_KIND, differs, keeps_connections
from integration.running import Server, StartServer, wait_until
from integration.wire import connect, receive_exactly, receive_head

pytestmark = EVERY_KIND
MIB = 1024 * 1024
SIZE = 32 * MIB
ALLOWED_GROWTH = 24 * MIB
"""Ten clients may have 64 KiB each in memory; the rest is what Python and its allocator keep for pieces in flight."""
UNREAD = 10
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALVES = {
    "silent": b"",
    "half a head": GET[:-2],
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
}


@pytest.fixture
def site(server: StartServer, applications: Path, tmp_path: Path) -> Server:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(SIZE)
    return server("holding", "--threads", "2", pythonpath=(applications,), env={"LARGE": str(tmp_path / "large")})


def assert_served_within_a_second(site: Server) -> None:
    began = time.monotonic()
    assert site.request(GET).status == 200
    assert time.monotonic() - began < 1.0


def memory(pid: int) -> int:
    """Return how much memory the process has, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def open_sockets(pid: int) -> int:
    """Return how many sockets the process has."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            count += str(fd.readlink()).startswith("socket:")
    return count


def connect_without_reading(site: Server, path: str) -> socket.socket:
    """Ask for a large answer and read its head only."""
    connection = connect(site)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def test_thirty_clients_of_each_kind_that_let_the_server_wait_hold_nobody_up(site: Server):
    waiting = [(connect(site), half) for half in HALVES.values() for _ in range(30)]
    for connection, half in waiting:
        connection.sendall(half)
    for _ in range(5):
        assert_served_within_a_second(site)
    for connection, half in waiting:
        if half.startswith(b"POST"):
            connection.sendall(b" more")
        else:
            connection.sendall(GET[len(half) :])
        assert AnswerReader(connection).read().status == 200


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("path", ["/list", "/generator", "/file"])
def test_clients_that_do_not_read_hold_nobody_up_and_cost_little_memory(site: Server, path: str, kind: str):
    assert_served_within_a_second(site)
    worker = site.worker_pid()
    before = memory(worker)
    unread = [connect_without_reading(site, path) for _ in range(UNREAD)]
    heads = [receive_head(connection) for connection in unread]
    for _ in range(5):
        assert_served_within_a_second(site)
    growth = memory(worker) - before
    assert growth < ALLOWED_GROWTH, f"the worker grew by {growth / MIB:.1f} MiB"
    for connection, head in zip(unread, heads, strict=True):
        assert body_size(connection, head) == SIZE
        if keeps_connections(kind):
            connection.sendall(GET)
            assert receive_head(connection).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.close()
    assert site.worker_pid() == worker


def test_clients_that_leave_in_the_midst_of_their_answers_hold_nobody_up(site: Server):
    worker = site.worker_pid()
    for _ in range(10):
        with ExitStack() as leaving:
            for _ in range(6):
                receive_head(leaving.enter_context(connect_without_reading(site, "/file")))
        assert_served_within_a_second(site)
    assert site.worker_pid() == worker


def body_size(connection: socket.socket, head: bytes) -> int:
    """Read a body of the large answer, whose bytes are all zero, and return its size."""
    size = 0
    if b"Content-Length" in head:
        while size < SIZE:
            size += len(connection.recv(min(MIB, SIZE - size)))
        return size
    while length := int(receive_line(connection), 16):
        size += length
        left = length + 2
        while left:
            left -= len(connection.recv(min(MIB, left)))
    assert receive_line(connection) == b""
    return size


def receive_line(connection: socket.socket) -> bytes:
    """Return the bytes up to the next CRLF, without it."""
    line = bytearray()
    while not line.endswith(b"\r\n"):
        data = connection.recv(1)
        assert data
        line += data
    return bytes(line[:-2])


def receive_what_is_left(connection: socket.socket) -> int:
    """Read until the server's end or its reset, and return the number of bytes."""
    received = 0
    with suppress(ConnectionResetError):
        while data := connection.recv(MIB):
            received += len(data)
    return received


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open sockets are seen in /proc")
def test_clients_that_do_not_read_for_too_long_are_given_up(server: StartServer, applications: Path, tmp_path: Path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(SIZE)
    env = {"LARGE": str(tmp_path / "large")}
    site = server("holding", "--write-timeout", "1", pythonpath=(applications,), env=env)
    worker = site.worker_pid()
    before = open_sockets(worker)
    unread = [connect_without_reading(site, path) for path in ("/list", "/generator", "/file")]
    for connection in unread:
        receive_head(connection)
    assert open_sockets(worker) == before + len(unread)
    wait_until(lambda: open_sockets(worker) == before, what="the end of the connections")
    for connection in unread:
        assert receive_what_is_left(connection) < SIZE
    assert_served_within_a_second(site)


def small_buffers(server: StartServer, applications: Path, threads: int) -> Server:
    return server(
        "holding",
        *("--threads", str(threads)),
        *("--response-buffer-max", str(4 * MIB)),
        *("--write-timeout", "1"),
        pythonpath=(applications,),
    )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open sockets are seen in /proc")
def test_more_than_is_kept_for_a_client_waits_with_its_thread(server: StartServer, applications: Path):
    site = small_buffers(server, applications, 2)
    before = open_sockets(site.worker_pid())
    with connect_without_reading(site, "/generator") as connection:
        receive_head(connection)
        assert_served_within_a_second(site)
        wait_until(lambda: open_sockets(site.worker_pid()) == before, what="the end of the connection")
        assert receive_what_is_left(connection) < 16 * MIB


def test_no_more_than_half_of_the_threads_wait_for_clients(server: StartServer, applications: Path):
    site = small_buffers(server, applications, 2)
    connections = [connect_without_reading(site, "/generator") for _ in range(4)]
    for connection in connections:
        receive_head(connection)
        assert_served_within_a_second(site)


def test_the_only_thread_waits_for_no_client(server: StartServer, applications: Path):
    site = small_buffers(server, applications, 1)
    with connect_without_reading(site, "/generator") as connection:
        receive_head(connection)
        assert_served_within_a_second(site)


BLOCKS = """
import os
import select

def application(environ, start_response):
    start_response("200 OK", [])
    yield bytes(8_000_000)
    gate = os.open(os.environ["GATE"], os.O_RDWR)
    select.select([gate], [], [])
    os.close(gate)
    yield b"end"
"""


@differs("sync", row=BUSY)
def test_a_block_is_sent_although_the_application_goes_on_and_the_client_did_not_keep_up(
    server: StartServer, gate: Path
):
    site = server(app_source=BLOCKS, env={"GATE": str(gate)})
    with connect_without_reading(site, "/") as connection:
        assert receive_head(connection).startswith(b"HTTP/1.1 200 ")
        assert receive_line(connection) == b"7a1200"
        assert receive_exactly(connection, 8_000_002) == bytes(8_000_000) + b"\r\n"
        gate.write_bytes(b"!")
        assert receive_exactly(connection, 13) == b"3\r\nend\r\n0\r\n\r\n"


FEW_DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"served"]
"""


def test_silent_clients_make_room_where_descriptors_run_out(server: StartServer):
    site = server(app_source=FEW_DESCRIPTORS)
    with ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(connect(site))
        assert_served_within_a_second(site)
