"""--stream-request-body: the application reads a body while it comes.

With every worker class but tornado, which collects bodies by its nature.
"""

import hashlib
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.applications import reading
from integration.kinds import BUSY, EVERY_KIND, ONE_REQUEST, differs
from integration.resources import NEEDS_PROC, peak_memory
from integration.running import Server, StartServer, wait_until
from integration.uploading import (
    CONTINUE,
    EXPECT,
    GET,
    Upload,
    assert_four_threads_serve,
    chunk,
    new_name,
    open_gate,
)
from integration.wire import connect, is_readable, receive_exactly, receive_head, receive_to_end

pytestmark = EVERY_KIND("gthread", "sync", "gevent", "eventlet")

MIB = 1024 * 1024
UPLOAD = 50 * MIB
ALLOWED_GROWTH = 12 * MIB
FRAMINGS = pytest.mark.parametrize("framing", ["length", "chunked"])


@pytest.fixture(scope="module")
def shared(module_server: StartServer, applications: Path) -> Server:
    """Clients have time here."""
    flags = ("--stream-request-body", "--threads", "4")
    return module_server("uploads", *flags, pythonpath=(applications,))


@pytest.fixture
def site(shared: Server, kind: str) -> Iterator[Server]:
    """The patient server, which can have four requests at once after each test."""
    yield shared
    if kind != "sync":  # BUSY
        assert_four_threads_serve(shared)


@pytest.fixture
def name() -> str:
    return new_name()


# What the application sees.


@FRAMINGS
def test_the_first_bytes_are_there_before_the_last_are_sent(site: Server, name: str, framing: str):
    upload = Upload(site, f"/five-then-all/{name}", 11, framing)
    upload.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    upload.send(b" later")
    assert upload.answer().body == b"first later"


@FRAMINGS
def test_an_answer_and_its_request_can_be_on_their_way_at_once(site: Server, name: str, framing: str):
    upload = Upload(site, f"/echo/{name}", 15, framing)
    answer = None
    for piece in (b"one, ", b"two, ", b"three"):
        upload.send(piece)
        answer = answer or upload.reader.begin("POST")
        assert answer.read(len(piece)) == piece
    assert answer is not None
    assert answer.read() == b""


LINES = b"one\ntwo\n\nand a longer third line\n" + b"x" * 9000 + b"\nthe end"


@pytest.fixture(scope="module")
def reader_site(module_server: StartServer, applications: Path) -> Server:
    return module_server("reading", "--stream-request-body", pythonpath=(applications,))


@pytest.mark.parametrize("way", sorted(set(reading.READS) - {"nothing"}))
@FRAMINGS
def test_every_way_to_read_gives_what_a_file_would(reader_site: Server, way: str, framing: str):
    upload = Upload(reader_site, f"/{way}", len(LINES), framing)
    for at in (0, 2, 6, 9, 4000):
        upload.send(LINES[at : {0: 2, 2: 6, 6: 9, 9: 4000, 4000: None}[at]])
    assert upload.answer().text == repr(reading.READS[way](io.BytesIO(LINES)))


