"""What every refusal has in common: it echoes nothing, ends the connection, and is told to the access log."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.http.head import Limits
from greenhorn.net.state import State
from greenhorn.observe.access import AccessFile, AccessLog, DirectLog
from greenhorn.observe.formats import COMBINED, Format
from unit.http.cases import AFTER, GOOD, HOST, chunked, get, head, post
from unit.http.driver import Client, Setup

ECHO = "<zqx>"
TRICKY = [
    head(f"{ECHO} / HTTP/1.1"),
    head(f"GET {ECHO} HTTP/1.1"),
    head(f"GET http://{ECHO}/ HTTP/1.1"),
    head(f"CONNECT {ECHO} HTTP/1.1"),
    head(f"GET /{ECHO} {ECHO}"),
    head(f"GET /{ECHO} HTTP/2.0"),
    head(f"GET /{ECHO} HTTP/1.1 {ECHO}"),
    head("GET / HTTP/1.1", host=f"Host: {ECHO}"),
    get(f"{ECHO}: a"),
    get(ECHO),
    get(f"A: {ECHO}\x00"),
    get(f"A: {ECHO}\rb"),
    get(f"Expect: {ECHO}"),
    get(f"Content-Length: {ECHO}"),
    get(f"Transfer-Encoding: {ECHO}"),
    chunked(f"{ECHO}\r\n\r\n".encode()),
    chunked(f"3;{ECHO}\r\n\r\n".encode()),
    chunked(f"3\r\n{ECHO}\r\n\r\n".encode()),
    chunked(f"0\r\n{ECHO}\r\n\r\n".encode()),
    chunked(f"0\r\nHost: {ECHO}\r\n\r\n".encode()),
    head(f"GET /{ECHO * 1000} HTTP/1.1"),
    get(f"{ECHO * 3000}: a"),
    post(f"{ECHO * 10}".encode(), "Content-Length: 50"),
]


@pytest.mark.parametrize("raw", TRICKY, ids=range(len(TRICKY)))
def test_nothing_of_the_request_is_in_the_answer(raw: bytes) -> None:
    with Client(Setup(limits=Limits(body=10))) as client:
        client.send(raw)
        (answer,) = client.answers()
        assert answer.status >= 400
        assert b"zqx" not in client.received
        assert answer.fields["content-type"] == "text/plain; charset=utf-8"
        assert answer.body.isascii()
        assert len(answer.body) < 200


def test_the_body_says_status_and_reason_in_one_line() -> None:
    with Client() as client:
        client.send(get("Host: other.example"))
        (answer,) = client.answers()
        assert answer.body == b"400 Bad Request: Host, Content-Length or Content-Type is there twice\n"
        assert client.received.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_head_request_is_refused_without_a_body() -> None:
    with Client() as client:
        client.send(head("HEAD / HTTP/1.1", host=None) + AFTER)
        (answer,) = client.answers(to_head=True)
        assert answer.status == 400
        assert int(answer.fields["content-length"]) > 0
        assert client.received.endswith(b"\r\n\r\n")
        assert client.app.seen == []


def test_what_comes_behind_a_refusal_is_thrown_away_until_the_client_ends() -> None:
    with Client() as client:
        client.send(get("A: b\x00"))
        answer = client.received
        for _ in range(20):
            client.send(GOOD)
        assert client.state is State.LINGER
        assert client.received == answer
        client.end()
        assert client.state is State.CLOSED
        assert client.app.seen == []


def test_a_client_that_does_not_stop_behind_a_refusal_is_soon_read_no_more() -> None:
    with Client() as client:
        client.send(get("A: b\x00"))
        sent = 0
        while not client.connection.deaf and sent < 1_000_000:
            client.send(b"x" * 16384)
            sent += 16384
        assert client.state is State.LINGER
        assert 65536 < sent <= 200_000


def test_a_refusal_within_a_body_leaves_nothing_behind() -> None:
    with Client(Setup(limits=Limits(body=100_000))) as client:
        client.send(chunked(b"11170\r\n" + b"a" * 70_000))
        spool = client.connection.spool
        assert spool.size == 70_000
        client.send(b"\r\n")
        client.send(b"x\r\n")
        assert [answer.status for answer in client.answers()] == [400]
        assert client.connection.spool is client.connection.body is client.connection.head is None
        with pytest.raises(ValueError, match="closed"):
            spool.open()


@pytest.fixture
def access(tmp_path: Path) -> Iterator[tuple[AccessLog, Path]]:
    path = tmp_path / "access.log"
    file = AccessFile(os.fspath(path))
    yield DirectLog(file, Format.of(COMBINED)), path
    file.close()


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (get("Host: b"), '"GET / HTTP/1.1" 400 '),
        (head("GET /a HTTP/2.0"), '"GET /a HTTP/2.0" 505 '),
        (head('GET /"\\ HTTP/1.1', host=None), '"GET /\\x22\\x5c HTTP/1.1" 400 '),
        (head("GET /\x1b[2J HTTP/1.1"), '"GET /\\x1b[2J HTTP/1.1" 400 '),
        (head("GET /\xe9 HTTP/1.1"), '"GET /\\xe9 HTTP/1.1" 400 '),
        (b"GET /a\nb HTTP/1.1\r\n\r\n", '"GET /a\\x0ab HTTP/1.1" 400 '),
        (b"\r\n\r\n", '"-" 400 '),
        (post(b"x\r\n", "Transfer-Encoding: chunked"), '"POST / HTTP/1.1" 400 '),
        (get("Expect: x"), '"GET / HTTP/1.1" 417 '),
    ],
    ids=range(9),
)
def test_a_refusal_is_a_line_of_the_access_log_with_the_reason(
    raw: bytes, line: str, access: tuple[AccessLog, Path]
) -> None:
    log, path = access
    with Client(access=log) as client:
        client.send(raw)
        reason = client.answers()[0].body.decode().partition(": ")[2].rstrip("\n")
        size = len(client.received.partition(b"\r\n\r\n")[2])
    written = path.read_text(encoding="ascii")
    assert written.startswith("127.0.0.1 - - [")
    assert written.endswith(f'] {line}{size} "-" "-" "{reason}"\n')
    assert written.count("\n") == 1


def test_a_request_line_without_end_is_not_written_to_the_log_in_full(access: tuple[AccessLog, Path]) -> None:
    log, path = access
    with Client(access=log) as client:
        client.send(b"GET /" + b"a" * 10_000)
    assert 400 < len(path.read_text(encoding="ascii")) < 1000


def test_the_log_of_a_refused_request_is_of_that_request(access: tuple[AccessLog, Path]) -> None:
    log, path = access
    with Client(access=log) as client:
        client.send(GOOD + head("GET /second HTTP/1.1", HOST) + AFTER)
    lines = path.read_text(encoding="ascii").splitlines()
    assert [line.split('"')[1] for line in lines] == ["GET /good HTTP/1.1", "GET /second HTTP/1.1"]
    assert [line.split()[8] for line in lines] == ["200", "400"]
