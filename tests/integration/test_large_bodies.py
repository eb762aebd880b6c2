"""200 MiB in either direction arrive whole, and the worker's memory stays where it was.

Every worker class; those beside the usual one have 80 MiB to carry, which is more than they may keep.
"""

import hashlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import EVERY_KIND, USUAL, keeps_connections
from integration.running import Server, StartServer

MIB = 1024 * 1024
PIECE = 64 * 1024
THREADS = 4
ALLOWED_GROWTH = 32 * MIB
Curl = Callable[..., Answer]

pytestmark = [
    EVERY_KIND,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="the peak memory of a process is read from /proc"
    ),
]


@pytest.fixture(scope="module")
def size(kind: str) -> int:
    """How many bytes are sent in one direction."""
    return (200 if kind == USUAL else 80) * MIB


def pieces(size: int) -> Iterator[bytes]:
    """What /big sends of that size: pieces of 64 KiB that each begin with their number."""
    rest = bytes(range(256)) * (PIECE // 256)
    return (number.to_bytes(8, "big") + rest[8:] for number in range(size // PIECE))


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory, size: int) -> Iterator[Path]:
    """A file with the bytes of pieces(); removed at once, since pytest keeps its folders for a while."""
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        file.writelines(pieces(size))
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def digest(size: int) -> str:
    """The SHA-256 of pieces()."""
    whole = hashlib.sha256()
    for piece in pieces(size):
        whole.update(piece)
    return whole.hexdigest()


@pytest.fixture(scope="module")
def site(module_server: StartServer, large_file: Path) -> Server:
    return module_server("wsgi_app", "--threads", str(THREADS), env={"EXAMPLE_FILE": str(large_file)})


def peak_memory(pid: int) -> int:
    """Return the most memory that the process has ever had, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def forget_peak_memory(pid: int) -> None:
    """Let the most memory that the process has ever had be what it has now."""
    with suppress(OSError):  # of kernels that do not know it: then only what exceeds earlier tests is seen
        Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def bounded_memory(site: Server) -> Iterator[None]:
    """Warm the worker up, and assert that what happens inside neither makes it grow nor replaces it."""
    with site.client() as client:
        client.put("/sha256", content=bytes(PIECE))
        client.get("/big?mib=1")
    worker = site.worker_pid()
    forget_peak_memory(worker)
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


def test_an_upload_with_its_length_arrives_whole(site: Server, curl: Curl, large_file: Path, digest: str, size: int):
    with bounded_memory(site):
        answer = curl("-T", str(large_file), f"{site.url}/sha256")
    assert (answer.status, answer.text) == (200, f"{digest} {size}\n")


def test_a_chunked_upload_arrives_whole(site: Server, curl: Curl, large_file: Path, digest: str, size: int):
    with bounded_memory(site), large_file.open("rb") as source:
        answer = curl("-T", "-", f"{site.url}/sha256", stdin=source)
    assert (answer.status, answer.text) == (200, f"{digest} {size}\n")


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("path", ["/big?", "/big?length=1", "/file?"])
def test_a_download_arrives_whole(site: Server, digest: str, path: str, size: int):
    path += f"&mib={size // MIB}"
    command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "50", f"{site.url}{path}"]
    with bounded_memory(site), subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        received = hashlib.file_digest(process.stdout, "sha256").hexdigest()
    assert (process.returncode, received) == (0, digest)


@pytest.mark.parametrize("path", ["/big?", "/file?"])
def test_a_download_by_a_client_that_reads_slowly_at_first_arrives_whole(
    site: Server, digest: str, path: str, size: int, kind: str
):
    path += f"&mib={size // MIB}"
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
        assert (received.hexdigest(), length) == (digest, size)
        if keeps_connections(kind):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.read().status == 200


def test_more_unread_downloads_than_threads_hold_nobody_up(site: Server):
    with bounded_memory(site), site.client() as other, ExitStack() as unread:
        for _ in range(THREADS + 2):
            connection = unread.enter_context(connect_with_a_small_buffer(site))
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert AnswerReader(connection).begin().status == 200
        assert other.get("/").status_code == 200


def test_more_unfinished_uploads_than_threads_hold_nobody_up(site: Server):
    with bounded_memory(site), site.client() as other, ExitStack() as unfinished:
        begun = [unfinished.enter_context(site.connect()) for _ in range(THREADS + 2)]
        for connection in begun:
            connection.sendall(b"PUT /sha256 HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            connection.sendall(bytes(2_999_999))
        assert other.get("/").status_code == 200
        for connection in begun:
            connection.sendall(b"\0")
            answer = AnswerReader(connection).read("PUT")
            assert answer.text == f"{hashlib.sha256(bytes(3_000_000)).hexdigest()} 3000000\n"
