"""How connections end: with a goodbye from both sides, without one, and in the middle of something (RFC 8446 6.1)."""

import socket
import ssl
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import AT_ONCE, BUSY, EVERY_KIND, ONE_REQUEST, PARSER, differs
from integration.running import Server, StartServer, wait_until
from integration.staging import Theatre, dump, pass_the_poller, seen, wait_seconds
from integration.staging import ask as request_for
from integration.wire import is_readable, receive_to_end, reset
from tls.clients import GET, LAST_GET, Steps, ask, ends_within, only

pytestmark = EVERY_KIND

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
LENGTH = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: loc"
BROKEN = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"the first half"
    raise ValueError("zq81")
"""


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    return module_secure("wsgi_app", "--access-logfile", "-", "--log-level", "debug")


@differs("tornado", row=PARSER, only=("no request",))
@VERSIONS
@pytest.mark.parametrize(
    "request_bytes",
    [LAST_GET, b"GET / HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["Connection: close", "HTTP/1.0", "no request", "no host"],
)
def test_the_server_says_goodbye_behind_its_last_answer(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, request_bytes: bytes
):
    steps = Steps(site.dial(), only(trusting, version)).shake_hands()
    steps.connection.sendall(steps.records(request_bytes))
    received = steps.read_to_end()
    assert received.startswith(b"HTTP/1.1 ")
    steps.connection.sendall(steps.goodbye_behind_theirs())
    assert steps.connection.recv(1) == b""


def test_the_server_says_goodbye_when_nobody_asks_any_more(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--keep-alive", "1")
    idle = [
        site.secure(site.dial(), only(trusting, version))
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)
    ]
    for connection in idle:
        assert ask(connection).status == 200
    for connection in idle:
        assert receive_to_end(connection) == b""


def test_the_server_says_goodbye_to_idle_clients_when_it_stops(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app")
    with trusting.wrap_socket(
        socket.create_connection(("127.0.0.1", site.port), 15), server_hostname="localhost", suppress_ragged_eofs=False
    ) as connection:
        assert ask(connection).status == 200
        assert site.stop() == 0
        assert receive_to_end(connection) == b""


@VERSIONS
def test_a_goodbye_of_the_client_is_answered_and_ends_the_connection(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    with site.secure(site.dial(), only(trusting, version)) as connection:
        assert ask(connection).status == 200
        raw = connection.unwrap()  # returns when the server has said it as well
        assert raw.recv(1) == b""
        raw.close()


def test_a_client_may_go_without_a_goodbye(site: Server, trusting: ssl.SSLContext):
    before = len(site.log())
    for leave in (lambda raw: raw.shutdown(socket.SHUT_WR), reset):
        steps = Steps(site.dial(), trusting).shake_hands()
        steps.connection.sendall(steps.records(GET))
        assert b"Hello" in steps.read_until(b"application.\n")
        leave(steps.connection)
        steps.connection.close()
    assert site.request(GET).status == 200
    assert not [line for line in site.log()[before:].splitlines() if "[DEBUG]" not in line]


@differs("sync", row=ONE_REQUEST)
@pytest.mark.parametrize("suppress", [True, False])
def test_an_end_without_a_goodbye_is_an_error_only_if_that_was_said(
    secure: StartServer, trusting: ssl.SSLContext, suppress: bool
):
    site = secure("wsgi_app", "--log-level", "debug", config=f"suppress_ragged_eofs = {suppress}")
    steps = Steps(site.dial(), trusting).shake_hands()
    steps.connection.sendall(steps.records(GET))
    assert b"Hello" in steps.read_until(b"application.\n")
    steps.connection.shutdown(socket.SHUT_WR)
    ends_within(steps.connection)
    said = "the client ended the stream without a TLS goodbye"
    if not suppress:
        site.wait_for_log(said)
    with site.secure(site.dial(), trusting) as connection:
        assert ask(connection).status == 200
        connection.unwrap().close()
    assert site.log().count(said) == (0 if suppress else 1)


@pytest.mark.parametrize("part", [HALF, LENGTH, CHUNKED], ids=["head", "length", "chunked"])
@pytest.mark.parametrize("goodbye", [True, False], ids=["goodbye", "no goodbye"])
def test_a_request_that_is_cut_off_is_not_taken_for_a_whole_one(
    site: Server, trusting: ssl.SSLContext, part: bytes, goodbye: bool
):
    lines = site.stdout()
    steps = Steps(site.dial(), trusting).shake_hands()
    steps.connection.sendall(steps.records(part) + (steps.goodbye() if goodbye else b""))
    steps.connection.shutdown(socket.SHUT_WR)
    assert b"200 OK" not in steps.read_rest()
    assert site.stdout() == lines


@VERSIONS
@pytest.mark.parametrize("http", ["1.0", "1.1"])
def test_an_answer_that_breaks_off_has_no_goodbye_that_would_make_it_whole(
    secure: StartServer, trusting: ssl.SSLContext, version: ssl.TLSVersion, http: str
):
    """In HTTP/1.0 the end of the stream is the end of the answer, so that an attacker could cut it anywhere."""
    site = secure(app_source=BROKEN, allow_traceback=True)
    with site.secure(site.dial(), only(trusting, version)) as connection:
        connection.sendall(f"GET / HTTP/{http}\r\nHost: localhost\r\n\r\n".encode())
        received = bytearray()
        error: OSError | None = None
        try:
            while data := connection.recv(65536):
                received += data
        except OSError as broken:
            error = broken
    assert b"the first half" in received
    assert b"0\r\n\r\n" not in received
    if http == "1.0":
        assert isinstance(error, ssl.SSLEOFError | ConnectionResetError)


@VERSIONS
def test_a_record_that_was_tampered_with_ends_the_connection_and_nothing_of_it_is_served(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    lines = site.stdout()
    steps = Steps(site.dial(), only(trusting, version)).shake_hands()
    record = bytearray(steps.records(GET))
    record[-1] ^= 1
    steps.connection.sendall(record)
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        steps.read_to_end()
    assert site.stdout() == lines


def test_what_is_whole_before_a_record_that_was_tampered_with_is_served(site: Server, trusting: ssl.SSLContext):
    steps = Steps(site.dial(), trusting).shake_hands()
    record = bytearray(steps.records(GET, GET))
    record[-1] ^= 1
    steps.connection.sendall(record)
    ends_within(steps.connection, 10)
    assert site.request(GET).status == 200


@differs("sync", row=BUSY)
@VERSIONS
def test_clients_that_leave_with_a_goodbye_are_known_to_have_left(
    stage: Theatre, trusting: ssl.SSLContext, version: ssl.TLSVersion
):
    site = stage.start("--threads", "2")
    only(trusting, version)
    for leave in (lambda steps: steps.connection.sendall(steps.goodbye()), lambda _: None):
        steps = Steps(site.dial(), trusting).shake_hands()
        steps.connection.sendall(steps.records(request_for("/held?x")))
        held = stage.stage.next()
        pass_the_poller(site)
        assert held.left() == {False}
        wait_seconds(held.since, 0.7)
        leave(steps)
        steps.connection.close()
        wait_until(lambda held=held: held.left() == {True}, what="word that the client has left")
        held.release()


@differs("gevent", "eventlet", row=AT_ONCE)
@differs("sync", row=BUSY)
def test_requests_whose_clients_left_are_not_given_to_the_application(stage: Theatre, trusting: ssl.SSLContext):
    # With TLS 1.3 a client may be through with the handshake, and gone, before the server is.
    site = stage.start("--threads", "1", trust=only(trusting, ssl.TLSVersion.TLSv1_2))
    holder, held = stage.hold(site)
    for number in range(5):
        leaving = site.connect()
        leaving.sendall(request_for(f"/pid?leaving-{number}"))
        wait_until(
            lambda now=number + 1: f", {now} waiting for a thread" in dump(site), what="the request in the queue"
        )
        reset(leaving)
    pass_the_poller(site)
    held.release()
    assert AnswerReader(holder).read().status == 200
    wait_until(lambda: "5 requests dropped whose clients had left" in dump(site), what="their end")
    assert not [name for name in seen(site) if name]


def test_a_client_that_leaves_in_the_middle_of_an_answer_costs_no_thread(
    secure: StartServer, trusting: ssl.SSLContext, applications: Path
):
    site = secure("uploads", "--threads", "1", "--log-level", "debug", pythonpath=(applications,))
    for way in ("/large/x", "/generated/x"):
        for leave in (socket.socket.close, reset):
            steps = Steps(site.dial(), trusting).shake_hands()
            steps.connection.sendall(steps.records(f"GET {way} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))
            assert is_readable(steps.connection, 10)
            leave(steps.connection)
            assert site.request(b"GET /unread/x HTTP/1.1\r\nHost: x\r\n\r\n").text == "nothing of x"
    assert not [line for line in site.log().splitlines() if "[ERROR]" in line or "[WARNING]" in line]
