"""More than there are threads for: who waits is told in time, who left is not worked for, and all else goes on."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import Server, StartServer, wait_until
from integration.staging import (
    GET,
    Held,
    Theatre,
    ask,
    dump,
    pass_the_poller,
    post,
    seen,
    status_on,
    theatre,
    wait_seconds,
)
from integration.wire import (
    connect,
    receive_exactly,
    receive_head,
    receive_to_end,
    refusals,
    reset,
)

LATE = 0.5
"""Seconds after its time in which an answer must have come."""
HALF_CLOSE = 0.5
"""Seconds after its request from which on the end of a client's stream means that it has left."""
MIB = 1024 * 1024


# Nobody waits for a thread longer than he has to.

QUEUED = {
    "kept": (ask("/seen?kept"), True),
    "1.0": (ask("/seen?1.0", version="HTTP/1.0"), False),
    "1.0 kept": (ask("/seen?1.0-kept", fields="Connection: keep-alive\r\n", version="HTTP/1.0"), False),
    "close": (ask("/seen?close", fields="Connection: close\r\n"), False),
    "HEAD": (ask("/seen?head", "HEAD"), True),
    "POST": (post("/seen?post", bytes(300_000)), True),
}
"""Requests by their names, and whether their connections stay."""


def test_requests_that_no_thread_comes_to_in_time_are_answered_503_and_their_connections_stay(stage: Theatre):
    site = stage.start("--threads", "1", "--queue-timeout", "1")
    holder, held = stage.hold(site)
    began = time.monotonic()
    connections = {name: connect(site) for name in QUEUED}
    for name, connection in connections.items():
        connection.sendall(QUEUED[name][0])
    readers = {name: AnswerReader(connection) for name, connection in connections.items()}
    for name, reader in readers.items():
        assert_turned_away(reader.read("HEAD" if name == "HEAD" else "GET"), name)
        assert 1.0 <= time.monotonic() - began < 1.0 + LATE
    for name, (_, stays) in QUEUED.items():
        if not stays:
            assert readers[name].rest() == b""
    wait_until(lambda: len(refusals(site)) == len(QUEUED), what="the lines of the access log")
    assert {(line[3], line[5]) for line in refusals(site)} == {("503", "no thread was free in time")}
    lines = {line[2] for line in refusals(site)}
    assert lines == {request.partition(b"\r\n")[0].decode() for request, _ in QUEUED.values()}
    held.release()
    assert AnswerReader(holder).read().status == 200
    for name, (_, stays) in QUEUED.items():
        if stays:
            assert status_on(connections[name]) == 200
    assert not {"kept", "1.0", "1.0-kept", "close", "head", "post"} & set(seen(site))
    assert "6 requests answered 503 because no thread was free in time" in dump(site)


def assert_turned_away(answer: Answer, name: str) -> None:
    stays = QUEUED[name][1]
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Connection"] == (None if stays else "close")
    assert (answer.body == b"") == (name == "HEAD")


# What needs no application needs no thread of it.


@dataclass
class Busy:
    """A server all of whose threads are held by the application."""

    site: Server
    held: list[Held]
    download: socket.socket
    """On which a client had begun before that to read a large answer."""


@pytest.fixture(scope="module")
def busy(module_server: StartServer, applications: Path) -> Iterator[Busy]:
    with theatre(module_server, applications) as opened:
        flags = (
            "--header-timeout",
            "1",
            "--linger-timeout",
            "1",
            "--keep-alive",
            "1",
            "--limit-request-body",
            "400000",
        )
        site = opened.start("--threads", "2", "--queue-timeout", "0", *flags)
        download = connect(site)
        download.sendall(ask("/large"))
        assert receive_head(download).startswith(b"HTTP/1.1 200 OK\r\n")
        yield Busy(site, [opened.hold(site)[1] for _ in range(2)], download)


def test_a_download_goes_on_while_every_thread_is_held(busy: Busy):
    assert receive_exactly(busy.download, 5 * MIB) == bytes(5 * MIB)


def test_an_upload_is_collected_while_every_thread_is_held(busy: Busy):
    with connect(busy.site) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n")
        assert receive_head(connection).startswith(b"HTTP/1.1 100 ")
        connection.sendall(bytes(100_000))
        wait_until(
            lambda: "2 in flight, 0 waiting for a thread" in dump(busy.site),
            what="the taking of the first part",
        )
        connection.sendall(bytes(200_000))
        wait_until(lambda: "2 in flight, 1 waiting for a thread" in dump(busy.site), what="the upload in the queue")
        reset(connection)
    pass_the_poller(busy.site)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"malformed\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + bytes(100_000).replace(b"\0", b"x") + b"\r\n\r\n", 431),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 400001\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nmalformed\r\n", 400),
    ],
    ids=["malformed", "too large a head", "too large a body", "a malformed chunk"],
)
def test_a_request_that_is_refused_is_answered_at_once_while_every_thread_is_held(
    busy: Busy, request_bytes: bytes, status: int
):
    began = time.monotonic()
    with connect(busy.site) as connection:
        connection.sendall(request_bytes)
        reader = AnswerReader(connection)
        assert reader.read().status == status
        assert reader.rest() == b""
    assert time.monotonic() - began < 1.0


