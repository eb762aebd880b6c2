"""Requests as data: what is sent, in which pieces, and what has to come of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from greenhorn.net.state import State
from unit.http.driver import Client, Setup

HOST = "Host: zq.example"
GOOD = b"GET /good HTTP/1.1\r\nHost: good.example\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nHost: after.example\r\n\r\n"
MARK = b"zq"
"""Stands in every request's Host, and in no text of the server's."""
DEFAULT = Setup()


@dataclass(frozen=True)
class Accepted:
    """The application is called with `environ` (None: the key is not there) and `body`."""

    environ: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""
    keeps: bool = True


@dataclass(frozen=True)
class Refused:
    """The server answers itself, closes, and the application is not called."""

    status: int


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    expected: Accepted | Refused
    setup: Setup = DEFAULT

    def __str__(self) -> str:
        return self.name


def accepted(
    name: str, raw: bytes, body: bytes = b"", *, keeps: bool = True, setup: Setup = DEFAULT, **environ: str | None
) -> Case:
    return Case(name, raw, Accepted(environ, body, keeps), setup)


def refused(name: str, raw: bytes, status: int = 400, setup: Setup = DEFAULT) -> Case:
    return Case(name, raw, Refused(status), setup)


def head(request_line: str, *fields: str, host: str | None = HOST) -> bytes:
    """A head, Host first; a str stands for its Latin-1 bytes."""
    lines = [request_line, *([] if host is None else [host]), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def get(*fields: str) -> bytes:
    return head("GET / HTTP/1.1", *fields)


def post(body: bytes, *fields: str) -> bytes:
    return head("POST / HTTP/1.1", *fields) + body


def chunked(body: bytes, *fields: str) -> bytes:
    return post(body, "Transfer-Encoding: chunked", *fields)


# A delivery turns a request into ways to send it: how many good requests come first, and the pieces. The last piece
# is told apart that brings the request's end, because AFTER follows it.

Delivery = Callable[[bytes], Iterator[tuple[int, list[bytes]]]]


def whole(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    yield 0, [raw]


def split_at_every_byte(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    for at in range(1, len(raw)):
        yield 0, [raw[:at], raw[at:]]


def byte_by_byte(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    yield 0, [raw[at : at + 1] for at in range(len(raw))]


def pipelined(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    yield 1, [GOOD + raw]


def with_one_behind(raw: bytes) -> Iterator[tuple[int, list[bytes]]]:
    yield 0, [raw + AFTER]
    yield 1, [GOOD + raw + AFTER]


DELIVERIES = (whole, split_at_every_byte, byte_by_byte, pipelined, with_one_behind)


def in_every_delivery(cases: list[Case]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parametrize a test with `case` and `delivery`."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        test = pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.__name__)(test)
        return pytest.mark.parametrize("case", cases, ids=str)(test)

    return decorate


def play(case: Case, delivery: Delivery) -> None:
    """Send the case in each way of the delivery, and a good request behind it; fails unless all is as expected."""
    for good, pieces in delivery(case.raw):
        with Client(case.setup) as client:
            for piece in pieces:
                client.send(piece)
            behind = delivery is with_one_behind
            try:
                if isinstance(case.expected, Accepted):
                    _check_accepted(client, case.expected, good, behind)
                else:
                    _check_refused(client, case.expected, good)
            except AssertionError as error:
                error.add_note(f"sent as {pieces!r}\nreceived {client.received!r}")
                raise


def _check_accepted(client: Client, expected: Accepted, good: int, behind: bool) -> None:
    if not behind:
        assert len(client.app.seen) == good + 1
        client.send(AFTER)
    answers = [answer for answer in client.answers() if answer.status != 100]
    calls = good + 1 + expected.keeps
    assert [answer.status for answer in answers] == [200] * calls
    assert [answer.body for answer in answers] == [b"answer %d" % (number + 1) for number in range(calls)]
    assert len(client.app.seen) == calls
    environ, body = client.app.seen[good]
    assert {key: environ.get(key) for key in expected.environ} == expected.environ
    assert body == expected.body
    if expected.keeps:
        assert client.app.seen[-1].environ["PATH_INFO"] == "/after"
        assert client.state is State.IDLE
    else:
        assert answers[-1].fields["connection"] == "close"
        assert client.server_ended
    client.end()
    assert client.state is State.CLOSED


def _check_refused(client: Client, expected: Refused, good: int) -> None:
    assert len(client.app.seen) == good
    answers = [answer for answer in client.answers() if answer.status != 100]
    assert [answer.status for answer in answers] == [200] * good + [expected.status]
    refusal = answers[-1]
    assert refusal.fields["connection"] == "close"
    assert refusal.fields["content-type"].startswith("text/plain")
    assert {"date", "server", "content-length"} <= set(refusal.fields)
    assert refusal.body.startswith(b"%d " % expected.status)
    assert MARK not in client.received
    assert client.server_ended
    before = client.received
    client.send(AFTER)
    client.end()
    assert client.received == before
    assert len(client.app.seen) == good
    assert client.state is State.CLOSED
