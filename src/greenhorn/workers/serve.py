"""The turns of a connection: what a pool thread does with one that is ready, and which state it goes to."""

import io
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from greenhorn.errors import ClientGone, HTTPError
from greenhorn.http.body import ChunkedBody, LengthBody
from greenhorn.http.head import Leniency, Limits, RequestHead, check_unfinished_head, parse_head
from greenhorn.http.peer import Networks, read_proxy_header, scheme_from_proxy
from greenhorn.http.response import CONTINUE, error_response
from greenhorn.net.connection import Connection, State
from greenhorn.net.spool import Spool
from greenhorn.observe.access import AccessLog
from greenhorn.observe.logger import Logger
from greenhorn.wsgi.environ import Environ, build_environ
from greenhorn.wsgi.exchange import Response, respond

HEAD_READ = 65536
"""Bytes read at once while a head is awaited: small bodies come along."""
BODY_READ = 262144
BODY_PER_TURN = 1048576
"""Bytes of a body that one turn takes before others have theirs."""
LINGER_BYTES = 65536
"""Bytes that are thrown away while a client takes note of the last answer; more stay unread."""


class Service:
    """What every turn needs: a tray that is filled at boot and has no methods.

    Frozen but for `fields`, which the poller's thread renews once a second, and `draining` and `keep_alive`, which
    it changes once.
    """

    __slots__ = (
        "access",
        "app",
        "body_folder",
        "body_memory",
        "draining",
        "fields",
        "keep_alive",
        "leniency",
        "limits",
        "log",
        "pid",
        "proxies",
        "proxy_versions",
        "secure_schemes",
    )

    def __init__(
        self,
        *,
        app: Callable[..., Any],
        log: Logger,
        access: AccessLog | None,
        limits: Limits,
        leniency: Leniency,
        keep_alive: bool,
        body_memory: int,
        body_folder: str | None,
        secure_schemes: Mapping[str, str],
        proxy_versions: str,
        proxies: Networks,
        fields: str,
    ) -> None:
        self.app = app
        self.log = log
        self.access = access
        self.limits = limits
        self.leniency = leniency
        self.keep_alive = keep_alive
        self.body_memory = body_memory
        self.body_folder = body_folder
        self.secure_schemes = secure_schemes
        self.proxy_versions = proxy_versions
        self.proxies = proxies
        self.pid = os.getpid()
        self.fields = fields
        """The field lines Server and Date."""
        self.draining = False
        """Whether the worker is about to leave."""


def read_proxy(connection: Connection, service: Service) -> State:
    """The first turn where the PROXY protocol is on: take its header, if there is one, and go on to the request."""
    data = connection.recv(HEAD_READ)
    if not data:
        return waiting(connection) if data is None else State.CLOSED
    connection.buffer += data
    try:
        header = read_proxy_header(connection.buffer, service.proxy_versions)
        if header is None:
            return State.HEAD
        if header.size and connection.peer is not None and connection.peer[0] not in service.proxies:
            raise HTTPError(403, "PROXY headers are not taken from this address")  # noqa: TRY301 - one way to refuse
    except HTTPError as error:
        return refuse(connection, service, error)
    connection.buffer = connection.buffer[header.size :]
    if header.client is not None and header.server is not None:
        connection.peer = (header.client[0], str(header.client[1]))
        connection.template = connection.template | {
            "PROXY_PROTOCOL": "TCP6" if ":" in header.client[0] else "TCP4",
            "PROXY_ADDR": header.server[0],
            "PROXY_PORT": str(header.server[1]),
        }
    connection.turn = serve
    return serve(connection, service)


def serve(connection: Connection, service: Service) -> State:
    """The turn of a connection that has, or awaits, a request."""
    buffer = connection.buffer
    end = buffer.find(b"\r\n\r\n", connection.checked) if buffer else -1
    if end < 0:
        try:
            data = connection.socket.recv(HEAD_READ)
        except BlockingIOError:
            if not buffer:
                return waiting(connection)
        else:
            if not data:
                return State.CLOSED
            connection.drained = len(data) < HEAD_READ
            buffer = buffer + data if buffer else data
            end = buffer.find(b"\r\n\r\n", connection.checked)
    try:
        if end < 0:
            return keep_unfinished_head(connection, service, buffer)
        head = parse_head(buffer[:end], connection.names, service.limits, service.leniency)
    except HTTPError as error:
        connection.buffer = buffer
        return refuse(connection, service, error)
    connection.buffer = buffer[end + 4 :]
    connection.checked = 0
    if head.length == 0:
        return exchange(connection, service, head, io.BytesIO())
    return begin_body(connection, service, head)


