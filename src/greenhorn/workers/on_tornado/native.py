"""An application of Tornado's own behind greenhorn's limits and in its access log."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer

from greenhorn.errors import HTTPError
from greenhorn.net.state import State
from greenhorn.observe.lines import REQUEST_ID
from greenhorn.workers.client import told_template
from greenhorn.workers.on_tornado.front import Visit
from greenhorn.workers.on_tornado.visitor import Visitor
from greenhorn.workers.serve import refuse
from greenhorn.workers.service import Service


class NativeAnswer:
    """What the access log is told of an answer that Tornado has sent."""

    status: str | None = None
    headers: list[tuple[str, str]]
    sent = 0

    def __init__(self) -> None:
        self.headers = []


class Observed(httputil.HTTPConnection):
    """Tornado's connection as its application sees it: notes the answer, and asks to part where that is due.

    `on_done` is called when the answer is complete. Whatever else is asked of it, Tornado's has.
    """

    def __init__(self, visitor: Visitor, service: Service, answer: NativeAnswer, on_done: Callable[[], None]) -> None:
        self._inner = visitor.exchange
        self._visitor = visitor
        self._service = service
        self._answer = answer
        self._on_done = on_done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Any:
        """As Tornado does."""
        assert isinstance(start_line, httputil.ResponseStartLine)  # noqa: S101 - this is a server
        answer, visitor, service = self._answer, self._visitor, self._service
        if start_line.code >= HTTPStatus.OK and (visitor.requests >= service.most_requests or not service.keep_alive):
            headers["Connection"] = "close"
            visitor.stays = False
        answer.status = f"{start_line.code} {start_line.reason}"
        answer.headers = list(headers.get_all())
        answer.sent = len(chunk or b"")
        return self._inner.write_headers(start_line, headers, chunk)

    def write(self, chunk: bytes) -> Any:
        """As Tornado does."""
        self._answer.sent += len(chunk)
        return self._inner.write(chunk)

    def finish(self) -> None:
        """As Tornado does."""
        self._on_done()
        self._inner.finish()


class NativeEngine:
    """Gives requests to an application of Tornado's own. Loop's thread.

    `server` has the application; `count` counts requests; `id_field` is the field that carries their ids, if logs
    have any.
    """

    def __init__(self, service: Service, server: HTTPServer, count: Callable[[], None], id_field: str | None) -> None:
        self._service = service
        self._server = server
        self._count = count
        self._id_field = id_field

    def begin(self, visit: Visit, headers: httputil.HTTPHeaders) -> Any:
        """Let the application have a head without what a client may not say."""
        visitor, service = visit.visitor, self._service
        head = visitor.head
        host = head.fields.get("HTTP_HOST")
        try:
            environ = told_template(visitor, head, service) if visitor.names.told else visitor.template
        except HTTPError as error:
            visitor.settle(refuse(visitor, service, error))
            return None
        for name in [name for name in headers if visitor.names[name] is None]:
            del headers[name]
        if head.fields.get("HTTP_HOST") != host:
            headers["Host"] = head.fields["HTTP_HOST"]
        environ = {**environ, "PATH_INFO": head.path}
        if service.identify is not None and self._id_field is not None:
            service.identify(environ, head.fields, trusted=visitor.trusted)
            headers[self._id_field] = environ[REQUEST_ID]
        exchange = visitor.exchange
        context: Any = exchange.context
        context.protocol = environ["wsgi.url_scheme"]
        if visitor.secure is not None:
            context.tls = {name: value for name, value in environ.items() if name.startswith(("SSL_", "HTTPS"))}
        if environ["REMOTE_ADDR"]:
            context.remote_ip = environ["REMOTE_ADDR"]
        answer = NativeAnswer()
        observed = Observed(visitor, service, answer, lambda: self._note_answer(visitor, answer, environ))
        visitor.requests += 1
        visitor.on_end_of_native = lambda: self._note_answer(visitor, answer, environ)
        line = httputil.RequestStartLine(head.method, head.target, head.version)
        visit.inner = self._server.start_request(visit.server_conn, observed)
        visitor.taken_at = visitor.queued_at = time.monotonic()
        return visit.inner.headers_received(line, headers)

    def take(self, visit: Visit, data: bytes) -> Any:
        """Pass on some of the body; raises `HTTPError`."""
        visit.visitor.gained += len(data)
        visit.size += len(data)
        most = self._service.limits.body
        if most and visit.size > most:
            visit.inner.on_connection_close()
            raise HTTPError(413, "the body is larger than limit_request_body")
        return visit.inner.data_received(data)

    def end(self, visit: Visit) -> None:
        """Pass on the end of the body."""
        visit.visitor.work(native=True)
        visit.inner.finish()

    def give_up(self, visit: Visit) -> None:
        """Pass on that the client is gone."""
        if visit.inner is not None:
            visit.inner.on_connection_close()

    def _note_answer(self, visitor: Visitor, answer: NativeAnswer, environ: dict[str, Any]) -> None:
        if visitor.on_end_of_native is None:
            return
        visitor.on_end_of_native = None
        self._count()
        if self._service.access is not None:
            self._service.access.answered(visitor, environ, visitor.head, answer)
        if answer.status is not None and answer.status.startswith(str(HTTPStatus.SWITCHING_PROTOCOLS.value)):
            visitor.is_upgraded = True
            visitor.state = State.ACTIVE
