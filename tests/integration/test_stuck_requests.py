"""Requests on which the application hangs: clients get an answer, the log says where, and the threads come back."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.kinds import EVERY_KIND
from integration.running import DEADLINE, READY, Server, StartServer, wait_until
from integration.staging import (
    GET,
    Held,
    Theatre,
    ask,
    assert_tells,
    port_of,
    records,
    status_on,
    theatre,
    wait_for_records,
)
from integration.wire import REFUSAL, connect, receive_exactly, receive_head, receive_to_end, refusals

pytestmark = EVERY_KIND("gthread", "gevent", "eventlet", "tornado")  # sync has nothing that could answer

LIMIT = 1
"""Seconds that the application has for a request in most tests."""
LATE = 0.5
"""Seconds after which a request that has no time left must have been ended."""

HANGING = {
    "held": ask("/held?held"),
    "HEAD": ask("/held?HEAD", "HEAD"),
    "begun": ask("/begun?begun"),
    "measured": ask("/measured?measured"),
    "sent": ask("/sent?sent"),
    "failing": ask("/failing?failing"),
    "followed": ask("/held?followed") + ask("/pid?behind") * 3,
    "left": ask("/held?left"),
}
"""Requests that hang, by their names, which are their queries."""


def received_in_time(connection: socket.socket, held: Held, limit: float = LIMIT) -> bytes:
    """Return all that comes until the server ends the stream, which must be when the request has no time left."""
    received = receive_to_end(connection)
    assert limit - 0.1 < time.monotonic() - held.since < limit + LATE
    return received


def received_before_the_end(connection: socket.socket) -> bytes:
    """Return all that comes before the connection ends, whether that is in order or not."""
    try:
        return receive_to_end(connection)
    except ConnectionResetError:
        return b""


def thread_count(site: Server) -> int:
    return int(site.request(ask("/threads")).text)


def replacements(kind: str, stuck: int) -> int:
    """Return how many threads are made for others where so many requests are stuck; greenlets hold up no thread."""
    return 0 if kind in ("gevent", "eventlet") else stuck


def wait_until_they_end(site: Server, count: int) -> None:
    """Return when so many requests have come to their end after they had been given up."""
    wait_until(lambda: site.log().count("came to its end after all") == count, what="the ends")


@dataclass
class Hung:
    """A request that hangs, and what its client got of it."""

    connection: socket.socket
    port: int
    held: Held
    received: bytes = b""
    seconds: float = 0.0
    """From when the application had it to the end of the stream."""


@dataclass
class Story:
    """What became of all hanging requests at once, and of the server when they ended after all."""

    site: Server
    workers: tuple[int, int]
    """The worker before and after."""
    hung: dict[str, Hung]
    threads: tuple[int, int, int]
    """How many there were before, while requests hung, and after they had ended."""
    in_time: list[Answer]
    """The answers to requests on one connection that took less than their time, but more than it together."""
    afterwards: list[int]
    """Statuses of answers on one connection after all."""

    def access_lines(self, name: str) -> list[str]:
        """Return the access log's lines of a request."""
        return [line for line in self.site.stdout().splitlines() if f"?{name} HTTP/" in line]


