"""What happens around each request beside answering it: the access line, the request hooks, and request_timeout."""

import asyncio
import io
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from greenhorn.errors import HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.observe.access import AccessLog, Refusal
from greenhorn.observe.lines import field_key
from greenhorn.observe.logger import Logger
from greenhorn.workers.asgi.encrypted import variables_of
from greenhorn.workers.asgi.intake import REASON, REFUSED, TakeIn, refuse
from greenhorn.workers.asgi.kind import Application, Message, Receive, Scope, Send
from greenhorn.workers.hooked import Hook, Request

REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
FAILED = HTTPError(500, "the application failed")
HOOK_FAILED = HTTPError(500, "the server failed")
TOO_LATE = HTTPError(504, "the application did not answer in time")
SENT_AT_FAILURE = len(b"Internal Server Error")
"""Bytes of uvicorn's answer for an application that fails."""


class Exchange:
    """One request and its answer, as the access log and the hooks know them. Loop's thread.

    `status`, `headers`, `sent` and the rest are gunicorn's names for what is known of an answer.
    """

    def __init__(self, scope: Scope) -> None:
        self.queued_at = self.read_at = self.taken_at = time.monotonic()
        self.status_code = 0
        """0 before the answer begins."""
        self.sent = 0
        self.reason = ""
        """Why the server answered in the application's place."""
        self._fields: Any = ()
        self._bodiless = scope.get("method") == "HEAD"

    @property
    def status(self) -> str | None:
        """Code and reason phrase; None before the answer begins."""
        code = self.status_code
        return (REASONS.get(code) or str(code)) if code else None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The application's header fields."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields]

    @property
    def headers_sent(self) -> bool:
        """Whether the answer has begun."""
        return self.status_code > 0

    @property
    def response_length(self) -> int | None:
        """The announced length of the body, if there is one."""
        return next((int(value) for name, value in self._fields if name.lower() == b"content-length"), None)

    @property
    def chunked(self) -> bool:
        """Whether the body's length was not announced."""
        return self.headers_sent and self.response_length is None

    def should_close(self) -> bool:
        """Whether the application wants the connection to end."""
        return any(name.lower() == b"connection" and value.lower() == b"close" for name, value in self._fields)

    def note(self, message: Message) -> None:
        """Take note of what the application sends."""
        kind = message["type"]
        if kind in ("http.response.body", "websocket.http.response.body"):
            if not self._bodiless:
                self.sent += len(message.get("body", b""))
        elif kind == "websocket.send":
            self.sent += len(message.get("bytes") or message.get("text") or "")
        elif kind in ("http.response.start", "websocket.http.response.start"):
            self.status_code = message["status"]
            self._fields = message.get("headers", ())
            self.reason = message.get(REASON, "")
        elif kind == "websocket.accept":
            self.status_code = 101
            self._fields = message.get("headers", ())
        elif kind == "websocket.close" and not self.status_code:
            self.status_code = 403
            self.reason = message.get(REASON, "")

    def fail(self, cycle: Any) -> None:
        """Take note of what uvicorn answers for an application that has not; `cycle` is its view of the request."""
        if getattr(cycle, "disconnected", False):
            return  # nobody waits for it
        self.status_code, self.reason = FAILED.status, FAILED.detail
        if not getattr(cycle, "response_started", False):  # else it has refused that, and just closes
            self.sent = SENT_AT_FAILURE


