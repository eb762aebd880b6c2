"""A TLS client that comes to a port without TLS."""

import ssl

import pytest

from integration.running import StartServer
from integration.wire import DELIVERIES, Send, connect, receive_to_end

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TLS_RECORDS = frozenset((b"\x14\x03", b"\x15\x03", b"\x16\x03", b"\x17\x03"))
"""How the records of TLS begin: change of cipher, alert, handshake, data; then the version."""


def client_hello(context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, bytes]:
    """Begin a handshake: return the client, what it reads from, and the bytes that it sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing.read()


@DELIVERIES
def test_a_client_hello_gets_nothing_that_could_pass_for_tls_and_the_connection_ends(
    server: StartServer, trusting: ssl.SSLContext, send: Send
):
    site = server("wsgi_app", "--access-logfile", "-")
    worker = site.worker_pid()
    client, incoming, hello = client_hello(trusting)
    assert hello[:2] in TLS_RECORDS
    with connect(site) as connection:
        send(connection, hello)
        received = receive_to_end(connection)
    assert received[:2] not in TLS_RECORDS
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"localhost" not in received
    incoming.write(received)
    with pytest.raises(ssl.SSLError) as refused:
        client.do_handshake()
    assert not isinstance(refused.value, ssl.SSLWantReadError)
    assert client.version() is None or client.cipher() is None
    [line] = site.stdout().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert site.request(GET).status == 200
    assert site.worker_pid() == worker


def test_a_handshake_with_a_plain_port_fails_at_once_and_harms_nobody(server: StartServer, trusting: ssl.SSLContext):
    site = server("wsgi_app")
    for _ in range(3):
        with connect(site) as connection, pytest.raises(ssl.SSLError):
            trusting.wrap_socket(connection, server_hostname="localhost")
        assert site.request(GET).status == 200
