"""What each request passes on its way from Tornado's parser to the application."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from tornado import httputil
from tornado.http1connection import HTTP1Connection

from greenhorn.errors import HTTPError
from greenhorn.http.body import LARGEST_OVERHEAD, SMALL_FRAMING
from greenhorn.http.head import RequestHead, parse_head
from greenhorn.http.response import CONTINUE
from greenhorn.net.spool import Spool
from greenhorn.net.state import State
from greenhorn.workers.on_tornado.streams import Watched
from greenhorn.workers.on_tornado.visitor import Visitor
from greenhorn.workers.redirect import send_elsewhere
from greenhorn.workers.serve import refuse, store
from greenhorn.workers.service import Service

StartLine = httputil.RequestStartLine | httputil.ResponseStartLine


class Answering(Protocol):
    """What answers requests whose heads are good. Loop's thread."""

    def begin(self, visit: "Visit", headers: httputil.HTTPHeaders) -> Any:
        """Take on a request whose head is `visit.visitor.head`; what Tornado waits for, if anything."""

    def take(self, visit: "Visit", data: bytes) -> Any:
        """Take some of its body; the same. Raises `HTTPError`."""

    def end(self, visit: "Visit") -> None:
        """Answer it: all of its body is here."""

    def give_up(self, visit: "Visit") -> None:
        """Forget it: its client is gone before the body was here."""


class Front(httputil.HTTPServerConnectionDelegate):
    """What Tornado's server gives each request to."""

    def __init__(self, service: Service, engine: Answering) -> None:
        self.service = service
        self.engine = engine

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> "Visit":
        """Wait for a request."""
        assert isinstance(request_conn, HTTP1Connection)  # noqa: S101 - HTTPServer has no other
        stream = request_conn.stream
        assert isinstance(stream, Watched)  # noqa: S101 - the worker made it
        visitor = stream.watcher
        assert isinstance(visitor, Visitor)  # noqa: S101 - the same
        if not visitor.stays:
            stream.close()
        elif not stream.closed():  # a thread may still have the last request of one that is
            visitor.await_request(request_conn)
        return Visit(self, visitor, server_conn)


class Visit(httputil.HTTPMessageDelegate):
    """One request: its head has to pass what all heads have to, whatever Tornado thinks of it."""

    inner: Any = None
    """What the engine keeps with it."""
    size = 0
    """Bytes of its body that the engine has counted."""

    def __init__(self, front: Front, visitor: Visitor, server_conn: object) -> None:
        self._service = front.service
        self._engine = front.engine
        self.visitor = visitor
        self._lines = visitor.stream.lines
        self._received = 0
        self.server_conn = server_conn

    def headers_received(self, start_line: StartLine, headers: httputil.HTTPHeaders) -> Any:
        """Take the head that Tornado has parsed; refuse it as any other worker would."""
        visitor, service = self.visitor, self._service
        assert isinstance(start_line, httputil.RequestStartLine)  # noqa: S101 - this is a server
        if visitor.is_parting:
            visitor.stream.close()
            return None
        expected = headers.pop("Expect", None)  # Tornado would ask for the body whatever becomes of the request
        visitor.read_at = time.monotonic()
        visitor.await_body()
        try:
            visitor.head = head = read_head(start_line, headers, expected, visitor, service)
            if service.limits.body and (head.length or 0) > service.limits.body:
                raise HTTPError(413, "the body is larger than limit_request_body")  # noqa: TRY301 - one way to refuse
        except HTTPError as error:
            visitor.buffer = start_line_of(start_line)
            self._refuse(error)
            visitor.buffer = b""
            return None
        if visitor.entrance.redirect:
            visitor.settle(send_elsewhere(visitor, service, head))
            return None
        if head.expects_continue and head.length != 0:
            visitor.sink.send(CONTINUE)
        return self._engine.begin(self, headers)

    def _refuse(self, error: HTTPError) -> None:
        self.visitor.settle(refuse(self.visitor, self._service, error))

    def data_received(self, chunk: bytes) -> Any:
        """Take some of the body."""
        visitor = self.visitor
        if visitor.is_parting:
            return visitor.ignore(len(chunk))
        try:
            self._weigh(chunk)
            return self._engine.take(self, chunk)
        except HTTPError as error:
            self._refuse(error)
            return None

    def _weigh(self, piece: bytes) -> None:
        """Refuse floods of small chunks; raises `HTTPError`."""
        self._received += len(piece)
        chunks = self.visitor.stream.lines - self._lines
        if chunks * SMALL_FRAMING - self._received > LARGEST_OVERHEAD:
            raise HTTPError(400, "the chunks cost more than they carry")

    def finish(self) -> None:
        """Go on to the application: all of the request is here."""
        if self.visitor.is_parting:
            self.visitor.end_ignoring()
        else:
            self._engine.end(self)

    def on_connection_close(self) -> None:
        """Forget the request: its client is gone before all of it was here."""
        self._engine.give_up(self)


def start_line_of(line: httputil.RequestStartLine) -> bytes:
    """The request line as it was received."""
    return f"{line.method} {line.path} {line.version}".encode("latin-1")


def read_head(
    line: httputil.RequestStartLine,
    headers: httputil.HTTPHeaders,
    expected: str | None,
    visitor: Visitor,
    service: Service,
) -> RequestHead:
    """The head as greenhorn knows heads, judged by its own rules. Raises `HTTPError` as `parse_head` does.

    `expected` is the field Expect, which Tornado is not shown.
    """
    lines = [start_line_of(line)]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.get_all()]
    if expected is not None:
        lines.append(f"Expect: {expected}".encode("latin-1"))
    return parse_head(b"\r\n".join(lines), visitor.names, service.limits, service.leniency)


class WSGIEngine:
    """Collects bodies, and lets a thread run the WSGI application.

    `submit` queues a visitor whose request is whole, or turns it away and says how that ended.
    """

    def __init__(self, service: Service, submit: Callable[[Visitor], State | None]) -> None:
        self._service = service
        self._submit = submit

    def begin(self, visit: Visit, headers: httputil.HTTPHeaders) -> None:  # noqa: ARG002 - the head has all of them
        """Prepare for the body."""
        service, visitor = self._service, visit.visitor
        if visitor.head.length != 0:
            visitor.spool = Spool(service.body_memory, service.body_folder, service.allotment)

    def take(self, visit: Visit, data: bytes) -> None:
        """Keep some of the body; raises `HTTPError`."""
        store(visit.visitor, self._service, data)

    def end(self, visit: Visit) -> None:
        """Queue the request for a thread."""
        visitor = visit.visitor
        head = visitor.head
        if head.length is None:
            del head.fields["HTTP_TRANSFER_ENCODING"]
            head.fields["CONTENT_LENGTH"] = str(visitor.spool.size)
        visitor.queued_at = time.monotonic()
        visitor.work(native=False)
        outcome = self._submit(visitor)
        if outcome is not None:
            visitor.settle(outcome)

    def give_up(self, visit: Visit) -> None:
        """Nothing is left to do: the visitor gives everything back."""
