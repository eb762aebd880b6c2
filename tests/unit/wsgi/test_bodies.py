"""How an answer's body is framed, for each kind of body, method, status and version; and that it is closed."""

import array
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenhorn.errors import ClientGone
from greenhorn.http.response import LAST_CHUNK
from greenhorn.wsgi.exchange import FileWrapper
from unit.wsgi.recording import RecordingOutput, answering, generating, make_head, run

Start = Callable[..., Callable[[bytes], None]]
LARGE = b"L" * 100_000


def returning(body: Any, status: str = "200 OK", headers: tuple[tuple[str, str], ...] = ()) -> Any:
    """An application that returns just this."""

    def app(_environ: dict[str, Any], start_response: Start) -> Any:
        start_response(status, list(headers))
        return body

    return app


# Lists and tuples.


@pytest.mark.parametrize(
    "body", [[], [b""], [b"Hello"], (b"Hello",), [b"Hel", b"", b"lo"], [LARGE], [LARGE, b"", b"x"], (b"a", LARGE)]
)
def test_a_body_that_is_all_there_gets_its_content_length_and_leaves_in_one_piece(body: Any):
    exchange = run(returning(body))
    whole = b"".join(body)
    assert exchange.framing == {"content-length": str(len(whole))}
    assert exchange.body == whole
    assert len(exchange.output.sends) == 1
    assert exchange.response.sent == len(whole)
    assert exchange.response.keep_alive
    assert exchange.response.complaint is None


@pytest.mark.parametrize("size", [3, 50_000])
def test_other_objects_of_bytes_are_sent_as_bytes(size: int):
    parts = [bytearray(b"a" * size), memoryview(b"b" * size), b"c"]
    for body in (parts, iter(parts)):
        exchange = run(returning(body), "GET", "1.0")
        assert exchange.body == b"a" * size + b"b" * size + b"c"


def test_a_view_whose_items_are_larger_than_a_byte_is_counted_in_bytes():
    exchange = run(returning([memoryview(array.array("I", [1, 2, 3]))]))
    if exchange.error is None:
        assert exchange.framing == {"content-length": str(len(exchange.body))}
    else:
        assert exchange.sent == b""


@pytest.mark.parametrize("body", [["text"], ("text",), [b"x", "text"], [None], [5], [[b"x"]], ["x" * 100_000]])
def test_a_list_of_anything_but_bytes_is_an_error_and_nothing_leaves(body: Any):
    exchange = run(returning(body))
    assert isinstance(exchange.error, TypeError)
    assert exchange.sent == b""


@pytest.mark.parametrize("body", ["text", b"bytes", iter(["text"]), iter([5]), None, 5])
def test_a_body_that_is_no_iterable_of_bytes_is_an_error_and_nothing_leaves(body: Any):
    exchange = run(returning(body))
    assert isinstance(exchange.error, TypeError)
    assert exchange.sent == b""


# Generators.


def test_a_generator_leaves_chunk_by_chunk_the_first_with_the_head():
    exchange = run(generating(b"one", b"", b"three"))
    assert exchange.framing == {"transfer-encoding": "chunked"}
    assert [data[-10:] for data in exchange.output.sends] == [
        b"\r\n3\r\none\r\n"[-10:],
        b"5\r\nthree\r\n",
        LAST_CHUNK,
    ]
    assert exchange.response.sent == 8


def test_a_generator_with_a_content_length_leaves_without_chunks():
    exchange = run(generating(b"one", b"two", headers=[("Content-Length", "6")]))
    assert exchange.framing == {"content-length": "6"}
    assert exchange.body == b"onetwo"


@pytest.mark.parametrize("parts", [(), (b"",), (b"", b"")])
def test_a_generator_without_bytes_is_an_empty_body(parts: tuple[bytes, ...]):
    exchange = run(generating(*parts))
    assert exchange.framing == {"content-length": "0"}
    assert exchange.body == b""


def test_a_generator_in_http_1_0_ends_with_the_connection():
    exchange = run(generating(b"one", b"two"), version="1.0", keep_alive=True)
    assert exchange.framing == {"connection": "close"}
    assert exchange.body == b"onetwo"
    assert not exchange.response.keep_alive


