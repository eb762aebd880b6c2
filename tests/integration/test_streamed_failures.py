"""--stream-request-body and clients that are late, leave, send what is no body, or too much of it.

With every worker class but tornado, which collects bodies by its nature.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.answers import Answer
from integration.kinds import BUSY, EVERY_KIND, differs
from integration.running import Server, StartServer, wait_until
from integration.uploading import EXPECT, GET, Upload, assert_four_threads_serve, new_name, open_gate
from integration.wire import connect, is_readable, receive_to_end, reset

pytestmark = EVERY_KIND("gthread", "sync", "gevent", "eventlet")

LIMIT = 100_000
LATEST = 10.0
"""Seconds after which a wait of one second is over for certain, on a busy machine too, and with sync behind others."""
FRAMINGS = pytest.mark.parametrize("framing", ["length", "chunked"])
Late = dict[str, tuple[Upload, Answer, float]]


@pytest.fixture(scope="module")
def shared(module_server: StartServer, applications: Path) -> Server:
    """Clients have time here."""
    flags = ("--stream-request-body", "--threads", "4", "--limit-request-body", str(LIMIT), "--access-logfile", "-")
    return module_server("uploads", *flags, pythonpath=(applications,))


@pytest.fixture
def site(shared: Server, kind: str) -> Iterator[Server]:
    """The patient server, which can have four requests at once after each test."""
    yield shared
    if kind != "sync":  # BUSY
        assert_four_threads_serve(shared)


@pytest.fixture(scope="module")
def hasty(module_server: StartServer, applications: Path) -> Server:
    """A body may pause for a second."""
    flags = ("--stream-request-body", "--threads", "4", "--body-timeout", "1", "--body-min-rate", "1000")
    return module_server("uploads", *flags, "--access-logfile", "-", pythonpath=(applications,))


@pytest.fixture
def name() -> str:
    return new_name()


# Clients that fail.


@pytest.fixture(scope="module")
def late(hasty: Server) -> Late:
    """Uploads that stall at once, their answers, and how many seconds these took."""
    began = time.monotonic()
    uploads = {
        "length": Upload(hasty, "/five-then-all/late-length", 11, "length"),
        "chunked": Upload(hasty, "/five-then-all/late-chunked", 11, "chunked"),
        "caught": Upload(hasty, "/caught/late-caught", 11, "length"),
        "asked": Upload(hasty, "/whole/late-asked", 11, "length", EXPECT),
    }
    for name, upload in uploads.items():
        if name != "asked":
            upload.send(b"first")
    return {name: (upload, upload.answer(), time.monotonic() - began) for name, upload in uploads.items()}


@pytest.mark.parametrize("name", ["length", "chunked", "asked"])
def test_a_body_that_stalls_is_408(hasty: Server, late: Late, name: str):
    _, answer, seconds = late[name]
    assert answer.status == 408
    assert answer.headers["Connection"] == "close"
    assert 1.0 <= seconds < LATEST
    assert f"/late-{name}: 408 the body did not come in time" in hasty.log()


def test_an_application_may_catch_a_late_body_and_answer(hasty: Server, late: Late):
    upload, answer, _ = late["caught"]
    assert (answer.status, answer.body) == (200, b"failed: the body did not come in time")
    assert answer.headers["Connection"] == "close"
    assert upload.reader.rest() == b""
    failed = hasty.wait_for_log("<late-caught failed after 5 with (.+); the next read raises RequestBodyError>")
    assert "OSError" in failed[1].split()


@differs("sync", row=BUSY)
def test_the_time_of_a_body_does_not_run_while_the_application_works(hasty: Server, name: str):
    upload = Upload(hasty, f"/pausing/{name}", 11, "length")
    upload.send(b"first")
    hasty.wait_for_log(f"<{name} has first>")
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 1.6, what="more than body_timeout")
    open_gate(hasty, name)
    upload.send(b" later")
    assert upload.answer().body == b"first later"


@differs("sync", row=BUSY)
def test_stalled_bodies_hold_their_threads_and_nobody_elses(site: Server, name: str):
    uploads = [Upload(site, f"/five-then-all/{name}.{number}", 11, "chunked") for number in range(3)]
    for number, upload in enumerate(uploads):
        upload.send(b"first")
        site.wait_for_log(f"<{name}.{number} has first>")
    for _ in range(20):
        assert site.request(GET).status == 200
    for upload in uploads:
        upload.send(b" later")
        assert upload.answer().body == b"first later"


HALVES = {
    "of a length": b"Content-Length: 11\r\n\r\nfirst",
    "of a chunk": b"Transfer-Encoding: chunked\r\n\r\nb\r\nfirst",
    "behind a chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    "in the last chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n",
    "in a trailer": b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\nX-A: b\r\n",
}


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["end", "reset"])
@pytest.mark.parametrize("half", HALVES)
def test_a_client_that_leaves_is_a_connection_error_and_never_a_whole_body(
    site: Server, name: str, half: str, end: Callable[[socket.socket], None]
):
    connection = connect(site)
    connection.sendall(f"POST /caught/{name} HTTP/1.1\r\nHost: x\r\n".encode() + HALVES[half])
    site.wait_for_log(f"<{name} began>")
    end(connection)
    failed = site.wait_for_log(f"<{name} failed after [05] with (.+); the next read raises ClientGone>")
    assert "ConnectionError" in failed[1].split()
    assert f"<{name} took" not in site.log()


def test_an_application_that_lets_a_client_go_is_no_error_of_the_server(site: Server, name: str):
    upload = Upload(site, f"/five-then-all/{name}", 11, "length")
    upload.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    upload.connection.close()
    assert site.request(GET).status == 200
    assert "Error handling request" not in site.log()


MALFORMED = {
    "a size that is none": b"zz\r\n",
    "a negative size": b"-5\r\n",
    "a chunk that is too long": b"3\r\nabcdef\r\n0\r\n\r\n",
    "a bare line feed": b"3\nabc\r\n",
    "a field of the head as trailer": b"0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_what_is_no_body_in_chunks_is_400(site: Server, name: str, fault: str):
    upload = Upload(site, f"/five-then-all/{name}", 100, "chunked")
    upload.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    upload.connection.sendall(MALFORMED[fault] + GET)
    received = receive_to_end(upload.connection)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in received
    assert received.count(b"HTTP/1.1 ") == 1


def test_an_application_that_catches_a_malformed_body_ends_its_connection_too(site: Server, name: str):
    upload = Upload(site, f"/caught/{name}", 100, "chunked")
    upload.send(b"first")
    site.wait_for_log(f"<{name} began>")
    upload.connection.sendall(b"zz\r\n" + GET)
    answer = upload.answer()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert upload.reader.rest() == b""


# Limits.


def test_a_length_beyond_the_limit_is_refused_before_100_and_before_the_application(site: Server, name: str):
    upload = Upload(site, f"/whole/{name}", LIMIT + 1, "length", EXPECT)
    assert receive_to_end(upload.connection).startswith(b"HTTP/1.1 413 ")
    assert f"<{name} began>" not in site.log()


def test_a_body_in_chunks_is_refused_at_the_first_byte_beyond_the_limit(site: Server, name: str):
    upload = Upload(site, f"/whole/{name}", 2 * LIMIT, "chunked")
    upload.send(bytes(LIMIT))
    site.wait_for_log(f"<{name} began>")
    assert not is_readable(upload.connection, 0.1)
    upload.send(b"x")
    answer = upload.answer()
    assert (answer.status, answer.headers["Connection"]) == (413, "close")
    assert f"<{name} has all>" not in site.log()


@FRAMINGS
def test_a_body_of_just_the_limit_is_taken(site: Server, name: str, framing: str):
    upload = Upload(site, f"/digest/{name}", LIMIT, framing)
    upload.send(bytes(LIMIT - 1))
    site.wait_for_log(f"<{name} began>")
    upload.send(b"x")
    assert upload.answer().body.endswith(b" %d" % LIMIT)


# The access log.


def test_the_access_log_has_a_line_for_each_body_whatever_became_of_it(
    site: Server, hasty: Server, name: str, late: Late
):
    good = Upload(site, f"/five-then-all/{name}", 11, "chunked")
    good.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    good.send(b" later")
    assert good.answer().status == 200
    large = Upload(site, f"/five-then-all/{name}", 2 * LIMIT, "chunked")
    large.send(b"first")
    site.wait_for_log(f"(?s)<{name} has first>.*<{name} has first>")
    large.send(bytes(LIMIT))
    assert large.answer().status == 413
    ends = [line.partition('" ')[2] for line in site.stdout().splitlines() if f"/{name} HTTP/1.1" in line]
    assert ends[0] == '200 11 "-" "-"'
    assert re.fullmatch(r'413 \d+ "-" "-" "the body is larger than limit_request_body"', ends[1])
    assert len(ends) == 2
    for of in late:
        [line] = [line for line in hasty.stdout().splitlines() if f"/late-{of} HTTP/1.1" in line]
        end = '200 37 "-" "-"' if of == "caught" else r'408 \d+ "-" "-" "the body did not come in time"'
        assert re.search(f"{end}$", line)
