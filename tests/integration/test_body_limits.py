"""How much clients may send and leave unread: in a body, in temporary files, in memory; and that all is given back.

With every worker class.
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import EVERY_KIND, USUAL
from integration.resources import NEEDS_PROC, memory, open_sockets, temporary_files
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.slow_clients import ask, is_reset_within
from integration.wire import connect, is_readable, receive_exactly, receive_head

pytestmark = EVERY_KIND

MIB = 1024 * 1024
GIB = 1024 * MIB
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
POST = b"POST /digest/x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ANSWER = 16 * MIB
"""What /generated sends."""
LAST = b"0\r\n\r\n"


def sized(length: int, extra: bytes = b"") -> bytes:
    """Return the head of a request with a body of so many bytes."""
    return POST + extra + b"Content-Length: %d\r\n\r\n" % length


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def upload(site: Server, size: int) -> Answer:
    """Send a body and return the answer, which may come before all is sent."""
    with connect(site) as connection:
        connection.sendall(sized(size))
        send_until_answered(connection, bytes(size))
        return AnswerReader(connection).read("POST")


def send_until_answered(connection: socket.socket, data: bytes) -> None:
    for at in range(0, len(data), 65536):
        if is_readable(connection, 0):
            return
        connection.sendall(data[at : at + 65536])


def digest(size: int) -> bytes:
    return f"{hashlib.sha256(bytes(size)).hexdigest()} {size}".encode()


def counted(site: Server, what: str) -> int:
    """Return how often it has happened, as the worker says when it is asked."""
    asked = site.log().count(" in flight, ")
    os.kill(site.worker_pid(), signal.SIGUSR2)
    wait_until(lambda: site.log().count(" in flight, ") > asked, what="the worker's counts")
    counts = site.log().rpartition(" in flight, ")[2].partition("\n")[0]
    return next((int(text.split()[0]) for text in counts.split("so far ")[-1].split(", ") if text.endswith(what)), 0)


# A body.


REFUSED = b"HTTP/1.1 413 "


@pytest.mark.parametrize(
    ("limit", "begins"),
    [
        (None, {GIB: CONTINUE, GIB + 1: REFUSED}),
        ("0", {GIB + 1: CONTINUE, 1 << 50: CONTINUE}),
        ("1000", {1000: CONTINUE, 1001: REFUSED}),
    ],
    ids=["default", "none", "1000"],
)
def test_a_length_beyond_the_limit_is_refused_before_the_body_is_asked_for(
    server: StartServer, applications: Path, limit: str | None, begins: dict[int, bytes]
):
    flags = () if limit is None else ("--limit-request-body", limit)
    site = server("uploads", *flags, pythonpath=(applications,))
    for length, expected in begins.items():
        with connect(site) as connection:
            connection.sendall(sized(length, b"Expect: 100-continue\r\n"))
            assert receive_head(connection).startswith(expected)
    assert "<x began>" not in site.log()


@NEEDS_PROC
def test_nothing_is_left_of_a_body_in_chunks_that_turns_out_too_large(server: StartServer, applications: Path):
    site = server("uploads", "--limit-request-body", str(MIB), pythonpath=(applications,))
    worker = site.worker_pid()
    with connect(site) as connection:
        connection.sendall(CHUNKED + 15 * chunk(bytes(65536)))
        wait_until(lambda: temporary_files(worker) == 1, what="the temporary file")
        connection.sendall(chunk(bytes(65536)))  # which is all that may be
        assert not is_readable(connection, 0.1)
        connection.sendall(b"1\r\nx\r\n")
        head = receive_head(connection)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert temporary_files(worker) == 0
        assert list(site.temporary.iterdir()) == []
        connection.setblocking(False)
        with suppress(OSError):  # as much as the server lets it
            for _ in range(20 * 16):
                connection.send(chunk(bytes(65536)))
        assert temporary_files(worker) == 0
    assert upload(site, 1000).body == digest(1000)
    assert site.log().count("<x began>") == 1


@pytest.fixture(scope="module")
def ordinary(module_server: StartServer, applications: Path) -> Server:
    return module_server("uploads", pythonpath=(applications,))


@pytest.mark.parametrize(("size", "count"), [(1, 4_000), (5, 100_000), (1000, 500)])
def test_small_chunks_pass_while_they_cost_little_more_than_they_carry(ordinary: Server, size: int, count: int):
    with connect(ordinary) as connection:
        connection.sendall(CHUNKED + chunk(bytes(size)) * count + b"0\r\n\r\n")
        assert AnswerReader(connection).read("POST").body == digest(size * count)


@pytest.mark.parametrize(("size", "count"), [(1, 16_385), (2, 21_846), (4, 65_537)])
def test_floods_of_small_chunks_are_refused(ordinary: Server, size: int, count: int):
    before = ordinary.log().count("<x began>")
    with connect(ordinary) as connection:
        connection.sendall(CHUNKED + chunk(bytes(size)) * count)
        assert AnswerReader(connection).read("POST").status == 400
    assert ordinary.log().count("<x began>") == before


# Temporary files.


@pytest.fixture
def scarce(server: StartServer, applications: Path) -> Server:
    """All bodies together may have 1 MB in files, and each 10 kB in memory."""
    flags = ("--tmp-files-max", "1000000", "--body-buffer-size", "10000", "--linger-timeout", "1")
    return server("uploads", *flags, pythonpath=(applications,))


@NEEDS_PROC
def test_a_body_for_which_there_is_no_room_is_503_and_the_others_go_on(scarce: Server):
    worker = scarce.worker_pid()
    with connect(scarce) as first:
        first.sendall(sized(600_000) + bytes(500_000))
        wait_until(lambda: temporary_files(worker) == 1, what="the temporary file")
        refused = upload(scarce, 600_000)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.headers["Connection"] == "close"
        assert temporary_files(worker) == 1
        first.sendall(bytes(100_000))
        assert AnswerReader(first).read("POST").body == digest(600_000)
    assert counted(scarce, "503 for want of room in temporary files") == 1
    for _ in range(3):  # an answer may be here before the file of its request is closed
        wait_until(lambda: temporary_files(worker) == 0, what="the end of the file")
        assert upload(scarce, 900_000).body == digest(900_000)


@NEEDS_PROC
def test_what_bodies_had_in_files_is_given_back_however_they_end(scarce: Server):
    worker = scarce.worker_pid()
    for ending in (b"zz\r\n", b"1\r\nx\r\n0\r\n\r\n", b""):
        with connect(scarce) as connection:
            connection.sendall(CHUNKED + chunk(bytes(900_000)))
            wait_until(lambda: temporary_files(worker) == 1, what="the temporary file")
            connection.sendall(ending)
            if ending:
                assert is_readable(connection, DEADLINE)
        wait_until(lambda: temporary_files(worker) == 0, what="the end of the file")
    assert upload(scarce, 1_000_000).body == digest(1_000_000)
    assert upload(scarce, 1_000_001).status == 503


def rest_of(connection: socket.socket) -> tuple[int, bytes]:
    """Read to the end or the reset; return how much came, and the last bytes."""
    size, last = 0, b""
    with connection, suppress(ConnectionResetError):
        while data := connection.recv(MIB):
            size += len(data)
            last = (last + data)[-5:]
    return size, last


@NEEDS_PROC
def test_the_answer_that_is_not_read_is_given_up_for_those_that_are(server: StartServer, applications: Path):
    site = server("uploads", "--tmp-files-max", str(33 * MIB), pythonpath=(applications,))
    worker = site.worker_pid()
    honest = ask(site, "/generated/honest")  # it began first, but nobody may go by that
    site.wait_for_log("<honest ended>")
    deaf = ask(site, "/generated/deaf")
    site.wait_for_log("<deaf ended>")
    assert temporary_files(worker) == 2
    for _ in range(35):
        assert not is_reset_within(deaf, 0.1)
        receive_exactly(honest, 20_000)
    third = ask(site, "/generated/third")
    assert is_reset_within(deaf, DEADLINE)
    site.wait_for_log("<third ended>")
    assert rest_of(third)[1] == LAST
    size, last = rest_of(honest)
    assert (size + 35 * 20_000 > ANSWER, last) == (True, LAST)
    assert rest_of(deaf)[0] < ANSWER
    assert counted(site, "answers given up since they were not read and tmp_files_max was reached") == 1
    wait_until(lambda: temporary_files(worker) == 0, what="the end of the files")


@NEEDS_PROC
def test_an_answer_for_which_no_room_can_be_made_waits_for_its_client(server: StartServer, applications: Path):
    flags = ("--tmp-files-max", str(20 * MIB), "--write-timeout", "0")  # nobody counts as slow
    site = server("uploads", *flags, pythonpath=(applications,))
    worker = site.worker_pid()
    first = ask(site, "/generated/first")
    site.wait_for_log("<first ended>")
    for name in ("second", "third"):
        size, last = rest_of(ask(site, f"/generated/{name}"))
        assert (size > ANSWER, last) == (True, LAST)
    size, last = rest_of(first)
    assert (size > ANSWER, last) == (True, LAST)
    wait_until(lambda: temporary_files(worker) == 0, what="the end of the first file")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_bodies_and_ends_answers_and_is_empty_afterwards(
    small_disk: Path, server: StartServer, applications: Path
):
    env = {"TMPDIR": str(small_disk)}
    site = server("uploads", "--linger-timeout", "1", pythonpath=(applications,), env=env, allow_traceback=True)
    empty = free(small_disk)
    for cut in range(1, 3):
        assert upload(site, 6 * MIB).status == 500
        wait_until(lambda: free(small_disk) == empty, what="the space of the body")
        unread = ask(site, "/generated/cut")
        wait_until(lambda cut=cut: site.log().count("cannot keep the answer") == cut, what="the answer's end")
        size, last = rest_of(unread)
        assert (size < ANSWER, last == LAST) == (True, False)
        wait_until(lambda: free(small_disk) == empty, what="the space of the answer")
        assert upload(site, 3 * MIB).body == digest(3 * MIB)
    assert "cannot keep a request's body" in site.log()


def free(folder: Path) -> int:
    """Return how many bytes fit on the file system of the folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


