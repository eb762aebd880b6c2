"""What holds for every input: nothing depends on how bytes arrive, and nothing but the intended ever gets out."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import HTTPError
from greenhorn.http.body import ChunkedBody
from greenhorn.http.head import Leniency, Limits, check_unfinished_head, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.http.peer import read_proxy_header
from unit.http.driver import Client, Setup
from unit.http.test_response import FIELDS, answer, head_lines

always_the_same = settings(deadline=None, derandomize=True, database=None, max_examples=400)

LIMITS = Limits(request_line=60, fields=5, field_size=60, head=200, body=50)
FRAGMENTS = st.sampled_from(
    [
        b"GET", b"POST", b"OPTIONS", b"CONNECT", b"HEAD", b" ", b" / ", b"/a%20b?c", b"http://b", b"*", b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b":", b": ", b"Host: a", b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b"X_Y: z", b"Expect: 100-continue", b"Connection: close", b"abc", b"0\r\n", b"3\r\nabc\r\n", b";a=b", b"\x00",
        b"\xff", b"\t",
        b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n", b"x" * 40, b"PROXY ", b"5",
        b"%",
    ]
)  # fmt: skip
NEARLY_REQUESTS = st.lists(FRAGMENTS | st.binary(max_size=3), max_size=14).map(b"".join)
LENIENCIES = st.builds(Leniency, obsolete_folding=st.booleans(), casefold_method=st.booleans())
MAPS = st.sampled_from(["drop", "refuse", "dangerous"])


def unless_refused(statuses: tuple[int, ...], function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or None when it refuses with one of the statuses."""
    try:
        return function(*arguments)
    except HTTPError as error:
        status = error.status
    assert status in statuses
    return None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces of `data` between `places`, which are taken modulo its length."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


PLACES = st.lists(st.integers(0, 10_000), max_size=12)


@always_the_same
@given(data=NEARLY_REQUESTS | st.binary(), leniency=LENIENCIES, header_map=MAPS, strip_spaces=st.booleans())
def test_a_head_is_parsed_or_refused_and_nothing_else(
    data: bytes, leniency: Leniency, header_map: str, strip_spaces: bool
) -> None:
    names = FieldNames(header_map=header_map, strip_spaces=strip_spaces)
    head = unless_refused((400, 414, 417, 431, 501, 505), parse_head, data, names, LIMITS, leniency)
    if head is None:
        return
    assert head.version in ("HTTP/1.0", "HTTP/1.1")
    assert head.length is None or head.length >= 0
    assert head.target.isascii()
    for text in (head.target, *head.fields, *head.fields.values()):
        assert not set(text) & set("\r\n\0")


@always_the_same
@given(data=NEARLY_REQUESTS | st.binary(), checked=st.integers(0, 50))
def test_an_unfinished_head_is_kept_or_refused_and_nothing_else(data: bytes, checked: int) -> None:
    assert unless_refused((400, 414, 431), check_unfinished_head, data, checked, LIMITS) is None


@always_the_same
@given(data=st.binary() | st.binary().map(b"PROXY ".__add__) | st.binary().map(b"PROXY TCP6 ::1 ".__add__))
def test_a_proxy_header_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    header = unless_refused((400,), read_proxy_header, data, "auto")
    assert header is None or header.size <= len(data)


@always_the_same
@given(pieces=st.lists(NEARLY_REQUESTS | st.binary(), max_size=5))
def test_chunks_are_decoded_or_refused_and_nothing_else(pieces: list[bytes]) -> None:
    body = ChunkedBody(LIMITS)
    for piece in pieces:
        if body.done or unless_refused((400, 431), body.feed, piece) is None:
            return


EXTENSIONS = st.sampled_from([b"", b"", b";a", b";a=b", b' ; a = "b;\\""', b";a;b;c"])
CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=8)
TRAILERS = st.lists(st.tuples(st.sampled_from(["A", "X-B"]), st.sampled_from(["", "c", "d e"])), max_size=3)