def test_a_known_length_in_http_1_0_can_keep_the_connection():
    exchange = run(answering(b"one"), version="1.0", keep_alive=True)
    assert exchange.framing == {"content-length": "3", "connection": "keep-alive"}
    assert exchange.response.keep_alive
    assert exchange.status == "HTTP/1.1 200 OK"


def test_a_connection_that_does_not_stay_is_announced():
    exchange = run(answering(b"one"), keep_alive=False)
    assert exchange.framing == {"content-length": "3", "connection": "close"}


# More or fewer bytes than declared.


@pytest.mark.parametrize("make", [answering, generating])
@pytest.mark.parametrize("parts", [(b"12345",), (b"12", b"345"), (b"123", b"45"), (b"1234", b"", b"5"), (b"1", LARGE)])
def test_more_bytes_than_declared_are_cut_off(make: Callable[..., Any], parts: tuple[bytes, ...]):
    exchange = run(make(*parts, headers=[("Content-Length", "3")]))
    assert exchange.error is None
    assert exchange.body == b"".join(parts)[:3]
    assert exchange.response.sent == 3
    assert exchange.response.complaint is not None
    assert "more bytes" in exchange.response.complaint
    assert exchange.response.keep_alive


@pytest.mark.parametrize("make", [answering, generating])
@pytest.mark.parametrize("parts", [(), (b"",), (b"1",), (b"1", b"2")])
def test_fewer_bytes_than_declared_close_the_connection(make: Callable[..., Any], parts: tuple[bytes, ...]):
    exchange = run(make(*parts, headers=[("Content-Length", "3")]))
    assert exchange.body == b"".join(parts)
    assert exchange.framing["content-length"] == "3"
    assert not exchange.response.keep_alive
    assert exchange.response.complaint is not None
    assert f"{len(b''.join(parts))} bytes" in exchange.response.complaint


def test_a_body_where_none_was_declared_is_left_out():
    exchange = run(generating(b"x", headers=[("Content-Length", "0")]))
    assert exchange.framing == {"content-length": "0"}
    assert exchange.body == b""


# No body.


@pytest.mark.parametrize("make", [answering, generating])
@pytest.mark.parametrize(
    ("status", "framing"), [("204 No Content", {}), ("304 Not Modified", {}), ("103 Odd", {"connection": "close"})]
)
def test_statuses_without_a_body_have_none_whatever_the_application_sends(
    make: Callable[..., Any], status: str, framing: dict[str, str]
):
    exchange = run(make(b"body", b"more", status=status))
    assert exchange.error is None
    assert exchange.body == b""
    assert exchange.framing == framing
    assert exchange.response.sent == 0


def test_the_length_of_an_answer_without_a_body_is_told_only_where_it_may():
    lengths = [("Content-Length", "5")]
    assert run(answering(status="304 Not Modified", headers=lengths)).framing == {"content-length": "5"}
    assert run(answering(status="204 No Content", headers=lengths)).framing == {}
    for status in ("304 Not Modified", "204 No Content"):
        exchange = run(answering(status=status, headers=lengths))
        assert exchange.response.keep_alive
        assert exchange.response.complaint is None


@pytest.mark.parametrize(
    ("app", "framing"),
    [
        (answering(b"Hello"), {"content-length": "5"}),
        (answering(LARGE), {"content-length": "100000"}),
        (answering(headers=[("Content-Length", "7")]), {"content-length": "7"}),
        (answering(b"Hello", headers=[("Content-Length", "5")]), {"content-length": "5"}),
        (answering(), {}),
        (generating(b"Hello"), {}),
        (generating(b"Hello", headers=[("Content-Length", "5")]), {"content-length": "5"}),
    ],
)
def test_head_has_the_fields_of_get_and_no_body(app: Any, framing: dict[str, str]):
    exchange = run(app, "HEAD")
    assert exchange.error is None
    assert exchange.body == b""
    assert exchange.framing == framing
    assert exchange.response.keep_alive
    assert exchange.response.complaint is None
    assert exchange.response.sent == 0


