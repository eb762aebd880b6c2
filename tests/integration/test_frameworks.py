"""Flask and Django on each worker class that serves WSGI applications: forms, uploads, sessions and streams."""

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable

import pytest

from integration.running import EXAMPLES, Server, StartServer

LIBRARIES = {"gthread": "", "sync": "", "gevent": "gevent", "eventlet": "eventlet", "tornado": "tornado"}
"""The worker classes, and the library that each needs."""
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
PROJECT = EXAMPLES / "django_site"
OnClass = Callable[..., Server]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                bool(library) and importlib.util.find_spec(library) is None, reason=f"{library} is missing"
            ),
        )
        for name, library in LIBRARIES.items()
    ],
)
def on_class(request: pytest.FixtureRequest, module_server: StartServer) -> OnClass:
    """Start servers with each worker class in turn."""
    return lambda app, *arguments: module_server(app, "-k", request.param, *arguments)


@pytest.fixture(scope="module")
def flask_site(on_class: OnClass) -> Server:
    return on_class("flask_app:app")


@pytest.fixture(scope="module")
def django_site(on_class: OnClass) -> Server:
    return on_class("guestbook.wsgi", "--chdir", str(PROJECT))


def test_flask_answers_forms_json_and_errors(flask_site: Server):
    with flask_site.client() as client:
        assert "<h1>Hello Zoë &amp; &lt;Max&gt;!</h1>" in client.post("/", data={"name": "Zoë & <Max>"}).text
        assert client.post("/api/sum", json={"numbers": [1, 2, 39]}).json() == {"count": 3, "sum": 42}
        assert client.post("/api/sum", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
        assert client.get("/nothing").status_code == 404
        assert [client.get("/visits").json()["visits"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 70_000, 3_000_000])
def test_flask_gets_uploads_and_bodies_whole(flask_site: Server, size: int):
    body = os.urandom(size)
    digest = hashlib.sha256(body).hexdigest()
    with flask_site.client() as client:
        told = client.post("/upload", files={"file": ("photo ü.jpg", body)}).json()
        assert told == {"name": "photo ü.jpg", "sha256": digest, "size": size}
        assert client.post("/body", content=body).json()["sha256"] == digest
        pieces = (body[at : at + 10_000] for at in range(0, max(1, size), 10_000))
        assert client.post("/body", content=pieces).json()["sha256"] == digest


def test_flask_streams_and_sends_files_ranges_and_what_has_not_changed(flask_site: Server):
    source = (EXAMPLES / "flask_app.py").read_bytes()
    with flask_site.client() as client:
        assert client.get("/stream?n=1000").text == "".join(f"line {number}\n" for number in range(1000))
        first = client.get("/source")
        assert first.content == source
        assert client.get("/source", headers={"Range": "bytes=100-299"}).content == source[100:300]
        assert client.get("/source", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
        assert client.head("/source").headers["Content-Length"] == str(len(source))


def test_django_keeps_sessions_and_checks_tokens(django_site: Server):
    with django_site.client(follow_redirects=True) as client:
        for name in ("Zoë", "<Max>"):
            token = TOKEN.findall(client.get("/").text)[0]
            form = {"csrfmiddlewaretoken": token, "name": name, "message": "was here"}
            assert [each.status_code for each in client.post("/", data=form).history] == [302]
        page = client.get("/").text
        assert "<b>Zoë</b>: was here" in page
        assert "<b>&lt;Max&gt;</b>: was here" in page
        assert client.post("/", data={"name": "Eve", "message": "hello"}).status_code == 403


@pytest.mark.parametrize("size", [1, 70_000, 2_000_000])
def test_django_gets_uploads_and_bodies_whole(django_site: Server, size: int):
    body = os.urandom(size)
    digest = hashlib.sha256(body).hexdigest()
    with django_site.client() as client:
        token = TOKEN.findall(client.get("/").text)[0]
        sent = client.post("/upload/", data={"csrfmiddlewaretoken": token}, files={"file": ("photo.jpg", body)})
        assert sent.json() == {"name": "photo.jpg", "sha256": digest, "size": size}
        assert client.post("/body/", content=body).json()["sha256"] == digest
