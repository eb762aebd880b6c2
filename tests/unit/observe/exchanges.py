"""Exchanges of a request and its answer, as an access log is told of them."""

import base64
from typing import Any, NamedTuple

from greenhorn.http.head import Limits, RequestHead, parse_head
from greenhorn.http.names import FieldNames

TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


class Times(NamedTuple):
    """On the monotonic clock."""

    queued_at: float = 0.0
    read_at: float = 0.0
    taken_at: float = 0.0


class Answer(NamedTuple):
    """What an application has answered."""

    status: str | None = "200 OK"
    sent: int = 5
    headers: tuple[tuple[str, str], ...] = ()


def head(*lines: str, request_line: str = "GET /a?b=c HTTP/1.1") -> RequestHead:
    return parse_head("\r\n".join((request_line, "Host: a", *lines)).encode("latin-1"), FieldNames(), Limits())


def basic(credentials: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(credentials).decode()}"


def environ_of(asked: RequestHead, **others: Any) -> dict[str, Any]:
    """What an application would have got for it."""
    return {
        **asked.fields,
        "REQUEST_METHOD": asked.method,
        "RAW_URI": asked.target,
        "PATH_INFO": asked.path,
        "QUERY_STRING": asked.query,
        "SERVER_PROTOCOL": asked.version,
        "REMOTE_ADDR": "198.51.100.7",
        "REMOTE_PORT": "4242",
        "wsgi.url_scheme": "http",
        **others,
    }