@pytest.fixture(scope="module")
def story(module_server: StartServer, applications: Path, kind: str) -> Iterator[Story]:
    with theatre(module_server, applications) as opened:
        flags = ("--threads", str(len(HANGING) + 1), "--max-stuck-threads", str(len(HANGING)))
        site = opened.start(*flags, "--request-timeout", str(LIMIT), allow_traceback=True)
        worker, threads = site.worker_pid(), thread_count(site)
        hung = {}
        for name, request in HANGING.items():
            connection = connect(site)
            connection.sendall(request)
            hung[name] = Hung(connection, port_of(connection), opened.stage.next())
        hung["left"].connection.close()
        with connect(site) as kept:
            kept.sendall(b"".join(ask(f"/slow?600x{number}") for number in range(3)))
            receive_all({name: one for name, one in hung.items() if name != "left"})
            reader = AnswerReader(kept)
            answers = [reader.read() for _ in range(3)]
        wait_until(lambda: len(records(site, "Request beyond")) == len(HANGING), what="the records")
        most = threads + replacements(kind, len(HANGING))
        wait_until(lambda: thread_count(site) == most, what="the threads that replace them")
        stuck = thread_count(site)
        for one in hung.values():
            one.held.release()
        wait_until_they_end(site, len(HANGING))
        wait_until(lambda: thread_count(site) == threads, what="the end of the threads that hung")
        with connect(site) as kept:
            afterwards = [status_on(kept) for _ in range(5)]
        counts = (threads, stuck, thread_count(site))
        yield Story(site, (worker, site.worker_pid()), hung, counts, answers, afterwards)


def receive_all(hung: dict[str, Hung]) -> None:
    """Receive on all connections at once until the server has ended them."""
    with selectors.DefaultSelector() as selector:
        for one in hung.values():
            selector.register(one.connection, selectors.EVENT_READ, one)
        expires = time.monotonic() + DEADLINE
        while selector.get_map():
            assert time.monotonic() < expires, "some connections stay open"
            for key, _ in selector.select(0.1):
                one = key.data
                if data := one.connection.recv(65536):
                    one.received += data
                else:
                    one.seconds = time.monotonic() - one.held.since
                    selector.unregister(one.connection)


class Visitor:
    """A healthy client in a thread of its own: one request after the other, on a connection as long as it is kept.

    `statuses` has what it got, `failures` what went wrong.
    """

    def __init__(self, site: Server, *, keeps: bool) -> None:
        self._site = site
        self._keeps = keeps
        self._stopping = threading.Event()
        self.statuses: list[int] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection: socket.socket | None = None
        while not self._stopping.wait(0.01):
            try:
                connection = connection or connect(self._site)
                connection.sendall(GET if self._keeps else ask("/", fields="Connection: close\r\n"))
                answer = AnswerReader(connection).read()
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
                connection = None
                continue
            self.statuses.append(answer.status)
            if answer.headers["Connection"] == "close":
                connection.close()
                connection = None

    def stop(self) -> None:
        """End it, and check that it was served all the time."""
        self._stopping.set()
        self._thread.join()
        assert not self.failures
        assert set(self.statuses) == {200}


def test_a_request_that_never_ends_is_answered_504(story: Story):
    for name in ("held", "failing", "followed"):
        head, _, body = story.hung[name].received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"\r\nConnection: close" in head
        assert b"\r\nContent-Length: %d" % len(body) in head
        assert body.startswith(b"504 Gateway Timeout: ")


def test_a_head_request_gets_a_504_without_a_body(story: Story):
    head, empty, body = story.hung["HEAD"].received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert empty
    assert body == b""


def test_an_answer_that_has_begun_is_cut_off_without_a_word_of_the_504_and_without_a_last_chunk(story: Story):
    for name, rest in (("begun", b"5\r\nbegun\r\n"), ("measured", b"begun"), ("sent", b"begun")):
        head, _, body = story.hung[name].received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == rest


def test_every_stuck_request_is_ended_in_time(story: Story):
    late = {name: one.seconds for name, one in story.hung.items() if name != "left"}
    assert all(LIMIT - 0.1 < seconds < LIMIT + LATE for seconds in late.values()), late


def test_every_stuck_request_is_told_once_with_its_client_and_its_stack(story: Story):
    told = {record["path"].partition("?")[2]: record for record in records(story.site, "Request beyond")}
    assert told.keys() == HANGING.keys()
    for name, record in told.items():
        path = HANGING[name].split(b" ")[1].decode()
        assert_tells(record, story.hung[name].port, path, path[1:].partition("?")[0], "wait_on_stage")
        assert record["method"] == ("HEAD" if name == "HEAD" else "GET")
        assert LIMIT <= float(record["age"]) < LIMIT + LATE
        assert "staged.py" in record["stack"].splitlines()[0], "the stack begins in the application"
    assert len(records(story.site, "Request beyond")) == len(HANGING)