class Attendance:
    """Attends each request of one worker: makes applications of ASGI that do what is asked for around another one.

    `worker` is what hooks receive. `flush` is called when there is an access line to be written. A time limit of 0
    seconds is none. Loop's thread.
    """

    def __init__(
        self,
        worker: Any,
        *,
        access: AccessLog | None,
        flush: Callable[[], None],
        identify: Callable[..., None] | None,
        pre_request: Hook | None,
        post_request: Hook | None,
        timeout: float,
    ) -> None:
        self._worker = worker
        self._log: Logger = worker.log
        self._access = access
        self._flush = flush
        self._identify = identify
        self._pre_request = pre_request
        self._post_request = post_request
        self._timeout = timeout or None

    def attend(self, application: Application, take_in: TakeIn, *, trusted: bool) -> Application:
        """The application with all that around it, for the requests of peers that are `trusted` or not."""

        async def attended(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = Exchange(scope)
            head = head_of(scope)
            request: Request | None = None

            def note(message: Message) -> Any:
                if message["type"] == "http.response.start":
                    return begin(message)
                exchange.note(message)
                return send(message)

            async def begin(message: Message) -> None:
                await send(message)  # which refuses what is malformed
                exchange.note(message)

            try:
                try:
                    take_in(scope)
                    if self._identify is not None:
                        self._name(scope, head, trusted=trusted)
                    if self._pre_request is not None or self._post_request is not None:
                        request = self._hear(scope, head)
                except HTTPError as error:
                    await refuse(scope, note, error)
                else:
                    await self._run(application, scope, receive, note, exchange)
            finally:
                if not exchange.status_code and scope["type"] == "http":
                    exchange.fail(getattr(send, "__self__", None))
                self._end(scope, head, exchange, request)

        return attended

    async def _run(
        self, application: Application, scope: Scope, receive: Receive, send: Send, exchange: Exchange
    ) -> None:
        if self._timeout is None or scope["type"] != "http":
            await application(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await application(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            self._log.error("Request beyond request_timeout: %s %s", scope["method"], scope["path"])
            if exchange.status_code:
                raise
            await refuse(scope, send, TOO_LATE)

    def _name(self, scope: Scope, head: RequestHead, *, trusted: bool) -> None:
        """Give the request its id, in the field that carries ids."""
        environ: dict[str, Any] = {}
        assert self._identify is not None  # noqa: S101 - who calls has looked
        self._identify(environ, head.fields, trusted=trusted)
        head.fields |= environ
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                name = key.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1")
                others = [pair for pair in scope["headers"] if pair[0].lower() != name]
                scope["headers"] = [*others, (name, value.encode("latin-1"))]

    def _hear(self, scope: Scope, head: RequestHead) -> Request:
        """Let pre_request see the request, and the application what it changes. Raises `HTTPError` 500."""
        request = Request(head, environ_of(scope, head), io.BytesIO())
        before = (head.method, head.target, head.query, head.fields)
        if self._pre_request is not None:
            try:
                self._pre_request(self._worker, request)
            except BaseException as error:
                self._log.exception("pre_request failed for %s %s", head.method, head.target)
                raise HOOK_FAILED from error
            path = head.path
            request.take_over()
            if (head.method, head.target, head.query) != before[:3] or head.path != path:
                _change(scope, head, head.path if head.path != path else None)
            if head.fields is not before[3]:
                scope["headers"] = [
                    (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers
                ]
        return request

    def _end(self, scope: Scope, head: RequestHead, exchange: Exchange, request: Request | None) -> None:
        access = self._access
        refused: HTTPError | None = scope.get(REFUSED)
        if refused is not None and not exchange.status_code:
            exchange.status_code, exchange.reason = refused.status, refused.detail
        if access is not None:
            environ = environ_of(scope, head)
            if exchange.reason:
                refusal = Refusal(str(exchange.status_code), exchange.sent, exchange.reason)
                access.refused(exchange, environ, head, refusal)
            else:
                access.answered(exchange, environ, head, exchange)
            self._flush()
        if self._post_request is not None and request is not None:
            try:
                self._post_request(self._worker, request, {**scope, **environ_of(scope, head)}, exchange)
            except BaseException:
                self._worker.log.exception("Exception in post_request hook")


def _change(scope: Scope, head: RequestHead, path: str | None) -> None:
    """Let the application see the method, path and query of a head that a hook has changed."""
    if scope["type"] == "http":
        scope["method"] = head.method
    scope["query_string"] = head.query.encode("latin-1")
    if path is not None:
        root: str = scope["root_path"]
        scope["path"] = root + path.encode("latin-1").decode("utf-8", "replace")
        scope["raw_path"] = root.encode("ascii") + path.encode("latin-1")


def head_of(scope: Scope) -> RequestHead:
    """The head of a request as it was received."""
    query = scope["query_string"].decode("latin-1")
    root: str = scope["root_path"]
    raw: bytes = scope["raw_path"]
    path: str = scope["path"]
    target = raw.removeprefix(root.encode("ascii")).decode("latin-1")
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = field_key(name.decode("latin-1"))
        text = value.decode("latin-1")
        fields[key] = f"{fields[key]},{text}" if key in fields else text
    return RequestHead(
        scope.get("method", "GET"),
        f"{target}?{query}" if query else target,
        f"HTTP/{scope['http_version']}",
        path.removeprefix(root),
        query,
        fields,
    )


def environ_of(scope: Scope, head: RequestHead) -> dict[str, Any]:
    """What the access log finds in the environ of a request of WSGI."""
    client = scope.get("client")
    environ: dict[str, Any] = {
        **head.fields,
        **variables_of(scope),
        "REQUEST_METHOD": head.method,
        "RAW_URI": head.target,
        "PATH_INFO": head.path,
        "QUERY_STRING": head.query,
        "SERVER_PROTOCOL": head.version,
        "SCRIPT_NAME": scope["root_path"],
        "wsgi.url_scheme": scope["scheme"],
        "REMOTE_ADDR": client[0] if client else "",
    }
    if client:
        environ["REMOTE_PORT"] = str(client[1])
    return environ
