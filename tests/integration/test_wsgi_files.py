"""wsgi.file_wrapper: what is sent of a file, whether the kernel sends it or the server reads it.

With every worker class.
"""

import os
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND, ONE_REQUEST, differs, keeps_connections
from integration.running import Server, StartServer, wait_until
from integration.wire import connect, reset

pytestmark = EVERY_KIND  # what PEP 3333 says is of WSGI alone

CONTENT = bytes(range(256)) * 1000
MIB = 1024 * 1024
KINDS = ["file", "unbuffered", "told", "bytes"]


@pytest.fixture(scope="module", params=[[], ["--no-sendfile"]], ids=["sendfile", "no sendfile"])
def site(
    request: pytest.FixtureRequest,
    module_server: StartServer,
    applications: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    path = tmp_path_factory.mktemp("files") / "content"
    path.write_bytes(CONTENT)
    arguments = [*request.param, "--access-logfile", "-"]
    return module_server("filing", *arguments, pythonpath=(applications,), env={"FILE": str(path)})


def ask(query: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request for the file."""
    return f"{method} /?{query} HTTP/{version}\r\nHost: x\r\n\r\n".encode()


PARTS = {
    "": CONTENT,
    "&offset=1000": CONTENT[1000:],
    f"&offset={len(CONTENT)}": b"",
    "&length=1000": CONTENT[:1000],
    "&offset=500&length=1000": CONTENT[500:1500],
    f"&offset=500&length={len(CONTENT) - 500}": CONTENT[500:],
    "&length=0": b"",
    "&block=1000000": CONTENT,
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize(("part", "expected"), PARTS.items())
def test_a_file_is_sent_from_where_it_stands_as_far_as_is_declared(
    site: Server, source: str, part: str, expected: bytes, version: str
):
    answer = site.request(ask(f"kind={source}{part}", version=version))
    assert answer.status == 200
    assert answer.body == expected


@pytest.mark.parametrize(
    ("part", "size"), [("", len(CONTENT)), ("&offset=1000", len(CONTENT) - 1000), ("&length=5", 5)]
)
@pytest.mark.parametrize("source", KINDS)
def test_the_access_log_tells_how_much_of_a_file_was_sent(site: Server, source: str, part: str, size: int):
    query = f"kind={source}{part}&name=logged"
    assert len(site.request(ask(query)).body) == size
    line = f'"GET /?{query} HTTP/1.1" 200 {size} "-" "-"\n'
    wait_until(lambda: line in site.stdout(), 5.0, f"{line!r} in {site.stdout()[-200:]!r}")


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize("source", KINDS)
def test_the_next_request_follows_a_file(site: Server, source: str):
    with connect(site) as connection:
        connection.sendall(ask(f"kind={source}") + ask(f"kind={source}&offset=9&length=1") + ask(f"kind={source}"))
        reader = AnswerReader(connection)
        assert [reader.read().body for _ in range(3)] == [CONTENT, CONTENT[9:10], CONTENT]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize(("method", "status"), [("HEAD", "200+OK"), ("GET", "304+Not+Modified")])
def test_no_byte_of_a_file_is_sent_where_there_is_no_body(
    site: Server, source: str, method: str, status: str, kind: str
):
    if not keeps_connections(kind):
        assert site.exchange(ask(f"kind={source}&status={status}", method)).partition(b"\r\n\r\n")[2] == b""
        return
    with connect(site) as connection:
        for _ in range(2):
            connection.sendall(ask(f"kind={source}&status={status}", method))
            reader = AnswerReader(connection)
            assert reader.read(method).body == b""
        connection.sendall(ask(f"kind={source}&length=5"))
        assert reader.read().body == CONTENT[:5]


@pytest.mark.parametrize("source", KINDS)
def test_a_file_that_is_too_short_for_its_length_ends_the_connection_with_a_warning(site: Server, source: str):
    with connect(site) as connection:
        connection.sendall(ask(f"kind={source}&offset={len(CONTENT) - 10}&length=11"))
        response = AnswerReader(connection).begin()
        assert response.headers["Content-Length"] == "11"
        assert response.read1(100) == CONTENT[-10:]
        assert connection.recv(1) == b""
    site.wait_for_log(r"WARNING\] .* 10 bytes.* 11$")


@pytest.mark.parametrize("source", ["unbuffered", "told"])
@pytest.mark.parametrize("query", ["", "&length=5", "&status=304+Not+Modified"])
def test_the_file_is_closed(site: Server, source: str, query: str):
    before = site.log().count("the file is closed")
    assert site.request(ask(f"kind={source}{query}")).status < 400
    wait_until(lambda: site.log().count("the file is closed") == before + 1, what="the end of the file")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are seen in /proc")
@pytest.mark.parametrize("query", ["", "&length=5", "&status=304+Not+Modified"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_descriptor_of_a_file_stays_open(site: Server, method: str, query: str):
    before = len(open_files(site))
    for _ in range(5):
        assert site.request(ask(f"kind=file{query}", method)).status < 400
    wait_until(lambda: len(open_files(site)) <= before, 5.0, "the end of the files")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are seen in /proc")
def test_no_descriptor_stays_open_when_the_client_goes(site: Server):
    before = len(open_files(site))
    for _ in range(5):
        connection = connect(site)
        connection.sendall(ask("kind=file") * 20)
        reset(connection)
    assert site.request(ask("kind=file")).status == 200
    wait_until(lambda: len(open_files(site)) <= before, 5.0, "the end of the files")


def open_files(site: Server) -> list[str]:
    """Return the worker's open files that the application serves."""
    folder = Path(f"/proc/{site.worker_pid()}/fd")
    links = []
    for fd in folder.iterdir():
        try:
            links.append(str(fd.readlink()))
        except FileNotFoundError:
            continue  # closed since the folder was listed
    return [link for link in links if link.endswith("/content")]


@pytest.mark.parametrize("arguments", [[], ["--no-sendfile"]], ids=["sendfile", "no sendfile"])
@pytest.mark.parametrize("query", ["", f"&length={32 * MIB}"])
def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection_early(
    server: StartServer, applications: Path, tmp_path: Path, query: str, arguments: list[str]
):
    path = tmp_path / "content"
    with path.open("wb") as file:
        file.truncate(32 * MIB)
    site = server("filing", *arguments, pythonpath=(applications,), env={"FILE": str(path)})
    worker = site.worker_pid()
    with connect(site) as connection:
        connection.sendall(ask(f"kind=file{query}"))
        response = AnswerReader(connection).begin()
        received = len(response.read(1000))
        os.truncate(path, MIB)
        while data := response.read1(MIB):
            received += len(data)
        known = response.headers["Content-Length"] == str(32 * MIB)
    assert received >= MIB
    # Without sendfile the server has read ahead for the client, and may have been through before it shrank.
    assert received < 32 * MIB or (arguments and received == 32 * MIB)
    assert known or arguments
    assert site.request(ask("kind=file")).body == bytes(MIB)
    assert site.worker_pid() == worker


def test_a_file_that_grows_while_it_is_sent_is_sent_as_it_was(
    server: StartServer, applications: Path, tmp_path: Path, kind: str
):
    path = tmp_path / "content"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    site = server("filing", pythonpath=(applications,), env={"FILE": str(path)})
    with connect(site) as connection:
        connection.sendall(ask("kind=file"))
        reader = AnswerReader(connection)
        response = reader.begin()
        received = len(response.read(1000))
        os.truncate(path, 16 * MIB)
        received += len(response.read())
        assert received == 8 * MIB == int(response.headers["Content-Length"])
        if keeps_connections(kind):
            connection.sendall(ask("kind=file&length=3"))
            assert reader.read().body == bytes(3)
