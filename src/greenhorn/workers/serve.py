"""The turns of a connection: what a thread does with one that is ready, and which state it goes to.

None of them runs the application: a turn that has a whole request says so.
"""

import errno
import time
from collections.abc import Callable, Mapping
from typing import Any

from greenhorn.errors import ClientGone, HTTPError
from greenhorn.http.body import ChunkedBody, LengthBody
from greenhorn.http.head import RequestHead, check_unfinished_head, parse_head
from greenhorn.http.peer import read_proxy_header
from greenhorn.http.response import CONTINUE, error_response
from greenhorn.net.connection import Connection
from greenhorn.net.outbox import PER_TURN
from greenhorn.net.spool import Spool
from greenhorn.net.state import State
from greenhorn.observe.logger import Logger
from greenhorn.workers.client import client_of
from greenhorn.workers.recorded import record_refusal
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import PEER_ADDR

Turn = Callable[[Connection, Service], State]
"""What a thread does with a connection that is ready."""
BODY_READ = 262144
SMALL_CHUNKS_READ = 16384
"""The same of a body in small chunks, which take long to decode."""
SMALL_CHUNK = 256
BODY_PER_TURN = 1048576
"""Bytes of a body that one turn takes before others have theirs."""
TLS_HELLO = b"\x16\x03"
"""How a client begins that speaks TLS (RFC 8446 5.1)."""
TLS_HERE = "connections with TLS came to an address of plain HTTP (bind says https://, or certfile is set, for TLS)"
LINGER_BYTES = 65536
"""Bytes that are thrown away while a client takes note of the last answer; more stay unread."""


def read_proxy(connection: Connection, service: Service) -> State:
    """The first turn where the PROXY protocol is on: take its header, if there is one, and go on to the request."""
    data = connection.recv(service.head_read)
    if not data:
        return State.CLOSED if data is not None else State.HANDSHAKE if connection.buffer else State.NEW
    connection.buffer += data
    try:
        header = read_proxy_header(connection.buffer, service.proxy_versions)
        if header is None:
            return State.HANDSHAKE
        if header.size and connection.peer is not None and connection.peer[0] not in service.proxies:
            raise HTTPError(403, "PROXY headers are not taken from this address")  # noqa: TRY301 - one way to refuse
    except HTTPError as error:
        return refuse(connection, service, error)
    connection.buffer = connection.buffer[header.size :]
    if header.client is not None and header.server is not None:
        connection.template |= {
            PEER_ADDR: connection.peer,
            "REMOTE_ADDR": header.client[0],
            "REMOTE_PORT": str(header.client[1]),
            "PROXY_PROTOCOL": "TCP6" if ":" in header.client[0] else "TCP4",
            "PROXY_ADDR": header.server[0],
            "PROXY_PORT": str(header.server[1]),
        }
        connection.peer = (header.client[0], str(header.client[1]))
    connection.turn = connection.begin
    return connection.begin(connection, service)


def tell_end(error: BaseException, log: Logger) -> None:
    """Log what a turn let out, which ends its connection: that is no fault if the client has left."""
    if isinstance(error, (ConnectionError, TimeoutError)):  # ClientGone is one
        log.debug("a client is gone: %s", error)
    elif isinstance(error, OSError) and error.errno == errno.EBADF:
        log.warning("the application has closed the socket of its client")
    else:
        log.error("a turn failed; its connection is closed", exc_info=error)


def serve(connection: Connection, service: Service) -> State:
    """The turn of a connection that has, or awaits, a request."""
    buffer = connection.buffer
    end = buffer.find(b"\r\n\r\n", connection.checked) if buffer else -1
    if end < 0:
        size = service.head_read
        try:
            data = connection.socket.recv(size)
        except BlockingIOError:
            if not buffer:
                return waiting(connection)
        else:
            if not data:
                return State.CLOSED
            secure = connection.secure
            connection.drained = len(data) < size and (secure is None or not secure.is_within_record)
            buffer = buffer + data if buffer else data
            end = buffer.find(b"\r\n\r\n", connection.checked)
    try:
        if end < 0:
            return keep_unfinished_head(connection, service, buffer)
        head = parse_head(buffer[:end], connection.names, service.limits, service.leniency)
    except HTTPError as error:
        if TLS_HELLO.startswith(buffer[:2]) and not connection.requests and connection.secure is None:
            service.counters.add(TLS_HERE)
            return State.CLOSED
        connection.buffer = buffer
        return refuse(connection, service, error)
    connection.buffer = buffer[end + 4 :]
    connection.checked = 0
    connection.head = head
    if service.clocked:
        connection.read_at = time.monotonic()
        connection.taken_at = 0.0
    return State.WHOLE if head.length == 0 else begin_body(connection, service, head)


