"""What becomes of a request's scope before the application sees it: limits, field names, and what proxies tell."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from greenhorn.errors import HTTPError
from greenhorn.http.forwarded import NOTHING, Forwarding, Told
from greenhorn.http.head import Limits
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import scheme_from_proxy
from greenhorn.workers.asgi.ambiguity import HOST, TELLTALE, check_unambiguous
from greenhorn.workers.asgi.kind import Scope, Send

TakeIn = Callable[[Scope], None]
"""Changes a scope to what the application is to see. Raises `HTTPError` to refuse the request. Loop's thread."""

REMEMBERED = 2048
"""Names, and hosts, that are remembered before the memory is emptied: strangers choose them."""
LONGEST_REMEMBERED = 64
VERSION = len(" HTTP/1.1") + 1
"""Bytes of a request line beside method and target."""
AROUND_FIELD = len(": \r\n")
"""Bytes of a field beside name and value."""
REFUSED = "greenhorn.refused"
"""The key in a scope of why the server refuses the request, or has refused it while the application had it."""
LONGEST_METHOD = 32
"""Bytes of any method that uvicorn's parsers know."""
REASON = "greenhorn.reason"
"""The key in a message by which the access log learns why a request was refused."""


def announced(scope: Scope) -> int:
    """The length of the body that a request announces; 0 if it does not. The parsers have judged the number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def size_of_head(scope: Scope) -> int:
    """How many bytes a request's head has, without blanks that it need not have."""
    line = len(scope["raw_path"]) + len(scope["query_string"]) + len(scope["method"]) + VERSION
    return line + sum(len(name) + len(value) + AROUND_FIELD for name, value in scope["headers"])


class Trust(NamedTuple):
    """What a peer is believed: which names its fields may have, and whether it tells of clients."""

    names: FieldNames
    forwarding: Forwarding | None
    secure_schemes: Mapping[str, str]

    @property
    def telling(self) -> frozenset[str]:
        """The environ keys of the fields that tell of clients."""
        forwarded = self.forwarding.keys if self.forwarding is not None else frozenset()
        return forwarded | self.secure_schemes.keys()


def make_take_in(limits: Limits, trust: Trust) -> TakeIn:
    """What takes the requests of such peers in."""
    most_fields, longest_line = limits.fields, limits.request_line
    longest = (limits.field_size or limits.largest) - AROUND_FIELD
    short = longest - LONGEST_REMEMBERED
    unsuspicious = (longest_line or limits.largest) - LONGEST_METHOD - VERSION
    harmless, hosts = set[bytes](), set[bytes]()
    telling, names = trust.telling, trust.names
    settled: list[tuple[bytes, bytes]] = []

    def take_in(scope: Scope) -> None:
        nonlocal settled
        if REFUSED in scope:
            raise scope[REFUSED]
        headers = scope["headers"]
        if len(headers) > most_fields or len(scope["raw_path"]) + len(scope["query_string"]) > unsuspicious:
            judge(scope)
            return
        if headers == settled and scope["http_version"] == "1.1":
            return  # as on a kept connection
        named = False
        for name, value in headers:
            if name not in harmless or len(value) > short:
                if name == HOST and value in hosts and not named:
                    named = True
                    continue
                judge(scope)
                return
        if not named or scope["http_version"] != "1.1":
            judge(scope)
            return
        settled = headers[:]

    def judge(scope: Scope) -> None:
        _check_size(scope, limits)
        check_unambiguous(scope)
        kept = []
        told: dict[str, str] = {}
        for name, value in scope["headers"]:
            if len(name) + len(value) > longest:
                raise HTTPError(431, "a field is longer than limit_request_field_size")
            key = names[name.decode("latin-1")]
            if key is None:
                continue
            if key in telling:
                text = value.decode("latin-1")
                told[key] = f"{told[key]},{text}" if key in told else text
            elif key == "SCRIPT_NAME":
                scope["root_path"] = value.decode("latin-1").rstrip("/")
                continue
            elif name == HOST:
                _remember(value, hosts)
            elif name not in TELLTALE:
                _remember(name, harmless)
            kept.append((name, value))
        scope["headers"] = kept
        if told:
            _believe(scope, trust, told)

    return take_in


def _check_size(scope: Scope, limits: Limits) -> None:
    asked = len(scope["raw_path"]) + len(scope["query_string"]) + len(scope.get("method", "GET")) + VERSION
    if limits.request_line and asked > limits.request_line:
        raise HTTPError(414, "the request line is longer than limit_request_line")
    if len(scope["headers"]) > limits.fields:
        raise HTTPError(431, "there are more fields than limit_request_fields")


def _remember(text: bytes, known: set[bytes]) -> None:
    if len(text) <= LONGEST_REMEMBERED:
        if len(known) >= REMEMBERED:
            known.clear()
        known.add(text)


def _believe(scope: Scope, trust: Trust, fields: Mapping[str, str]) -> None:
    """Put what proxies tell of the client into the scope."""
    told = trust.forwarding.read(fields) if trust.forwarding is not None else NOTHING
    scheme = told.scheme if told.scheme is not None else scheme_from_proxy(fields, trust.secure_schemes)
    if scheme is not None:
        scope["scheme"] = scheme if scope["type"] == "http" else {"https": "wss", "http": "ws"}[scheme]
    if told != NOTHING:
        _put_in(scope, told)


def _put_in(scope: Scope, told: Told) -> None:
    if told.client is not None:
        address, port = told.client
        scope["client"] = (address, int(port or 0))
    if told.host is not None:
        others = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
        scope["headers"] = [(b"host", told.host.encode("latin-1")), *others]
    if told.port is not None and scope.get("server"):
        scope["server"] = (scope["server"][0], int(told.port))
    if told.prefix:
        # The path has what the proxy cut off (ASGI, HTTP connection scope: root_path is a part of path).
        scope["root_path"] = told.prefix + scope["root_path"]
        scope["path"] = told.prefix + scope["path"]
        scope["raw_path"] = told.prefix.encode("ascii") + scope["raw_path"]


async def refuse(scope: Scope, send: Send, error: HTTPError) -> None:
    """Answer a request in the application's place, and let the connection close."""
    status = error.status
    body = f"{status} {HTTPStatus(status).phrase}: {error.detail}\n".encode("latin-1")
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ],
        REASON: error.detail,
    }
    content: dict[str, Any] = {"type": "http.response.body", "body": body}
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", REASON: error.detail})
            return
        start["type"], content["type"] = "websocket.http.response.start", "websocket.http.response.body"
    await send(start)
    await send(content)
