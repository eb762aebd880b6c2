"""wsgi.input of a request whose body the application reads while it comes."""

import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from greenhorn.errors import ClientGone, HTTPError, RequestBodyError
from greenhorn.wsgi.exchange import Response

READ_AHEAD = 65536


class StreamedBody(io.RawIOBase):
    """Decodes what `receive(size)` brings, which waits for the client and is empty at the end of the stream.

    Until all of the body has come, the answer says that the connection closes: what the application leaves unread
    would be in the way of the next request. A read raises `RequestBodyError` when the client is late, sends too much
    or what is no body, and `ClientGone` when it left. Only the thread that runs the application calls it.
    """

    def __init__(
        self, decoder: Any, receive: Callable[[int], bytes], begun: bytes, limit: int, response: Response
    ) -> None:
        self._decoder = decoder
        self._receive = receive
        self._pending = memoryview(begun)
        self._total = len(begun)
        self._limit = limit
        self._response = response
        self._keeps_alive = response.keep_alive
        self._failure: Exception | None = None
        response.keep_alive = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill some of `buffer`, waiting for the client if nothing is there; 0 at the end of the body."""
        while not self._pending:
            if self._decoder.done:
                return 0
            if self._failure is not None:
                raise self._failure
            try:
                self._fill()
            except (ClientGone, RequestBodyError) as error:
                self._failure = error
                raise
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _fill(self) -> None:
        data = self._receive(READ_AHEAD)
        if not data:
            raise ClientGone("the client left before its request was whole")
        try:
            decoded = self._decoder.feed(data)
        except HTTPError as error:
            raise RequestBodyError(error.status, error.detail) from None
        self._total += len(decoded)
        if self._limit and self._total > self._limit:
            raise RequestBodyError(413, "the body is larger than limit_request_body")
        self._pending = memoryview(decoded)
        if self._decoder.done and self._response.status is None:
            self._response.keep_alive = self._keeps_alive


def open_stream(
    decoder: Any, receive: Callable[[int], bytes], begun: bytes, limit: int, response: Response
) -> BinaryIO:
    """The body as a file; `begun` is what was decoded of it already, `limit` the bytes that it may have (0: any)."""
    return cast("BinaryIO", io.BufferedReader(StreamedBody(decoder, receive, begun, limit, response), READ_AHEAD))
