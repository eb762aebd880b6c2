"""Handshakes that end before they are complete, anywhere and in any way, and those that take too long."""

import os
import socket
import ssl
import time
from collections.abc import Callable

import pytest

from integration.kinds import EVERY_KIND
from integration.load import load
from integration.running import Server, StartServer, wait_until
from integration.wire import is_readable, reset
from tls.clients import GET, Steps, ends_within, failed_handshakes, only, visit, wait_for_failed_handshakes

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
Leave = Callable[[socket.socket], None]


def end_the_stream(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    assert not ends_within(connection).startswith(b"HTTP")
    connection.close()


LEAVING = pytest.mark.parametrize("leave", [end_the_stream, reset], ids=["end of stream", "reset"])


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    return module_secure("wsgi_app")


def second_flight(site: Server, context: ssl.SSLContext) -> tuple[Steps, bytes]:
    """A client that has the server's part of the handshake, and what it would say next."""
    steps = Steps(site.dial(), context)
    steps.connection.sendall(steps.hello)
    return steps, steps.next_flight()


@VERSIONS
@LEAVING
def test_a_hello_cut_after_any_byte_costs_nothing(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, leave: Leave
):
    before, worker = failed_handshakes(site), site.worker_pid()
    hello = Steps(site.dial(), only(trusting, version)).hello
    for cut in range(1, len(hello)):
        connection = site.dial()
        connection.sendall(hello[:cut])
        leave(connection)
    wait_for_failed_handshakes(site, before + len(hello) - 1)
    assert visit(site, trusting).answer.status == 200
    assert site.worker_pid() == worker


@VERSIONS
@LEAVING
def test_the_flight_behind_it_cut_after_any_byte_costs_nothing(
    site: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, leave: Leave
):
    before, worker = failed_handshakes(site), site.worker_pid()
    _, flight = second_flight(site, only(trusting, version))
    for cut in range(len(flight)):
        steps, flight = second_flight(site, trusting)
        steps.connection.sendall(flight[:cut])
        leave(steps.connection)
    wait_until(lambda: failed_handshakes(site) >= before + len(flight), what="the failed handshakes")
    assert visit(site, trusting).answer.status == 200
    assert site.worker_pid() == worker


@EVERY_KIND
def test_who_falls_silent_in_a_handshake_is_left(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--handshake-timeout", "1")
    began = time.monotonic()
    silent = []
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        hello = Steps(site.dial(), only(trusting, version)).hello
        for cut in (1, 3, 5, 6, 9, 40, 100, len(hello) - 1):
            silent.append(site.dial())
            silent[-1].sendall(hello[:cut])
        _, flight = second_flight(site, trusting)
        for cut in (0, 1, 6, len(flight) - 1):
            steps, flight = second_flight(site, trusting)
            steps.connection.sendall(flight[:cut])
            silent.append(steps.connection)
        assert visit(site, trusting).answer.status == 200
    for connection in silent:
        assert not ends_within(connection, 4).startswith(b"HTTP")
    assert 0.9 < time.monotonic() - began < 8
    assert visit(site, trusting).answer.status == 200


@EVERY_KIND
def test_bytes_now_and_then_do_not_make_the_time_for_a_handshake_longer(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--handshake-timeout", "1")
    steps = Steps(site.dial(), trusting)
    began = time.monotonic()
    for number in range(len(steps.hello) - 1):
        steps.connection.sendall(steps.hello[number : number + 1])
        if is_readable(steps.connection, 0.1):
            break
    assert ends_within(steps.connection, 0) == b""
    assert 0.9 < time.monotonic() - began < 4


@EVERY_KIND
def test_who_says_nothing_at_all_is_left_as_at_any_address(secure: StartServer):
    site = secure("wsgi_app", "--first-byte-timeout", "1")
    assert ends_within(site.dial(), 4) == b""
    wait_for_failed_handshakes(site, 0)


@EVERY_KIND
def test_64_handshakes_that_stand_still_hold_up_nobody(secure: StartServer, trusting: ssl.SSLContext):
    """Half of them stop in the hello, and half when the server waits for the end of the handshake."""
    site = secure("wsgi_app", "--threads", "4")
    stopped = []
    for number in range(64):
        steps = Steps(site.dial(), trusting)
        steps.connection.sendall(steps.hello[: len(steps.hello) // 2] if number % 2 else steps.hello)
        stopped.append(steps)
    for steps in stopped[::2]:
        assert steps.next_flight()
    with load(site, 4) as clients:
        answers = clients.more(200)
    assert max(answer.seconds for answer in answers) < 2
    assert not any(is_readable(steps.connection, 0) for steps in stopped[1::2])
    for steps in stopped:  # and each of them may still go on
        rest = b"" if steps.engine.version() else steps.hello[len(steps.hello) // 2 :]
        if rest:
            steps.connection.sendall(rest)
            assert steps.next_flight()


GARBAGE = {
    "random": os.urandom(300),
    "no record": b"\x00\x01\x02\x03",
    "hello of SSLv2": bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16),
    "record of SSLv3": b"\x16\x03\x00\x00\x04\x01\x00\x00\x00",
    "record too long": b"\x16\x03\x01\xff\xff" + bytes(1000),
    "record of data": b"\x17\x03\x03\x00\x05hello",
    "alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "hello of rubbish": b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c" + bytes(28),
    "empty records": b"\x16\x03\x01\x00\x00" * 100,
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_handshake_is_closed_quietly_and_counted(secure: StartServer, what: str):
    data = b"\x16" + GARBAGE[what] if what == "random" else GARBAGE[what]
    site = secure("wsgi_app", "--access-logfile", "-")
    log = site.log()
    with site.dial() as connection:
        connection.sendall(data)
        if what == "random":  # which may declare a long record
            connection.shutdown(socket.SHUT_WR)
        received = ends_within(connection)
    assert received[:1] in (b"", b"\x15")  # nothing, or an alert
    assert site.log() == log
    wait_for_failed_handshakes(site, 1)
    assert site.stdout() == ""
    assert site.request(GET).status == 200


def test_the_reason_is_told_at_debug_level(secure: StartServer, trusting: ssl.SSLContext):
    site = secure("wsgi_app", "--log-level", "debug")
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    trusting.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        visit(site, trusting)
    site.wait_for_log(r"\[DEBUG\] a TLS handshake with 127\.0\.0\.1 fails: no shared cipher$")


@EVERY_KIND
def test_a_client_that_does_not_believe_the_server_says_so_and_is_counted(secure: StartServer):
    site = secure("wsgi_app", "--log-level", "debug")
    with pytest.raises(ssl.SSLCertVerificationError):
        visit(site, ssl.create_default_context())
    site.wait_for_log(r"\[DEBUG\] a TLS handshake with 127\.0\.0\.1 fails: .*alert unknown ca$")
    wait_for_failed_handshakes(site, 1)
