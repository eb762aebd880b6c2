"""The requests that the application works on just now: which ones they are, where they are, and which are stuck."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple, Protocol

import greenhorn
from greenhorn.errors import HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.http.response import error_response
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers.client import client_of
from greenhorn.workers.pool import Pool, Slot
from greenhorn.workers.recorded import record_refusal
from greenhorn.workers.service import Service

OURS = (threading.__file__, os.path.dirname(greenhorn.__file__) + os.sep)  # noqa: PTH120 - text, as in a frame
"""Where the files of frames are that every request has."""
TOO_LATE = HTTPError(504, "the application did not answer in time")


class Underway(Protocol):
    """A request that the application works on."""

    @property
    def connection(self) -> Connection:
        """Where it came from."""

    def record(self, head: RequestHead | None, now: float, service: Service) -> str:
        """What the log says of it."""


class Request(NamedTuple):
    """A request that a thread works on."""

    slot: Slot[Connection]
    connection: Connection
    since: float

    def record(self, head: RequestHead | None, now: float, service: Service) -> str:
        """What the log says of it: method, path, age, client, thread, and the Python stack of the thread."""
        thread = self.slot.thread
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - its documented purpose
        told = describe(self.connection, head, now - self.since, service)
        return f"{told}, in thread {thread.name}:\n{stack_from(frame)}"


def describe(connection: Connection, head: RequestHead | None, age: float, service: Service) -> str:
    """Which request it is, for how many seconds it has been worked on, and whose it is."""
    name = f"{head.method} {head.target}" if head is not None else "a request"
    client = client_of(connection, service)
    address = ":".join(filter(None, client)) if client else "unix"
    return f"{name} for {age:.1f} s, from {address}"


def stack_from(frame: FrameType | None) -> str:
    """The Python stack of a thread or greenlet from the application's first frame on, the latest call last."""
    if frame is None:
        return "  it has ended"
    stack = traceback.extract_stack(frame)
    begins = next((at for at, each in enumerate(stack) if not each.filename.startswith(OURS)), 0)
    return "".join(traceback.format_list(stack[begins:])).rstrip()


def requests(pool: Pool[Connection]) -> Iterator[Request]:
    """What the threads work on, those that were given up included. Any thread; what ends meanwhile may be missing."""
    for slot in [*pool.lost, *pool.slots]:
        since, connection = slot.since, slot.item
        if since and connection is not None and connection.state is State.ACTIVE and connection.head is not None:
            yield Request(slot, connection, since)


def dump(pool: Pool[Connection], service: Service) -> None:
    """Log a record of each request in flight. Poller's thread."""
    now = time.monotonic()
    running = list(requests(pool))
    for request in running:
        service.log.warning("In flight: %s", request.record(request.connection.head, now, service))
    counts = ", ".join(f"{count} {name}" for name, count in service.counters.totals().items())
    service.log.warning(
        "%d in flight, %d waiting for a thread, %d threads idle, %d stuck%s",
        len(running),
        pool.requests,
        pool.idle,
        pool.count_lost(),
        f"; so far {counts}" if counts else "",
    )


def overdue(pool: Pool[Connection], timeout: float, now: float) -> Iterator[Request]:
    """The requests that took longer than `timeout` seconds without waiting for their clients. Poller's thread."""
    for request in list(requests(pool)):
        connection = request.connection
        claim = connection.claim
        # A thread that has just passed the connection on may still have it in its slot.
        if claim is None or connection.waits or claim.thread != request.slot.thread.ident:
            continue
        if now - claim.began - connection.waited >= timeout:
            yield request


def end(request: Underway, service: Service, now: float) -> bool:
    """Answer an overdue request with 504, or cut its connection off if its answer has begun; False if it just ended.

    The connection stays with its thread or greenlet, which finds out when it comes back. Poller's thread.
    """
    connection = request.connection
    head = connection.head
    claim = connection.claim
    if head is None or not claim.end():
        return False
    service.counters.add("requests beyond request_timeout")
    service.log.error("Request beyond request_timeout: %s", request.record(head, now, service))
    connection.gone = True
    if claim.answer():
        answer = error_response(TOO_LATE.status, TOO_LATE.detail, service.fields, head_only=head.method == "HEAD")
        connection.send_last(answer)
        if service.access is not None:
            client = client_of(connection, service)
            record_refusal(service.access, connection, head, "", client, claim.environ, TOO_LATE, answer)
        return True
    connection.cut(abruptly=claim.response.until_close)
    if service.access is not None:
        service.access.answered(connection, claim.environ or {}, head, claim.response)
    return True
