"""Good requests on a raw socket: targets, fields, bodies, pipelining, kept connections, expectations."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import AND_ASGI, CONTINUE_ANYWAY, HALF_CLOSE, ONE_REQUEST, PARSER, UVICORN, differs
from integration.running import Server, StartServer
from integration.wire import (
    DELIVERIES,
    Send,
    connect,
    content_length,
    ends_in_order,
    receive_exactly,
    receive_head,
    send_byte_by_byte,
)

pytestmark = AND_ASGI

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def site(module_server: StartServer, applications: Path) -> Server:
    return module_server("mirror", pythonpath=(applications,))


def environ_of(answer: Answer) -> dict[str, str]:
    """Return the texts that the application saw."""
    assert answer.status == 200, answer.text
    environ: dict[str, str] = json.loads(answer.text)["environ"]
    return environ


def body_of(answer: Answer) -> str:
    """Return the body that the application saw."""
    assert answer.status == 200, answer.text
    body: str = json.loads(answer.text)["body"]
    return body


TARGETS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "origin form": (
        b"GET /a%2Fb%C3%A9?c=%20&d HTTP/1.1\r\nHost: x\r\n\r\n",
        {"PATH_INFO": "/a/b\xc3\xa9", "QUERY_STRING": "c=%20&d", "RAW_URI": "/a%2Fb%C3%A9?c=%20&d"},
    ),
    "two slashes": (b"GET //a HTTP/1.1\r\nHost: x\r\n\r\n", {"PATH_INFO": "//a", "HTTP_HOST": "x"}),
    "percent sign of no escape": (b"GET /%zz%4 HTTP/1.1\r\nHost: x\r\n\r\n", {"PATH_INFO": "/%zz%4"}),
    "absolute form": (
        b"GET http://there:81/a?b HTTP/1.1\r\nHost: here\r\n\r\n",
        {
            "PATH_INFO": "/a",
            "QUERY_STRING": "b",
            "HTTP_HOST": "there:81",
            "RAW_URI": "http://there:81/a?b",
            "REQUEST_URI": "http://there:81/a?b",
        },
    ),
    "absolute form without a path": (
        b"GET http://there?b HTTP/1.1\r\nHost: here\r\n\r\n",
        {"PATH_INFO": "/", "QUERY_STRING": "b", "HTTP_HOST": "there"},
    ),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {"PATH_INFO": "*", "REQUEST_METHOD": "OPTIONS"}),
    "authority form": (b"CONNECT there:443 HTTP/1.1\r\nHost: x\r\n\r\n", {"RAW_URI": "there:443"}),
    "empty line before it": (b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", {"PATH_INFO": "/a"}),
    "method of its own": (b"!PURGE~1 /a HTTP/1.1\r\nHost: x\r\n\r\n", {"REQUEST_METHOD": "!PURGE~1"}),
    "method in lower case": (b"get /a HTTP/1.1\r\nHost: x\r\n\r\n", {"REQUEST_METHOD": "get"}),
    "HTTP/1.0 without Host": (b"GET /a HTTP/1.0\r\n\r\n", {"SERVER_PROTOCOL": "HTTP/1.0", "HTTP_HOST": None}),
    "empty Host": (b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", {"HTTP_HOST": ""}),
    "IPv6 Host": (b"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", {"HTTP_HOST": "[::1]:80"}),
    "blanks around values": (b"GET /a HTTP/1.1\r\nHost:x\r\nX-A: \t a b \t\r\n\r\n", {"HTTP_X_A": "a b"}),
    "Latin-1 in a value": (b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: \xe9\r\n\r\n", {"HTTP_X_A": "\xe9"}),
    "repeated fields": (
        b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2\r\ncookie: b=2\r\n\r\n",
        {"HTTP_X_A": "1,2", "HTTP_COOKIE": "a=1; b=2"},
    ),
    "name with an underscore": (
        b"GET /a HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: evil\r\nContent_Length: 5\r\n\r\n",
        {"HTTP_X_FORWARDED_FOR": None, "CONTENT_LENGTH": None},
    ),
    "Proxy, which programs take for a setting": (
        b"GET /a HTTP/1.1\r\nHost: x\r\nProxy: evil\r\n\r\n",
        {"HTTP_PROXY": None},
    ),
}


@differs("asgi", "asgi-h11", row=UVICORN, only=("absolute form", "authority form"))
@differs("asgi", row=UVICORN, only=("method", "blanks around values"))
@differs("asgi-h11", row=UVICORN, only=("empty line",))
@DELIVERIES
@pytest.mark.parametrize(("good", "expected"), TARGETS.values(), ids=TARGETS)
def test_the_application_sees_what_was_sent(site: Server, good: bytes, expected: dict[str, Any], send: Send):
    with connect(site) as connection:
        send(connection, good)
        environ = environ_of(AnswerReader(connection).read())
    assert {name: environ.get(name) for name in expected} == expected


@differs("tornado", row=PARSER)
def test_a_dropped_name_is_told_to_the_log_once(site: Server):
    for _ in range(3):
        assert site.request(b"GET / HTTP/1.1\r\nHost: x\r\nX_Told_Once: 1\r\n\r\n").status == 200
    assert site.log().lower().count("x_told_once") == 1


CHUNKED_BODIES: dict[str, tuple[bytes, str]] = {
    "no chunk": (b"0\r\n\r\n", ""),
    "one chunk": (b"4\r\nbody\r\n0\r\n\r\n", "body"),
    "several chunks": (b"1\r\nb\r\n2\r\nod\r\n1\r\ny\r\n0\r\n\r\n", "body"),
    "hex in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "0123456789" * 2),
    "leading zeros": (b"0004\r\nbody\r\n000\r\n\r\n", "body"),
    "extensions": (b'4;a;b=c;d="\\"; \t\xe9"\r\nbody\r\n0;last\r\n\r\n', "body"),
    "blanks around extensions": (b"4 ; a = b\r\nbody\r\n0\r\n\r\n", "body"),
    "trailers": (b"4\r\nbody\r\n0\r\nX-Digest: zq81\r\nX-Other:\r\n\r\n", "body"),
    "line ends in the data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
}


@differs("sync", row=ONE_REQUEST)
@differs("tornado", row=PARSER, only=("extensions", "trailers"))
@differs("asgi", "asgi-h11", row=UVICORN, only=("blanks around extensions",))
@DELIVERIES
@pytest.mark.parametrize(("wire", "body"), CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
def test_a_chunked_body_is_whole_and_has_its_length(site: Server, wire: bytes, body: str, send: Send):
    with connect(site) as connection:
        send(connection, CHUNKED + wire)
        reader = AnswerReader(connection)
        answer = reader.read("POST")
        connection.sendall(GET)
        assert body_of(reader.read()) == ""
    assert body_of(answer) == body
    environ = environ_of(answer)
    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "zq81" not in answer.text


@differs("sync", row=ONE_REQUEST)
@differs("tornado", row=PARSER)
def test_a_request_may_be_split_anywhere(site: Server):
    wire = CHUNKED + b"4;a=b\r\nbody\r\n0\r\nX: y\r\n\r\n" + GET
    for at in range(1, len(wire)):
        with connect(site) as connection, connect(site) as other:
            connection.sendall(wire[:at])
            other.sendall(GET)
            assert AnswerReader(other).read().status == 200  # by then the first part was read
            connection.sendall(wire[at:])
            reader = AnswerReader(connection)
            assert body_of(reader.read("POST")) == "body"
            assert body_of(reader.read()) == ""


@differs("sync", row=ONE_REQUEST)
def test_twenty_requests_in_one_send_are_answered_in_order(site: Server):
    wire = b""
    for number in range(20):
        body = b"%d" % number * 100
        if number % 3 == 0:
            wire += b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number
        elif number % 3 == 1:
            wire += b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (number, len(body), body)
        else:
            wire += CHUNKED.replace(b" / ", b" /%d " % number) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with connect(site) as connection:
        connection.sendall(wire)
        reader = AnswerReader(connection)
        for number in range(20):
            answer = reader.read()
            assert environ_of(answer)["PATH_INFO"] == f"/{number}"
            assert body_of(answer) == (str(number) * 100 if number % 3 else "")


def test_what_follows_the_last_request_is_not_answered(site: Server):
    with connect(site) as connection:
        connection.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET * 3)
        reader = AnswerReader(connection)
        assert reader.read().status == 200
        assert reader.rest() == b""


KEPT: dict[str, tuple[bytes, list[bytes], bool, list[str]]] = {
    "1.1": (b"1.1", [], True, []),
    "1.1 keep-alive": (b"1.1", [b"keep-alive"], True, []),
    "1.1 close": (b"1.1", [b"close"], False, ["close"]),
    "1.1 Close": (b"1.1", [b"Close"], False, ["close"]),
    "1.1 close among others": (b"1.1", [b"TE , close,x"], False, ["close"]),
    "1.1 close in a second field": (b"1.1", [b"TE", b"close"], False, ["close"]),
    "1.1 close beats keep-alive": (b"1.1", [b"keep-alive, close"], False, ["close"]),
    "1.1 tokens that contain close": (b"1.1", [b"closed, x-close"], True, []),
    "1.0": (b"1.0", [], False, ["close"]),
    "1.0 keep-alive": (b"1.0", [b"keep-alive"], True, ["keep-alive"]),
    "1.0 Keep-Alive among others": (b"1.0", [b"TE, Keep-Alive"], True, ["keep-alive"]),
    "1.0 close beats keep-alive": (b"1.0", [b"keep-alive, close"], False, ["close"]),
    "1.0 a token that contains keep-alive": (b"1.0", [b"keep-alive-x"], False, ["close"]),
}


@differs("sync", row=ONE_REQUEST)
@differs("tornado", row=PARSER, only=("1.0 Keep-Alive among others",))
@differs("asgi", "asgi-h11", row=UVICORN, only=("1.0 keep-alive", "1.0 Keep-Alive among others"))
@pytest.mark.parametrize(("version", "options", "kept", "told"), KEPT.values(), ids=KEPT)
def test_a_connection_is_kept_as_its_options_say(
    site: Server, version: bytes, options: list[bytes], kept: bool, told: list[str]
):
    fields = b"".join(b"Connection: " + option + b"\r\n" for option in options)
    with connect(site) as connection:
        reader = AnswerReader(connection)
        for _ in range(3):
            connection.sendall(b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + fields + b"\r\n")
            answer = reader.read()
            assert answer.status == 200
            assert [option.lower() for option in answer.headers.get_all("Connection", [])] == told
            if not kept:
                assert reader.rest() == b""
                return
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert reader.read().headers["Connection"] == "close"
        assert reader.rest() == b""


def test_without_keep_alive_every_answer_closes(server: StartServer, applications: Path):
    site = server("mirror", "--keep-alive", "0", pythonpath=(applications,))
    for wire in (GET, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"):
        with connect(site) as connection:
            connection.sendall(wire)
            reader = AnswerReader(connection)
            assert reader.read().headers["Connection"] == "close"
            assert reader.rest() == b""


EXPECTING = {
    "length": (b"Content-Length: 4\r\n", b"body"),
    "chunked": (b"Transfer-Encoding: chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n"),
}


def expecting(field: bytes, version: bytes = b"1.1") -> bytes:
    return b"PUT / HTTP/" + version + b"\r\nHost: x\r\nExpect: 100-Continue\r\n" + field + b"\r\n"


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize(("field", "body"), EXPECTING.values(), ids=EXPECTING)
def test_a_client_that_waits_is_told_once_to_go_on_and_the_next_one_again(site: Server, field: bytes, body: bytes):
    with connect(site) as connection:
        for _ in range(2):
            send_byte_by_byte(connection, expecting(field))
            assert receive_head(connection) == CONTINUE
            send_byte_by_byte(connection, body)
            head = receive_head(connection)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            receive_exactly(connection, content_length(head))
        connection.sendall(expecting(field))
        assert receive_head(connection) == CONTINUE
        connection.sendall(body + GET)
        reader = AnswerReader(connection)
        assert body_of(reader.read("PUT")) == "body"
        assert body_of(reader.read()) == ""


@differs("tornado", row=CONTINUE_ANYWAY)
@differs("asgi", "asgi-h11", row=CONTINUE_ANYWAY, only=("chunked-some of it",))
@pytest.mark.parametrize("sent", [1, 4], ids=["some of it", "all of it"])
@pytest.mark.parametrize(("field", "body"), EXPECTING.values(), ids=EXPECTING)
def test_a_client_whose_body_comes_with_the_head_is_not_told_to_go_on(
    site: Server, field: bytes, body: bytes, sent: int
):
    at = sent if sent == 1 else len(body)
    with connect(site) as connection:
        connection.sendall(expecting(field) + body[:at])
        pass_time(site)
        connection.sendall(body[at:])
        assert receive_head(connection).startswith(b"HTTP/1.1 200 OK\r\n")


@DELIVERIES
def test_an_http_1_0_client_is_never_told_to_go_on(site: Server, send: Send):
    with connect(site) as connection:
        send(connection, expecting(b"Content-Length: 4\r\n", b"1.0"))
        pass_time(site)
        connection.sendall(b"body")
        assert receive_head(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_expects_it_without_a_body_gets_its_answer(site: Server):
    for field in (b"", b"Content-Length: 0\r\n"):
        with connect(site) as connection:
            connection.sendall(expecting(field))
            assert AnswerReader(connection).read("PUT").status == 200


def pass_time(site: Server) -> None:
    """Return when the server has had its turn with everything that was sent before."""
    for _ in range(3):
        assert site.request(GET).status == 200


@differs("tornado", "asgi", "asgi-h11", row=HALF_CLOSE)
def test_a_client_that_ends_its_side_behind_the_request_still_gets_the_answer(site: Server):
    with connect(site) as connection:
        connection.sendall(GET)
        connection.shutdown(socket.SHUT_WR)
        reader = AnswerReader(connection)
        assert reader.read().status == 200
        assert reader.rest() == b""


@differs("tornado", row=CONTINUE_ANYWAY, only=("Expect",))
@pytest.mark.parametrize("wire", [b"", GET[:20], expecting(b"Content-Length: 4\r\n") + b"bo"])
def test_a_client_that_ends_its_side_in_a_request_gets_no_answer(site: Server, wire: bytes):
    with connect(site) as connection:
        connection.sendall(wire)
        connection.shutdown(socket.SHUT_WR)
        assert ends_in_order(connection)
