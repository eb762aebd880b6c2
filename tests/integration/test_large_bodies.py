"""200 MiB in either direction arrive whole, and the worker's memory stays where it was."""

import hashlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import Server, StartServer

MIB = 1024 * 1024
SIZE = 200 * MIB
PIECE = 64 * 1024
THREADS = 4
ALLOWED_GROWTH = 32 * MIB
Curl = Callable[..., Answer]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak memory of a process is read from /proc"
)


def pieces() -> Iterator[bytes]:
    """What /big?mib=200 sends: pieces of 64 KiB that each begin with their number."""
    rest = bytes(range(256)) * (PIECE // 256)
    return (number.to_bytes(8, "big") + rest[8:] for number in range(SIZE // PIECE))


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with the bytes of pieces(); removed at once, since pytest keeps its folders for a while."""
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        file.writelines(pieces())
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def digest() -> str:
    """The SHA-256 of pieces()."""
    whole = hashlib.sha256()
    for piece in pieces():
        whole.update(piece)
    return whole.hexdigest()


@pytest.fixture
def site(server: StartServer, large_file: Path) -> Server:
    return server("wsgi_app", "--threads", str(THREADS), env={"EXAMPLE_FILE": str(large_file)})


def peak_memory(pid: int) -> int:
    """Return the most memory that the process has ever had, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


@contextmanager
def bounded_memory(site: Server) -> Iterator[None]:
    """Warm the worker up, and assert that what happens inside neither makes it grow nor replaces it."""
    with site.client() as client:
        client.put("/sha256", content=bytes(PIECE))
        client.get("/big?mib=1")
    worker = site.worker_pid()
    before = peak_memory(worker)
    yield
    assert site.worker_pid() == worker
    growth = peak_memory(worker) - before
    assert growth < ALLOWED_GROWTH, f"the worker grew by {growth / MIB:.1f} MiB"


def connect_with_a_small_buffer(site: Server) -> socket.socket:
    """Return a connection whose kernel takes little from the server while nobody reads."""
    connection = site.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
    return connection


def test_an_upload_with_its_length_arrives_whole(site: Server, curl: Curl, large_file: Path, digest: str):
    with bounded_memory(site):
        answer = curl("-T", str(large_file), f"{site.url}/sha256")
    assert (answer.status, answer.text) == (200, f"{digest} {SIZE}\n")


def test_a_chunked_upload_arrives_whole(site: Server, curl: Curl, large_file: Path, digest: str):
    with bounded_memory(site), large_file.open("rb") as source:
        answer = curl("-T", "-", f"{site.url}/sha256", stdin=source)
    assert (answer.status, answer.text) == (200, f"{digest} {SIZE}\n")


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("path", ["/big?mib=200", "/big?mib=200&length=1", "/file"])
def test_a_download_arrives_whole(site: Server, digest: str, path: str):
    command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "50", f"{site.url}{path}"]
    with bounded_memory(site), subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        received = hashlib.file_digest(process.stdout, "sha256").hexdigest()
    assert (process.returncode, received) == (0, digest)


@pytest.mark.parametrize("path", ["/big?mib=200", "/file"])
def test_a_download_by_a_client_that_reads_slowly_at_first_arrives_whole(site: Server, digest: str, path: str):
    with bounded_memory(site), site.client() as other, connect_with_a_small_buffer(site) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reader = AnswerReader(connection)
        answer = reader.begin()
        received, length = hashlib.sha256(), 0
        for _ in range(200):  # 512 bytes in the time of one whole request of somebody else
            received.update(answer.read(512))
            length += 512
            assert other.get("/").status_code == 200
        while data := answer.read(MIB):
            received.update(data)
            length += len(data)
        assert (received.hexdigest(), length) == (digest, SIZE)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reader.read().status == 200


def test_more_unread_downloads_than_threads_hold_nobody_up(site: Server):
    with bounded_memory(site), site.client() as other:
        for _ in range(THREADS + 2):
            connection = connect_with_a_small_buffer(site)
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert AnswerReader(connection).begin().status == 200
        assert other.get("/").status_code == 200


def test_more_unfinished_uploads_than_threads_hold_nobody_up(site: Server):
    with bounded_memory(site), site.client() as other:
        begun = [site.connect() for _ in range(THREADS + 2)]
        for connection in begun:
            connection.sendall(b"PUT /sha256 HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            connection.sendall(bytes(2_999_999))
        assert other.get("/").status_code == 200
        for connection in begun:
            connection.sendall(b"\0")
            answer = AnswerReader(connection).read("PUT")
            assert answer.text == f"{hashlib.sha256(bytes(3_000_000)).hexdigest()} 3000000\n"
