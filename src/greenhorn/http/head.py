"""The head of a request (RFC 9112 sections 2, 3, 5 and 6): bytes in, a `RequestHead` out, or an `HTTPError`."""

import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from greenhorn.errors import HTTPError
from greenhorn.http.grammar import (
    FIELD_OCTETS,
    find_fault_in_head,
    is_authority_form,
    is_host,
    is_token,
    is_version,
    match_absolute_form,
)
from greenhorn.http.names import REPEATED, FieldNames

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"))
LONGEST_LENGTH = 20
"""Digits of the largest Content-Length that is taken for a length: those of 2**64."""
NO_LIMIT = 2**63
LAST_PORT = 65535
KNOWN_HOSTS = 256
"""How many different Host values are remembered as well-formed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may need, in bytes; for each, 0 stands for "no limit" unless said otherwise."""

    request_line: int = 4094
    fields: int = 100
    """How many fields a head or a trailer section may have; always a number above 0."""
    field_size: int = 8190
    """One field line with its CRLF."""
    head: int = 65536
    """Request line and fields together."""
    body: int = 0
    """The decoded body."""
    unsuspicious: int = field(init=False)
    """A head of up to so many bytes is within all of them but the number of fields."""
    largest: int = field(init=False)
    """The most bytes that a head can have within all of them."""

    def __post_init__(self) -> None:
        line = self.request_line or NO_LIMIT
        size = self.field_size or NO_LIMIT
        head = self.head or NO_LIMIT
        object.__setattr__(self, "unsuspicious", min(line, max(0, size - 2), head))
        object.__setattr__(self, "largest", min(head, line + 4 + self.fields * size))


class Leniency(NamedTuple):
    """gunicorn's compatibility switches, all off by default: each one accepts what RFC 9112 lets a server refuse."""

    obsolete_folding: bool = False
    casefold_method: bool = False


STRICT = Leniency()


