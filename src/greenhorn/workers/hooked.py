"""What happens around each request beside answering it: the request hooks, and counting up to max_requests."""

import io
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from greenhorn.errors import HTTPError
from greenhorn.http.head import RequestHead
from greenhorn.net.connection import Connection
from greenhorn.net.state import State
from greenhorn.workers.answer import exchange
from greenhorn.workers.service import Service
from greenhorn.wsgi.environ import PEER_ADDR, Environ, build_environ
from greenhorn.wsgi.exchange import Response

Hook = Callable[..., Any]
PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
"""What stands before the path of a target in absolute form."""


class Request:
    """A request as hooks written for gunicorn know it. Belongs to the thread that works on it.

    `headers` is a list of (NAME, value) pairs; what `pre_request` changes in it, in `method`, `uri`, `path` (as it was
    received, still encoded) and `query`, the application sees.
    """

    trailers: list[tuple[str, str]] = []  # noqa: RUF012 - nobody changes it
    fragment = ""

    def __init__(self, head: RequestHead, template: Environ, body: BinaryIO) -> None:
        self.head = head
        self.method = head.method
        self.uri = head.target
        self.query = head.query
        self.path = PATH.sub("", head.target, count=1).partition("?")[0] or "/"
        major, _, minor = head.version.removeprefix("HTTP/").partition(".")
        self.version = (int(major), int(minor))
        self.headers = [(_name(key), value) for key, value in head.fields.items()]
        self.body = body
        self.scheme: str = template["wsgi.url_scheme"]
        self.remote_addr = (template["REMOTE_ADDR"], template.get("REMOTE_PORT", ""))
        self.peer_addr: tuple[str, str] = template.get(PEER_ADDR, self.remote_addr) or ("", "")
        self._path = self.path
        self._as_received = self._changeable()

    def should_close(self) -> bool:
        """Whether the client does not want the connection to be kept."""
        return not self.head.keep_alive

    def _changeable(self) -> tuple[object, ...]:
        return self.method, self.uri, self.path, self.query, tuple(self.headers)

    def take_over(self) -> None:
        """Let the application see what a hook has changed."""
        head = self.head
        if self._changeable() == self._as_received:
            return
        if self.path != self._path:
            head.path = unquote_to_bytes(self.path.encode("latin-1")).decode("latin-1")
        head.method, head.target, head.query = self.method, self.uri, self.query
        fields: dict[str, str] = {}
        for name, value in self.headers:
            key = _key(name)
            fields[key] = f"{fields[key]},{value}" if key in fields else value
        head.fields = fields


def stand_in(head: Any, environ: Mapping[str, Any]) -> Request:
    """The request that a logger is told of, which may have been turned away before it had all of an environ."""
    if not isinstance(head, RequestHead):
        head = RequestHead("-", "-", "HTTP/0.9", "-", "", {})
    return Request(head, {"wsgi.url_scheme": "http", **environ}, io.BytesIO())


def _name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-") if key != "SCRIPT_NAME" else key


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") or name == "SCRIPT_NAME" else f"HTTP_{key}"


class Attendance:
    """Attends each request of one worker. Its methods are called by pool threads.

    `worker` is what hooks receive; its `nr` is the number of requests. `on_worn` is called once, when there were
    `most` of them; 0 stands for "never".
    """

    def __init__(
        self,
        worker: Any,
        *,
        pre_request: Hook | None,
        post_request: Hook | None,
        most: int,
        on_worn: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._pre_request = pre_request
        self._post_request = post_request
        self._most = most
        self._on_worn = on_worn
        self._current = threading.local()
        self._lock = threading.Lock()

    def make_environ(self, template: Environ, head: RequestHead, body: BinaryIO, response: Response) -> Environ:
        """Do what `build_environ` does, after pre_request; raises `HTTPError` 500 if that fails."""
        current = self._current
        current.request = request = Request(head, template, body)
        if self._pre_request is not None:
            try:
                self._pre_request(self._worker, request)
            except BaseException as error:
                self._worker.log.exception("pre_request failed for %s %s", head.method, head.target)
                raise HTTPError(500, "the server failed") from error
            request.take_over()
        current.environ = build_environ(template, head, body, response)
        current.response = response
        return current.environ  # type: ignore[no-any-return]

    def exchange(self, connection: Connection, service: Service) -> State:
        """Do what the function `exchange` does, and then count the request and call post_request."""
        current = self._current
        current.request = current.response = None
        current.environ = {}
        try:
            return exchange(connection, service)
        finally:
            self.count()
            if self._post_request is not None and current.request is not None:
                try:
                    self._post_request(self._worker, current.request, current.environ, current.response)
                except BaseException:
                    self._worker.log.exception("Exception in post_request hook")
            current.request = current.environ = current.response = None

    def count(self) -> None:
        """Count one request more."""
        with self._lock:
            self._worker.nr = count = self._worker.nr + 1
        if count == self._most:
            self._on_worn()