# Memory.


@NEEDS_PROC
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="what was not read is seen in /proc/net/tcp")
def test_the_bodies_of_many_connections_keep_little_memory_together(server: StartServer, applications: Path, kind: str):
    crowds = [Crowd(server, applications, kind, 60 * 1024), Crowd(server, applications, kind, 160 * 1024)]
    for crowd in crowds:
        crowd.stall()
    for crowd in crowds:
        crowd.leave()


class Crowd:
    """200 clients of one worker with a body each, of which they keep the last byte back."""

    def __init__(self, server: StartServer, applications: Path, kind: str, size: int) -> None:
        self._kind = kind
        self._size = size
        flags = ("--body-timeout", "4", "--linger-timeout", "1")
        self._site = server("uploads", *flags, pythonpath=(applications,))
        self._worker = self._site.worker_pid()
        self._sockets = open_sockets(self._worker)
        assert upload(self._site, MIB).body == digest(MIB)
        wait_until(lambda: open_sockets(self._worker) == self._sockets, what="the end of the first connection")
        self._memory = memory(self._worker)
        self._clients: list[socket.socket] = []

    @property
    def growth(self) -> int:
        return memory(self._worker) - self._memory

    def stall(self) -> None:
        self._clients = [connect(self._site) for _ in range(200)]
        for connection in self._clients:
            connection.sendall(sized(self._size + 1) + bytes(self._size))
        wait_until(lambda: not unread(self._site), what="the bodies to be read")
        assert self.growth < 24 * MIB, f"the worker grew by {self.growth / MIB:.1f} MiB"
        assert open_sockets(self._worker) == self._sockets + len(self._clients)

    def leave(self) -> None:
        for connection in self._clients:
            assert AnswerReader(connection).read("POST").status == 408
        wait_until(lambda: open_sockets(self._worker) == self._sockets, what="the end of the connections")
        assert temporary_files(self._worker) == 0
        if self._kind == USUAL:  # with the others it depends on where in the heap their coroutines and greenlets are
            wait_until(lambda: self.growth < 6 * MIB, what="the memory")
        assert upload(self._site, MIB).body == digest(MIB)