class RequestHead:
    """One request up to its body. Made by `parse_head`, owned by the connection's owner, never shared.

    `fields` maps environ keys (`HTTP_ACCEPT`, `CONTENT_TYPE`) to values; `path` is percent-decoded, `query` is not;
    both, like all values, are str of code points up to 255 (PEP 3333). `length` is the body's length in bytes, or
    None for a chunked body.
    """

    __slots__ = (
        "fields",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "target",
        "version",
    )

    def __init__(self, method: str, target: str, version: str, path: str, query: str, fields: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.path = path
        self.query = query
        self.fields = fields
        self.length: int | None = 0
        self.keep_alive = version == "HTTP/1.1"

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a 100 before it sends the body (RFC 9110 10.1.1: not in HTTP/1.0)."""
        return "HTTP_EXPECT" in self.fields and self.version == "HTTP/1.1"

    @property
    def request_line(self) -> str:
        """The request line as it was received."""
        return f"{self.method} {self.target} {self.version}"


def check_unfinished_head(data: bytes, checked: int, limits: Limits) -> None:
    """Refuse a head whose end has not come yet as soon as it can no longer become a good one.

    `checked` is how many bytes of `data` an earlier call has seen. Raises `HTTPError` 400, 414 or 431.
    """
    if find_fault_in_head(data, max(0, checked - 1)):
        raise _fault_in_head(data)
    size = len(data) - _begun_line_end(data)
    if size > limits.unsuspicious:
        start = 2 if data.startswith(b"\r\n") else 0
        line_end = data.find(b"\r\n", start)
        if limits.request_line and (line_end if line_end >= 0 else size) - start > limits.request_line:
            raise HTTPError(414, "the request line is longer than limit_request_line")
        if size > limits.largest:
            raise HTTPError(431, "the head is larger than limit_request_head, or all of its fields")


def _begun_line_end(data: bytes) -> int:
    """How many bytes at the end of an unfinished head may belong to the CRLFCRLF that ends it."""
    return next((len(begun) for begun in (b"\r\n\r", b"\r\n", b"\r") if data.endswith(begun)), 0)


def parse_head(data: bytes, names: FieldNames, limits: Limits, leniency: Leniency = STRICT) -> RequestHead:
    """Parse a whole head: `data` ends before the CRLFCRLF that ends the head.

    Raises `HTTPError` 400, 414, 417, 431, 501 or 505. Pool threads call it; `names` may be shared between them.
    """
    lines = data.decode("latin-1").split("\r\n")
    # What is left without the octets that may stand in a line are the line ends: exactly one CRLF for each line.
    if data.translate(None, FIELD_OCTETS) != b"\r\n" * (len(lines) - 1):
        raise _fault_in_head(data)
    if not lines[0] and len(lines) > 1:
        del lines[0]  # RFC 9112 2.2: one empty line before the request line is ignored
    if leniency.obsolete_folding:
        lines = _unfold(lines, limits)
    if len(data) > limits.unsuspicious or len(lines) > limits.fields:
        _check_sizes(data, lines, limits)
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise HTTPError(400, "the request line is not method, target and version with one space between them") from None
    if version != "HTTP/1.1" and version != "HTTP/1.0":  # noqa: PLR1714 - on the hot path
        raise bad_version(version)
    if method not in METHODS:
        method = _check_method(method, casefold=leniency.casefold_method)

    fields = _parse_fields(lines, names)
    host = fields.get("HTTP_HOST")
    if host not in names.hosts:
        check_host(host, version, names.hosts)
    if target[:1] == "/" and method != "CONNECT":
        if not target.isascii() or "#" in target or "\t" in target:
            raise HTTPError(400, "the target has a character that belongs percent-encoded")
        path, _, query = target.partition("?")
    else:
        path, query = _read_other_target(method, target, fields)
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")

    head = RequestHead(method, target, version, path, query, fields)
    if "HTTP_TRANSFER_ENCODING" in fields or "CONTENT_LENGTH" in fields:
        head.length = _read_length(version, fields)
    connection = fields.get("HTTP_CONNECTION")
    if connection is not None and (connection != "keep-alive" or version == "HTTP/1.0"):
        _read_connection(head, connection)
    if "HTTP_EXPECT" in fields and fields["HTTP_EXPECT"].lower() != "100-continue":
        raise HTTPError(417, "no expectation but 100-continue can be met")
    return head


def _parse_fields(lines: list[str], names: FieldNames) -> dict[str, str]:
    """The fields of a head, whose first line is the request line, by their environ keys."""
    fields: dict[str, str] = {}
    known = names.lines.get
    key: str | None
    for line in lines[1:]:
        field_line = known(line)
        if field_line is not None:
            key, value = field_line
        else:
            name, colon, value = line.partition(":")
            if not colon:
                raise HTTPError(400, "a field line has no colon")
            key = names[name]
            if key is None:
                continue
            value = value.strip(" \t")
            if key in REPEATED:
                names.remember_line(line, key, value)
        if key in fields:
            value = _join(key, fields[key], value)
        fields[key] = value
    return fields


def _fault_in_head(data: bytes) -> HTTPError:
    fault = find_fault_in_head(data)
    if fault and fault.group() in (b"\r", b"\n"):
        return HTTPError(400, "a line ends in a bare CR or LF")
    if data.endswith(b"\r"):
        return HTTPError(400, "a line ends in a bare CR or LF")
    return HTTPError(400, "the head has a control character")


def _check_sizes(data: bytes, lines: list[str], limits: Limits) -> None:
    if limits.head and len(data) > limits.head:
        raise HTTPError(431, "the head is larger than limit_request_head")
    if len(lines) - 1 > limits.fields:
        raise HTTPError(431, "there are more fields than limit_request_fields")
    if limits.request_line and len(lines[0]) > limits.request_line:
        raise HTTPError(414, "the request line is longer than limit_request_line")
    if limits.field_size and any(len(line) + 2 > limits.field_size for line in lines[1:]):
        raise HTTPError(431, "a field is larger than limit_request_field_size")


def _unfold(lines: list[str], limits: Limits) -> list[str]:
    """Make one line of a folded field, as RFC 9112 5.2 asks of a server that does not refuse it."""
    unfolded = lines[:1]
    size = 0
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and len(unfolded) > 1:
            size += len(line) + 2
            if limits.field_size and size > limits.field_size:
                raise HTTPError(431, "a folded field is larger than limit_request_field_size")
            unfolded[-1] = unfolded[-1].rstrip(" \t") + " " + line.strip(" \t")
        else:
            size = len(line) + 2
            unfolded.append(line)
    return unfolded


def bad_version(version: str) -> HTTPError:
    """Why a request with this `HTTP/x.y` is refused."""
    if is_version(version):
        return HTTPError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    return HTTPError(400, "the request line does not end in an HTTP version")


def _check_method(method: str, *, casefold: bool) -> str:
    if not is_token(method):
        raise HTTPError(400, "the method is not a token")
    return method.upper() if casefold else method


def _join(key: str, first: str, second: str) -> str:
    if key in ("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE"):
        raise HTTPError(400, "Host, Content-Length or Content-Type is there twice")
    # RFC 6265 5.4: cookies are separated by semicolons; a comma may be part of one.
    return f"{first}; {second}" if key == "HTTP_COOKIE" else f"{first},{second}"


def _read_other_target(method: str, target: str, fields: dict[str, str]) -> tuple[str, str]:
    """Path and query of a target that does not begin with a slash; the Host of absolute-form replaces the field's."""
    if method == "CONNECT":
        if not is_authority_form(target) or not has_address(target) or int(target.rpartition(":")[2]) > LAST_PORT:
            raise HTTPError(400, "the target of CONNECT is not host:port")
        return "", ""
    if target == "*":
        if method != "OPTIONS":
            raise HTTPError(400, "only OPTIONS has the target *")
        return "*", ""
    if not target.isascii() or "#" in target or "\t" in target:
        raise HTTPError(400, "the target has a character that belongs percent-encoded")
    parts = match_absolute_form(target)
    if parts is None or not parts[1]:
        raise HTTPError(400, "the target is neither a path nor an http or https URI")
    if not has_address(parts[1]):
        raise HTTPError(400, "the target has a malformed address")
    fields["HTTP_HOST"] = parts[1]  # RFC 9112 3.2.2
    empty_path = "*" if method == "OPTIONS" and not parts[3] else "/"  # RFC 9112 3.2.4
    return parts[2] or empty_path, (parts[3] or "")[1:]


def check_host(host: str | None, version: str, known: set[str | None]) -> None:
    """Raise `HTTPError` 400 for a Host that is malformed, or missing (RFC 9112 3.2); remember a good one in `known`."""
    if host is None:
        if version == "HTTP/1.1":
            raise HTTPError(400, "Host is missing")
        return
    if not is_host(host) or not has_address(host):
        raise HTTPError(400, "Host is malformed")
    if len(known) < KNOWN_HOSTS:
        known.add(host)


def has_address(host: str) -> bool:
    """Whether what stands in brackets, if anything does, is an IPv6 address (RFC 3986 3.2.2) or of a later kind."""
    if host[:1] != "[":
        return True
    literal = host[1:].partition("]")[0]
    if literal[:1] in ("v", "V"):
        return True
    try:
        ipaddress.IPv6Address(literal.partition("%")[0])
    except ValueError:
        return False
    return True


def _read_length(version: str, fields: dict[str, str]) -> int | None:
    """The body's length in bytes, None for a chunked one."""
    if "HTTP_TRANSFER_ENCODING" in fields:
        check_chunked(version, fields)
        return None
    text = fields["CONTENT_LENGTH"]
    if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_LENGTH:
        raise HTTPError(400, "Content-Length is not a number of bytes")
    length = int(text)
    fields["CONTENT_LENGTH"] = str(length)
    return length


def check_chunked(version: str, fields: dict[str, str]) -> None:
    """Raise `HTTPError` for what is framed in two ways, or in a way that is not known for sure (RFC 9112 6.1, 6.3).

    `fields` by the keys of an environ, among them HTTP_TRANSFER_ENCODING.
    """
    if version == "HTTP/1.0":
        raise HTTPError(400, "Transfer-Encoding does not exist in HTTP/1.0")
    if "CONTENT_LENGTH" in fields:
        raise HTTPError(400, "Content-Length and Transfer-Encoding are both there")
    codings = [coding.strip(" \t").lower() for coding in fields["HTTP_TRANSFER_ENCODING"].split(",")]
    if not all(is_token(coding.partition(";")[0].rstrip(" \t")) for coding in codings):
        raise HTTPError(400, "Transfer-Encoding is not a list of codings")
    if "chunked" in codings[:-1]:
        raise HTTPError(400, "chunked is not the last transfer coding")
    if codings != ["chunked"]:
        raise HTTPError(501, "no transfer coding but chunked is understood")


def _read_connection(head: RequestHead, value: str) -> None:
    options = [option.strip(" \t").lower() for option in value.split(",")]
    if "close" in options:
        head.keep_alive = False
    elif "keep-alive" in options:
        head.keep_alive = True
