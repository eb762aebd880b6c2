"""The PROXY protocol before TLS: a balancer passes the bytes on, and tells first who the client is."""

import json
import socket
import ssl
import struct
from pathlib import Path

import pytest

from integration.kinds import EVERY_KIND
from integration.proxies import haproxy
from integration.running import Server, StartServer
from integration.wire import DELIVERIES, Send, send_whole
from tls.clients import LAST_GET, Steps, ends_within, visit, wait_for_failed_handshakes

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4242 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11"
    + struct.pack("!H", 12)
    + socket.inet_aton("203.0.113.7")
    + socket.inet_aton("192.0.2.1")
    + struct.pack("!HH", 4242, 443)
)
HEADERS = pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])


@pytest.fixture
def site(secure: StartServer, applications: Path) -> Server:
    flags = ("--proxy-protocol", "auto", "--access-logfile", "-")
    return secure("mirror", *flags, pythonpath=(applications,))


@HEADERS
@DELIVERIES
def test_the_header_comes_before_the_handshake(site: Server, trusting: ssl.SSLContext, header: bytes, send: Send):
    steps = Steps(site.dial(), trusting)
    send(steps.connection, header + steps.hello)
    send(steps.connection, steps.next_flight() + steps.records(LAST_GET))
    environ = json.loads(steps.read_to_end().partition(b"\r\n\r\n")[2])["environ"]
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "4242")
    assert (environ["PROXY_ADDR"], environ["PROXY_PORT"]) == ("192.0.2.1", "443")
    assert (environ["wsgi.url_scheme"], environ["SSL_PROTOCOL"]) == ("https", "TLSv1.3")
    assert site.stdout().startswith("203.0.113.7 - - [")


@EVERY_KIND
def test_without_a_header_it_is_a_handshake_as_any(site: Server, trusting: ssl.SSLContext):
    environ = json.loads(visit(site, trusting).answer.text)["environ"]
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert "PROXY_ADDR" not in environ


@EVERY_KIND
@HEADERS
def test_plain_http_behind_a_header_is_told_so_and_the_log_names_the_client(site: Server, header: bytes):
    with site.dial() as connection:
        connection.sendall(header + LAST_GET)
        assert ends_within(connection).startswith(b"HTTP/1.1 400 ")
    site.wait_for_log(r"Invalid request from ip=203\.0\.113\.7: 400 plain HTTP came")


@HEADERS
def test_a_header_inside_tls_is_no_request(site: Server, trusting: ssl.SSLContext, header: bytes):
    steps = Steps(site.dial(), trusting).shake_hands()
    steps.connection.sendall(steps.records(header + LAST_GET))
    assert steps.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_where_none_is_expected_it_is_plain_http(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app")
    steps = Steps(site.dial(), trusting)
    send_whole(steps.connection, V1 + steps.hello)
    assert ends_within(steps.connection).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_is_gone_behind_the_header_is_counted(site: Server, trusting: ssl.SSLContext):
    steps = Steps(site.dial(), trusting)
    steps.connection.sendall(V2 + steps.hello[:20])
    steps.connection.shutdown(socket.SHUT_WR)
    assert ends_within(steps.connection) == b""
    wait_for_failed_handshakes(site, 1)


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_behind_haproxy_that_passes_tls_on(site: Server, trusting: ssl.SSLContext, tmp_path: Path, version: str):
    with haproxy(tmp_path / "haproxy", f"127.0.0.1:{site.port} {version}", mode="tcp") as port:
        connection = socket.create_connection(("127.0.0.1", port), 15, source_address=("127.0.0.9", 0))
        with site.secure(connection, trusting) as secured:
            secured.sendall(LAST_GET)
            received = b""
            while data := secured.recv(65536):
                received += data
    environ = json.loads(received.partition(b"\r\n\r\n")[2])["environ"]
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.9", "https")
