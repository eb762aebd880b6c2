"""What the application finds in its environ: the body, the log, the addresses, the scheme, where it is mounted."""

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.answers import Answer, AnswerReader
from integration.applications import reading
from integration.running import Server, StartServer
from integration.wire import DELIVERIES, Send, connect

GET = b"GET /app/page?q HTTP/1.1\r\nHost: name.example:8080\r\n\r\n"
BODY = b"one\ntwo\n\nthree"
LARGE = BODY * 40_000
"""More than is kept in memory."""
Mirror = Callable[..., Server]


@pytest.fixture(scope="module")
def reader(module_server: StartServer, applications: Path) -> Server:
    return module_server("reading", pythonpath=(applications,))


@pytest.fixture
def mirror(server: StartServer, applications: Path) -> Mirror:
    """Start a server that shows the environ."""
    return lambda *arguments, **options: server("mirror", *arguments, pythonpath=(applications,), **options)


def with_length(path: str, body: bytes) -> bytes:
    return f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def in_chunks(path: str, body: bytes) -> bytes:
    pieces = [body[at : at + 9_999] for at in range(0, len(body), 9_999)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"POST /{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("body", [b"", BODY, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("framing", [with_length, in_chunks])
@pytest.mark.parametrize("name", [name for name in reading.READS if name != "iterate-then-read"])
def test_the_body_is_read_as_a_file_is(reader: Server, name: str, framing: Callable[[str, bytes], bytes], body: bytes):
    answer = reader.request(framing(name, body))
    assert answer.status == 200
    assert answer.text == repr(reading.READS[name](io.BytesIO(body)))


def test_the_body_can_be_read_on_after_a_line_was_iterated(reader: Server):
    answer = reader.request(with_length("iterate-then-read", BODY))
    assert answer.text == repr([b"one\n", b"two\n\nthree"])


def test_a_body_that_was_not_read_is_no_request(reader: Server):
    with connect(reader) as connection:
        connection.sendall(with_length("nothing", GET) + in_chunks("nothing", GET) + with_length("read", BODY))
        answers = AnswerReader(connection)
        assert [answers.read().text for _ in range(3)] == ["[]", "[]", repr([BODY, b""])]


def test_what_is_written_to_wsgi_errors_stands_in_the_error_log(reader: Server):
    assert reader.request(b"GET /log HTTP/1.1\r\nHost: x\r\n\r\n").text == "logged"
    lines = reader.log().splitlines()
    assert any(line.startswith("by write ") for line in lines)
    assert {"by writelines, in two pieces", "by print", "by sys.stderr"} <= set(lines)


def environ_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    environ: dict[str, Any] = json.loads(answer.text)["environ"]
    return environ


def test_the_target_and_both_ends_of_the_connection_are_told(mirror: Mirror):
    site = mirror()
    with connect(site) as connection:
        connection.sendall(GET)
        environ = environ_of(AnswerReader(connection).read())
        assert environ["REMOTE_PORT"] == str(connection.getsockname()[1])
    expected = {
        "RAW_URI": "/app/page?q",
        "REQUEST_URI": "/app/page?q",
        "PATH_INFO": "/app/page",
        "QUERY_STRING": "q",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(site.port),
        "HTTP_HOST": "name.example:8080",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
    }
    assert {name: environ[name] for name in expected} == expected
    assert environ["SERVER_SOFTWARE"].startswith("greenhorn/")


V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
V1_SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.1")
V2 += (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
V2_SIX = SIGNATURE + b"\x21\x21\x00\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
V2_SIX += socket.inet_pton(socket.AF_INET6, "2001:db8::1") + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
PROXIED = {
    "v1": (V1, "203.0.113.7"),
    "v1 with IPv6": (V1_SIX, "2001:db8::7"),
    "v1 of an unknown client": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v2": (V2, "203.0.113.7"),
    "v2 with IPv6": (V2_SIX, "2001:db8::7"),
    "v2 with a TLV": (V2.replace(b"\x00\x0c", b"\x00\x10", 1) + b"\x04\x00\x01x", "203.0.113.7"),
    "v2 of the proxy itself": (LOCAL, "127.0.0.1"),
    "none": (b"", "127.0.0.1"),
}


@pytest.fixture(scope="module")
def behind_proxy(module_server: StartServer, applications: Path) -> Server:
    return module_server("mirror", "--proxy-protocol=auto", "--access-logfile", "-", pythonpath=(applications,))


@DELIVERIES
@pytest.mark.parametrize(("header", "address"), PROXIED.values(), ids=PROXIED)
def test_the_address_that_a_proxy_tells_holds_for_the_whole_connection(
    behind_proxy: Server, header: bytes, address: str, send: Send
):
    with connect(behind_proxy) as connection:
        answers = AnswerReader(connection)
        send(connection, header + GET)
        for _ in range(3):
            environ = environ_of(answers.read())
            assert environ["REMOTE_ADDR"] == address
            assert environ["REMOTE_PORT"] == ("4711" if address != "127.0.0.1" else str(connection.getsockname()[1]))
            send(connection, GET)
        assert answers.read().status == 200
    assert behind_proxy.stdout().splitlines()[-1].startswith(f"{address} - - ")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.7\r\n",
        b"PROXY TCP4 203.0.113.700 198.51.100.1 4711 443\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 65536\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\x00\x0c",
        SIGNATURE + b"\x21\x11\x00\x04" + b"\x7f\x00\x00\x01",
    ],
)
def test_a_malformed_proxy_header_is_refused(behind_proxy: Server, header: bytes):
    assert behind_proxy.request(header + GET).status == 400


