"""start_response: what it takes, when it may be called again, and what its write callable does (PEP 3333)."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unit.wsgi.recording import RecordingOutput, answering, generating, run

Start = Callable[..., Callable[[bytes], None]]


def fail() -> None:
    raise ZeroDivisionError("too late")


def test_a_second_call_without_exc_info_is_an_error():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return [b"never"]

    exchange = run(app)
    assert isinstance(exchange.error, AssertionError)
    assert exchange.sent == b""


def test_a_second_call_with_exc_info_before_the_head_replaces_status_and_headers():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("X-First", "1"), ("Content-Length", "9999")])
        try:
            fail()
        except ZeroDivisionError:
            start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
        return [b"sorry"]

    exchange = run(app)
    assert exchange.error is None
    assert exchange.status == "HTTP/1.1 500 Oops"
    assert exchange.fields == [("X-Second", "2"), ("Content-Length", "5")]
    assert exchange.body == b"sorry"
    assert exchange.response.status_code == 500


@pytest.mark.parametrize("first", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("streams", [False, True])
def test_an_error_page_instead_of_an_answer_without_a_body_has_its_body(first: str, streams: bool):
    def app(_environ: dict[str, Any], start_response: Start) -> Any:
        start_response(first, [])
        try:
            fail()
        except ZeroDivisionError:
            start_response("500 Oops", [("Content-Length", "5")], sys.exc_info())
        return iter([b"sorry"]) if streams else [b"sorry"]

    exchange = run(app)
    assert exchange.framing == {"content-length": "5"}
    assert exchange.body == b"sorry"


def test_an_error_page_instead_of_an_answer_that_would_have_closed_keeps_the_connection():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Connection", "close")])
        try:
            fail()
        except ZeroDivisionError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    assert run(app).body == b"sorry"


def test_a_call_with_exc_info_after_the_head_raises_that_exception_again():
    def app(_environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"some"
        try:
            fail()
        except ZeroDivisionError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"never"

    exchange = run(app)
    assert isinstance(exchange.error, ZeroDivisionError)
    assert exchange.error.__traceback__ is not None
    assert exchange.body == b"4\r\nsome\r\n"


def test_a_first_call_may_have_exc_info():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        try:
            fail()
        except ZeroDivisionError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    assert run(app).body == b"sorry"


def test_write_sends_the_head_and_what_is_written_comes_before_what_is_returned():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"")
        write(b"one ")
        write(b"two ")
        return [b"three"]

    exchange = run(app)
    assert exchange.framing == {"transfer-encoding": "chunked"}
    assert exchange.body == b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"
    assert exchange.output.sends[0].endswith(b"4\r\none \r\n")
    assert exchange.response.sent == 13


def test_write_within_a_content_length_needs_no_chunks():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"abc")
        return [b"def"]

    exchange = run(app)
    assert exchange.body == b"abcdef"
    assert exchange.response.keep_alive


def test_nothing_is_sent_before_the_application_says_something():
    seen: list[int] = []

    def app(_environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        seen.append(len(exchange_output.sends))
        yield b""
        seen.append(len(exchange_output.sends))
        yield b"x"
        seen.append(len(exchange_output.sends))

    exchange_output = RecordingOutput()
    run(app, output=exchange_output)
    assert seen == [0, 0, 1]


def test_an_answer_without_start_response_is_an_error():
    def lists(_environ: dict[str, Any], _start_response: Start) -> list[bytes]:
        return [b"body"]

    def yields(_environ: dict[str, Any], _start_response: Start) -> Iterator[bytes]:
        yield b"body"

    def nothing(_environ: dict[str, Any], _start_response: Start) -> list[bytes]:
        return []

    for app in (lists, yields, nothing):
        exchange = run(app)
        assert isinstance(exchange.error, AssertionError)
        assert "start_response" in str(exchange.error)
        assert exchange.sent == b""


def test_start_response_may_be_called_as_late_as_the_first_piece_is_asked_for():
    exchange = run(generating(b"late"))
    assert exchange.error is None
    assert exchange.status == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("", []),
        ("OK", []),
        ("20 OK", []),
        ("099 Low", []),
        ("1000 High", []),
        ("200OK", []),
        ("200 OK\r\nX: y", []),
        (b"200 OK", []),
        (200, []),
        ("200 OK", [("X", "a\r\nb")]),
        ("200 OK", [("X", "a\nb")]),
        ("200 OK", [("X", "a\0b")]),
        ("200 OK", [("X y", "v")]),
        ("200 OK", [("X:", "v")]),
        ("200 OK", [("", "v")]),
        ("200 OK", [("X\r\nY", "v")]),
        ("200 OK", [("X", 5)]),
        ("200 OK", [("X", b"v")]),
        ("200 OK", [(b"X", "v")]),
        ("200 OK", [("X", None)]),
        ("200 OK", [("X",)]),
        ("200 OK", None),
        ("200 OK", [("X", "日本")]),
        ("200 OK", [("Content-Length", "x")]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "1, 1")]),
        ("200 OK", [("Content-Length", "²")]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    ],
)
def test_what_may_not_leave_raises_and_nothing_leaves(status: Any, headers: Any):
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response(status, headers)
        return [b"body"]

    exchange = run(app)
    assert isinstance(exchange.error, (ValueError, TypeError)), exchange.sent
    assert exchange.sent == b""


def test_the_space_before_a_reason_that_is_not_there_is_not_optional():  # RFC 9112 4
    assert run(answering(b"x", status="200")).status == "HTTP/1.1 200 "


@pytest.mark.parametrize("status", ["200 ", "299 Löl", "999 Own", "404 Not Found"])
def test_odd_but_valid_status_lines_are_sent(status: str):
    assert run(answering(b"x", status=status)).status == f"HTTP/1.1 {status}"


def test_fields_of_the_server_and_of_the_connection_are_not_the_applications():
    refused = [("Server", "mine"), ("Date", "mine"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "5"),
               ("Upgrade", "h2c"), ("Trailer", "X"), ("Proxy-Connection", "x"), ("TE", "x")]  # fmt: skip
    exchange = run(answering(b"x", headers=[("X-A", "1"), *refused, ("x-b", "zwei ü"), ("X-A", "3")]))
    assert exchange.fields == [("X-A", "1"), ("x-b", "zwei ü"), ("X-A", "3"), ("Content-Length", "1")]


def test_an_application_can_have_the_connection_closed_but_not_kept():
    closing = run(answering(b"x", headers=[("Connection", "Close")]))
    assert closing.framing == {"content-length": "1", "connection": "close"}
    assert not closing.response.keep_alive
    keeping = run(answering(b"x", headers=[("Connection", "keep-alive")]), keep_alive=False)
    assert keeping.framing == {"content-length": "1", "connection": "close"}
    assert not keeping.response.keep_alive
