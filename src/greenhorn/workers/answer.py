"""What a thread does with a whole request: run the application, or turn the request away."""

import errno
import io
import os
import threading
import time
from typing import Any, BinaryIO, NoReturn

from greenhorn.errors import ClientGone, HTTPError, RequestBodyError, StorageError
from greenhorn.http.head import RequestHead
from greenhorn.http.response import CONTINUE
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers.client import told_template
from greenhorn.workers.serve import answer_error, go_on, refuse, serve
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import Environ
from greenhorn.wsgi.exchange import Response, respond
from greenhorn.wsgi.input import open_stream

DROPPED = "requests dropped whose clients had left"


def exchange(connection: Connection, service: Service) -> State:
    """Run the application for one whole request, and say what becomes of the connection."""
    if connection.gone:
        service.counters.add(DROPPED)
        return State.CLOSED
    head = connection.head
    if service.clocked:
        connection.taken_at = time.monotonic()
    if service.timed:
        connection.claim = claim = Claim(connection)
        response = claim.response = Response(head, claim, service)
    else:
        response = Response(head, connection, service)
    connection.requests = count = connection.requests + 1
    if count >= service.most_requests:
        response.keep_alive = False
    spool = connection.spool
    try:
        if spool is None:
            body: BinaryIO = io.BytesIO()
        else:
            body = spool.open() if connection.body is None else open_body(connection, service, response)
        template = connection.template
        if connection.names.told:
            template = told_template(connection, head, service)
        environ = service.make_environ(template, head, body, response)
        if service.identify is not None:
            service.identify(environ, head.fields, trusted=connection.trusted)
    except HTTPError as error:
        return refuse(connection, service, error)
    if service.timed:
        claim.environ = environ
    failed = False
    try:
        respond(service.app, environ, response)
    except BaseException as error:  # noqa: BLE001 - it is logged
        outcome = break_off(connection, head, service, response, environ, error)
        if outcome is not None:
            return outcome
        failed = True
    else:
        if service.timed and was_ended(connection, head, service):
            return State.CLOSED
    if response.complaint is not None:
        service.log.warning("%s %s: %s", head.method, head.target, response.complaint)
    if service.access is not None:
        service.access.answered(connection, environ, head, response)
    if spool is not None:
        if connection.body is not None:
            failed = not close_body(connection, body) or failed
        connection.drop_request()
    connection.head = None
    if connection.outbox is not None or failed or not response.keep_alive:
        return go_on(connection, stays=response.keep_alive and not failed, told=not (head.keep_alive or failed))
    return State.QUEUED if connection.buffer else State.IDLE


def break_off(
    connection: Connection,
    head: RequestHead,
    service: Service,
    response: Response,
    environ: Environ,
    error: BaseException,
) -> State | None:
    """What becomes of a connection whose answer came to no good end; None if the rest of it can still leave.

    `head` is what was asked for, which a connection that was ended meanwhile does not know any more.
    """
    if isinstance(error, (ClientGone, StorageError)):
        if not was_ended(connection, head, service):
            tell_loss(error, head, service)
            if service.access is not None:
                service.access.answered(connection, environ, head, response)
        if response.until_close:
            connection.reset()  # an orderly end would pass for the end of the answer
        return State.CLOSED
    refusal = judge(error, head, service)
    if service.timed and was_ended(connection, head, service):
        return State.CLOSED
    if not response.head_sent:
        return refuse(connection, service, refusal, told=True, environ=environ)
    if not response.until_close:
        return None
    if service.access is not None:
        service.access.answered(connection, environ, head, response)
    connection.reset()
    return State.CLOSED


def was_ended(connection: Connection, head: RequestHead, service: Service) -> bool:
    """Whether the poller's thread has ended the request, which took too long; if not, it cannot any more."""
    if connection.claim is None or connection.claim.end():
        return False
    service.log.info("%s %s came to its end after all", head.method, head.target)
    return True


def tell_loss(error: Exception, head: RequestHead, service: Service) -> None:
    """Take note of an answer that its client will not get as a whole."""
    if not isinstance(error, StorageError):
        service.log.debug("the answer to %s %s is not sent: %s", head.method, head.target, error)
    elif error.errno == errno.EDQUOT:
        service.counters.add("answers cut off since tmp_files_max was reached")
    else:
        service.log.error("cannot keep the answer to %s %s for its client: %s", head.method, head.target, error)


