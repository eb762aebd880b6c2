"""The Flask example: what Flask does must reach the client as Flask meant it."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import EXAMPLES, Server, StartServer

Curl = Callable[..., Answer]

GATED = """
import os, select
from flask import Response
from flask_app import app as application

@application.get("/gated")
def gated():
    def lines():
        gate = os.open(os.environ["GATE"], os.O_RDWR)
        try:
            yield "first\\n"
            opened, _, _ = select.select([gate], [], [], 10)
            yield "last\\n" if opened else "the gate stayed shut\\n"
        finally:
            os.close(gate)
    return Response(lines(), mimetype="text/plain")

@application.get("/broken")
def broken():
    raise LookupError("the view is broken")
"""
"""The example with a view that raises and a stream whose end waits for a byte in the named pipe GATE."""


@pytest.fixture(scope="module")
def site(module_server: StartServer) -> Server:
    return module_server("flask_app:app")


def test_the_page_has_a_form(site: Server, curl: Curl):
    answer = curl(f"{site.url}/")
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "<h1>Hello!</h1>" in answer.text
    assert '<form method="post">' in answer.text


def test_a_form_is_posted_and_its_fields_are_escaped(site: Server, curl: Curl):
    answer = curl("--data-urlencode", "name=Zoë & <Max>", f"{site.url}/")
    assert answer.status == 200
    assert "<h1>Hello Zoë &amp; &lt;Max&gt;!</h1>" in answer.text


def test_json_goes_in_and_out(site: Server, curl: Curl):
    answer = curl("--json", '{"numbers": [1, 2, 39]}', f"{site.url}/api/sum")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.body) == {"count": 3, "sum": 42}
    assert site.client().post("/api/sum", json={"numbers": []}).json() == {"count": 0, "sum": 0}


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 400), ("text/plain", 415)])
def test_what_is_no_json_is_refused_by_flask(site: Server, content_type: str, status: int):
    answer = site.client().post("/api/sum", content=b"{", headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_an_uploaded_file_arrives_whole(site: Server, curl: Curl, tmp_path: Path, size: int):
    file = tmp_path / "photo ü.jpg"
    file.write_bytes(os.urandom(size))
    expected = {
        "name": "photo ü.jpg",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size": size,
    }
    answer = curl("--form", f"file=@{file}", f"{site.url}/upload")
    assert (answer.status, json.loads(answer.body)) == (200, expected)
    with file.open("rb") as opened:
        assert site.client().post("/upload", files={"file": (file.name, opened)}).json() == expected


def test_an_upload_without_a_file_is_a_bad_request(site: Server):
    assert site.client().post("/upload", data={"no": "file"}).status_code == 400


@pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
def test_a_body_with_a_length_is_the_data_of_the_request(site: Server, curl: Curl, size: int):
    body = os.urandom(size)
    answer = curl("--data-binary", "@-", "--header", "Content-Type: application/x", f"{site.url}/body", data=body)
    assert json.loads(answer.body) == {
        "content_length": size,
        "length": size,
        "sha256": hashlib.sha256(body).hexdigest(),
    }


@pytest.mark.parametrize("size", [5, 70_000, 3_000_000])
def test_a_chunked_body_is_the_data_of_the_request(site: Server, curl: Curl, size: int):
    body = os.urandom(size)
    expected = {"content_length": size, "length": size, "sha256": hashlib.sha256(body).hexdigest()}

    def generate() -> Iterator[bytes]:
        yield from (body[i : i + 10_000] for i in range(0, size, 10_000))

    assert json.loads(curl("-T", "-", f"{site.url}/body", data=body).body) == expected
    answer = site.client().post("/body", content=generate())
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json() == expected


def test_a_session_counts_over_several_requests(site: Server, curl: Curl, tmp_path: Path):
    with site.client() as client:
        assert [client.get("/visits").json()["visits"] for _ in range(3)] == [1, 2, 3]
        assert client.get("/visits").headers["Vary"] == "Cookie"
    jar = str(tmp_path / "jar")
    answers = [curl("--cookie", jar, "--cookie-jar", jar, f"{site.url}/visits") for _ in range(2)]
    assert [json.loads(answer.body)["visits"] for answer in answers] == [1, 2]


def test_a_forged_session_counts_for_nothing(site: Server, curl: Curl):
    answer = curl("--cookie", "session=eyJ2aXNpdHMiOjk5fQ.aaaaaa.bbbbbb", f"{site.url}/visits")
    assert json.loads(answer.body) == {"visits": 1}


def test_a_streamed_response_arrives_whole(site: Server, curl: Curl):
    answer = curl(f"{site.url}/stream?n=1000")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == "".join(f"line {i}\n" for i in range(1000))


def test_the_first_line_of_a_stream_arrives_before_the_last_is_made(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = server(app_source=GATED, env={"GATE": str(gate)})
    with site.client().stream("GET", "/gated") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "first"
        gate.write_bytes(b"!")
        assert list(lines) == ["last"]


@pytest.mark.parametrize("path", ["/", "/source", "/stream"])
def test_head_is_get_without_the_body(site: Server, path: str):
    with site.client() as client:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.headers.get("Content-Length") == got.headers.get("Content-Length")


def test_an_unknown_path_is_flasks_404(site: Server, curl: Curl):
    answer = curl(f"{site.url}/nothing")
    assert (answer.status, answer.reason) == (404, "NOT FOUND")
    assert "<h1>Not Found</h1>" in answer.text


def test_a_wrong_method_is_flasks_405(site: Server):
    answer = site.client().delete("/visits")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_options_is_answered_by_flask(site: Server):
    answer = site.client().options("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_a_sent_file_has_an_etag_and_is_not_sent_again(site: Server):
    with site.client() as client:
        first = client.get("/source")
        assert first.content == (EXAMPLES / "flask_app.py").read_bytes()
        assert first.headers["Content-Type"] == "text/x-python; charset=utf-8"
        again = client.get("/source", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Transfer-Encoding" not in again.headers
        since = client.get("/source", headers={"If-Modified-Since": first.headers["Last-Modified"]})
        assert since.status_code == 304
        assert client.get("/source").content == first.content


def test_a_range_of_a_sent_file_is_exactly_that(site: Server, curl: Curl):
    source = (EXAMPLES / "flask_app.py").read_bytes()
    answer = curl("--range", "100-299", f"{site.url}/source")
    assert (answer.status, answer.reason) == (206, "PARTIAL CONTENT")
    assert answer.headers["Content-Range"] == f"bytes 100-299/{len(source)}"
    assert answer.headers["Content-Length"] == "200"
    assert answer.body == source[100:300]
    assert curl("--range", "-50", f"{site.url}/source").body == source[-50:]


def test_many_kinds_of_requests_share_one_connection(site: Server):
    with site.connect() as connection:
        reader = AnswerReader(connection)
        for request, status in [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            (b"HEAD /source HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            (b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            (
                b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                200,
            ),
            (b"GET /source HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ]:
            connection.sendall(request)
            assert reader.read(request.split()[0].decode()).status == status


def test_an_exception_in_a_view_is_flasks_500_and_the_next_request_is_served(server: StartServer):
    site = server(app_source=GATED, allow_traceback=True)
    with site.client() as client:
        answer = client.get("/broken")
        assert answer.status_code == 500
        assert "<h1>Internal Server Error</h1>" in answer.text
        assert client.get("/").status_code == 200
    site.wait_for_log("LookupError: the view is broken")
