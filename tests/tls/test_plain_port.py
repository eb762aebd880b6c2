"""A TLS client that comes to a port without TLS."""

import ssl

import pytest

from integration.kinds import EVERY_KIND, ONE_REQUEST, WHOLE_HEADS, differs
from integration.running import Server, StartServer, wait_until
from integration.wire import DELIVERIES, Send, connect, is_readable
from tls.clients import GET, Steps, ends_within

pytestmark = EVERY_KIND

HINT = "connections with TLS came to an address of plain HTTP (bind says https://, or certfile is set, for TLS)"


def hints(site: Server) -> list[str]:
    return [line for line in site.log().splitlines() if HINT in line]


@DELIVERIES
def test_a_client_hello_gets_nothing_and_the_connection_ends(server: StartServer, trusting: ssl.SSLContext, send: Send):
    site = server("wsgi_app", "--access-logfile", "-")
    worker = site.worker_pid()
    with connect(site) as connection:
        steps = Steps(connection, trusting)
        try:
            send(connection, steps.hello)
        except (BrokenPipeError, ConnectionResetError):
            assert send is not DELIVERIES.args[1][0]  # only bytes after the first few can come too late
        assert ends_within(connection) == b""
    wait_until(lambda: hints(site), what="the hint")
    assert site.stdout() == ""
    assert site.request(GET).status == 200
    assert site.worker_pid() == worker


def test_many_handshakes_with_a_plain_port_fail_and_harm_nobody_and_there_is_one_hint(
    server: StartServer, trusting: ssl.SSLContext
):
    site = server("wsgi_app")
    for _ in range(20):
        with connect(site) as connection, pytest.raises((ssl.SSLError, ConnectionResetError)):
            trusting.wrap_socket(connection, server_hostname="localhost")
        assert site.request(GET).status == 200
    wait_until(lambda: hints(site), what="the hint")
    assert len(hints(site)) == 1
    site.stop()
    told = [int(line.partition("[WARNING] ")[2].split()[0]) for line in hints(site)]
    assert sum(told) == 20


def test_plain_requests_that_begin_like_a_record_are_refused_as_what_they_are(server: StartServer):
    site = server("wsgi_app")
    with connect(site) as connection:
        connection.sendall(b"\x16GET / HTTP/1.1\r\n\r\n")
        assert ends_within(connection).startswith(b"HTTP/1.1 400 ")
    assert not hints(site)


@differs("sync", row=ONE_REQUEST)
@differs("tornado", row=WHOLE_HEADS)
def test_a_record_behind_a_request_is_no_handshake_any_more(server: StartServer):
    site = server("wsgi_app")
    with connect(site) as connection:
        connection.sendall(GET)
        assert is_readable(connection, 10)
        connection.recv(65536)
        connection.sendall(b"\x16\x03\x01\x00\x05hello")
        assert ends_within(connection).startswith(b"HTTP/1.1 400 ")
    assert not hints(site)
