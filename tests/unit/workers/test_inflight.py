"""Which requests are overdue, and which are not although something looks like it."""

import threading
import time
from collections.abc import Callable

from greenhorn.http.head import RequestHead
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers import inflight
from greenhorn.workers.answer import Claim
from greenhorn.workers.serve import serve
from unit.net.sockets import connected
from unit.workers.inprocess import TestWorker

LIMIT = 5.0


def at_work(worker: TestWorker, connection: Connection, number: int, since: float) -> None:
    """Let a thread of the pool, which was not started, have the connection since then."""
    slot = worker.worker.pool.slots[number]
    slot.item, slot.since = connection, since
    slot.thread = threading.current_thread()
    connection.claim.began = since
    connection.state = State.ACTIVE


def with_request(worker: TestWorker, connection: Connection) -> None:
    """Let the connection have a whole request whose answer has not begun."""
    connection.buffer = b"GET /zq81 HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.names = worker.worker._reception._names[False]
    assert serve(connection, worker.worker.service) is State.WHOLE
    assert isinstance(connection.head, RequestHead)
    connection.claim = Claim(connection)


def ended(worker: TestWorker, now: float) -> list[int]:
    """End what is overdue, and return the places of the threads."""
    pool = worker.worker.pool
    found = list(inflight.overdue(pool, LIMIT, now))
    return [pool.slots.index(one.slot) for one in found if inflight.end(one, worker.worker.service, now)]


def test_a_request_is_overdue_when_it_has_taken_its_time_and_not_before(make_worker: Callable[..., TestWorker]):
    worker = make_worker(request_timeout=5)
    with connected(worker.worker._buffers) as (client, connection):
        with_request(worker, connection)
        now = time.monotonic()
        at_work(worker, connection, 0, now)
        assert ended(worker, now + LIMIT - 0.1) == []
        assert ended(worker, now + LIMIT) == [0]
        assert client.recv(65536).startswith(b"HTTP/1.1 504 ")


def test_a_request_is_ended_once(make_worker: Callable[..., TestWorker]):
    worker = make_worker(request_timeout=5)
    with connected(worker.worker._buffers) as (_, connection):
        with_request(worker, connection)
        now = time.monotonic()
        at_work(worker, connection, 0, now - LIMIT)
        assert ended(worker, now) == [0]
        assert ended(worker, now) == []


def test_a_request_whose_thread_has_ended_it_is_not_overdue(make_worker: Callable[..., TestWorker]):
    worker = make_worker(request_timeout=5)
    with connected(worker.worker._buffers) as (_, connection):
        with_request(worker, connection)
        now = time.monotonic()
        at_work(worker, connection, 0, now - LIMIT)
        assert connection.claim.end()
        assert ended(worker, now) == []


def test_the_next_request_on_a_connection_is_not_taken_for_the_one_before_that_another_thread_has_just_left(
    make_worker: Callable[..., TestWorker],
):
    # A thread that has settled a connection still has it in its place until it goes on; the next request on the
    # connection may by then be with another thread.
    worker = make_worker(request_timeout=5, threads=2)
    with connected(worker.worker._buffers) as (_, connection):
        with_request(worker, connection)
        now = time.monotonic()
        at_work(worker, connection, 0, now - LIMIT)
        assert connection.claim.end()
        worker.worker.pool.slots[0].thread = threading.Thread()
        with_request(worker, connection)
        at_work(worker, connection, 1, now)
        assert ended(worker, now) == []
        assert ended(worker, now + LIMIT) == [1]
