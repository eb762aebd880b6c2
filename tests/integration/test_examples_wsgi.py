"""The plain WSGI example, as curl, httpx and a raw socket see it."""

import ast
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import EXAMPLES, Server, StartServer

TEXT = "text/plain; charset=utf-8"
Curl = Callable[..., Answer]

GATED = """
import os, select
from wsgi_app import application as rest

def application(environ, start_response):
    if environ["PATH_INFO"] != "/gated":
        return rest(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return gated()

def gated():
    gate = os.open(os.environ["GATE"], os.O_RDWR)
    try:
        yield b"first\\n"
        opened, _, _ = select.select([gate], [], [], 10)
        yield b"last\\n" if opened else b"the gate stayed shut\\n"
    finally:
        os.close(gate)
"""
"""Sends its last chunk only when a byte comes through the named pipe GATE."""


@pytest.fixture(scope="module")
def site(module_server: StartServer) -> Server:
    return module_server("wsgi_app")


def environ_of(answer_text: str) -> dict[str, str]:
    """Read the lines of /environ; values that are no literals (streams, callables) stay as written."""
    pairs = (line.split("=", 1) for line in answer_text.splitlines())
    return {name: ast.literal_eval(value) if value[0] in "'\"(TF" else value for name, value in pairs}


def test_the_index_is_plain_text_with_its_length(site: Server, curl: Curl):
    answer = curl(f"{site.url}/")
    assert (answer.version, answer.status, answer.reason) == ("HTTP/1.1", 200, "OK")
    assert answer.text == "Hello from a plain WSGI application.\n"
    assert answer.headers.get_all("Content-Type") == [TEXT]
    assert answer.headers.get_all("Content-Length") == ["37"]
    assert len(answer.headers.get_all("Server", [])) == 1
    assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None
    assert "Transfer-Encoding" not in answer.headers


def test_an_unknown_path_is_answered_by_the_application(site: Server, curl: Curl):
    answer = curl(f"{site.url}/nothing")
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert answer.text == "There is nothing here.\n"


