"""What applications of ASGI are told of requests, and what the server refuses in their place."""

import json
import re
import socket
from pathlib import Path
from typing import Any, Protocol

import pytest

from integration.answers import Answer, AnswerReader
from integration.asgi import FAMILY, Site
from integration.launching import ask_at
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.slow_clients import is_reset_within
from integration.wire import REFUSAL, is_readable, receive_to_end, reset

GET = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Start(Protocol):
    """Starts the application; its name may be another one of `asgi_plain`."""

    def __call__(self, *arguments: str, name: str = "application", **options: Any) -> Server: ...


@pytest.fixture(params=FAMILY)
def start(server: StartServer, tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    def begin(*arguments: str, name: str = "application", **options: Any) -> Server:
        return Site(server, tmp_path, f"asgi_plain:{name}", *arguments, kind=request.param, **options).server

    return begin


def get(site: Server, target: str, *fields: str) -> Answer:
    return site.request(GET.format(target, "".join(f"{field}\r\n" for field in fields)).encode())


def ask_for(site: Server, target: str, *fields: str) -> socket.socket:
    """Ask on a connection that has not much on its way."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before the first window is told
    connection.settimeout(DEADLINE)
    connection.connect(("127.0.0.1", site.port))
    connection.sendall(GET.format(target, "".join(f"{field}\r\n" for field in fields)).encode())
    return connection


def scope_of(site: Server, target: str = "/scope", *fields: str) -> dict[str, Any]:
    scope: dict[str, Any] = json.loads(get(site, target, *fields).text)
    return scope


def test_the_scope_says_what_was_asked_for_by_whom_and_where(start: Start):
    site = start("--forwarded-allow-ips", "10.0.0.1")
    with site.connect() as connection:
        connection.sendall(GET.format("/%73cope?a=b%20c", "X-Forwarded-For: 9.9.9.9\r\n").encode())
        scope = json.loads(AnswerReader(connection).read().text)
        host, port = connection.getsockname()
    assert scope["type"] == "http"
    assert (scope["method"], scope["http_version"], scope["scheme"]) == ("GET", "1.1", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/scope", "/%73cope", "a=b%20c")
    assert scope["client"] == [host, port]
    assert scope["server"] == ["127.0.0.1", site.port]
    assert scope["root_path"] == ""
    assert scope["state"] == {"shelf": "books", "ready": True}
    assert ["x-forwarded-for", "9.9.9.9"] in scope["headers"]


def test_a_trusted_proxy_tells_client_scheme_host_port_and_prefix(start: Start):
    site = start("--forwarded-hops", "1", "--forwarded-fields", "host,port,prefix")
    fields = (
        "X-Forwarded-For: 198.51.100.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 8443",
        "X-Forwarded-Prefix: /shop",
    )
    scope = scope_of(site, "/scope", *fields)
    assert scope["client"] == ["198.51.100.7", 0]
    assert scope["scheme"] == "https"
    assert scope["server"] == ["127.0.0.1", 8443]
    assert [value for name, value in scope["headers"] if name == "host"] == ["shop.example"]
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/shop", "/shop/scope", "/shop/scope")


def test_what_a_proxy_tells_in_a_wrong_way_is_refused_and_written_down(start: Start):
    site = start("--access-logfile", "-", "--forwarded-hops", "1")
    answer = get(site, "/scope", "X-Forwarded-For: here")
    assert (answer.status, answer.headers["Connection"]) == (400, "close")
    line = wait_until(lambda: REFUSAL.search(site.stdout()), what="the line")
    assert line[3] == "400"
    assert line[5] == "the address that a proxy forwarded is malformed"


def test_a_name_with_an_underscore_is_left_out_and_told_once(start: Start):
    site = start("--forwarded-allow-ips", "10.0.0.1")
    for _ in range(2):
        scope = scope_of(site, "/scope", "X_Forwarded_Proto: https", "X-Other: 1")
        assert [name for name, _ in scope["headers"] if name.startswith("x")] == ["x-other"]
    assert site.log().lower().count("'x_forwarded_proto' is not passed on") == 1


def test_root_path_stands_in_front_of_the_path(start: Start):
    scope = scope_of(start("--root-path", "/below"))
    assert (scope["root_path"], scope["path"]) == ("/below", "/below/scope")


def test_each_answer_has_one_server_and_one_date(start: Start):
    answer = get(start(), "/")
    assert answer.headers.get_all("Server") == ["greenhorn"]
    assert len(answer.headers.get_all("Date") or ()) == 1


@pytest.mark.parametrize("framing", ["Content-Length: {}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"])
def test_bodies_come_back_whole(start: Start, framing: str):
    body = bytes(range(256)) * 4000
    sent = body if "{}" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = "POST /echo HTTP/1.1\r\nHost: x\r\n" + framing.format(len(body))
    assert start().request(head.encode() + sent).body == body


def test_connections_are_kept_and_pipelined_requests_answered_in_their_order(start: Start):
    with start().connect() as connection:
        connection.sendall((GET.format("/", "") + GET.format("/scope", "") + GET.format("/", "")).encode())
        reader = AnswerReader(connection)
        bodies = [reader.read().text for _ in range(3)]
    assert bodies[0] == bodies[2]
    assert bodies[1].startswith("{")


BEHIND = {
    "malformed": (400, b"\0\r\n\r\n"),
    "malformed chunk": (400, b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"),
    "too large": (413, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "wrong"), BEHIND.values(), ids=BEHIND)
def test_what_is_wrong_behind_a_request_does_not_take_its_answer(start: Start, status: int, wrong: bytes):
    with start("--limit-request-body", "100000").connect() as connection:
        connection.sendall(GET.format("/rest", "").encode() * 2 + wrong)
        reader = AnswerReader(connection)
        answers = [reader.read() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, status]
        assert answers[2].headers["Connection"] == "close"
        assert reader.rest() == b""


def test_a_head_has_all_of_its_limit_whatever_the_body_before_it_had(start: Start):
    with start("--limit-request-head", "2000").connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(4000))
        connection.sendall(bytes(1000))
        reader = AnswerReader(connection)
        assert len(reader.read("POST").body) == 5000
        head = GET.format("/", f"X: {'y' * 1000}\r\n").encode()
        connection.sendall(head[:500])
        assert not is_readable(connection, 0.2)
        connection.sendall(head[500:])
        assert reader.read().status == 200


def test_without_keepalive_each_answer_says_so(start: Start):
    assert get(start("--keep-alive", "0"), "/").headers["Connection"] == "close"


def test_an_application_that_fails_is_a_500_and_one_line(start: Start):
    site = start("--access-logfile", "-", allow_traceback=True)
    assert get(site, "/fail").status == 500
    assert get(site, "/").status == 200
    site.wait_for_log("LookupError: in the application")
    wait_until(lambda: re.search(r'"GET /fail HTTP/1.1" 500 21 ', site.stdout()), what="the line")


def test_the_access_log_tells_the_answer_that_an_application_did_not_give(start: Start):
    site = start("--access-logfile", "-", allow_traceback=True)
    assert get(site, "/leave").status == 500
    wait_until(lambda: re.search(r'"GET /leave HTTP/1.1" 500 21 ', site.stdout()), what="the line")
    with site.connect() as connection:
        connection.sendall(GET.format("/split", "").encode())
        assert b"Set-Cookie" not in receive_to_end(connection)
    wait_until(lambda: re.search(r'"GET /split HTTP/1.1" 500 ', site.stdout()), what="the line")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (GET.format("/" + "a" * 5000, ""), 414),
        (GET.format("/", "X: y\r\n" * 120), 431),
        (GET.format("/", f"X: {'y' * 9000}\r\n"), 431),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: " + "y" * 70000, 431),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n", 413),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + ("400\r\n" + "y" * 1024 + "\r\n") * 200,
            413,
        ),
        ("what is this?\r\n\r\n", 400),
    ],
    ids=["line", "fields", "field", "unfinished head", "announced body", "chunked body", "no HTTP"],
)
def test_what_is_too_large_or_no_http_is_refused_and_written_down(start: Start, request_text: str, status: int):
    site = start("--access-logfile", "-", "--limit-request-body", "100000")
    with site.connect() as connection:
        connection.sendall(request_text.encode())
        answer = AnswerReader(connection).read()
    assert (answer.status, answer.headers["Connection"]) == (status, "close")
    line = wait_until(lambda: REFUSAL.search(site.stdout()), what="the line")
    assert line[3] == str(status)


AMBIGUOUS = {
    "a length and chunks": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 400),
    "another coding": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
    "no host": (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n", 400),
    "two hosts": (b"POST / HTTP/1.1\r\nHost: x\r\nHost: x\r\nContent-Length: 5\r\n", 400),
    "a malformed host": (b"POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: 5\r\n", 400),
    "another version": (b"POST / HTTP/3.0\r\nHost: x\r\nContent-Length: 5\r\n", 505),
}
"""Requests that others may read differently; h11 refuses some of them in its own way."""


def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(start: Start):
    site = start("--access-logfile", "-")
    assert get(site, "/scope").status == 200  # what is remembered of it must let none of them pass
    for name, (head, status) in AMBIGUOUS.items():
        with site.connect() as connection:
            connection.sendall(head + b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
            received = receive_to_end(connection)
        assert b"HTTP/1.1 200" not in received, name
        assert int(received[9:12]) in (status, 400), name
    assert "/smuggled" not in site.stdout()


def test_websockets_whose_handshake_is_none_do_not_hold_their_places(start: Start):
    site = start("--worker-connections", "3", "--header-timeout", "1")
    handshake = (
        GET.format("/", "".join(f"{field}\r\n" for field in (*UPGRADE, "Content-Length: 5"))).encode() + b"abcde"
    )
    held = [site.connect() for _ in range(3)]
    for connection in held:
        connection.sendall(handshake)
    assert get(site, "/", "Connection: close").status == 200
    for connection in held:
        receive_to_end(connection)


def test_clients_that_are_silent_or_stop_in_the_middle_are_ended(start: Start):
    site = start("--first-byte-timeout", "1", "--header-timeout", "1", "--body-timeout", "1", "--keep-alive", "1")
    connections = {begun: site.connect() for begun in ("", "GET / HTTP/1.1\r\nHost", "POST /echo", GET.format("/", ""))}
    for begun, connection in connections.items():
        rest = " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf" if begun == "POST /echo" else ""
        connection.sendall((begun + rest).encode())
    assert [read_all(connection)[9:12] for connection in connections.values()] == [b"", b"408", b"408", b"200"]


def test_a_client_that_does_not_read_is_cut_off(server: StartServer, tmp_path: Path):
    site = Site(server, tmp_path, "asgi_plain:application", "--write-timeout", "1").server
    with site.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(GET.format("/pour", "").encode())
        wait_until(lambda: not established(connection), what="the end of the connection")
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def test_clients_that_leave_in_an_answer_leave_no_line_that_is_none_of_the_log(start: Start):
    site = start()
    for _ in range(30):
        with site.connect() as connection:
            connection.sendall(GET.format("/pour", "").encode())
            assert connection.recv(1000)
            reset(connection)
    assert get(site, "/", "Connection: close").status == 200
    site.stop()
    assert [line for line in site.log().splitlines() if not line.startswith("[")] == []
    assert "WARNING" not in site.log()


def test_clients_of_websockets_that_do_not_read_are_cut_off(start: Start):
    site = start("--write-timeout", "1", "--worker-connections", "3")
    deaf = [ask_for(site, "/push", *UPGRADE) for _ in range(3)]
    for connection in deaf:
        with connection:
            assert is_reset_within(connection, DEADLINE)
    assert get(site, "/", "Connection: close").status == 200


def read_all(connection: socket.socket) -> bytes:
    """Return all bytes until the other side closes the connection."""
    received = bytearray()
    while data := connection.recv(65536):
        received += data
    return bytes(received)


def established(connection: socket.socket) -> bool:
    """Tell whether the kernel still takes the connection for a whole one (TCP_INFO)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1


def test_a_unix_socket_has_a_scope_without_a_client(start: Start, tmp_path: Path):
    path = tmp_path / "app.sock"
    site = start(bind=[f"unix:{path}", "127.0.0.1:0"])
    scope = json.loads(ask_at(path, GET.format("/scope", "Connection: close\r\n").encode()).partition(b"\r\n\r\n")[2])
    assert scope["client"] is None
    assert scope["server"] == [str(path), None]
    assert get(site, "/").status == 200


def test_a_header_of_the_proxy_protocol_names_the_client(start: Start):
    site = start("--proxy-protocol", "--access-logfile", "-")
    with site.connect() as connection:
        connection.sendall(b"PROXY TCP4 203.0.113.9 ")
        connection.sendall(b"127.0.0.1 4711 80\r\n" + GET.format("/scope", "").encode())
        scope = json.loads(AnswerReader(connection).read().text)
    assert scope["client"] == ["203.0.113.9", 4711]
    wait_until(lambda: site.stdout().startswith("203.0.113.9 - - ["), what="the line")


def test_an_application_of_asgi_2_is_served(start: Start):
    assert get(start(name="Asgi2"), "/scope").status == 200


def test_a_factory_that_is_called_is_served(start: Start):
    assert get(start(name="make()"), "/scope").status == 200


@pytest.mark.parametrize(
    ("name", "why"), [("wsgi", "wsgi is an application of WSGI"), ("make", r"as in MODULE:make\(\)")]
)
def test_what_is_no_application_of_asgi_ends_the_start(start: Start, name: str, why: str):
    site = start(name=name, ready=False, exit_code=4)
    assert site.wait(DEADLINE) == 4
    site.wait_for_log(why)