def test_write_sends_no_body_in_answer_to_head():
    def app(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])(b"written")
        return [b"returned"]

    assert run(app, "HEAD").body == b""


# Closing.


class Closable:
    """An iterable that counts how often it is closed, and can fail on the way."""

    def __init__(self, *parts: bytes, fails: bool = False) -> None:
        self._parts = parts
        self._fails = fails
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._fails:
            raise ZeroDivisionError

    def close(self) -> None:
        self.closed += 1


class ClosableList(list[bytes]):
    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_iterable_is_closed_once_after_its_last_piece(method: str):
    body = Closable(b"one", b"two")
    exchange = run(returning(body), method)
    assert exchange.error is None
    assert body.closed == 1


def test_a_list_that_can_be_closed_is_closed():
    body = ClosableList([b"one"])
    assert run(returning(body)).body == b"one"
    assert body.closed == 1


def test_an_iterable_that_fails_is_closed_and_gets_no_last_chunk():
    body = Closable(b"one", fails=True)
    exchange = run(returning(body))
    assert isinstance(exchange.error, ZeroDivisionError)
    assert body.closed == 1
    assert exchange.sent.endswith(b"3\r\none\r\n")


@pytest.mark.parametrize("body", [Closable(b"one"), ClosableList([b"one"]), FileWrapper(io.BytesIO(b"one"))])
def test_a_body_is_closed_when_the_client_is_gone(body: Any):
    exchange = run(returning(body), output=RecordingOutput(fails=ClientGone("gone")))
    assert isinstance(exchange.error, ClientGone)
    assert getattr(body, "closed", 1) == 1
    assert not isinstance(body, FileWrapper) or body.filelike.closed


def test_a_body_is_closed_when_the_answer_is_refused():
    def app(_environ: dict[str, Any], _start_response: Start) -> Closable:
        return body

    body = Closable(b"one")
    assert isinstance(run(app).error, AssertionError)
    assert body.closed == 1


def test_a_failure_of_close_is_the_applications():
    class Failing(Closable):
        def close(self) -> None:
            raise ZeroDivisionError

    exchange = run(returning(Failing(b"one")))
    assert isinstance(exchange.error, ZeroDivisionError)
    assert exchange.sent.endswith(LAST_CHUNK)


def test_a_generator_is_closed_so_that_its_cleanup_runs():
    cleaned: list[bool] = []

    def app(_environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"one"
            yield "two"  # type: ignore[misc]
        finally:
            cleaned.append(True)

    assert isinstance(run(app).error, TypeError)
    assert cleaned == [True]


# Early hints.


def test_early_hints_leave_before_the_answer():
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload"), ("Link", "</b.css>; rel=preload")])
        start_response("200 OK", [])
        return [b"x"]

    exchange = run(app)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.css>; rel=preload\r\n\r\n"
    assert exchange.output.sends[0] == hints
    assert exchange.output.sends[1].startswith(b"HTTP/1.1 200 OK\r\n")


def test_early_hints_are_not_sent_to_http_1_0_nor_after_the_head():
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        if "late" in environ:
            start_response("200 OK", [])(b"x")
        environ["wsgi.early_hints"]([("Link", "</a.css>")])
        if "late" not in environ:
            start_response("200 OK", [])
        return [b"x"]

    assert b"103" not in run(app, version="1.0").sent
    assert b"103" not in run(lambda environ, start: app({**environ, "late": True}, start)).sent


@pytest.mark.parametrize(
    "header", [("Link", "a\r\nb"), ("Li nk", "a"), ("Content-Length", "3"), ("Connection", "close")]
)
def test_early_hints_that_may_not_leave_raise(header: tuple[str, str]):
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        environ["wsgi.early_hints"]([header])
        start_response("200 OK", [])
        return [b"x"]

    exchange = run(app)
    assert isinstance(exchange.error, ValueError)
    assert exchange.sent == b""


def test_the_status_is_a_number_once_there_is_one():
    exchange = run(answering(b"x", status="418 Teapot"))
    assert exchange.response.status_code == 418
    assert exchange.response.status == "418 Teapot"
    assert run(lambda _environ, _start: [b"x"]).response.status_code is None
    assert make_head().method == "GET"
