"""Who the client is behind proxies: lists counted from their ends, from trusted peers only, request by request.

With every worker class; what is wrong in the configuration is found before there is one.
"""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND, ONE_REQUEST, PARSER, USUAL_KIND, differs
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.wire import connect, refusals_behind

pytestmark = EVERY_KIND
Mirror = Callable[..., Server]
APPLICATION = """
import json

def application(environ, start_response):
    names = {name for name in environ if name.isupper()} | {"wsgi.url_scheme", "greenhorn.peer_addr"}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: environ.get(name) for name in names}).encode()]
"""
CLIENT = "X-Forwarded-For: 203.0.113.7"


@pytest.fixture
def mirror(server: StartServer) -> Mirror:
    """Start a server that shows the environ."""
    return lambda *arguments, **options: server(None, *arguments, app_source=APPLICATION, **options)


def get(*fields: str) -> bytes:
    return "\r\n".join(("GET /a HTTP/1.1", "Host: name.example", *fields, "", "")).encode()


def seen(site: Server, *fields: str, before: bytes = b"") -> dict[str, Any]:
    """What the application sees of one request, and whether the peer's port is the connection's."""
    with connect(site) as connection:
        connection.sendall(before + get(*fields))
        answer = AnswerReader(connection).read()
        assert answer.status == 200, answer.text
        environ: dict[str, Any] = json.loads(answer.text)
        environ["own port"] = str(connection.getsockname()[1])
        return environ


def test_nothing_is_believed_unless_it_is_asked_for(mirror: Mirror):
    environ = seen(mirror(), CLIENT, "Forwarded: for=203.0.113.7", "X-Forwarded-Host: a.example")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("127.0.0.1", environ["own port"])
    assert (environ["HTTP_X_FORWARDED_FOR"], environ["HTTP_HOST"]) == ("203.0.113.7", "name.example")
    assert environ["greenhorn.peer_addr"] is None


def test_the_client_is_the_entry_of_the_outermost_proxy(mirror: Mirror):
    site = mirror("--forwarded-hops", "2", "--access-logfile", "-")
    environ = seen(site, "X-Forwarded-For: 6.6.6.6, zq,", "X-Forwarded-For: 203.0.113.7:99, 198.51.100.1")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "99")
    assert environ["greenhorn.peer_addr"] == ["127.0.0.1", environ["own port"]]
    environ = seen(site, "X-Forwarded-For: [2001:DB8::7], 198.51.100.1")
    assert environ["REMOTE_ADDR"] == "2001:db8::7"
    assert "REMOTE_PORT" not in environ


def test_who_is_not_told_is_the_peer(mirror: Mirror):
    site = mirror("--forwarded-hops", "2")
    for value in ("", "203.0.113.7", "unknown, 198.51.100.1", "_hidden, 198.51.100.1", "6.6.6.6, , 198.51.100.1"):
        environ = seen(site, f"X-Forwarded-For: {value}")
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("127.0.0.1", environ["own port"]), value
        assert environ["greenhorn.peer_addr"] is None


@differs("sync", row=ONE_REQUEST)
def test_each_request_of_a_kept_connection_has_its_own_client(mirror: Mirror):
    site = mirror("--forwarded-hops", "1")
    with connect(site) as connection:
        connection.sendall(get(CLIENT) + get() + get("X-Forwarded-For: 203.0.113.8") + get(CLIENT))
        answers = AnswerReader(connection)
        addresses = [json.loads(answers.read().text)["REMOTE_ADDR"] for _ in range(4)]
    assert addresses == ["203.0.113.7", "127.0.0.1", "203.0.113.8", "203.0.113.7"]


def test_a_stranger_tells_nothing_and_harms_nothing(mirror: Mirror):
    site = mirror("--forwarded-hops", "1", "--forwarded-fields", "host,port", "--forwarded-allow-ips", "203.0.113.0/24")
    for value in ("203.0.113.7", "zq"):
        environ = seen(site, f"X-Forwarded-For: {value}", "X-Forwarded-Host: a.example", "X-Forwarded-Port: zq")
        assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == ("127.0.0.1", "name.example")


def test_an_entry_that_is_no_address_is_refused_and_the_log_says_why(mirror: Mirror):
    site = mirror("--forwarded-hops", "1", "--access-logfile", "-")
    assert site.request(get("X-Forwarded-For: 203.0.113.7, localhost")).status == 400
    assert [refusal[5] for refusal in refusals_behind(site, 0)] == ["the address that a proxy forwarded is malformed"]
    assert seen(site, CLIENT)["REMOTE_ADDR"] == "203.0.113.7"