def test_every_504_has_one_line_in_the_access_log_although_its_request_ended_later(story: Story):
    for name in ("held", "failing", "followed", "HEAD", "left"):
        [line] = story.access_lines(name)
        refusal = REFUSAL.match(line)
        assert refusal is not None
        assert refusal[3] == "504"
        if name != "left":
            assert int(refusal[4]) == len(story.hung[name].received.partition(b"\r\n\r\n")[2])
    assert len(refusals(story.site)) == 5


def test_threads_that_are_stuck_are_replaced_and_end_with_their_requests(story: Story, kind: str):
    before, stuck, after = story.threads
    assert (stuck - before, after - before) == (replacements(kind, len(HANGING)), 0)


def test_requests_that_end_after_their_time_leave_the_server_whole(story: Story):
    assert story.afterwards == [200] * 5
    before, after = story.workers
    assert before == after
    assert story.site.request(GET).status == 200
    assert story.site.log().count("Traceback") == 1, "only the application that failed has one"


def test_requests_behind_a_stuck_one_are_not_given_to_the_application(story: Story):
    assert story.hung["followed"].received.count(b"HTTP/1.1 ") == 1
    assert "behind" not in story.site.request(ask("/seen")).text


def test_requests_that_end_in_time_are_untouched_however_many_follow_on_a_connection(story: Story):
    assert [(answer.status, answer.text) for answer in story.in_time] == [(200, f"600x{number}") for number in range(3)]


def test_time_in_which_a_request_waits_for_a_thread_or_its_client_does_not_count(stage: Theatre):
    site = stage.start("--threads", "1", "--request-timeout", str(LIMIT))
    upload, download = connect(site), connect(site)
    download.sendall(ask("/large"))
    assert receive_head(download).startswith(b"HTTP/1.1 200 OK\r\n")
    upload.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
    waiting = [connect(site) for _ in range(3)]
    for connection in waiting:
        connection.sendall(ask("/slow?450"))
    for letter, connection in zip((b"a", b"b", b"c"), waiting, strict=True):
        assert AnswerReader(connection).read().status == 200
        upload.sendall(letter)
        receive_exactly(download, 1_000_000)
    answer = AnswerReader(upload).read("POST")
    assert (answer.status, answer.body) == (200, b"abc")
    receive_exactly(download, 5 * 1024 * 1024 - 3_000_000)
    assert status_on(download) == 200
    assert "request_timeout" not in site.log()


def test_all_threads_stuck_at_once_are_told_and_replaced_and_the_worker_is_exchanged_unnoticed(stage: Theatre):
    site = stage.start("--threads", "4", "--request-timeout", str(LIMIT))
    worker = site.worker_pid()
    visitors = [Visitor(site, keeps=True), Visitor(site, keeps=False)]
    wait_until(lambda: all(visitor.statuses for visitor in visitors), what="visitors that are served")
    stuck = [stage.hold(site, f"/held?{number}") for number in range(4)]
    for connection, held in stuck:
        assert received_in_time(connection, held).startswith(b"HTTP/1.1 504 ")
    assert site.request(GET).status == 200
    told = {record["path"]: record for record in wait_for_records(site, "Request beyond", 4)}
    for number, (connection, _) in enumerate(stuck):
        assert_tells(
            told[f"/held?{number}"], port_of(connection), f"/held?{number}", "application", "held", "wait_on_stage"
        )
    wait_until(lambda: site.worker_pids() and worker not in site.worker_pids(), what="the exchange")
    served = [len(visitor.statuses) for visitor in visitors]
    wait_until(
        lambda: all(len(one.statuses) > before for one, before in zip(visitors, served, strict=True)),
        what="answers of the new worker",
    )
    for visitor in visitors:
        visitor.stop()
    assert int(site.request(GET).text) == site.worker_pid() != worker
    assert len(READY.findall(site.log())) == 2
    wait_until(lambda: len(refusals(site)) == 4, what="their lines")


