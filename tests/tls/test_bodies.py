"""Large bodies over TLS, in both directions and every framing, whole to the byte."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import BUSY, EVERY_KIND, differs
from integration.running import Server, StartServer
from integration.wire import pieces
from tls.clients import GET, only

MIB = 1024 * 1024
SIZE = 24 * MIB
PIECE = 64 * 1024
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
SOURCE = '''
import os
import tempfile

SIZE, PIECE = 24 * 1024 * 1024, 64 * 1024
REST = bytes(range(256)) * (PIECE // 256)
TEXT = [("Content-Type", "application/octet-stream")]


def numbered(size):
    """Pieces that each begin with their number."""
    return (number.to_bytes(8, "big") + REST[8:size] for number in range(SIZE // size))


def application(environ, start_response):
    path = environ["PATH_INFO"]
    size = int(environ["QUERY_STRING"] or PIECE)
    if path == "/echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", TEXT)
        return [body]
    if path == "/write":
        write = start_response("200 OK", TEXT)
        for piece in numbered(size):
            write(piece)
        return []
    start_response("200 OK", [*TEXT, ("Content-Length", str(SIZE))] if path == "/measured" else TEXT)
    if path == "/list":
        return list(numbered(size))
    if path == "/whole":
        return [b"".join(numbered(PIECE))]
    if path == "/file":
        file = open(os.environ["FILE"], "rb")
        return environ["wsgi.file_wrapper"](file, size)
    if path == "/":
        return [b"here"]
    return numbered(size)
'''


def numbered(size: int = PIECE) -> Iterator[bytes]:
    """What the application sends: pieces of `size` bytes that each begin with their number."""
    rest = bytes(range(256)) * (PIECE // 256)
    return (number.to_bytes(8, "big") + rest[8:size] for number in range(SIZE // size))


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with the bytes of numbered(); removed at once, since pytest keeps its folders for a while."""
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        file.writelines(numbered())
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def site(module_secure: StartServer, large_file: Path) -> Server:
    """A server with one thread, so that a client who holds it up is noticed."""
    return module_secure(None, "--threads", "1", app_source=SOURCE, env={"FILE": str(large_file)})


def digest(parts: Iterator[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def digest_of(reader: AnswerReader) -> str:
    """The digest of the body of the next answer."""
    answer = reader.begin()
    assert answer.status == 200
    return digest(iter(lambda: answer.read(PIECE), b""))


AT_ONCE = ("/list", "/file", "/write", "/generator")
SLOWLY = ("/list?1024", "/list?4096", "/whole", "/generator?1024", "/measured")
WAYS = [*((way, "at once") for way in AT_ONCE), *((way, "slowly") for way in SLOWLY)]
WHERE_CLASSES_DIFFER = ("/list", "/file", "/write", "/generator?8192")
"""Who waits for a client that reads slowly: for each way that an answer is made, another one."""


@pytest.mark.parametrize(("way", "reads"), WAYS)
def test_an_answer_of_24_mib_arrives_whole_however_it_is_made(
    site: Server, trusting: ssl.SSLContext, way: str, reads: str
):
    assert_arrives_whole(site, trusting, way, reads)


@EVERY_KIND
@differs("sync", row=BUSY)
@pytest.mark.parametrize("way", WHERE_CLASSES_DIFFER)
def test_an_answer_of_24_mib_arrives_whole_at_a_client_that_reads_slowly(
    site: Server, trusting: ssl.SSLContext, way: str
):
    assert_arrives_whole(site, trusting, way, "slowly")


def assert_arrives_whole(site: Server, trusting: ssl.SSLContext, way: str, reads: str) -> None:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384 if reads == "slowly" else MIB)
    raw.settimeout(15)
    raw.connect(("127.0.0.1", site.port))
    with site.secure(raw, trusting) as connection:
        connection.sendall(f"GET {way} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if reads == "slowly":  # the thread does not wait for this client: it serves another one
            assert connection.recv(1) == b"H"
            assert site.request(GET).body == b"here"
            reader = AnswerReader(_Prefixed(b"H", connection))
        else:
            reader = AnswerReader(connection)
        _, _, size = way.partition("?")
        assert digest_of(reader) == digest(numbered(int(size or PIECE)))
        connection.sendall(GET)
        assert reader.read().body == b"here"


class _Prefixed(socket.socket):
    """A connection of which the first bytes were read already."""

    def __init__(self, first: bytes, connection: ssl.SSLSocket) -> None:
        self._first = first
        self._connection = connection

    def recv_into(self, buffer: bytearray) -> int:  # type: ignore[override]
        if self._first:
            size = len(self._first)
            buffer[:size], self._first = self._first, b""
            return size
        return self._connection.recv_into(buffer)


@EVERY_KIND
@VERSIONS
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_of_24_mib_arrives_whole_and_comes_back(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, framing: str
):
    body = b"".join(numbered())
    client = site.client(verify=only(trusting, version))
    answer = client.post("/echo", content=body if framing == "length" else pieces(body, 100_000))
    assert answer.status_code == 200
    assert answer.content == body


def test_curl_uploads_and_downloads_at_once(site: Server, ca_file: Path, large_file: Path, curl: Callable[..., Answer]):
    answer = curl("--cacert", str(ca_file), "-T", str(large_file), f"https://localhost:{site.port}/echo")
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == digest(numbered())


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_is_streamed_into_the_application_and_back(secure: StartServer, applications: Path, framing: str):
    site = secure("uploads", "--stream-request-body", pythonpath=(applications,))
    body = b"".join(numbered())
    answer = site.client().post("/digest/x", content=body if framing == "length" else pieces(body, 100_000))
    assert answer.text == f"{hashlib.sha256(body).hexdigest()} {SIZE}"
    with site.client().stream("POST", "/echo/x", content=pieces(body[:MIB], 10_000)) as echoed:
        assert b"".join(echoed.iter_raw()) == body[:MIB]