def waiting(connection: Connection) -> State:
    """The state of a connection that has nothing to read before the next request is whole."""
    if connection.buffer or (connection.secure is not None and connection.secure.is_within_record):
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
    """Prepare to read a body, and take what came with the head."""
    limit = service.limits.body
    connection.was = State.ACTIVE  # a new body has its own time
    connection.drained = False
    if head.length is None:
        connection.body = ChunkedBody(service.limits)
    elif limit and head.length > limit:
        return refuse(connection, service, HTTPError(413, "the body is larger than limit_request_body"))
    else:
        connection.body = LengthBody(head.length)
    connection.awaits_continue = head.expects_continue
    connection.spool = Spool(service.body_memory, service.body_folder, service.allotment)
    connection.turn = collect
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
                data = connection.recv(how_much(connection, service))
            if data is None:
                if service.streaming:
                    return pass_on(connection)
                if connection.awaits_continue:
                    connection.awaits_continue = False
                    connection.send(CONTINUE)
                return State.BODY
            if not data:
                return State.CLOSED
            connection.awaits_continue = False  # RFC 9110 10.1.1: no 100 once some of the body is here
            store(connection, service, body.feed(data))
            taken += len(data)
            data = b""
            if body.done:
                break
            if service.streaming:
                return pass_on(connection)
            if taken >= BODY_PER_TURN:
                return State.QUEUED
    except HTTPError as error:
        return refuse(connection, service, error)
    connection.buffer = body.excess
    connection.body = None
    connection.turn = serve
    if head.length is None:
        # The body is whole: applications that trust CONTENT_LENGTH see it, those that go by the coding would be misled.
        del head.fields["HTTP_TRANSFER_ENCODING"]
        head.fields["CONTENT_LENGTH"] = str(spool.size)
    return State.WHOLE


def how_much(connection: Connection, service: Service) -> int:
    """How many bytes of a body are read at once."""
    body = connection.body
    if service.streaming:
        return min(BODY_READ, max(1, service.body_memory))
    if connection.head.length is not None:
        remaining: int = body.remaining
        return min(BODY_READ, remaining)
    # What comes behind the end is kept for the next request, as much as of a head.
    small = connection.spool.size < SMALL_CHUNK * body.chunks
    return min(SMALL_CHUNKS_READ, service.head_read) if small else service.head_read


def pass_on(connection: Connection) -> State:
    """Let the application read the rest of a body while it comes."""
    connection.turn = serve
    return State.WHOLE


def store(connection: Connection, service: Service, data: bytes) -> None:
    """Keep some more of a body; raises `HTTPError` when it is too large or there is no room."""
    spool = connection.spool
    limit = service.limits.body
    if limit and spool.size + len(data) > limit:
        raise HTTPError(413, "the body is larger than limit_request_body")
    try:
        spool.write(data)
    except OSError as error:
        if error.errno == errno.EDQUOT:
            service.counters.add("503 for want of room in temporary files")
            raise HTTPError(503, "the server stores too much already") from None
        service.log.exception("cannot keep a request's body in %s", service.body_folder or "the temporary folder")
        raise HTTPError(500, "the body could not be stored") from None
    connection.gained += len(data)


def drain_later(connection: Connection, *, stays: bool) -> State:
    """Leave the rest of an answer to the turns in which the client reads."""
    connection.stays = stays
    connection.turn = flush
    connection.was = State.ACTIVE  # a new answer has its own time
    connection.drained = False
    connection.keeps_up()
    return State.FLUSH


def flush(connection: Connection, _: Service) -> State:
    """The turn of a connection whose client has not read all of an answer."""
    sent = connection.flush()
    if connection.outbox is not None:
        return State.QUEUED if sent >= PER_TURN else State.FLUSH
    connection.turn = serve
    return go_on(connection, stays=connection.stays, told=False)


def part(connection: Connection, *, told: bool) -> State:
    """Close after the last answer; `told` says that the client announced to send nothing more.

    Whoever still sends would get a reset, which may destroy the answer before it is read (RFC 9112 9.6): then the
    stream is ended, and what comes is thrown away for a while.
    """
    # With TLS there is a goodbye to come, for which the client would get a reset as well.
    if told and connection.secure is None and not connection.buffer and (connection.drained or not connection.recv(1)):
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
    *,
    told: bool = False,
    environ: Mapping[str, Any] | None = None,
) -> State:
    """Answer a request that the server does not pass on, log why, and part.

    `told`: the error log knows already; `environ` is that of the request, if it has one.
    """
    try:
        answer_error(connection, service, error, told=told, environ=environ)
    except ClientGone:
        return State.CLOSED
    return go_on(connection, stays=False, told=False)


def answer_error(
    connection: Connection,
    service: Service,
    error: HTTPError,
    *,
    told: bool = False,
    stays: bool = False,
    environ: Mapping[str, Any] | None = None,
) -> None:
    """Send a short answer of the server's own, and log it. `stays`: the connection goes on behind it."""
    head = connection.head
    request_line = (
        head.request_line if head else connection.buffer.lstrip(b"\r\n").partition(b"\r\n")[0][:512].decode("latin-1")
    )
    client = client_of(connection, service)
    connection.drop_request()
    connection.requests += 1
    if not told:
        service.log.info(
            "Invalid request from ip=%s: %d %s", client[0] if client else "unix", error.status, error.detail
        )
    answer = error_response(
        error.status, error.detail, service.fields, head_only=request_line.startswith("HEAD "), keep_alive=stays
    )
    if service.access is not None:
        record_refusal(service.access, connection, head, request_line, client, environ, error, answer)
    connection.send(answer)


def go_on(connection: Connection, *, stays: bool, told: bool) -> State:
    """What becomes of a connection behind an answer; `told`: its client announced to send nothing more."""
    if connection.outbox is not None:
        return drain_later(connection, stays=stays)
    if not stays:
        return part(connection, told=told)
    return State.QUEUED if connection.buffer else State.IDLE