def test_the_environ_of_a_body_in_chunks_has_their_framing_and_no_length(site: Server, name: str):
    upload = Upload(site, f"/shown/{name}", 8, "chunked")
    site.wait_for_log(f"<{name} began>")
    upload.send(b"the body")
    seen = json.loads(upload.answer().body)
    assert seen["body"] == "the body"
    assert seen["environ"]["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert "CONTENT_LENGTH" not in seen["environ"]


def test_the_environ_of_a_body_with_a_length_has_it(site: Server, name: str):
    upload = Upload(site, f"/shown/{name}", 8, "length")
    site.wait_for_log(f"<{name} began>")
    upload.send(b"the body")
    seen = json.loads(upload.answer().body)
    assert seen["body"] == "the body"
    assert seen["environ"]["CONTENT_LENGTH"] == "8"


@differs("sync", row=ONE_REQUEST)
def test_a_body_that_came_with_its_head_is_an_ordinary_one(site: Server, name: str):
    with connect(site) as connection:
        head = b"POST /shown/%b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % name.encode()
        connection.sendall(head + EXPECT + b"\r\n" + chunk(b"the body") + b"0\r\n\r\n" + GET)
        first = receive_head(connection)
        assert first.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" not in first
        [length] = re.findall(rb"Content-Length: (\d+)", first)
        seen = json.loads(receive_exactly(connection, int(length)))
        assert (seen["body"], seen["environ"]["CONTENT_LENGTH"]) == ("the body", "8")
        assert "HTTP_TRANSFER_ENCODING" not in seen["environ"]
        assert AnswerReader(connection).read().body == b"nothing of get"


def test_a_client_of_http_1_0_is_read_while_it_sends(site: Server, name: str):
    with connect(site) as connection:
        connection.sendall(f"POST /five-then-all/{name} HTTP/1.0\r\nContent-Length: 11\r\n\r\nfirst".encode())
        site.wait_for_log(f"<{name} has first>")
        connection.sendall(b" later")
        received = receive_to_end(connection)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nfirst later")


# 100 Continue.


@differs("sync", row=BUSY)
@FRAMINGS
def test_100_is_sent_at_the_first_read_and_not_before(site: Server, name: str, framing: str):
    upload = Upload(site, f"/held/{name}", 4, framing, EXPECT)
    site.wait_for_log(f"<{name} began>")
    assert not is_readable(upload.connection, 0.1)
    open_gate(site, name)
    assert receive_exactly(upload.connection, len(CONTINUE)) == CONTINUE
    upload.send(b"body")
    assert receive_head(upload.connection).startswith(b"HTTP/1.1 200 ")


@FRAMINGS
def test_no_100_is_sent_behind_the_head_of_the_answer(site: Server, name: str, framing: str):
    upload = Upload(site, f"/late/{name}", 4, framing, EXPECT)
    answer = upload.reader.begin("POST")
    assert answer.status == 200
    assert answer.read(6) == b"begun "
    upload.send(b"body")
    assert answer.read() == b"body"
    assert upload.reader.rest() == b""


@FRAMINGS
def test_no_100_is_sent_once_some_of_the_body_is_here(site: Server, name: str, framing: str):
    upload = Upload(site, f"/five-then-all/{name}", 11, framing, EXPECT)
    assert receive_exactly(upload.connection, len(CONTINUE)) == CONTINUE
    upload.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    upload.send(b" later")
    assert receive_head(upload.connection).startswith(b"HTTP/1.1 200 ")


@FRAMINGS
def test_who_does_not_read_asks_for_no_body(site: Server, name: str, framing: str):
    upload = Upload(site, f"/unread/{name}", 4, framing, EXPECT)
    received = receive_to_end(upload.connection)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in received
    assert received.endswith(b"\r\n\r\nnothing of %b" % name.encode())


# What follows a body.


@pytest.mark.parametrize("action", ["unread", "five"])
@FRAMINGS
def test_nothing_of_an_unread_body_is_taken_for_a_request(site: Server, name: str, action: str, framing: str):
    upload = Upload(site, f"/{action}/{name}", 5 + 3 * len(GET), framing)
    upload.send(b"first")
    site.wait_for_log(f"<{name} began>")
    before = site.log().count("<get began>")
    for _ in range(3):
        upload.send(GET)
    received = receive_to_end(upload.connection)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in received
    assert site.log().count("<get began>") == before


@pytest.mark.parametrize(
    "start", ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"], ids=["1.0", "close"]
)
def test_who_sends_on_behind_an_early_answer_is_not_reset(site: Server, name: str, start: str):
    with connect(site) as connection:
        connection.sendall(f"POST /unread/{name} {start}Content-Length: 50000\r\n\r\n".encode())
        received = receive_to_end(connection)
        assert b"\r\nConnection: close\r\n" in received
        assert received.endswith(f"\r\n\r\nnothing of {name}".encode())
        for _ in range(2):  # the first would be answered by a reset, which the second would meet
            connection.sendall(bytes(25_000))


@differs("sync", row=ONE_REQUEST)
@FRAMINGS
def test_a_connection_goes_on_behind_a_body_that_was_read_to_its_end(site: Server, name: str, framing: str):
    upload = Upload(site, f"/five-then-all/{name}", 11, framing)
    upload.send(b"first")
    site.wait_for_log(f"<{name} has first>")
    upload.connection.sendall(upload.encode(b" later") + GET)
    assert upload.answer().body == b"first later"
    assert upload.answer().body == b"nothing of get"
    upload.connection.sendall(GET)
    assert upload.answer().body == b"nothing of get"


@differs("sync", row=ONE_REQUEST)
def test_a_client_of_http_1_0_that_asks_for_it_may_go_on(site: Server, name: str):
    with connect(site) as connection:
        line = f"POST /five-then-all/{name} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 11\r\n\r\n"
        reader = AnswerReader(connection)
        for _ in range(2):
            connection.sendall(line.encode() + b"first")
            connection.sendall(b" later")
            assert reader.read("POST").body == b"first later"


@differs("sync", row=BUSY)
def test_who_ends_the_stream_behind_a_long_upload_still_waits_for_the_answer(site: Server, name: str):
    upload = Upload(site, f"/tells-who-waits/{name}", 11, "length")
    upload.send(b"first")
    site.wait_for_log(f"<{name} began>")
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 0.7, what="more than the moment in which an end is no farewell")
    upload.send(b" later")
    upload.connection.shutdown(socket.SHUT_WR)
    site.wait_for_log(f"<{name} has all>")
    open_gate(site, name)
    assert upload.answer().body == b"somebody waits"


# Large ones.


@NEEDS_PROC
@pytest.mark.parametrize("source", ["file", "pipe"])
def test_fifty_mebibytes_arrive_whole_and_the_memory_stays_flat(
    server: StartServer, applications: Path, tmp_path: Path, curl: Callable[..., Answer], source: str
):
    site = server("uploads", "--stream-request-body", pythonpath=(applications,))
    path, digest = make_upload(tmp_path)
    warm = Upload(site, "/digest/warm", MIB, "length")
    warm.send(bytes(MIB))
    assert warm.answer().status == 200
    before = peak_memory(site.worker_pid())
    with path.open("rb") as file:
        answer = curl("-T", str(path) if source == "file" else "-", f"{site.url}/digest/{source}", stdin=file)
    assert answer.text == f"{digest} {UPLOAD}"
    growth = peak_memory(site.worker_pid()) - before
    assert growth < ALLOWED_GROWTH, f"the worker grew by {growth / MIB:.1f} MiB"


def make_upload(folder: Path) -> tuple[Path, str]:
    """Return a file of 50 MiB, each of which begins with its number, and its SHA-256."""
    path, digest = folder / "upload", hashlib.sha256()
    with path.open("wb") as file:
        for number in range(UPLOAD // MIB):
            piece = number.to_bytes(8, "big") + bytes(MIB - 8)
            file.write(piece)
            digest.update(piece)
    return path, digest.hexdigest()
