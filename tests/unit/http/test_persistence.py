"""RFC 9112 section 9 and RFC 9110 10.1.1: which connections carry another request, and who waits for a 100."""

import pytest

from greenhorn.net.state import State
from unit.http.cases import (
    AFTER,
    GOOD,
    Case,
    Delivery,
    accepted,
    chunked,
    get,
    head,
    in_every_delivery,
    play,
    post,
    refused,
)
from unit.http.driver import Client

KEEPING = ("keep-alive", "Keep-Alive", "closed", "xclose", "close-x", "x", "", "upgrade, keep-alive", "TE", "'close'")
CLOSING = (
    "close",
    "Close",
    "CLOSE",
    "close, x",
    "x, close",
    "x,close ,y",
    ",close",
    "keep-alive, close",
    " close\t",
    "close,",
)


def old(*fields: str) -> bytes:
    return head("GET / HTTP/1.0", *fields)


PERSISTENCE = [
    accepted("HTTP/1.1", get()),
    accepted("HTTP/1.0", old(), keeps=False),
    *(accepted(f"HTTP/1.1 and {option!r}", get(f"Connection: {option}")) for option in KEEPING),
    *(accepted(f"HTTP/1.1 and {option!r}", get(f"Connection: {option}"), keeps=False) for option in CLOSING),
    *(accepted(f"HTTP/1.0 and {option!r}", old(f"Connection: {option}"), keeps=False) for option in CLOSING),
    *(
        accepted(f"HTTP/1.0 and {option!r}", old(f"Connection: {option}"), keeps=False)
        for option in ("x", "", "keep-alived", "keep alive", "keepalive", "TE, upgrade")
    ),
    *(
        accepted(f"HTTP/1.0 and {option!r}", old(f"Connection: {option}"))
        for option in ("keep-alive", "Keep-Alive", "x, keep-alive", "keep-alive,x", ", keep-alive ,")
    ),
    accepted("close in the second of two fields", get("Connection: x", "Connection: close"), keeps=False),
    accepted("close in the first of two fields", get("Connection: close", "Connection: keep-alive"), keeps=False),
    accepted("keep-alive in the second of two fields", old("Connection: x", "Connection: keep-alive")),
    accepted("Proxy-Connection says nothing", get("Proxy-Connection: close")),
    accepted("Proxy-Connection says nothing in HTTP/1.0", old("Proxy-Connection: keep-alive"), keeps=False),
    accepted("Keep-Alive says nothing in HTTP/1.0", old("Keep-Alive: timeout=5"), keeps=False),
    accepted("close with a body", post(b"abc", "Content-Length: 3", "Connection: close"), b"abc", keeps=False),
    accepted("close with chunks", chunked(b"3\r\nabc\r\n0\r\n\r\n", "Connection: close"), b"abc", keeps=False),
    accepted("keep-alive with a body in HTTP/1.0", old("Content-Length: 3", "Connection: keep-alive") + b"abc", b"abc"),
]

EXPECTATIONS = [
    accepted("100-continue", post(b"abc", "Content-Length: 3", "Expect: 100-continue"), b"abc"),
    accepted("100-continue in capitals", post(b"abc", "Content-Length: 3", "Expect: 100-Continue"), b"abc"),
    accepted("100-continue with chunks", chunked(b"3\r\nabc\r\n0\r\n\r\n", "Expect: 100-continue"), b"abc"),
    accepted("100-continue without a body", get("Expect: 100-continue")),
    accepted("100-continue with a body of nothing", post(b"", "Content-Length: 0", "Expect: 100-continue")),
    accepted("100-continue in HTTP/1.0", old("Content-Length: 3", "Expect: 100-continue") + b"abc",
    b"abc", keeps=False),
    *(
        refused(f"expectation {text!r}", post(b"abc", "Content-Length: 3", f"Expect: {text}"), 417)
        for text in ("zq", "200-ok", "100-continue, zq", "zq, 100-continue", "100", "100-continuezq", "x100-continue",
                     "100 continue", '"100-continue"')
    ),
    refused("another expectation without a body", get("Expect: zq"), 417),
    refused("two expectations", get("Expect: 100-continue", "Expect: zq"), 417),
]  # fmt: skip