@NEEDS_PROC
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="what was not read is seen in /proc/net/tcp")
def test_what_is_pipelined_behind_bodies_and_waits_keeps_little_memory(server: StartServer, applications: Path):
    site = server("uploads", pythonpath=(applications,))
    worker = site.worker_pid()
    assert upload(site, MIB).body == digest(MIB)
    rest_of(ask(site, "/large/x"))
    before = memory(worker)
    body = chunk(bytes(5)) + b"0\r\n\r\n"
    following = b"GET /large/x HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /unread/x HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    waiting = [connect(site) for _ in range(400)]
    for connection in waiting:
        connection.sendall(CHUNKED)
        connection.setblocking(False)
    wait_until(lambda: not unread(site), what="the heads to be read")
    site.pause(worker)  # so that all comes at once
    for connection in waiting:
        connection.send(body + following)
        connection.settimeout(DEADLINE)
    os.kill(worker, signal.SIGCONT)
    for connection in waiting:
        assert AnswerReader(connection).read("POST").body == digest(5)
    growth = memory(worker) - before
    assert growth < 48 * MIB, f"the worker grew by {growth / MIB:.1f} MiB"


def unread(site: Server) -> int:
    """Return how many bytes the kernel keeps that the server has not read."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(int(fields[4].partition(":")[2], 16) for fields in lines if fields[1].endswith(f":{site.port:04X}"))
