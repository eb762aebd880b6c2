"""Deadlines over TLS: who is too slow is told so in records, and the application has its limit as well."""

import socket
import ssl
import time
from http.client import IncompleteRead
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import EVERY_KIND, NO_TIMEOUT, differs
from integration.running import DEADLINE, Server, StartServer
from integration.slow_clients import MIB, is_reset_within
from integration.staging import Theatre
from integration.uploading import Upload
from integration.wire import is_readable, receive_to_end
from tls.clients import GET, Steps, ask, only

HALF_HEAD = b"GET /zq81 HTTP/1.1\r\nHost: x\r\nX-A: "
HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nab"
HALF_CHUNK = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab"
LATEST = 4.0
"""Seconds after which a deadline of one second is over for certain, on a busy machine too."""


@pytest.fixture(scope="module")
def site(module_secure: StartServer) -> Server:
    flags = ("--header-timeout", "1", "--body-timeout", "1", "--keep-alive", "1", "--first-byte-timeout", "1")
    return module_secure("wsgi_app", *flags)


@EVERY_KIND
def test_who_does_not_go_on_with_a_request_is_told_so(site: Server, trusting: ssl.SSLContext):
    waiting = [site.secure(site.dial(), trusting) for _ in range(3)]
    began = time.monotonic()
    for connection, sent in zip(waiting, (HALF_HEAD, HALF_BODY, HALF_CHUNK), strict=True):
        connection.sendall(sent)
    for connection in waiting:
        assert receive_to_end(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert 0.9 < time.monotonic() - began < LATEST


def test_who_asks_for_nothing_behind_the_handshake_or_an_answer_is_left_with_a_goodbye(
    site: Server, trusting: ssl.SSLContext
):
    silent, answered = (site.secure(site.dial(), trusting) for _ in range(2))
    assert ask(answered).status == 200
    began = time.monotonic()
    for connection in (silent, answered):
        assert receive_to_end(connection) == b""
    assert time.monotonic() - began < LATEST


@EVERY_KIND
def test_half_a_record_is_half_a_head(site: Server, trusting: ssl.SSLContext):
    """Bytes of a record that is not whole give the server nothing to read, and the client no more time."""
    steps = Steps(site.dial(), only(trusting, ssl.TLSVersion.TLSv1_2)).shake_hands()
    record = steps.records(GET)
    began = time.monotonic()
    for at in range(len(record) - 1):
        steps.connection.sendall(record[at : at + 1])
        if is_readable(steps.connection, 0.1):
            break
    assert steps.read_to_end().startswith(b"HTTP/1.1 408 ")
    assert 0.9 < time.monotonic() - began < LATEST


@EVERY_KIND
@differs("sync", row=NO_TIMEOUT)
def test_a_request_that_takes_too_long_is_answered_in_a_record(stage: Theatre):
    site = stage.start("--request-timeout", "1")
    connection, held = stage.hold(site)
    began = time.monotonic()
    received = receive_to_end(connection)
    assert received.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert 0.5 < time.monotonic() - began < LATEST
    held.release()
    site.wait_for_log("Request beyond request_timeout: GET /held")


@pytest.mark.parametrize("path", ["/begun", "/measured"])
def test_an_answer_that_has_begun_is_cut_off_so_that_it_is_known_not_to_be_whole(stage: Theatre, path: str):
    site = stage.start("--request-timeout", "1")
    connection, held = stage.hold(site, path)
    reader = AnswerReader(connection)
    with pytest.raises((IncompleteRead, ConnectionResetError, ssl.SSLEOFError)):
        reader.read()
    held.release()


def test_an_upload_that_comes_too_slowly_for_a_streaming_application_is_told_so(
    secure: StartServer, applications: Path
):
    site = secure("uploads", "--stream-request-body", "--body-timeout", "1", pythonpath=(applications,))
    upload = Upload(site, "/caught/x", 10, "length")
    upload.send(b"hello")
    assert upload.answer().text.startswith("failed: ")


def small_reader(site: Server, trusting: ssl.SSLContext) -> ssl.SSLSocket:
    """Ask for 16 MiB with a small buffer, so that not much is on its way."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(DEADLINE)
    raw.connect(("127.0.0.1", site.port))
    connection = site.secure(raw, trusting)
    connection.sendall(b"GET /large/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return connection


@EVERY_KIND
def test_who_does_not_read_is_reset_and_who_reads_slowly_is_served(
    secure: StartServer, applications: Path, trusting: ssl.SSLContext
):
    site = secure("uploads", "--write-timeout", "1", pythonpath=(applications,))
    began = time.monotonic()
    idle, slow = small_reader(site, trusting), small_reader(site, trusting)
    size = 0
    while time.monotonic() - began < 3:  # a little every 100 ms
        size += len(slow.recv(8192))
        is_reset_within(slow, 0.1)
    assert is_reset_within(idle, LATEST)
    while data := slow.recv(MIB):
        size += len(data)
    assert size > 16 * MIB