@in_every_delivery([*PERSISTENCE, *EXPECTATIONS])
def test_a_connection_goes_on_or_ends_as_told(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def test_answers_come_in_the_order_of_the_requests() -> None:
    with Client() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: zq.example\r\n\r\n" % number for number in range(50)))
        assert [call.environ["PATH_INFO"] for call in client.app.seen] == [f"/{number}" for number in range(50)]
        assert [answer.body for answer in client.answers()] == [b"answer %d" % (number + 1) for number in range(50)]
        assert client.state is State.IDLE


def test_requests_with_bodies_are_pipelined_at_every_split() -> None:
    raw = post(b"abc", "Content-Length: 3") + chunked(b"2\r\nde\r\n0\r\nA: b\r\n\r\n") + GOOD + b"\r\n" + AFTER
    for at in range(1, len(raw)):
        with Client() as client:
            client.send(raw[:at])
            client.send(raw[at:])
            assert [call.body for call in client.app.seen] == [b"abc", b"de", b"", b""]
            assert [answer.status for answer in client.answers()] == [200] * 4


def test_an_empty_line_behind_the_last_request_is_no_request() -> None:
    with Client() as client:
        client.send(GOOD + b"\r\n")
        client.end()
        assert [answer.status for answer in client.answers()] == [200]
        assert client.state is State.CLOSED


def test_a_connection_that_never_says_anything_ends_without_a_word() -> None:
    with Client() as client:
        client.end()
        assert client.state is State.CLOSED
        assert client.received == b""


@pytest.mark.parametrize("field", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_a_client_that_waits_for_a_100_gets_it_once_and_then_its_answer(field: str) -> None:
    with Client() as client:
        client.send(post(b"", field, "Expect: 100-continue"))
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.app.seen == []
        for piece in (b"a", b"b", b"c") if field.startswith("C") else (b"3\r", b"\nab", b"c\r\n0\r\n\r\n"):
            client.send(piece)
        assert [answer.status for answer in client.answers()] == [100, 200]
        assert client.app.seen[0].body == b"abc"
        client.send(AFTER)
        assert [answer.status for answer in client.answers()] == [100, 200, 200]


@pytest.mark.parametrize(
    "raw",
    [
        post(b"abc", "Content-Length: 3", "Expect: 100-continue"),
        post(b"a", "Content-Length: 3", "Expect: 100-continue"),
        post(b"", "Content-Length: 3"),
        get("Expect: 100-continue"),
        head("POST / HTTP/1.0", "Content-Length: 3", "Expect: 100-continue"),
    ],
    ids=["the body is here", "some of the body is here", "none was asked for", "no body", "HTTP/1.0"],
)
def test_nobody_else_gets_a_100(raw: bytes) -> None:
    with Client() as client:
        client.send(raw)
        assert 100 not in [answer.status for answer in client.answers()]


@pytest.mark.parametrize(("field", "status"), [("Content-Length: x", 400), ("Transfer-Encoding: gzip", 501)])
def test_a_100_is_not_sent_for_a_body_that_is_refused(field: str, status: int) -> None:
    with Client() as client:
        client.send(post(b"", field, "Expect: 100-continue"))
        assert [answer.status for answer in client.answers()] == [status]


def test_an_answer_is_not_lost_when_more_came_than_was_announced() -> None:
    # As clients of old that send a line end behind a body: closing with it unread would reset the connection.
    for request in (head("POST / HTTP/1.0", "Content-Length: 3"), post(b"", "Content-Length: 3", "Connection: close")):
        with Client() as client:
            client.send(request)
            client.send(b"abc\r\n")
            assert [answer.status for answer in client.answers()] == [200]
            assert client.server_ended