def waiting(connection: Connection) -> State:
    """The state of a connection that has nothing to read before the next request is whole."""
    if connection.buffer:
        return State.HEAD
    return State.IDLE if connection.requests else State.NEW


def keep_unfinished_head(connection: Connection, service: Service, buffer: bytes) -> State:
    """Keep what came of a head; raises `HTTPError` if no good head can come of it."""
    check_unfinished_head(buffer, connection.checked, service.limits)
    if not connection.checked:
        connection.was = State.ACTIVE  # a new head has its own time
    connection.buffer = buffer
    connection.checked = max(1, len(buffer) - 3)
    return State.HEAD


def begin_body(connection: Connection, service: Service, head: RequestHead) -> State:
    """Prepare to collect a body, and collect what came with the head."""
    limit = service.limits.body
    connection.head = head
    connection.turn = collect
    connection.was = State.ACTIVE  # a new body has its own time
    connection.drained = False
    if head.length is None:
        connection.body = ChunkedBody(service.limits)
    elif limit and head.length > limit:
        return refuse(connection, service, HTTPError(413, "the body is larger than limit_request_body"))
    else:
        connection.body = LengthBody(head.length)
    connection.awaits_continue = head.expects_continue
    connection.spool = Spool(service.body_memory, service.body_folder)
    return collect(connection, service)


def collect(connection: Connection, service: Service) -> State:
    """The turn of a connection whose request has a body that has not all come; no thread waits for it."""
    head, body, spool = connection.head, connection.body, connection.spool
    data: bytes | None = connection.buffer
    connection.buffer = b""
    taken = 0
    try:
        while not body.done:
            if not data:
                data = connection.recv(BODY_READ if head.length is None else min(BODY_READ, body.remaining))
            if data is None:
                if connection.awaits_continue:
                    connection.awaits_continue = False
                    connection.send(CONTINUE)
                return State.BODY
            if not data:
                return State.CLOSED
            connection.awaits_continue = False  # RFC 9110 10.1.1: no 100 once some of the body is here
            spool.write(body.feed(data))
            if service.limits.body and spool.size > service.limits.body:
                raise HTTPError(413, "the body is larger than limit_request_body")  # noqa: TRY301 - one way to refuse
            taken += len(data)
            connection.was = State.ACTIVE  # a client that sends has new time
            if taken >= BODY_PER_TURN and not body.done:
                return State.BODY
            data = b""
        connection.buffer = body.excess
        file = spool.open()
    except HTTPError as error:
        return refuse(connection, service, error)
    except ClientGone:
        raise
    except OSError:
        service.log.exception("cannot keep a request's body in %s", service.body_folder or "the temporary folder")
        return refuse(connection, service, HTTPError(500, "the body could not be stored"))
    connection.head = connection.body = None
    connection.turn = serve
    if head.length is None:
        # The body is whole: applications that trust CONTENT_LENGTH see it, those that go by the coding would be misled.
        del head.fields["HTTP_TRANSFER_ENCODING"]
        head.fields["CONTENT_LENGTH"] = str(spool.size)
    outcome = exchange(connection, service, head, file)
    spool.close()
    connection.spool = None
    return outcome


