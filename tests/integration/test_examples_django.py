"""The Django example: forms with CSRF, sessions, uploads, streams and bodies through the whole stack."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import EXAMPLES, Server, StartServer

PROJECT = EXAMPLES / "django_site"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
Curl = Callable[..., Answer]

GATED = """
import os, select
from django.http import StreamingHttpResponse
from django.urls import path
from guestbook.wsgi import application
from guestbook.urls import urlpatterns

def gated(request):
    def lines():
        gate = os.open(os.environ["GATE"], os.O_RDWR)
        try:
            yield "first\\n"
            opened, _, _ = select.select([gate], [], [], 10)
            yield "last\\n" if opened else "the gate stayed shut\\n"
        finally:
            os.close(gate)
    return StreamingHttpResponse(lines(), content_type="text/plain")

urlpatterns.append(path("gated/", gated))
"""
"""The example with a stream whose end waits for a byte in the named pipe GATE."""


@pytest.fixture(scope="module")
def site(module_server: StartServer) -> Server:
    return module_server("guestbook.wsgi", "--chdir", str(PROJECT))


def test_the_page_has_a_form_and_sets_the_csrf_cookie(site: Server, curl: Curl):
    answer = curl(f"{site.url}/")
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Set-Cookie"].startswith("csrftoken=")
    assert "Nobody has written anything yet." in answer.text
    assert TOKEN.search(answer.text)


def test_entries_of_a_form_stay_in_the_session(site: Server):
    with site.client(follow_redirects=True) as client:
        for name in ("Zoë", "<Max>"):
            [token] = set(TOKEN.findall(client.get("/").text)[:1])
            form = {"csrfmiddlewaretoken": token, "name": name, "message": "was here"}
            answer = client.post("/", data=form)
            assert answer.status_code == 200
            assert [earlier.status_code for earlier in answer.history] == [302]
        page = client.get("/").text
        assert "<b>Zoë</b>: was here" in page
        assert "<b>&lt;Max&gt;</b>: was here" in page
    assert "Nobody has written anything yet." in site.client().get("/").text


def test_curl_signs_the_guestbook_with_a_cookie_jar(site: Server, curl: Curl, tmp_path: Path):
    jar = ["--cookie", str(tmp_path / "jar"), "--cookie-jar", str(tmp_path / "jar")]
    match = TOKEN.search(curl(*jar, f"{site.url}/").text)
    assert match
    form = ["--data-urlencode", "name=curl", "--data-urlencode", "message=a & b"]
    answer = curl(*jar, *form, "--data", f"csrfmiddlewaretoken={match[1]}", f"{site.url}/")
    assert (answer.status, answer.headers["Location"], answer.body) == (302, "/", b"")
    assert any(cookie.startswith("sessionid=") for cookie in answer.headers.get_all("Set-Cookie", []))
    assert "<b>curl</b>: a &amp; b" in curl(*jar, f"{site.url}/").text


@pytest.mark.parametrize("path", ["/", "/upload/"])
def test_a_form_without_its_token_is_forbidden(site: Server, path: str):
    with site.client() as client:
        client.get("/")
        answer = client.post(path, data={"name": "Eve", "message": "hello"})
        assert answer.status_code == 403
        assert "CSRF verification failed" in answer.text


def test_a_form_that_is_incomplete_comes_back(site: Server):
    with site.client() as client:
        token = TOKEN.findall(client.get("/").text)[0]
        answer = client.post("/", data={"csrfmiddlewaretoken": token, "name": "Zoë"})
        assert answer.status_code == 400
        assert "This field is required." in answer.text


@pytest.mark.parametrize("size", [1, 70_000, 5_000_000])
def test_an_uploaded_file_arrives_whole(site: Server, curl: Curl, tmp_path: Path, size: int):
    file = tmp_path / "photo ü.jpg"
    file.write_bytes(os.urandom(size))
    expected = {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": size}
    with site.client() as client, file.open("rb") as opened:
        token = TOKEN.findall(client.get("/").text)[0]
        form = {"csrfmiddlewaretoken": token}
        answer = client.post("/upload/", data=form, files={"file": (file.name, opened)})
        assert (answer.status_code, answer.json()) == (200, expected)
        cookie = f"csrftoken={client.cookies['csrftoken']}"
    fields = ["--form", f"csrfmiddlewaretoken={token}", "--form", f"file=@{file}"]
    assert json.loads(curl("--cookie", cookie, *fields, f"{site.url}/upload/").body) == expected


@pytest.mark.parametrize("size", [0, 5, 2_000_000])
def test_a_body_with_a_length_is_the_body_of_the_request(site: Server, curl: Curl, size: int):
    body = os.urandom(size)
    answer = curl("--data-binary", "@-", "--header", "Content-Type: application/x", f"{site.url}/body/", data=body)
    assert json.loads(answer.body) == {
        "content_length": str(size),
        "length": size,
        "sha256": hashlib.sha256(body).hexdigest(),
    }


@pytest.mark.parametrize("size", [5, 70_000, 2_000_000])
def test_a_chunked_body_is_the_body_of_the_request(site: Server, curl: Curl, size: int):
    body = os.urandom(size)
    expected = {"content_length": str(size), "length": size, "sha256": hashlib.sha256(body).hexdigest()}

    def generate() -> Iterator[bytes]:
        yield from (body[i : i + 10_000] for i in range(0, size, 10_000))

    assert json.loads(curl("-T", "-", f"{site.url}/body/", data=body).body) == expected
    answer = site.client().post("/body/", content=generate())
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json() == expected


def test_a_chunked_upload_of_a_form_arrives_whole(site: Server, curl: Curl, tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_bytes(os.urandom(4_000_000))
    with site.client() as client:
        token = TOKEN.findall(client.get("/").text)[0]
        cookie = f"csrftoken={client.cookies['csrftoken']}"
    fields = ["--form", f"csrfmiddlewaretoken={token}", "--form", f"file=@{file}"]
    chunked = ["--header", "Transfer-Encoding: chunked"]
    answer = curl("--cookie", cookie, *chunked, *fields, f"{site.url}/upload/")
    assert answer.status == 200
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_body_above_djangos_limit_is_refused_by_django(site: Server):
    with site.client() as client:
        assert client.post("/body/", content=bytes(2_700_000)).status_code == 400
        assert client.post("/body/", content=b"next").json()["length"] == 4


def test_a_streamed_response_arrives_whole(site: Server, curl: Curl):
    answer = curl(f"{site.url}/stream/?n=1000")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert answer.text == "".join(f"line {i}\n" for i in range(1000))


def test_the_first_line_of_a_stream_arrives_before_the_last_is_made(server: StartServer, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site = server(None, "--chdir", str(PROJECT), app_source=GATED, env={"GATE": str(gate)})
    with site.client().stream("GET", "/gated/") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "first"
        gate.write_bytes(b"!")
        assert list(lines) == ["last"]


def test_a_file_response_is_a_download(site: Server, curl: Curl):
    source = (PROJECT / "guestbook" / "views.py").read_bytes()
    answer = curl(f"{site.url}/source/")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="views.py"'
    assert answer.headers["Content-Length"] == str(len(source))
    assert answer.body == source


def test_an_unchanged_page_is_not_sent_again(site: Server):
    with site.client() as client:
        first = client.get("/about/")
        assert first.text == "A guestbook that every visitor has to herself.\n"
        again = client.get("/about/", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Transfer-Encoding" not in again.headers
        assert client.get("/about/").content == first.content


@pytest.mark.parametrize("path", ["/", "/about/", "/source/", "/stream/"])
def test_head_is_get_without_the_body(site: Server, path: str):
    with site.client() as client:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.headers.get("Content-Length") == got.headers.get("Content-Length")


def test_an_unknown_path_is_djangos_404(site: Server, curl: Curl):
    answer = curl(f"{site.url}/nothing/")
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert "<h1>Not Found</h1>" in answer.text


def test_a_missing_slash_is_redirected_with_the_host_of_the_request(site: Server, curl: Curl):
    answer = curl(f"{site.url}/about")
    assert (answer.status, answer.headers["Location"]) == (301, "/about/")


def test_a_wrong_method_is_djangos_405(site: Server):
    answer = site.client().get("/upload/")
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["Allow"] == "POST"


def test_a_host_that_is_not_allowed_is_djangos_400(site: Server, curl: Curl):
    answer = curl("--header", "Host: evil.example", f"{site.url}/about")
    assert answer.status == 400
    assert "<h1>Bad Request (400)</h1>" in answer.text


def test_many_kinds_of_requests_share_one_connection(site: Server):
    host = b"Host: localhost\r\n"
    with site.connect() as connection:
        reader = AnswerReader(connection)
        for request, status in [
            (b"GET / HTTP/1.1\r\n" + host + b"\r\n", 200),
            (b"HEAD /source/ HTTP/1.1\r\n" + host + b"\r\n", 200),
            (b"GET /stream/ HTTP/1.1\r\n" + host + b"\r\n", 200),
            (b"GET /nothing/ HTTP/1.1\r\n" + host + b"\r\n", 404),
            (b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n\r\na=b", 403),
            (b"GET /source/ HTTP/1.1\r\n" + host + b"\r\n", 200),
        ]:
            connection.sendall(request)
            assert reader.read(request.split()[0].decode()).status == status
