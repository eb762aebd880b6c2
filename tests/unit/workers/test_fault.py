"""The page that stands in for an application that cannot be loaded."""

from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from greenhorn.workers.fault import fault_page
from unit.workers.inprocess import TestWorker

TRACEBACK = 'Traceback (most recent call last):\n  File "/srv/shop.py", line 3\n    x = <script>&"\nSyntaxError: <b>'


def asked(message: str = TRACEBACK, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """Ask the page as a server that checks PEP 3333 would; return status, fields and body."""
    environ = {"QUERY_STRING": "", "SCRIPT_NAME": "", "PATH_INFO": "/", **environ}
    setup_testing_defaults(environ)
    told: list[Any] = []

    def start_response(status: str, fields: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
        told[:] = status, dict(fields)
        return lambda _: None

    answer = validator(fault_page(message))(environ, start_response)  # type: ignore[arg-type]
    try:
        body = b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]
    return told[0], told[1], body


def test_every_method_and_path_is_answered_500_with_the_text_and_may_not_be_kept():
    for method, path in (("GET", "/"), ("POST", "/orders"), ("DELETE", "/orders/1")):
        status, fields, body = asked(REQUEST_METHOD=method, PATH_INFO=path, HTTP_ACCEPT="text/plain")
        assert status == "500 Internal Server Error"
        assert fields["Cache-Control"] == "no-store"
        assert fields["Content-Length"] == str(len(body))
        assert TRACEBACK in body.decode()


def test_the_text_is_escaped_in_html():
    _, fields, body = asked(HTTP_ACCEPT="text/html")
    assert fields["Content-Type"] == "text/html; charset=utf-8"
    assert b"x = &lt;script&gt;&amp;&quot;" in body
    assert b"<script" not in body
    assert b"<b>" not in body


def test_braces_in_the_text_stay_as_they_are():
    assert b"{message} {0} {{}}" in asked("{message} {0} {{}}", HTTP_ACCEPT="text/html")[2]


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_the_page_says_why_it_is_shown_and_when_it_goes_away(accept: str):
    body = asked(HTTP_ACCEPT=accept)[2]
    assert b"because reload is on, and goes away when the file is mended" in body


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "html"),
        ("", "html"),
        ("*/*", "html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("TEXT/HTML ; Q=0.5", "html"),
        ("text/*", "html"),
        ("application/json, text/html;q=0.1", "html"),
        ("text/plain", "plain"),
        ("application/json", "plain"),
        ("text/html;q=0, */*", "plain"),
        ("text/plain, text/html;q=0.9", "plain"),
        ("*/*;q=0.1, text/plain", "plain"),
        ("text/html;q=much", "plain"),
        (",;,;q=", "plain"),
    ],
)
def test_html_goes_to_whoever_accepts_it_and_does_not_prefer_plain_text(accept: str | None, kind: str):
    environ = {} if accept is None else {"HTTP_ACCEPT": accept}
    _, fields, _ = asked(**environ)
    assert fields["Content-Type"] == f"text/{kind}; charset=utf-8"
    assert fields["Vary"] == "Accept"


def test_head_gets_the_fields_of_get_and_no_body():
    _, fields, body = asked(REQUEST_METHOD="GET")
    head_status, head_fields, head_body = asked(REQUEST_METHOD="HEAD")
    assert head_status == "500 Internal Server Error"
    assert head_fields == fields
    assert int(head_fields["Content-Length"]) == len(body)
    assert head_body == b""


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_text_that_no_encoding_can_take_is_shown_all_the_same(accept: str):
    _, fields, body = asked("File '/srv/\udce9t\u00e9.py'", HTTP_ACCEPT=accept)
    assert b"/srv/\\udce9t\xc3\xa9.py" in body
    assert fields["Content-Length"] == str(len(body))


def test_the_page_is_served_as_any_application(serve_app: Callable[..., TestWorker]):
    worker = serve_app(fault_page(TRACEBACK))
    client = worker.connect()
    client.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = b""
    while data := client.recv(65536):
        received += data
    head, get = received.split(b"HTTP/1.1 500 Internal Server Error\r\n")[1:]
    assert head.endswith(b"\r\n\r\n")
    assert get.rstrip().endswith(b"</html>")