def test_deadlines_are_kept_while_every_thread_is_held(busy: Busy):
    began = time.monotonic()
    with connect(busy.site) as connection:
        connection.sendall(GET[:-2])
        assert AnswerReader(connection).read().status == 408
    assert 1.0 <= time.monotonic() - began < 1.0 + 1.0 + LATE, "the server looks once a second"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open sockets are seen in /proc")
def test_lingering_connections_end_while_every_thread_is_held(busy: Busy):
    worker = busy.site.worker_pid()
    before = open_sockets(worker)
    with connect(busy.site) as leaving, connect(busy.site) as staying:
        for connection in (leaving, staying):
            connection.sendall(b"malformed\r\n\r\n")
            assert receive_to_end(connection).startswith(b"HTTP/1.1 400 ")
            connection.sendall(b"more")
        leaving.shutdown(socket.SHUT_WR)
        wait_until(lambda: open_sockets(worker) <= before, 4.0, "the end of both connections")


def open_sockets(pid: int) -> int:
    """Return how many sockets the process has."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            count += str(fd.readlink()).startswith("socket:")
    return count


# Nobody works for a client that has left.


def test_requests_whose_clients_left_while_they_waited_are_not_given_to_the_application(stage: Theatre):
    site = stage.start("--threads", "1")
    holder, held = stage.hold(site)
    closing, resetting, sudden, ending = (connect(site) for _ in range(4))
    for name, connection in (("closing", closing), ("resetting", resetting), ("sudden", sudden)):
        connection.sendall(ask(f"/pid?{name}"))
    ending.sendall(post("/pid?ending", b"abc"))
    ending.shutdown(socket.SHUT_WR)
    pass_the_poller(site)
    reset(sudden)
    wait_seconds(time.monotonic(), HALF_CLOSE + 0.2)
    closing.close()
    reset(resetting)
    pass_the_poller(site)
    held.release()
    assert AnswerReader(holder).read().status == 200
    answer = AnswerReader(ending)
    assert answer.read().status == 200
    assert [name for name in seen(site) if name] == ["ending"]
    assert "3 requests dropped whose clients had left" in dump(site)


def test_the_application_can_learn_that_nobody_waits_any_more(stage: Theatre):
    site = stage.start("--threads", "4")
    (_, waiting), (closing, closed), (resetting, was_reset), (ending, ended) = (stage.hold(site) for _ in range(4))
    ending.shutdown(socket.SHUT_WR)
    pass_the_poller(site)
    for held in (waiting, closed, was_reset, ended):
        assert held.left() == {False}
    reset(resetting)
    wait_until(lambda: was_reset.left() == {True}, what="news of the reset")
    wait_seconds(ended.since, HALF_CLOSE + 0.2)
    closing.close()
    wait_until(lambda: closed.left() == {True}, what="news of the end")
    assert waiting.left() == ended.left() == {False}
    ended.release()
    assert AnswerReader(ending).read().status == 200


# Nobody keeps a thread, or a place, for longer than is fair.


def test_the_last_request_that_a_connection_may_carry_closes_it_and_none_behind_is_run(stage: Theatre):
    site = stage.start("--threads", "1", "--keepalive-requests", "3")
    with connect(site) as connection:
        reader = AnswerReader(connection)
        for number in range(3):
            connection.sendall(ask(f"/pid?single-{number}"))
            assert reader.read().headers["Connection"] == (None if number < 2 else "close")
        assert reader.rest() == b""
    with connect(site) as connection:
        connection.sendall(b"".join(ask(f"/pid?piped-{number}") for number in range(6)))
        assert receive_to_end(connection).count(b"HTTP/1.1 200 OK\r\n") == 3
    names = [name for name in seen(site) if name]
    assert names == [f"{kind}-{number}" for kind in ("single", "piped") for number in range(3)]


def test_a_connection_without_a_limit_carries_any_number_of_requests(stage: Theatre):
    site = stage.start("--threads", "1", "--keepalive-requests", "0")
    with connect(site) as connection:
        reader = AnswerReader(connection)
        for _ in range(11):
            connection.sendall(GET * 100)
            assert [reader.read().headers["Connection"] for _ in range(100)] == [None] * 100


def test_a_flood_of_pipelined_requests_lets_others_in_between(stage: Theatre):
    site = stage.start("--threads", "1")
    with connect(site) as flood, connect(site) as other:
        flood.sendall(b"".join(ask(f"/slow?5xflood-{number}") for number in range(500)))
        assert receive_head(flood).startswith(b"HTTP/1.1 200 OK\r\n")
        reader = AnswerReader(other)
        counts = []
        for _ in range(10):
            other.sendall(ask("/seen?other"))
            counts.append(reader.read().text.count("flood"))
        between = sorted(after - before for before, after in pairwise(counts))
        assert between[len(between) // 2] <= 4, f"requests of the flood between two others: {between}"
        assert counts[-1] < 250
