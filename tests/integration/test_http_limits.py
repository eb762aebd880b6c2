"""How large a request may be: what is just within each limit is served, what is beyond it is refused."""

from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI, PARSER, UVICORN, WHOLE_HEADS, differs
from integration.running import Server, StartServer
from integration.wire import DELIVERIES, Send, connect, receive_head, refusals, refusals_behind

pytestmark = AND_ASGI

LINE, FIELDS, FIELD, HEAD, BODY = 200, 8, 300, 1200, 1000
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def site(module_server: StartServer, applications: Path) -> Server:
    limits = {
        "--limit-request-line": LINE,
        "--limit-request-fields": FIELDS,
        "--limit-request-field_size": FIELD,
        "--limit-request-head": HEAD,
        "--limit-request-body": BODY,
        "--header-timeout": 5,
    }
    flags = [text for name, value in limits.items() for text in (name, str(value))]
    return module_server("mirror", *flags, "--access-logfile", "-", pythonpath=(applications,))


def line_of(length: int) -> bytes:
    """Return a head with a request line of so many bytes."""
    fixed = len(b"GET / HTTP/1.1")
    return b"GET /" + b"a" * (length - fixed) + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def fields_of(sizes: list[int]) -> bytes:
    """Return a head with so many fields of so many bytes each, with their CRLF, beside the Host."""
    return GET + b"".join(b"X-%02d: " % at + b"a" * (size - 8) + b"\r\n" for at, size in enumerate(sizes)) + b"\r\n"


def sized(length: int) -> bytes:
    """Return a request with a body of so many bytes."""
    return POST + b"Content-Length: %d\r\n\r\n" % length + b"b" * length


def chunked(length: int, chunk: int = 100) -> bytes:
    """Return a request with a chunked body of so many bytes, in chunks of `chunk`."""
    sizes = [chunk] * (length // chunk) + ([length % chunk] if length % chunk else [])
    chunks = b"".join(b"%x\r\n" % size + b"b" * size + b"\r\n" for size in sizes)
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


WITHIN = {
    "longest line": line_of(LINE),
    "most fields": fields_of([20] * (FIELDS - 1)),
    "longest field": fields_of([FIELD]),
    "largest head": fields_of([FIELD, FIELD, FIELD, HEAD - 3 * FIELD - len(GET)]),
    "largest body": sized(BODY),
    "largest chunked body": chunked(BODY),
}
BEYOND = {
    "line too long": (414, line_of(LINE + 1)),
    "line without an end": (414, b"GET /" + b"a" * (LINE + 50)),
    "field too many": (431, fields_of([20] * FIELDS)),
    "field too long": (431, fields_of([FIELD + 2])),
    "head too large": (431, fields_of([FIELD, FIELD, FIELD, FIELD])),
    "head without an end": (431, fields_of([FIELD] * 3)[:-2] + b"X: " + b"a" * FIELD),
    "body too large": (413, sized(BODY + 1)),
    "body too large, of which nothing was sent": (413, sized(BODY + 1)[: -BODY - 1]),
    "body of a length beyond reason": (413, POST + b"Content-Length: 18446744073709551615\r\n\r\n"),
    "chunked body too large": (413, chunked(BODY + 1)),
    "chunked body too large, without an end": (413, chunked(BODY + 1)[:-5]),
    "one chunk too large": (413, chunked(BODY + 1, BODY + 1)),
    "trailers too many": (431, chunked(10)[:-2] + b"X: y\r\n" * (FIELDS + 1) + b"\r\n"),
    "trailer too long": (431, chunked(10)[:-2] + b"X: " + b"y" * (FIELD + 1) + b"\r\n\r\n"),
}


@DELIVERIES
@pytest.mark.parametrize("wire", WITHIN.values(), ids=WITHIN)
def test_what_is_within_every_limit_is_served(site: Server, wire: bytes, send: Send):
    with connect(site) as connection:
        send(connection, wire)
        assert AnswerReader(connection).read().status == 200


@differs("tornado", row=WHOLE_HEADS, only=("without an end-",))
@differs("asgi", "asgi-h11", row=WHOLE_HEADS, only=("line without an end-",))
@differs("tornado", row=PARSER, only=("trailer", "beyond reason"))
@differs("asgi", "asgi-h11", row=UVICORN, only=("trailer",))
@DELIVERIES
@pytest.mark.parametrize(("status", "wire"), BEYOND.values(), ids=BEYOND)
def test_what_is_beyond_a_limit_is_refused_as_soon_as_that_is_clear(site: Server, status: int, wire: bytes, send: Send):
    seen = len(refusals(site))
    with connect(site) as connection:
        send(connection, wire)
        reader = AnswerReader(connection)
        answer = reader.read()
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        assert reader.rest() == b""
    assert [int(line[3]) for line in refusals_behind(site, seen)] == [status]


def test_nobody_is_told_to_send_a_body_that_is_too_large(site: Server):
    with connect(site) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
        assert receive_head(connection).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_turns_out_too_large_after_the_client_was_told_to_send_it(site: Server):
    with connect(site) as connection:
        head, _, body = chunked(BODY + 1).partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert receive_head(connection) == CONTINUE
        connection.sendall(body)
        assert receive_head(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_all_of_a_refused_body_still_reads_the_answer(site: Server):
    with connect(site) as connection:
        connection.sendall(sized(50_000))
        reader = AnswerReader(connection)
        assert reader.read().status == 413
        assert reader.rest() == b""
