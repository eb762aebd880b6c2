"""Addresses whose clients are sent to https."""

import ssl

import httpx
import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import EVERY_KIND
from integration.running import Server, StartServer
from integration.wire import refusals
from tls.clients import ends_within, port_of

pytestmark = EVERY_KIND

HEAD = "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n"


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    bind = (
        "https://127.0.0.1:0",
        "http://127.0.0.1:0?redirect=8443",
        "http://127.0.0.1:0?redirect=443",
        "http://127.0.0.1:0?redirect=https://shop.example",
    )
    return module_secure("wsgi_app", "--access-logfile", "-", bind=bind)


def answer_at(site: Server, number: int, request: bytes) -> Answer:
    """The answer at one of the plain addresses."""
    with site.dial(port_of(site, "http", number)) as connection:
        connection.sendall(request)
        return AnswerReader(connection).read(request.split(b" ", 1)[0].decode())


@pytest.mark.parametrize(
    ("number", "host", "path", "location"),
    [
        (0, "a.example", "/", "https://a.example:8443/"),
        (0, "a.example:8080", "/a?b=c&d=%2F", "https://a.example:8443/a?b=c&d=%2F"),
        (0, "[::1]", "/x", "https://[::1]:8443/x"),
        (0, "[2001:db8::1]:80", "/x", "https://[2001:db8::1]:8443/x"),
        (0, "192.0.2.1:80", "/x", "https://192.0.2.1:8443/x"),
        (1, "a.example:80", "/x", "https://a.example/x"),
        (1, "[::1]:80", "/x", "https://[::1]/x"),
        (2, "evil.example", "/x", "https://shop.example/x"),
        (0, "a.example", "//evil.example/x", "https://a.example:8443//evil.example/x"),
    ],
)
def test_a_client_is_sent_to_the_same_thing_over_tls(site: Server, number: int, host: str, path: str, location: str):
    answer = answer_at(site, number, HEAD.format(path, host).encode())
    assert (answer.status, answer.reason) == (308, "Permanent Redirect")
    assert answer.headers["Location"] == location
    assert answer.headers["Connection"] == "close"
    assert answer.body == b""


def test_head_and_requests_with_bodies_are_sent_as_well_and_keep_their_method(site: Server):
    answer = answer_at(site, 0, b"HEAD /x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert (answer.status, answer.headers["Location"]) == (308, "https://a.example:8443/x")
    for body in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
        answer = answer_at(site, 0, b"POST /x HTTP/1.1\r\nHost: a.example\r\n" + body)
        assert (answer.status, answer.headers["Location"]) == (308, "https://a.example:8443/x")


def test_a_body_is_not_waited_for(site: Server):
    for fields in (
        "Content-Length: 5000000",
        "Transfer-Encoding: chunked",
        "Content-Length: 5\r\nExpect: 100-continue",
    ):
        answer = answer_at(site, 0, f"POST /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n".encode())
        assert answer.status == 308


def test_a_large_body_does_not_destroy_the_answer(site: Server):
    with site.dial(port_of(site, "http")) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60000\r\n\r\n" + bytes(60000))
        assert ends_within(connection).startswith(b"HTTP/1.1 308 ")


def test_http_1_0_without_a_host_is_sent_to_the_address_itself(site: Server):
    answer = answer_at(site, 0, b"GET /x HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.headers["Location"]) == (308, "https://127.0.0.1:8443/x")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET http://a.example/x HTTP/1.1\r\nHost: a.example", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example", 400),
        ("GET /x HTTP/1.1\r\nHost: a.example/evil", 400),
        ("GET /x HTTP/1.1\r\nHost: user@evil.example", 400),
        ("GET /x HTTP/1.1", 400),
        ("GET /x HTTP/1.1\r\nHost: a.example\r\nHost: b.example", 400),
        ("GET /x\r\nSet-Cookie: a HTTP/1.1\r\nHost: a.example", 400),
    ],
)
def test_what_names_no_place_to_go_to_is_refused(site: Server, head: str, status: int):
    answer = answer_at(site, 0, f"{head}\r\n\r\n".encode())
    assert answer.status == status
    assert answer.headers["Location"] is None
    assert int(refusals(site)[-1][3]) == status


def test_a_client_that_follows_arrives(secure: StartServer, trusting: ssl.SSLContext):
    first = secure("wsgi_app")
    site = secure("wsgi_app", bind=f"http://127.0.0.1:0?redirect={first.port}")
    with httpx.Client(verify=trusting, trust_env=False, follow_redirects=True) as client:
        answer = client.post(f"http://127.0.0.1:{site.port}/echo", content=b"zq81")
        assert (answer.status_code, answer.content) == (200, b"zq81")
        assert answer.url == f"https://127.0.0.1:{first.port}/echo"
