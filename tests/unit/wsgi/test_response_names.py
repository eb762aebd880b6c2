"""A response as hooks written for gunicorn know it, before, while and after it is sent."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from greenhorn.http.head import Limits, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.wsgi.environ import build_environ
from greenhorn.wsgi.exchange import Response, respond
from unit.wsgi.recording import Facts, RecordingOutput, template

Application = Callable[..., Iterable[bytes]]


def answered(app: Application, raw: str = "GET / HTTP/1.1\r\nHost: a") -> Response:
    head = parse_head(raw.encode(), FieldNames(), Limits())
    response = Response(head, RecordingOutput(), Facts())
    respond(app, build_environ(template(), head, io.BytesIO(), response), response)
    return response


def test_a_response_that_was_not_begun_says_so():
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a", FieldNames(), Limits())
    response = Response(head, RecordingOutput(), Facts())
    assert (response.status, response.status_code, list(response.headers)) == (None, None, [])
    assert (response.sent, response.headers_sent, response.chunked, response.response_length) == (0, False, False, None)
    assert response.should_close() is False


@pytest.mark.parametrize(("given", "length"), [([("Content-Length", "5")], 5), ([], None)])
def test_a_response_says_what_the_application_gave(given: list[tuple[str, str]], length: int | None):
    headers = [("X-Own", "1"), *given]

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", headers)
        return [b"Hello"]

    response = answered(app)
    assert (response.status, response.status_code) == ("201 Created", 201)
    assert response.headers == headers
    assert (response.sent, response.response_length) == (5, length)
    assert response.headers_sent
    assert not response.chunked


def test_a_response_says_whether_it_is_chunked_and_what_was_sent_so_far():
    seen: list[tuple[Any, ...]] = []
    responses: list[Response] = []

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        response = start_response("200 OK", []).__self__
        responses.append(response)
        for piece in (b"one", b"three"):
            seen.append((response.headers_sent, response.chunked, response.sent))
            yield piece

    response = answered(app)
    assert seen == [(False, False, 0), (True, True, 3)]
    assert responses == [response]
    assert (response.chunked, response.sent) == (True, 8)


@pytest.mark.parametrize(
    ("raw", "headers", "closes"),
    [
        ("GET / HTTP/1.1\r\nHost: a", [], False),
        ("GET / HTTP/1.1\r\nHost: a", [("Connection", "close")], True),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close", [], True),
        ("GET / HTTP/1.0", [], True),
    ],
)
def test_a_response_says_whether_the_connection_ends_with_it(raw: str, headers: list[tuple[str, str]], closes: bool):
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"!"]

    assert answered(app, raw).should_close() is closes


def test_a_hook_cannot_set_what_was_sent_already():
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"!"]

    for name in ("headers_sent", "response_length", "chunked"):
        with pytest.raises(AttributeError):
            setattr(answered(app), name, True)