def test_a_proxy_header_from_anybody_else_is_refused(mirror: Mirror):
    site = mirror("--proxy-protocol=auto", "--proxy-allow-from", "203.0.113.0/24")
    for header in (V1, V2):
        assert site.request(header + GET).status == 403
    assert site.request(GET).status == 200


def test_without_the_setting_a_proxy_header_is_no_request(mirror: Mirror):
    site = mirror()
    for header in (V1, V2):
        assert site.request(header + GET).status == 400


SCHEMES = {
    "none": (b"", "http"),
    "X-Forwarded-Proto": (b"X-Forwarded-Proto: https\r\n", "https"),
    "X-Forwarded-Ssl": (b"X-Forwarded-Ssl: on\r\n", "https"),
    "X-Forwarded-Protocol": (b"X-FORWARDED-PROTOCOL: ssl\r\n", "https"),
    "two that agree": (b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: on\r\n", "https"),
    "http": (b"X-Forwarded-Proto: http\r\n", "http"),
}


@pytest.mark.parametrize("trusted", [True, False])
def test_the_scheme_is_believed_from_a_trusted_peer_only(mirror: Mirror, trusted: bool):
    site = mirror("--forwarded-allow-ips", "127.0.0.0/8" if trusted else "203.0.113.1")
    for fields, scheme in SCHEMES.values():
        environ = environ_of(site.request(GET.replace(b"Host", fields + b"Host")))
        assert environ["wsgi.url_scheme"] == (scheme if trusted else "http")
    contradiction = b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nHost"
    assert site.request(GET.replace(b"Host", contradiction)).status == (400 if trusted else 200)


def test_a_trusted_proxy_may_tell_where_the_application_is_mounted(mirror: Mirror):
    site = mirror()
    environ = environ_of(site.request(GET.replace(b"Host", b"SCRIPT_NAME: /app\r\nHost")))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/page")
    assert environ["RAW_URI"] == "/app/page?q"
    untrusting = mirror("--forwarded-allow-ips", "203.0.113.1")
    environ = environ_of(untrusting.request(GET.replace(b"Host", b"SCRIPT_NAME: /app\r\nHost")))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/app/page")


def test_the_environment_may_tell_where_the_application_is_mounted(mirror: Mirror):
    site = mirror("--env", "SCRIPT_NAME=/app")
    environ = environ_of(site.request(GET))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/page")
    for path in (b"/application", b"/elsewhere", b"/"):
        assert site.request(GET.replace(b"/app/page", path)).status == 500