@always_the_same
@given(chunks=CHUNKS, trailers=TRAILERS, behind=st.binary(max_size=20), places=PLACES)
def test_every_chunking_of_every_body_is_decoded_the_same_however_it_is_split(
    chunks: list[tuple[bytes, bytes]], trailers: list[tuple[str, str]], behind: bytes, places: list[int]
) -> None:
    data = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part, extension in chunks)
    data += b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n"
    body = ChunkedBody(Limits())
    decoded = b""
    rest = cut(data + behind, places)
    while not body.done:
        decoded += body.feed(rest.pop(0))
    assert decoded == b"".join(part for part, _ in chunks)
    assert body.excess + b"".join(rest) == behind
    assert body.trailers == trailers


LINES = st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"PUT http://b/c HTTP/1.0", b"OPTIONS * HTTP/1.1"])
FIELD_LINES = st.sampled_from(
    [
        b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close",
        b"Connection: keep-alive",
        b"Expect: 100-continue", b"Cookie: a=b", b"X_Y: z", b"X-Y:", b" fold", b"A: " + b"b" * 55, b"A: \xff", b"A : b",
    ]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"2;a=b\r\nab\r\n0\r\nA: b\r\n\r\n", b"3\r\nab"]
)
REQUESTS = st.builds(
    lambda line, host, fields, body: b"\r\n".join([line, *host, *fields, b"", body]),
    LINES,
    st.just([b"Host: a"]) | st.just([]),
    st.lists(FIELD_LINES, max_size=3),
    BODIES,
)
STREAMS = st.lists(REQUESTS | st.just(b"\r\n"), min_size=1, max_size=3).map(b"".join) | NEARLY_REQUESTS


def outcome(pieces: list[bytes]) -> tuple[list[Any], list[bool]]:
    """What the application saw, and for each answer whether it was the application's."""
    with Client(Setup(limits=LIMITS)) as client:
        for piece in pieces:
            client.send(piece)
        client.send(b"\r\n\r\n")  # whatever is still awaited of a head has now come
        seen = [
            ({key: value for key, value in call.environ.items() if isinstance(value, str)}, call.body)
            for call in client.app.seen
        ]
        statuses = re.findall(rb"HTTP/1\.1 ([2-5])", client.received)
        return seen, [status == b"2" for status in statuses]


@always_the_same
@given(data=STREAMS, places=PLACES)
def test_requests_come_to_the_same_however_they_are_split(data: bytes, places: list[int]) -> None:
    assert outcome(cut(data, places)) == outcome([data])


TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["a\r\nB: c", "a\n", "\r", "\x00", "\x85", "\u010a"]
)
HEADERS = st.lists(st.tuples(st.sampled_from(["A", "Date", "Connection", "Content-Length"]) | TEXT, TEXT), max_size=4)


@always_the_same
@given(status=st.sampled_from(["200 OK", "404 "]) | TEXT.map("200 ".__add__) | TEXT, headers=HEADERS)
def test_what_leaves_has_the_lines_that_the_application_set_and_no_other(
    status: str, headers: list[tuple[str, str]]
) -> None:
    try:
        data = answer(status, headers)
    except (ValueError, TypeError):
        return
    dropped = ("date", "connection", "content-length")
    lines = head_lines(data)
    own = FIELDS.encode().split(b"\r\n")[:-1]
    expected = [f"{name}: {value}".encode("latin-1") for name, value in headers if name.lower() not in dropped]
    assert lines[: 3 + len(expected)] == [f"HTTP/1.1 {status}".encode("latin-1"), *own, *expected]
    framing = [line.partition(b": ")[0] for line in lines[3 + len(expected) :]]
    assert framing in ([], [b"Content-Length"], [b"Connection"], [b"Content-Length", b"Connection"])
    assert data.count(b"\r\n") - data.partition(b"\r\n\r\n")[2].count(b"\r\n") == len(lines) + 1
    assert not set(b"".join(lines)) & {0, 10, 13}