def exchange(connection: Connection, service: Service, head: RequestHead, body: BinaryIO) -> State:
    """Run the application for one whole request, and say what becomes of the connection."""
    response = Response(head, connection, service)
    template = connection.template
    failed = False
    try:
        if connection.names.told_scheme:
            template = with_scheme(template, head, service)
        environ = build_environ(template, head, body, response, connection.peer, connection.socket)
    except HTTPError as error:
        return refuse(connection, service, error, head)
    try:
        respond(service.app, environ, response)
    except ClientGone:
        service.log.debug("the client of %s %s left before its answer was sent", head.method, head.target)
        return State.CLOSED
    except BaseException as error:
        if os.getpid() != service.pid:
            leave_fork(error)
        service.log.exception("Error handling request %s", head.target)
        if not response.head_sent:
            return refuse(connection, service, HTTPError(500, "the application failed"), head, told=True)
        failed = True
    connection.requests += 1
    if response.complaint is not None:
        service.log.warning("%s %s: %s", head.method, head.target, response.complaint)
    if service.access is not None:
        service.access.answered(connection.peer, head, response.status_code, response.sent)
    if response.keep_alive and not failed:
        if connection.outbox is not None:
            return drain_later(connection, stays=True)
        return State.QUEUED if connection.buffer else State.IDLE
    if connection.outbox is not None:
        return drain_later(connection, stays=False)
    return part(connection, told=not head.keep_alive)


def leave_fork(error: BaseException) -> NoReturn:
    """End a process that the application forked off, where it means to end or fails: it must not answer as well."""
    code = error.code if isinstance(error, SystemExit) else 1
    os._exit(code if isinstance(code, int) else int(code is not None))


def with_scheme(template: Environ, head: RequestHead, service: Service) -> Environ:
    """The template with the scheme that a trusted proxy tells in this request, if it does; raises `HTTPError` 400."""
    scheme = scheme_from_proxy(head.fields, service.secure_schemes)
    return template if scheme is None else template | {"wsgi.url_scheme": scheme}


def drain_later(connection: Connection, *, stays: bool) -> State:
    """Leave the rest of an answer to the turns in which the client reads."""
    connection.stays = stays
    connection.turn = flush
    connection.was = State.ACTIVE  # a new answer has its own time
    connection.drained = False
    return State.FLUSH


def flush(connection: Connection, _: Service) -> State:
    """The turn of a connection whose client has not read all of an answer."""
    if connection.flush():
        connection.was = State.ACTIVE  # a client that reads has new time
    if connection.outbox is not None:
        return State.FLUSH
    if not connection.stays:
        return part(connection, told=False)
    connection.turn = serve
    return State.QUEUED if connection.buffer else State.IDLE


def part(connection: Connection, *, told: bool) -> State:
    """Close after the last answer; `told` says that the client announced to send nothing more.

    Whoever still sends would get a reset, which may destroy the answer before it is read (RFC 9112 9.6): then the
    stream is ended, and what comes is thrown away for a while.
    """
    if told and not connection.buffer and (connection.drained or not connection.recv(1)):
        return State.CLOSED
    connection.buffer = b""
    connection.turn = discard
    connection.shut()
    return State.LINGER


def discard(connection: Connection, _: Service) -> State:
    """The turn of a connection that was parted from: throw away what comes, until the client ends it too.

    Beyond a certain amount nothing more is read: the client finds no room to send, and has time to read the answer.
    """
    while data := connection.recv(LINGER_BYTES):
        connection.discarded += len(data)
        if connection.discarded > LINGER_BYTES:
            connection.deaf = True
            return State.LINGER
    return State.LINGER if data is None else State.CLOSED


def refuse(
    connection: Connection,
    service: Service,
    error: HTTPError,
    head: RequestHead | None = None,
    *,
    told: bool = False,
) -> State:
    """Answer a request that the server does not pass on, log why, and part. `told`: the error log knows already."""
    head = head or connection.head
    request_line = (
        head.request_line if head else connection.buffer.lstrip(b"\r\n").partition(b"\r\n")[0][:512].decode("latin-1")
    )
    connection.drop_request()
    connection.requests += 1
    if not told:
        peer = connection.peer[0] if connection.peer else "unix"
        service.log.info("Invalid request from ip=%s: %d %s", peer, error.status, error.detail)
    answer = error_response(error.status, error.detail, service.fields, head_only=request_line.startswith("HEAD "))
    if service.access is not None:
        service.access.refused(connection.peer, request_line, error, len(answer))
    try:
        connection.send(answer)
    except ClientGone:
        return State.CLOSED
    if connection.outbox is not None:
        return drain_later(connection, stays=False)
    return part(connection, told=False)