def judge(error: BaseException, head: RequestHead, service: Service) -> HTTPError:
    """Log what the application let out, and return what the client is told. Ends a process that it forked off."""
    if os.getpid() != service.pid:
        leave_fork(error)
    if isinstance(error, RequestBodyError):
        service.log.info("The body of %s %s: %d %s", head.method, head.target, error.status, error.detail)
        return error
    service.log.error("Error handling request %s", head.target, exc_info=error)
    return HTTPError(500, "the application failed")


def leave_fork(error: BaseException) -> NoReturn:
    """End a process that the application forked off, where it means to end or fails: it must not answer as well."""
    code = error.code if isinstance(error, SystemExit) else 1
    os._exit(code if isinstance(code, int) else int(code is not None))


def open_body(connection: Connection, service: Service, response: Response) -> BinaryIO:
    """The body of a request that the application reads while it comes."""
    left = service.body_pace.most

    def receive(size: int) -> bytes:
        nonlocal left
        if connection.awaits_continue:
            connection.awaits_continue = False
            if not response.head_sent:
                connection.send(CONTINUE)
        data, left = connection.receive(size, service.body_pace, left)
        return data

    with connection.spool.open() as begun:
        return open_stream(connection.body, receive, begun.read(), service.limits.body, response)


def close_body(connection: Connection, body: BinaryIO) -> bool:
    """End the reading of a body by the application; whether all of it has come, so that another request can follow."""
    connection.buffer = connection.body.excess
    connection.drained = False
    body.close()  # what else comes is not this application's
    whole: bool = connection.body.done
    return whole


class Claim:
    """Who answers a request whose time is limited: its thread, or the poller's thread when the time is over.

    The output of the thread's `Response`. Each right is one item of a list, which one of both threads can pop.
    """

    def __init__(self, connection: Connection) -> None:
        self.began = time.monotonic()
        self.thread = threading.get_ident()
        """The one that runs the application."""
        self.response: Response
        """Set by that thread before the application is called."""
        self.environ: Environ | None = None
        """The same."""
        self._connection = connection
        self._right_to_answer = [True]
        self._right_to_end = [True]
        self._answers = False
        self.lock = threading.Lock()
        """Held while the connection is closed, or cut off."""
        self.measure = connection.measure
        connection.waited = 0.0

    def answer(self) -> bool:
        """Whether the caller is the one who answers; asked once by each side."""
        return _take(self._right_to_answer)

    def end(self) -> bool:
        """Whether the caller is the one who ends the request; asked once by each side."""
        return _take(self._right_to_end)

    def _begin(self) -> None:
        if not self._answers:
            if not self.answer():
                raise ClientGone("the request took too long, and its client has its answer")
            self._answers = True

    def send_interim(self, data: bytes) -> None:
        """Send as the connection does, unless the request was ended; the answer itself may still be the other's."""
        if self._right_to_answer or self._answers:
            self._connection.send(data)

    def send(self, data: bytes) -> None:
        """Send as the connection does, unless the request was ended."""
        self._begin()
        self._connection.send(data)

    def send_all(self, parts: list[bytes]) -> None:
        """Send as the connection does, unless the request was ended."""
        self._begin()
        self._connection.send_all(parts)

    def send_file(self, region: Any) -> None:
        """Send as the connection does, unless the request was ended."""
        self._begin()
        self._connection.send_file(region)


def _take(right: list[bool]) -> bool:
    try:
        return right.pop()
    except IndexError:
        return False


def resume(connection: Connection, service: Service) -> State:
    """The turn of a connection whose whole request had to wait for a thread."""
    connection.turn = serve
    if time.monotonic() - connection.queued_at > service.queue_timeout:
        return turn_away(connection, service, "no thread was free in time")
    return State.WHOLE


def turn_away(connection: Connection, service: Service, why: str) -> State:
    """Answer a whole request with 503, and keep the connection if it can be."""
    if connection.gone:
        service.counters.add(DROPPED)
        return State.CLOSED
    head = connection.head
    stays = (
        head.keep_alive
        and head.version == "HTTP/1.1"
        and connection.body is None  # else some of it has still to come
        and service.keep_alive
        and connection.requests + 1 < service.most_requests
    )
    connection.turn = serve
    service.counters.add("requests answered 503 because " + why)
    try:
        answer_error(connection, service, HTTPError(503, why), told=True, stays=stays)
    except ClientGone:
        return State.CLOSED
    return go_on(connection, stays=stays, told=not head.keep_alive)
