"""Each limit of a head and a body, at its boundary and one beyond, and what 0 means."""

import pytest

from greenhorn.http.head import Limits
from greenhorn.net.state import State
from unit.http.cases import HOST, Case, Delivery, accepted, chunked, get, head, in_every_delivery, play, post, refused
from unit.http.driver import Client, Setup

LINE = Setup(limits=Limits(request_line=30))
FIELDS = Setup(limits=Limits(fields=4))
FIELD = Setup(limits=Limits(field_size=30))
HEAD = Setup(limits=Limits(head=80))
BODY = Setup(limits=Limits(body=4))


def line_of(size: int, before: str = "") -> bytes:
    return head(f"{before}GET /{'a' * (size - 14)} HTTP/1.1")


def fields(number: int) -> bytes:
    return get(*(f"A{index}: b" for index in range(number - 1)))


def field_of(size: int, name: str = "A") -> bytes:
    """With its CRLF."""
    return get(f"{name}: {'b' * (size - len(name) - 4)}")


def head_of(size: int, before: bytes = b"") -> bytes:
    """Without the empty line that ends it."""
    rest = get("A: ")
    return before + get("A: " + "b" * (size + 4 - len(rest) - len(before)))


CASES = [
    accepted("request line at the limit", line_of(30), setup=LINE, REQUEST_METHOD="GET"),
    accepted("request line at the limit behind an empty line", line_of(30, "\r\n"), setup=LINE),
    refused("request line above the limit", line_of(31), 414, LINE),
    refused("request line above the limit behind an empty line", line_of(31, "\r\n"), 414, LINE),
    refused("request line two above the limit", line_of(32), 414, LINE),
    refused("request line three above the limit", line_of(33), 414, LINE),
    refused("request line far above the limit", line_of(200), 414, LINE),
    accepted("longer field than the request line may be", get(f"A: {'b' * 60}"), setup=LINE, HTTP_A="b" * 60),
    accepted("fields at the limit", fields(4), setup=FIELDS, HTTP_A2="b"),
    refused("fields above the limit", fields(5), 431, FIELDS),
    refused("fields above the limit, all the same", get(*["A: b"] * 4), 431, FIELDS),
    refused("fields above the limit, dropped ones", get(*["A_B: b"] * 4), 431, FIELDS),
    accepted("fields at the limit behind an empty line", b"\r\n" + fields(4), setup=FIELDS, HTTP_A2="b"),
    accepted("field at the limit", field_of(30), setup=FIELD, HTTP_A="b" * 25),
    refused("field above the limit", field_of(31), 431, FIELD),
    refused("field far above the limit", field_of(200), 431, FIELD),
    refused("field above the limit, a dropped one", field_of(31, "A_B"), 431, FIELD),
    refused("field above the limit, of spaces", get("A:" + " " * 27), 431, FIELD),
    refused("field above the limit, of a name", get("a" * 28 + ":"), 431, FIELD),
    accepted("longer request line than a field may be", line_of(60), setup=FIELD, REQUEST_METHOD="GET"),
    accepted("head at the limit", head_of(80), setup=HEAD, REQUEST_METHOD="GET"),
    accepted("head below the limit", head_of(79), setup=HEAD, REQUEST_METHOD="GET"),
    refused("head above the limit", head_of(81), 431, HEAD),
    refused("head far above the limit", head_of(400), 431, HEAD),
    accepted("body at the limit", post(b"abcd", "Content-Length: 4"), b"abcd", setup=BODY, CONTENT_LENGTH="4"),
    refused("body above the limit", post(b"abcde", "Content-Length: 5"), 413, BODY),
    refused("body above the limit that has not come", post(b"", "Content-Length: 99999999999"), 413, BODY),
    refused("body above the limit for which 100 is awaited", post(b"", "Content-Length: 5", "Expect: 100-continue"),
            413, BODY),
    accepted("chunks at the limit", chunked(b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
    b"abcd", setup=BODY, CONTENT_LENGTH="4"),
    refused("chunks above the limit", chunked(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), 413, BODY),
    refused("chunk above the limit", chunked(b"5\r\nabcde\r\n0\r\n\r\n"), 413, BODY),
]  # fmt: skip


@in_every_delivery(CASES)
def test_limits_hold_at_their_boundary(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


DEFAULTS = [
    accepted("request line", line_of(4094)),
    refused("request line", line_of(4095), 414),
    accepted("fields", fields(100)),
    refused("fields", fields(101), 431),
    accepted("field", field_of(8190)),
    refused("field", field_of(8191), 431),
    accepted("head", head("GET / HTTP/1.1", *[f"A: {'b' * 8000}"] * 7, f"B: {'c' * (65536 - 56079)}"[:8188])),
    refused("head", head("GET / HTTP/1.1", *[f"A: {'b' * 8184}"] * 8), 431),
    accepted("no limit of a body", post(b"x" * 100_000, "Content-Length: 100000"), b"x" * 100_000),
]


@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: f"{case}-{type(case.expected).__name__}")
def test_the_default_limits_are_those_of_the_settings(case: Case) -> None:
    with Client(case.setup) as client:
        for at in range(0, len(case.raw), 4096):
            client.send(case.raw[at : at + 4096])
        status = getattr(case.expected, "status", 200)
        assert [answer.status for answer in client.answers()] == [status]


def test_0_stands_for_no_limit_of_its_own() -> None:
    unlimited = Limits(request_line=0, head=0, body=0, field_size=0)
    raw = head(f"POST /{'a' * 70_000} HTTP/1.1", f"A: {'b' * 70_000}", "Content-Length: 3") + b"abc"
    with Client(Setup(limits=unlimited)) as client:
        for at in range(0, len(raw), 4096):
            client.send(raw[at : at + 4096])
        assert [call.body for call in client.app.seen] == [b"abc"]
        assert len(client.app.seen[0].environ["HTTP_A"]) == 70_000


@pytest.mark.parametrize(
    ("limits", "beginning", "more", "status"),
    [
        (Limits(), b"G", b"E", 414),
        (Limits(), b"GET /", b"a", 414),
        (Limits(), b"GET / HTTP/1.1\r\nA: ", b"b", 431),
        (Limits(), b"GET / HTTP/1.1\r\n", b"A: b\r\n", 431),
        (Limits(request_line=0), b"GET /", b"a", 431),
        (Limits(head=0, fields=4, field_size=64), b"GET / HTTP/1.1\r\nA: ", b"b", 431),
        (Limits(head=0, fields=4, field_size=64), b"GET / HTTP/1.1\r\n", b"A: b\r\n", 431),
        (Limits(), b"\r\n\r\n", b"\r\n", 400),
        (Limits(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1", 400),
        (Limits(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", 400),
        (Limits(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA:", b"b", 431),
        (Limits(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n", 431),
        (
            Limits(head=1000, field_size=1000),
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;" + b"a" * 1000 + b"\r\nx\r\n",
            400,
        ),
        (
            Limits(field_size=0),
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"A: " + b"b" * 995 + b"\r\n",
            431,
        ),
    ],
    ids=[
        "method",
        "target",
        "field",
        "fields",
        "target without a limit of its own",
        "field without a limit of the head",
        "fields without a limit of the head",
        "empty lines",
        "chunk size",
        "chunk extension",
        "trailer",
        "trailers",
        "chunks with extensions",
        "trailers without a limit of a field",
    ],
)
def test_what_does_not_end_is_refused_before_it_has_cost_much(
    limits: Limits, beginning: bytes, more: bytes, status: int
) -> None:
    with Client(Setup(limits=limits)) as client:
        client.send(beginning)
        sent = 0
        while not client.received and sent < 100_000:
            piece = more * max(1, 1000 // len(more))
            client.send(piece)
            sent += len(piece)
        assert [answer.status for answer in client.answers()] == [status]
        assert client.app.seen == []


def test_a_limit_of_two_bytes_allows_no_field() -> None:
    with Client(Setup(limits=Limits(field_size=2))) as client:
        client.send(get())
        assert [answer.status for answer in client.answers()] == [431]


@pytest.mark.parametrize("ending", [b"", b"\r", b"\r\n", b"\r\n\r"])
def test_a_request_that_does_not_end_never_reaches_the_application(ending: bytes) -> None:
    with Client() as client:
        client.send(f"GET / HTTP/1.1\r\n{HOST}".encode() + ending)
        assert client.state is State.HEAD
        client.end()
        assert client.state is State.CLOSED
        assert client.received == b""
        assert client.app.seen == []
