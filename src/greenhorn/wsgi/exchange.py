"""One call of the application: start_response, write, file_wrapper, and how its answer is framed (PEP 3333)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

from greenhorn.http.head import RequestHead
from greenhorn.http.response import (
    CONNECTION,
    LAST_CHUNK,
    LENGTH,
    NAMES,
    ORDINARY,
    STATUSES,
    check_value,
    chunk,
    early_hints,
    read_length,
)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
SMALL = 32768
"""Up to so many bytes, head and body are copied together: one buffer is sent faster than two."""


class Output(Protocol):
    """Where an answer goes. No call waits for the client but `send`, and that only for one who is far behind."""

    def send(self, data: bytes) -> None:
        """Send or keep `data`; raises `ClientGone`."""

    def send_interim(self, data: bytes) -> None:
        """Send or keep an answer that is followed by another; raises `ClientGone`."""

    def send_all(self, parts: list[bytes]) -> None:
        """Send or keep every part, without a limit on what is kept; raises `ClientGone`."""

    def measure(self, file: Any) -> Any:
        """The rest of `file` as a region that can be sent without reading it here, or None if there is no such.

        A region has `count`, its bytes, which may be lowered.
        """

    def send_file(self, region: Any) -> None:
        """Send or keep a region of a file; raises `ClientGone`."""


class Server(Protocol):
    """What an answer says of the server at the moment when its head leaves."""

    fields: str
    """The field lines Server and Date."""
    keep_alive: bool
    """Whether connections are kept at all."""


class FileWrapper:
    """`wsgi.file_wrapper`: an iterable over the rest of a file, which the server may send without reading it."""

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        close = getattr(filelike, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self) -> Iterator[bytes]:
        read = self.filelike.read
        while data := read(self.block_size):
            yield data


class Response:
    """The answer to one request. Belongs to the thread that runs the application.

    `status`, `headers` and `sent` (bytes of the body) are for hooks and logs. `keep_alive` says after the exchange
    whether the connection can carry another request; `complaint` what the application did wrong, or None.
    """

    # Defaults of the class, not slots: an instance is made faster the less is set in it.
    status: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    head_sent = False
    sent = 0
    complaint: str | None = None
    full = False
    """Whether no more of the body can leave, whatever the application goes on to give."""
    finished = False
    until_close = False
    """Whether only the end of the connection ends the body."""
    _lines = ""
    _length: int | None = None
    _bodiless = False
    _chunked = False

    def __init__(self, head: RequestHead, output: Output, server: Server) -> None:
        self._head = head
        self._output = output
        self._server = server
        self.keep_alive = head.keep_alive

    # What hooks written for gunicorn ask beside `status`, `headers` and `sent`.

    @property
    def headers_sent(self) -> bool:
        """Whether the head has left."""
        return self.head_sent

    @property
    def response_length(self) -> int | None:
        """The Content-Length that the application gave."""
        return self._length

    @property
    def chunked(self) -> bool:
        """Whether the body is sent in chunks."""
        return self._chunked

    def should_close(self) -> bool:
        """Whether the connection ends with this answer."""
        return not self.keep_alive

    @property
    def status_code(self) -> int | None:
        """The status as a number, None before `start_response`."""
        return None if self.status is None else int(self.status[:3])

    def start_response(
        self, status: str, headers: Sequence[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's start_response. Raises `ValueError` or `TypeError` for what may not leave, whoever asks."""
        if self.status is not None:
            self._start_again(exc_info)
        bodiless = STATUSES[status]
        lines = ""
        length = None
        try:
            for name, value in headers:
                kind = NAMES[name]
                if not (value.isascii() and value.isprintable()):
                    check_value(name, value)
                if kind == ORDINARY:
                    lines += f"{name}: {value}\r\n"
                elif kind == LENGTH:
                    length = int(value) if length is None and value.isdigit() else read_length(value, length)
                elif kind == CONNECTION and "close" in value.lower():
                    self.keep_alive = False
        except (AttributeError, TypeError):
            raise TypeError(f"response headers are a list of (str, str), not {headers!r}") from None
        self.status = status
        self.headers = headers
        self._lines = lines
        self._length = length
        self._bodiless = bodiless or self._head.method == "HEAD"
        return self.write

    def _start_again(self, exc_info: ExcInfo | None) -> None:
        if exc_info is None:
            raise AssertionError("start_response was called a second time without exc_info")
        try:
            if self.head_sent:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            del exc_info  # PEP 3333: do not keep a cycle through the traceback

    def early_hints(self, headers: Sequence[tuple[str, str]]) -> None:
        """Send a 103 with these headers; nothing happens for HTTP/1.0 or after the head."""
        data = early_hints(headers)
        if not (self.head_sent or self.finished) and self._head.version == "HTTP/1.1":
            self._output.send_interim(data)

    def write(self, data: bytes) -> None:
        """Send a piece of the body, after the head if that has not left; raises `ClientGone`."""
        data = _as_bytes(data)
        if self.finished:
            raise RuntimeError("write() was called after the answer was complete")
        if not data:
            return
        head = b"" if self.head_sent else self._render_head(None)
        if self._bodiless:
            self.full = True
            body = b""
        else:
            body = self._cut(data)
        if body and self._chunked:
            body = chunk(body)
        if head or body:
            self._output.send(head + body)

    def send_list(self, parts: Sequence[bytes]) -> None:
        """Send a body all of whose parts are there: it gets a Content-Length, and nothing waits for the client."""
        if len(parts) != 1 or type(parts[0]) is not bytes:
            parts = [_as_bytes(part) for part in parts]
        total = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        if self.head_sent or self.status is None or self._bodiless or self._length not in (None, total):
            if not self._bodiless:
                for part in parts:
                    self.write(part)
            self.finish(total)
        elif total <= SMALL:
            body = b"".join(parts)
            self.sent = total
            self._output.send(self._render_head(total) + body)
        else:
            self.sent = total
            self._output.send_all([self._render_head(total), *parts])

    def send_file(self, wrapper: FileWrapper) -> bool:
        """Send the rest of a file from the kernel, if the place to send to can; False says that it cannot."""
        if self.head_sent or self.status is None:
            return False
        region = self._output.measure(wrapper.filelike)
        if region is None:
            return False
        if self._length is not None:
            region.count = min(region.count, self._length)
        if self._bodiless:
            self.finish(region.count)
            return True
        self._note_shortfall(region.count)
        self._output.send(self._render_head(region.count))
        self._output.send_file(region)
        self.sent = region.count
        return True

    def finish(self, total: int = 0) -> None:
        """Send what is left once the application is done: the head if it has not left, or the last chunk.

        `total` is the length of a body that is not sent because the request or the status forbids it.
        """
        self._note_shortfall(self.sent)
        if not self.head_sent:
            self._output.send(self._render_head(total))
        elif self._chunked:
            self._output.send(LAST_CHUNK)

    def _note_shortfall(self, sent: int) -> None:
        if self._length is not None and sent < self._length and not self._bodiless:
            self.keep_alive = False
            self.complaint = f"the body has {sent} bytes, Content-Length says {self._length}"

    def _cut(self, data: bytes) -> bytes:
        """What of `data` may leave: not more than Content-Length says."""
        if self._length is not None and len(data) > self._length - self.sent:
            self.complaint = f"the body has more bytes than Content-Length says, which is {self._length}"
            self.full = True
            data = data[: self._length - self.sent]
        self.sent += len(data)
        return data

    def _render_head(self, total: int | None) -> bytes:
        """The head, whose framing is settled here; `total` is the body's length where all of it is known."""
        status = self.status
        if status is None:
            raise AssertionError("the application sent a body before it called start_response")
        head = self._head
        if self._bodiless:
            framing = self._bodiless_framing(status, total)
        elif self._length is not None:
            framing = f"Content-Length: {self._length}\r\n"
        elif total is not None:
            framing = f"Content-Length: {total}\r\n"
        elif head.version == "HTTP/1.1":
            self._chunked = True
            framing = "Transfer-Encoding: chunked\r\n"
        else:
            self.keep_alive = False
            self.until_close = True
            framing = ""
        server = self._server
        if not (self.keep_alive and server.keep_alive):
            self.keep_alive = False
            framing += "Connection: close\r\n"
        elif head.version == "HTTP/1.0":
            framing += "Connection: keep-alive\r\n"
        if len(status) == 3:  # noqa: PLR2004 - a code alone
            status += " "  # RFC 9112 4: the space is there even when the reason is not
        rendered = f"HTTP/1.1 {status}\r\n{server.fields}{self._lines}{framing}\r\n".encode("latin-1")
        self.head_sent = True
        return rendered

    def _bodiless_framing(self, status: str, total: int | None) -> str:
        """The Content-Length that may stand where no body follows (RFC 9110 8.6)."""
        if status[0] == "1":
            self.keep_alive = False  # the client still waits for a final answer that will not come
        if status[0] == "1" or status[:3] == "204":
            return ""
        if self._length is not None:
            return f"Content-Length: {self._length}\r\n"
        # An empty body in answer to HEAD says nothing of the length that GET would have had.
        return f"Content-Length: {total}\r\n" if total and self._head.method == "HEAD" else ""


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"the body of a response is made of bytes, not of {type(data).__name__}")


def respond(app: Callable[..., Iterable[bytes]], environ: dict[str, Any], response: Response) -> None:
    """Call the application and send what it returns; its iterable's `close()` is always called.

    Raises whatever the application raises, and `ClientGone`.
    """
    chunks = app(environ, response.start_response)
    if type(chunks) is list:  # which has no close()
        response.send_list(chunks)
        response.finished = True
        return
    try:
        if isinstance(chunks, (list, tuple)):
            response.send_list(chunks)
        elif not (isinstance(chunks, FileWrapper) and response.send_file(chunks)):
            for piece in chunks:
                response.write(piece)
                if response.full:
                    break  # nobody would notice the client leave: such a body may be endless
            response.finish()
    finally:
        response.finished = True
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