@differs("tornado", row=PARSER)
def test_the_access_log_names_the_client_also_where_a_request_is_refused(mirror: Mirror):
    site = mirror("--forwarded-hops", "1", "--access-logfile", "-", "--limit-request-body", "9")
    for count, (request, status) in enumerate(
        (
            (get(CLIENT), 200),
            (get(), 200),
            (get("X-Forwarded-For: 203.0.113.8", "Content-Length: 10"), 413),
            (get("X-Forwarded-For: 203.0.113.9", "bad line"), 400),
        ),
        1,
    ):
        assert site.request(request).status == status
        wait_until(lambda count=count: len(site.stdout().splitlines()) == count, what=f"line {count}")
    assert [line.split(" ")[0] for line in site.stdout().splitlines()] == [
        "203.0.113.7", "127.0.0.1", "203.0.113.8", "127.0.0.1"
    ]  # fmt: skip
    site.wait_for_log("Invalid request from ip=203.0.113.8: 413")


def test_forwarded_tells_address_scheme_and_host(mirror: Mirror):
    site = mirror("--forwarded-hops", "1", "--forwarded-header", "forwarded", "--forwarded-fields", "host")
    environ = seen(
        site,
        'Forwarded: for="6.6.6.6, for="[2001:db8::7]:99";proto=https;host="a.example"',
        "X-Forwarded-For: 9.9.9.9",
        "X-Forwarded-Proto: http",
    )
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::7", "99")
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", "a.example")
    assert seen(site, "X-Forwarded-Proto: https")["wsgi.url_scheme"] == "https"
    assert site.request(get("Forwarded: 203.0.113.7")).status == 400


def test_host_port_and_prefix_are_believed_if_they_are_named(mirror: Mirror):
    fields = ("X-Forwarded-Host: a.example", "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /shop", CLIENT)
    site = mirror("--forwarded-hops", "1", "--forwarded-fields", "host,port,prefix")
    environ = seen(site, *fields)
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"], environ["SCRIPT_NAME"]) == ("a.example", "8443", "/shop")
    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("/a", "/a")
    plain = mirror("--forwarded-hops", "1")
    environ = seen(plain, *fields)
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("name.example", str(plain.port))
    assert (environ["SCRIPT_NAME"], environ["REMOTE_ADDR"]) == ("", "203.0.113.7")


def test_the_peer_of_a_unix_socket_is_believed(server: StartServer, tmp_path: Path):
    path = tmp_path / "app.sock"
    server(None, "--forwarded-hops", "1", "--forwarded-allow-ips", "", app_source=APPLICATION, bind=f"unix:{path}")
    told = []
    for request in (get(CLIENT), get()):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(path))
            connection.sendall(request)
            told.append(json.loads(AnswerReader(connection).read().text))
    first, second = told
    assert (first["REMOTE_ADDR"], first["greenhorn.peer_addr"]) == ("203.0.113.7", None)
    assert second["REMOTE_ADDR"] == ""


@pytest.mark.parametrize(("trusted", "address"), [("192.0.2.1", "203.0.113.7"), ("127.0.0.1", "192.0.2.1")])
def test_behind_the_proxy_protocol_whom_its_header_names_has_to_be_trusted(mirror: Mirror, trusted: str, address: str):
    site = mirror("--forwarded-hops", "1", "--proxy-protocol=auto", "--forwarded-allow-ips", trusted)
    environ = seen(site, CLIENT, before=b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n")
    assert environ["REMOTE_ADDR"] == address
    assert environ["greenhorn.peer_addr"] == ["127.0.0.1", environ["own port"]]


def test_hooks_see_the_client_and_the_peer(server: StartServer):
    config = (
        'def pre_request(worker, req):\n    worker.log.info("of %s through %s", req.remote_addr[0], req.peer_addr[0])\n'
    )
    site = server(None, "--forwarded-hops", "1", app_source=APPLICATION, config=config)
    seen(site, CLIENT)
    site.wait_for_log("of 203.0.113.7 through 127.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--forwarded-hops", "-1"), "forwarded.hops"),
        (("--forwarded-header", "x-real-ip"), "must be one of x-forwarded, forwarded"),
        (("--forwarded-fields", "host,for"), "must be any of host, port, prefix"),
    ],
)
@USUAL_KIND
def test_a_wrong_setting_ends_the_start(server: StartServer, arguments: tuple[str, ...], complaint: str):
    site = server(None, *arguments, app_source=APPLICATION, ready=False)
    assert site.wait() in (1, 2)
    site.wait_for_log(complaint)
