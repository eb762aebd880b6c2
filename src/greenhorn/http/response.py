"""The head of an answer, its framing, and the answers that the server gives itself (RFC 9110 15, RFC 9112 6)."""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from greenhorn.http.grammar import FIELD_OCTETS, is_status, is_token

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

DROPPED = frozenset(
    (
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
"""Fields of an application that never leave: hop-by-hop ones (RFC 9110 7.6.1), and the two that are the server's."""

ORDINARY, LENGTH, CONNECTION, IGNORED = range(4)


class ResponseNames(dict[str, int]):
    """Judges each spelling of an application's field names once: ORDINARY, LENGTH, CONNECTION or IGNORED.

    Raises `ValueError` for what is no token. Looked up by pool threads, without a lock.
    """

    REMEMBERED = 1024

    def __missing__(self, name: str) -> int:
        if not is_token(name):
            raise ValueError(f"the name of a response header is not a token: {name!r}")
        lower = name.lower()
        if lower == "content-length":
            kind = LENGTH
        elif lower == "connection":
            kind = CONNECTION
        else:
            kind = IGNORED if lower in DROPPED else ORDINARY
        if len(self) >= self.REMEMBERED:
            self.clear()
        self[name] = kind
        return kind


class Statuses(dict[str, bool]):
    """Judges each status line of an application once: whether an answer with it ends with its head (RFC 9112 6.3).

    Raises `ValueError` for what is not a code from 100 to 999, alone or with a reason of visible characters. Looked
    up by pool threads, without a lock.
    """

    REMEMBERED = 256

    def __missing__(self, status: str) -> bool:
        if not is_status(status):
            raise ValueError(f"the status is not a code from 100 to 999 and a reason: {status!r}")
        bodiless = status[0] == "1" or status[:3] in ("204", "304")
        if len(self) >= self.REMEMBERED:
            self.clear()
        self[status] = bodiless
        return bodiless


NAMES = ResponseNames()
STATUSES = Statuses()


def check_value(name: str, value: str) -> None:
    """Raise `ValueError` unless `value` may stand in a field line: Latin-1 without control characters."""
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the response header {name} has a character beyond Latin-1: {value!r}") from None
    if encoded.translate(None, FIELD_OCTETS):
        raise ValueError(f"the response header {name} has a control character: {value!r}")


def read_length(text: str, before: int | None = None) -> int:
    """The number of bytes in an application's Content-Length.

    Raises `ValueError` for anything but digits, and for another number than the one that came `before`.
    """
    text = text.strip(" \t")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"Content-Length of the response is not a number of bytes: {text!r}")
    length = int(text)
    if before not in (None, length):
        raise ValueError("the response has two Content-Length headers that differ")
    return length


def server_fields(server: str) -> str:
    """The field lines Server and Date as of now; made anew once a second."""
    return f"Server: {server}\r\nDate: {formatdate(usegmt=True)}\r\n"


def chunk(data: bytes) -> bytes:
    """`data`, which is not empty, as one chunk (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def early_hints(headers: Sequence[tuple[str, str]]) -> bytes:
    """An interim answer 103 with these fields (RFC 8297); raises `ValueError` as for a final answer's."""
    lines = ["HTTP/1.1 103 Early Hints\r\n"]
    try:
        for name, value in headers:
            if NAMES[name] != ORDINARY:
                raise ValueError(f"{name} cannot be a header of early hints")
            check_value(name, value)
            lines.append(f"{name}: {value}\r\n")
    except (AttributeError, TypeError):
        raise TypeError(f"early hints are a list of (str, str), not {headers!r}") from None
    return "".join([*lines, "\r\n"]).encode("latin-1")


def error_response(
    status: int, detail: str, fields: str, *, head_only: bool = False, keep_alive: bool = False
) -> bytes:
    """A whole answer of the server itself: plain text, after which the connection closes unless `keep_alive`.

    `fields` comes from `server_fields`. `detail` is fixed text of ours: nothing of the request is echoed. A 503 tells
    to come back in a second (RFC 9110 10.2.3).
    """
    reason = HTTPStatus(status).phrase
    body = f"{status} {reason}: {detail}\n".encode("latin-1")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields += "Retry-After: 1\r\n"
    if not keep_alive:
        fields += "Connection: close\r\n"
    head = (
        f"HTTP/1.1 {status} {reason}\r\n{fields}"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1")
    return head if head_only else head + body