def test_as_many_stuck_threads_as_may_be_leave_the_worker_and_its_threads_for_others(stage: Theatre):
    site = stage.start("--threads", "2", "--request-timeout", str(LIMIT), "--max-stuck-threads", "2")
    worker = site.worker_pid()
    for connection, held in [stage.hold(site) for _ in range(2)]:
        assert received_in_time(connection, held).startswith(b"HTTP/1.1 504 ")
    for connection, held in [stage.hold(site, f"/held?{number}") for number in range(2)]:
        held.release()
        assert AnswerReader(connection).read().text == str(worker)
    assert site.worker_pids() == [worker]
    assert "exchanged" not in site.log()


def test_threads_that_came_back_do_not_count_as_stuck(stage: Theatre, kind: str):
    site = stage.start("--threads", "1", "--request-timeout", str(LIMIT), "--max-stuck-threads", "1")
    worker = site.worker_pid()
    threads = thread_count(site)
    for number in range(2):
        connection, held = stage.hold(site)
        assert received_in_time(connection, held).startswith(b"HTTP/1.1 504 ")
        wait_until(lambda: thread_count(site) == threads + replacements(kind, 1), what="the thread that replaces it")
        held.release()
        wait_until_they_end(site, number + 1)
        wait_until(lambda: thread_count(site) == threads, what="the end of the thread that was stuck")
    assert int(site.request(GET).text) == worker
    assert "exchanged" not in site.log()


def test_an_exchanged_worker_finishes_what_runs_for_the_graceful_timeout(stage: Theatre):
    flags = ("--request-timeout", "3", "--max-stuck-threads", "0", "--graceful-timeout", "1")
    site = stage.start("--threads", "3", *flags)
    worker = site.worker_pid()
    stuck, held = stage.hold(site, "/held?stuck")
    wait_until(lambda: time.monotonic() - held.since > 2.5, what="requests that begin later")
    (finished, one), (unfinished, _) = [stage.hold(site, f"/held?{name}") for name in ("one", "other")]
    assert received_in_time(stuck, held, 3).startswith(b"HTTP/1.1 504 ")
    site.wait_for_log(rf"Worker \(pid:{worker}\) is exchanged")
    assert one.pid == worker
    one.release()
    answer = AnswerReader(finished).read()
    assert (answer.status, answer.text) == (200, str(worker))
    wait_until(lambda: site.worker_pids() and worker not in site.worker_pids(), 4.0, "the end of the old worker")
    assert received_before_the_end(unfinished) == b""
    assert int(site.request(GET).text) == site.worker_pid()
    site.wait_for_log(rf"Worker \(pid:{worker}\) exited with code 0")


def test_a_worker_that_does_not_let_go_of_the_interpreter_is_aborted_with_all_stacks_and_replaced(stage: Theatre):
    site = stage.start("--threads", "2", "--timeout", "1", allow_traceback=True)
    worker = site.worker_pid()
    other, _ = stage.hold(site, "/held")
    connection = connect(site)
    connection.sendall(ask("/locked"))
    site.wait_for_log(rf"CRITICAL\] WORKER TIMEOUT \(pid:{worker}\)")
    site.wait_for_log(r"staged\.py\", line \d+ in locked$")
    site.wait_for_log(r"staged\.py\", line \d+,? in wait_on_stage$")
    site.wait_for_log(r"workers/\w+\.py\", line \d+ in (run|_attend)$")
    wait_until(lambda: site.worker_pids() and worker not in site.worker_pids(), what="the replacement")
    assert int(site.request(GET).text) == site.worker_pid()
    assert received_before_the_end(connection) == received_before_the_end(other) == b""
