"""Answers on the wire: how they are framed, and what of an application's fields never leaves."""

import re
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.applications import responder
from integration.kinds import EVERY_KIND, ONE_REQUEST, differs
from integration.running import Server, StartServer
from integration.wire import connect, receive_exactly, receive_head

pytestmark = EVERY_KIND  # with ASGI the framing of answers is the application's and uvicorn's

BODY = b"one two three"
LENGTH = b"\r\nContent-Length: "
CODING = b"\r\nTransfer-Encoding: chunked\r\n"
CLOSE = b"\r\nConnection: close\r\n"
NEXT = b"GET /list HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def site(module_server: StartServer, applications: Path) -> Server:
    return module_server("responder", pythonpath=(applications,), allow_traceback=True)


def ask(path: str, method: str = "GET", version: str = "1.1", *fields: str) -> bytes:
    """Return a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]
    return "\r\n".join(lines).encode()


def exchange(site: Server, path: str, method: str = "GET", version: str = "1.1") -> tuple[bytes, bytes]:
    """Return head and body, as they come over the wire, of an answer that closes the connection."""
    head, blank, body = site.exchange(ask(path, method, version, "Connection: close")).partition(b"\r\n\r\n")
    assert blank
    return head + b"\r\n", body


LENGTH_KNOWN = {
    "/list": BODY,
    "/parts": BODY,
    "/tuple": BODY,
    "/holes": BODY,
    "/empty": b"",
    "/empty-piece": b"",
    "/large": b"".join(responder.LISTS["/large"]),
    "/measured-generator": BODY,
    "/generator-of-nothing": b"",
}
LENGTH_UNKNOWN = {
    "/generator": b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n",
    "/generator-with-holes": b"4\r\none \r\n9\r\ntwo three\r\n0\r\n\r\n",
    "/writer": b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n",
    "/file": b"4\r\none \r\n4\r\ntwo \r\n4\r\nthre\r\n1\r\ne\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(("path", "body"), LENGTH_KNOWN.items())
def test_a_body_of_known_length_has_a_content_length(site: Server, path: str, body: bytes, version: str):
    head, received = exchange(site, path, version=version)
    assert received == body
    assert head.count(LENGTH) == 1
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert CODING not in head


@pytest.mark.parametrize(("path", "body"), LENGTH_UNKNOWN.items())
def test_a_body_of_unknown_length_is_chunked(site: Server, path: str, body: bytes):
    head, received = exchange(site, path)
    assert head.count(CODING) == 1
    assert LENGTH not in head
    assert received == body


@pytest.mark.parametrize("path", LENGTH_UNKNOWN)
def test_for_http_1_0_a_body_of_unknown_length_ends_with_the_connection(site: Server, path: str):
    raw = site.exchange(ask(path, "GET", "1.0", "Connection: keep-alive"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert body == BODY
    assert CLOSE in head + b"\r\n"
    assert LENGTH not in head
    assert b"transfer-encoding" not in head.lower()


@pytest.mark.parametrize("path", [*LENGTH_KNOWN, *LENGTH_UNKNOWN, "/closing"])
def test_date_and_server_are_there_once(site: Server, path: str):
    answer = site.request(ask(path))
    assert answer.headers.get_all("Server") == ["greenhorn"]
    [date] = answer.headers.get_all("Date", [])
    assert parsedate_to_datetime(date).tzinfo is not None


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize("path", [*LENGTH_KNOWN, *LENGTH_UNKNOWN])
def test_the_answer_to_head_has_no_body_and_no_other_length_than_that_of_get(site: Server, path: str):
    with connect(site) as connection:
        connection.sendall(ask(path, "HEAD") + NEXT)
        head = receive_head(connection)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        for length in re.findall(rb"\r\nContent-Length: (\d+)\r\n", head):
            assert int(length) == len(LENGTH_KNOWN.get(path, BODY))
        assert receive_exactly(connection, 17) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("path", ["/list", "/parts", "/large", "/measured-generator"])
def test_the_answer_to_head_has_the_length_of_get_where_that_is_known(site: Server, path: str):
    head, body = exchange(site, path, "HEAD")
    assert f"\r\nContent-Length: {len(LENGTH_KNOWN[path])}\r\n".encode() in head
    assert body == b""


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize("path", ["/status", "/streamed-status", "/measured-status"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_that_the_status_forbids_never_leaves(site: Server, status: str, method: str, path: str):
    with connect(site) as connection:
        connection.sendall(ask(f"{path}?{status.replace(' ', '+')}", method) + NEXT)
        head = receive_head(connection)
        assert head.startswith(f"HTTP/1.1 {status}\r\n".encode())
        assert CODING not in head
        if status.startswith("204"):
            assert LENGTH not in head
        else:
            assert all(int(length) == 28 for length in re.findall(rb"\r\nContent-Length: (\d+)\r\n", head))
        assert receive_exactly(connection, 17) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("path", ["/status", "/streamed-status"])
def test_any_other_status_has_its_body(site: Server, path: str):
    for status in ("200 OK", "205 Reset Content", "301 Moved", "404 Not Found", "599 Own"):
        answer = site.request(ask(f"{path}?{status.replace(' ', '+')}"))
        assert (answer.status, answer.reason) == (int(status[:3]), status[4:])
        assert answer.body == b"a body that may be forbidden"


def test_a_status_without_a_reason_keeps_its_blank(site: Server):
    head, _ = exchange(site, "/status?200")
    assert head.startswith(b"HTTP/1.1 200 \r\n")  # RFC 9112 section 4


def test_fields_leave_as_the_application_gave_them(site: Server):
    head, _ = exchange(site, "/fields")
    assert head.startswith(b"HTTP/1.1 299 Made Up \xe9\r\n")
    assert b"\r\nX-Caf: \xe9\t!\r\n" in head
    assert b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in head
    assert re.search(rb"\r\nX-E: ?\r\n", head)


@differs("sync", row=ONE_REQUEST)
def test_fields_that_are_the_servers_own_business_never_leave(site: Server):
    with connect(site) as connection:
        connection.sendall(ask("/hop-by-hop") + NEXT)
        head = receive_head(connection)
        for name, value in responder.HOP_BY_HOP:
            assert f"\r\n{name}: {value}\r\n".lower().encode() not in head.lower()
        assert b"zq81" not in head
        assert receive_exactly(connection, len(BODY)) == BODY
        assert receive_exactly(connection, 17) == b"HTTP/1.1 200 OK\r\n"


def test_an_application_can_close_the_connection(site: Server):
    with connect(site) as connection:
        connection.sendall(ask("/closing"))
        reader = AnswerReader(connection)
        answer = reader.read()
        assert answer.headers.get_all("Connection") == ["close"]
        assert answer.body == BODY
        assert reader.rest() == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [*responder.HEADERS, *responder.STATUSES])
def test_nothing_leaves_of_a_head_that_is_malformed_or_has_control_characters(site: Server, path: str, method: str):
    before = site.log().count("Traceback")
    raw = site.exchange(ask(path, method))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert CLOSE in head + b"\r\n"
    assert b"zq81" not in raw
    assert b"Set-Cookie" not in raw
    assert (body == b"") == (method == "HEAD")
    assert site.log().count("Traceback") == before + 1
    assert site.request(NEXT).body == BODY


@differs("sync", row=ONE_REQUEST)
def test_early_hints_come_before_the_answer(site: Server):
    with connect(site) as connection:
        connection.sendall(ask("/hints") + NEXT)
        assert receive_head(connection) == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        assert receive_head(connection) == (
            b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\nLink: </c.css>; rel=preload\r\n\r\n"
        )
        reader = AnswerReader(connection)
        assert reader.read().body == BODY
        assert reader.read().body == BODY


def test_http_1_0_is_told_no_hints(site: Server):
    head, body = exchange(site, "/hints", version="1.0")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == BODY


def test_nothing_leaves_of_hints_that_have_control_characters(site: Server):
    raw = site.exchange(ask("/forged-hints"))
    assert raw.startswith(b"HTTP/1.1 500 ")
    assert b"zq81" not in raw
