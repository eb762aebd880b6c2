"""Real frameworks on the worker class asgi: FastAPI with a WebSocket, a lifespan and a stream; Django by ASGI."""

import re
import signal
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from integration.answers import AnswerReader
from integration.asgi import FAMILY, Site
from integration.running import EXAMPLES, StartServer, wait_until

DJANGO = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guestbook.settings")
application = get_asgi_application()
"""


@pytest.fixture(params=FAMILY)
def site(server: StartServer, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(server, tmp_path, "asgi_fastapi:application", "--access-logfile", "-", kind=request.param)


def websocket_url(site: Site, path: str) -> str:
    return f"{site.server.url.replace('http', 'ws')}{path}"


def test_a_request_has_what_the_lifespan_left(site: Site):
    assert site.server.client().get("/", params={"name": "Ada"}).json() == {
        "name": "Ada",
        "shelf": "books",
        "client": "127.0.0.1",
    }
    site.server.stop()
    assert site.notes() == ["up", "down"]


def test_bodies_are_streamed_in(site: Site):
    assert site.server.client().post("/count", content=b"x" * 5_000_000).json() == {"bytes": 5_000_000}


def test_functions_that_block_run_in_a_thread(site: Site):
    assert site.server.client().get("/blocking").json() == {"ran": "in a thread"}


def test_a_stream_leaves_piece_by_piece(site: Site):
    with site.server.client().stream("GET", "/lines") as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first\n"
        site.open_gate()
        assert next(pieces) == "last\n"


def test_a_stream_that_runs_at_term_is_sent_to_its_end(site: Site):
    connection = site.server.connect()
    connection.sendall(b"GET /lines HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = AnswerReader(connection).begin()
    assert answer.read(6) == b"first\n"
    site.server.signal(signal.SIGTERM)
    site.server.wait_for_log("Handling signal: term")
    site.open_gate()
    assert answer.read() == b"last\n"
    assert site.server.wait() == 0


def test_a_background_task_ends_before_the_worker_does(site: Site):
    assert site.server.client().get("/later").status_code == 200
    site.server.signal(signal.SIGTERM)
    site.server.wait_for_log("Handling signal: term")
    site.open_gate()
    assert site.server.wait() == 0
    assert site.notes() == ["up", "worked", "down"]


def test_messages_of_a_websocket_come_back_and_its_end_is_a_line(site: Site):
    with connect(websocket_url(site, "/chat?room=1")) as chat:
        for word in ("hello", "world" * 5000):
            chat.send(word)
            assert chat.recv() == f"you said {word}"
    site.wait_for("closed 1000")
    size = 2 * len("you said ") + len("hello") + 25000
    wait_until(lambda: re.search(rf'"GET /chat\?room=1 HTTP/1.1" 101 {size} ', site.server.stdout()), what="the line")


def test_websockets_are_told_that_the_service_restarts(site: Site):
    with connect(websocket_url(site, "/chat")) as chat:
        chat.send("hello")
        chat.recv()
        site.server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            chat.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert site.server.wait() == 0
    assert site.notes() == ["up", "closed 1012", "down"]


def test_websockets_move_to_the_new_workers_at_a_reload(site: Site):
    with connect(websocket_url(site, "/chat")) as chat:
        chat.send("hello")
        chat.recv()
        site.server.signal(signal.SIGHUP)
        with pytest.raises(ConnectionClosed):
            chat.recv()
    with connect(websocket_url(site, "/chat")) as chat:
        chat.send("again")
        assert chat.recv() == "you said again"


@pytest.mark.parametrize("worker_class", FAMILY)
def test_a_message_that_is_too_large_closes_the_websocket(server: StartServer, tmp_path: Path, worker_class: str):
    site = Site(server, tmp_path, "asgi_plain:application", "--websocket-max-message-size", "1000", kind=worker_class)
    with connect(websocket_url(site, "/")) as echo:
        echo.send("x" * 1000)
        assert len(echo.recv()) == 1000
        echo.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            echo.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("worker_class", FAMILY)
def test_a_websocket_that_the_application_denies_is_a_403_and_a_line(
    server: StartServer, tmp_path: Path, worker_class: str
):
    site = Site(server, tmp_path, "asgi_plain:application", "--access-logfile", "-", kind=worker_class)
    with pytest.raises(InvalidStatus) as denied, connect(websocket_url(site, "/denied")):
        pass
    assert denied.value.response.status_code == 403
    wait_until(lambda: '"GET /denied HTTP/1.1" 403 0 ' in site.server.stdout(), what="the line")


@pytest.mark.parametrize("worker_class", FAMILY)
def test_django_is_served(server: StartServer, worker_class: str):
    project = EXAMPLES / "django_site"
    site = server("written:application", "-k", worker_class, app_source=DJANGO, pythonpath=(project,))
    client = site.client()
    page = client.get("/")
    assert page.status_code == 200
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[0]
    assert client.post("/", data={"name": "Ada", "message": "hi", "csrfmiddlewaretoken": token}).status_code == 302
    assert "hi" in client.get("/").text
    assert client.post("/", data={"name": "Ada"}).status_code == 403
    assert client.post("/body/", content=b"x" * 300_000).json()["length"] == 300_000