def test_head_has_the_headers_of_get_and_no_body(site: Server, curl: Curl):
    assert curl("--head", f"{site.url}/").headers["Content-Length"] == "37"
    raw = site.exchange(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b""


def test_the_environ_describes_the_request(site: Server, curl: Curl):
    answer = curl(
        *("--header", "X-Twice: one", "--header", "X-Twice: two", "--header", "Accept: */*"),
        *("--user-agent", "a browser", "--cookie", "a=1; b=2"),
        f"{site.url}/environ?a=1&b=%20",
    )
    environ = environ_of(answer.text)
    expected = {
        "HTTP_ACCEPT": "*/*",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_HOST": f"127.0.0.1:{site.port}",
        "HTTP_USER_AGENT": "a browser",
        "HTTP_X_TWICE": "one,two",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=1&b=%20",
        "RAW_URI": "/environ?a=1&b=%20",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(site.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert int(environ["REMOTE_PORT"]) > 0
    assert {"wsgi.errors", "wsgi.file_wrapper", "wsgi.input", "SERVER_SOFTWARE"} <= environ.keys()
    assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"} & environ.keys()


def test_the_environ_has_the_target_as_request_uri(site: Server, curl: Curl):
    environ = environ_of(curl(f"{site.url}/%65nviron?q").text)
    assert environ["REQUEST_URI"] == "/%65nviron?q"
    assert environ["PATH_INFO"] == "/environ"


def test_several_workers_are_told_to_the_application(server: StartServer, curl: Curl):
    site = server("wsgi_app", workers=2)
    assert len(site.worker_pids()) == 2
    assert environ_of(curl(f"{site.url}/environ").text)["wsgi.multiprocess"] is True


def test_an_upload_with_a_length_says_so_in_the_environ(site: Server, curl: Curl):
    answer = curl("--data-binary", "12345", "--header", "Content-Type: text/x", f"{site.url}/environ")
    environ = environ_of(answer.text)
    assert environ["CONTENT_LENGTH"] == "5"
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["REQUEST_METHOD"] == "POST"


def test_a_chunked_upload_has_its_collected_length_in_the_environ(site: Server, curl: Curl):
    answer = curl("-T", "-", f"{site.url}/environ", data=b"x" * 100_000)
    environ = environ_of(answer.text)
    assert environ["REQUEST_METHOD"] == "PUT"
    assert environ.get("CONTENT_LENGTH") == "100000"
    assert "HTTP_TRANSFER_ENCODING" not in environ


@pytest.mark.parametrize("size", [0, 1, 5_000, 3_000_000])
def test_a_body_comes_back_as_it_was_sent(site: Server, curl: Curl, size: int):
    body = os.urandom(size)
    answer = curl("--data-binary", "@-", "--header", "Content-Type: image/x", f"{site.url}/echo", data=body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/x")
    assert answer.headers["Content-Length"] == str(size)
    assert answer.body == body


@pytest.mark.parametrize("sizes", [[], [1], [10, 1, 70_000, 5], [1_000_000] * 3])
def test_a_chunked_body_comes_back_as_it_was_sent(site: Server, sizes: list[int]):
    chunks = [os.urandom(size) for size in sizes]

    def generate() -> Iterator[bytes]:
        yield from chunks

    answer = site.client().post("/echo", content=generate())
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert (answer.status_code, answer.content) == (200, b"".join(chunks))


def test_a_body_is_digested_piece_by_piece(site: Server, curl: Curl):
    body = os.urandom(1_000_000)
    expected = f"{hashlib.sha256(body).hexdigest()} 1000000\n"
    assert curl("--data-binary", "@-", f"{site.url}/sha256", data=body).text == expected
    assert curl("-T", "-", f"{site.url}/sha256", data=body).text == expected
    assert site.client().put("/sha256", content=body).text == expected


def test_a_body_that_nobody_reads_does_no_harm_to_the_next_request(site: Server):
    with site.client() as client:
        assert client.post("/", content=b"x" * 30_000).status_code == 200
        assert client.get("/").text == "Hello from a plain WSGI application.\n"


def test_a_generator_is_sent_chunk_by_chunk(site: Server):
    raw = site.exchange(b"GET /stream?n=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked" in head.lower()
    assert b"content-length" not in head.lower()
    assert body == b"8\r\nchunk 0\n\r\n8\r\nchunk 1\n\r\n8\r\nchunk 2\n\r\n0\r\n\r\n"


def test_a_generator_for_http_1_0_ends_with_the_connection(site: Server, curl: Curl):
    raw = site.exchange(b"GET /stream?n=2 HTTP/1.0\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"chunk 0\nchunk 1\n"
    assert curl("--http1.0", f"{site.url}/stream?n=2").text == "chunk 0\nchunk 1\n"


def test_an_empty_generator_is_an_empty_answer(site: Server, curl: Curl):
    answer = curl(f"{site.url}/stream?n=0")
    assert (answer.status, answer.body) == (200, b"")


def test_the_first_chunk_arrives_before_the_last_one_is_made(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = server(app_source=GATED, env={"GATE": str(gate)})
    with site.connect() as connection:
        connection.sendall(b"GET /gated HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = AnswerReader(connection).begin()
        assert answer.readline() == b"first\n"
        gate.write_bytes(b"!")
        assert answer.read() == b"last\n"


def test_a_file_is_sent_whole_with_its_length(site: Server, curl: Curl):
    source = (EXAMPLES / "wsgi_app.py").read_bytes()
    answer = curl(f"{site.url}/file")
    assert answer.headers.get_all("Content-Length") == [str(len(source))]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.body == source


def test_head_of_a_file_has_its_length_and_no_body(site: Server):
    with site.client() as client:
        answer = client.head("/file")
        assert int(answer.headers["Content-Length"]) == (EXAMPLES / "wsgi_app.py").stat().st_size
        assert client.get("/").status_code == 200


def test_an_empty_file_is_an_empty_answer(server: StartServer, curl: Curl, tmp_path: Path):
    (tmp_path / "empty").touch()
    site = server("wsgi_app", env={"EXAMPLE_FILE": str(tmp_path / "empty")})
    answer = curl(f"{site.url}/file")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "0", b"")


@pytest.mark.parametrize("length", ["0", "1"])
def test_generated_pieces_arrive_in_order(site: Server, curl: Curl, length: str):
    answer = curl(f"{site.url}/big?mib=2&length={length}")
    assert ("Content-Length" in answer.headers) == (length == "1")
    assert len(answer.body) == 2 * 1024 * 1024
    assert [answer.body[i : i + 8] for i in range(0, len(answer.body), 65536)] == [
        number.to_bytes(8, "big") for number in range(32)
    ]


def test_two_requests_share_one_connection(site: Server):
    with site.client() as client:
        ports = {environ_of(client.get("/environ").text)["REMOTE_PORT"] for _ in range(3)}
    assert len(ports) == 1


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("path", ["/", "/stream?n=3", "/file", "/big?mib=1", "/nothing"])
def test_curl_keeps_its_connection_after_any_kind_of_answer(site: Server, path: str):
    command = [
        "curl",
        "-q",
        "-sS",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        "-w",
        "%{http_code} %{num_connects}\\n",
    ]
    urls = [f"{site.url}{path}", "--output", os.devnull] * 2
    result = subprocess.run([*command, *urls], capture_output=True, text=True, check=True, timeout=30)
    codes, connects = zip(*(line.split() for line in result.stdout.splitlines()), strict=True)
    assert set(codes) == {"404" if path == "/nothing" else "200"}
    assert connects == ("1", "0")


def test_connection_close_is_obeyed_and_announced(site: Server):
    raw = site.exchange(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert body == b"Hello from a plain WSGI application.\n"


def test_pipelined_requests_are_answered_in_order(site: Server):
    with site.connect() as connection:
        connection.sendall(
            b"GET /stream?n=1 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond"
            b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        reader = AnswerReader(connection)
        assert reader.read().body == b"chunk 0\n"
        assert reader.read("POST").body == b"second"
        assert reader.read("HEAD").headers["Content-Length"] == "37"
        assert reader.read().status == 404


def test_a_client_that_expects_it_is_told_to_continue(site: Server):
    with site.connect() as connection:
        connection.sendall(b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(25, 0) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"later")
        assert AnswerReader(connection).read("PUT").body == b"later"
