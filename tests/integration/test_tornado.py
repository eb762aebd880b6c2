"""The worker class tornado: Flask in threads, and applications of Tornado's own in the loop."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.load import load
from integration.reloading import wait_for_others
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.slow_clients import ask, is_reset_within
from integration.wire import connect, receive_to_end

websocket = pytest.importorskip("tornado.websocket")

K = ("--worker-class", "tornado")
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def native(server: StartServer, applications: Path, gate: Path) -> Callable[..., Server]:
    def start(*arguments: str, **options: Any) -> Server:
        env = {"GATE": str(gate)}
        return server("on_tornado:app", *K, *arguments, pythonpath=(applications,), env=env, **options)

    return start


def told(site: Server, request: bytes = LAST) -> dict[str, Any]:
    """Return what the application says of a request."""
    answer = site.request(request)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def test_flask_is_served_by_threads_and_its_answers_have_their_lines(server: StartServer):
    site = server("flask_app:app", *K, "--access-logfile", "-")
    assert "Using worker: tornado" in site.log()
    with site.client() as client:
        assert [client.get("/").status_code for _ in range(3)] == [200] * 3
    lines = wait_until(lambda: site.stdout().splitlines()[2:], what="three lines")
    assert re.fullmatch(r'127\.0\.0\.1 - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "-" "python-httpx.+"', lines[0])


def test_as_many_wsgi_requests_run_at_once_as_there_are_threads(server: StartServer):
    source = """
import threading
together = threading.Barrier(3)
def application(environ, start_response):
    together.wait(10)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""
    site = server(None, *K, "--threads", "3", app_source=source)
    connections = [site.connect() for _ in range(3)]
    for connection in connections:
        connection.sendall(GET)
    assert [AnswerReader(connection).read().status for connection in connections] == [200] * 3


def test_a_native_application_answers_with_coroutines_and_knows_its_client(native: Callable[..., Server]):
    site = native("--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %(B)s %(h)s")
    asked = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX_Hidden: 1\r\nConnection: close\r\n\r\n"
    found = told(site, asked)
    assert (found["client"], found["scheme"]) == ("127.0.0.1", "https")
    assert "X_hidden" not in found["fields"]
    assert (
        site.request(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody").text == "body"
    )
    wait_until(lambda: "POST / 200 4 127.0.0.1" in site.stdout(), what="the line of the answer")
    assert "tornado.access" not in site.log()


def test_who_is_not_trusted_cannot_say_who_the_client_is(native: Callable[..., Server]):
    site = native("--forwarded-allow-ips", "192.0.2.1", "--forwarded-hops", "1")
    fields = b"X-Forwarded-For: 203.0.113.5\r\nX-Real-Ip: 203.0.113.6\r\nX-Forwarded-Proto: https\r\n"
    found = told(site, LAST.replace(b"Host", fields + b"Host"))
    assert (found["client"], found["scheme"]) == ("127.0.0.1", "http")


def test_the_client_that_a_trusted_proxy_tells_is_the_applications(native: Callable[..., Server]):
    site = native("--forwarded-hops", "1")
    found = told(site, LAST.replace(b"Host", b"X-Forwarded-For: 192.0.2.9, 203.0.113.5\r\nHost"))
    assert found["client"] == "203.0.113.5"


def test_a_native_answer_streams_and_leaves_whole(native: Callable[..., Server]):
    site = native()
    body = site.request(b"GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body
    assert body == b"".join(b"%d" % (number % 10) * 100_000 for number in range(50))


def test_a_websocket_talks_and_is_told_when_the_server_leaves(native: Callable[..., Server]):
    site = native("--graceful-timeout", "10")

    async def talk() -> tuple[Any, Any, Any]:
        socket = await websocket.websocket_connect(site.url.replace("http", "ws") + "/socket")
        await socket.write_message("hello")
        echoed = await socket.read_message()
        site.signal(signal.SIGTERM)
        after = await socket.read_message()
        socket.close()
        return echoed, after, socket.close_code

    assert asyncio.run(talk()) == ("hello", None, 1001)
    assert site.wait() == 0


def test_a_native_handler_that_fails_is_told_once_in_the_error_log(native: Callable[..., Server]):
    site = native(allow_traceback=True)
    assert site.request(b"GET /failing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status == 500
    site.wait_for_log(r"\[ERROR\] Uncaught exception GET /failing")
    assert site.log().count("this handler fails") == 2  # the line of the source, and the exception


def test_a_wsgi_container_is_an_application_of_tornados(server: StartServer, applications: Path):
    site = server("on_tornado:contained", *K, pythonpath=(applications,))
    assert site.request(b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").text == "/here"


def test_with_preload_nobody_is_warned_of_what_tornado_does_not_do(native: Callable[..., Server]):
    site = native("--preload")
    assert site.request(LAST).status == 200
    assert "WARNING" not in site.log()


def test_many_clients_that_read_nothing_of_a_native_answer_are_all_cut_off(native: Callable[..., Server]):
    site = native("--write-timeout", "1")
    deaf = [ask(site, "/pieces") for _ in range(8)]
    for connection in deaf:
        with connection:
            assert is_reset_within(connection, DEADLINE)
    assert site.request(LAST).status == 200
    assert "ERROR" not in site.log()


def test_limits_hold_for_a_native_application(native: Callable[..., Server]):
    site = native("--limit-request-body", "10", "--limit-request-fields", "5", "--access-logfile", "-")
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"
    assert site.request(chunked).status == 413
    assert site.request(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n").status == 413
    assert site.request(LAST.replace(b"Host", b"A: b\r\n" * 5 + b"Host")).status == 431
    wait_until(lambda: site.stdout().count("limit_request_body") == 2, what="the reasons in the access log")


def test_term_lets_a_native_request_finish_and_closes_idle_connections(native: Callable[..., Server], gate: Path):
    site = native()
    idle, busy = connect(site), connect(site)
    idle.sendall(GET)
    assert AnswerReader(idle).read().status == 200
    busy.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = AnswerReader(busy).begin()
    site.signal(signal.SIGTERM)
    assert receive_to_end(idle) == b""
    gate.write_bytes(b"!")
    assert answer.read() == b"begun done"
    assert site.wait() == 0


def test_max_requests_and_hup_lose_no_request_of_a_native_application(native: Callable[..., Server]):
    site = native("--max-requests", "60", workers=2)
    first = wait_for_others(site, [], 2)
    with load(site) as clients:
        clients.more(200)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
        site.signal(signal.SIGHUP)
        site.wait_for_log("The new generation serves")
        answers = clients.more(100)
    assert len({json.loads(answer.text)["pid"] for answer in answers}) >= 1
    assert "ERROR" not in site.log()


def test_hooks_see_each_wsgi_request(server: StartServer):
    config = """
def pre_request(worker, request):
    worker.log.info("before %s", request.path)
def post_request(worker, request, environ, response):
    worker.log.info("after %s %s", environ["PATH_INFO"], response.status)
"""
    site = server("flask_app:app", *K, config=config)
    site.request(LAST)
    site.wait_for_log(r"before /$")
    site.wait_for_log(r"after / 200 OK$")


def test_usr2_to_the_worker_tells_what_is_in_flight(native: Callable[..., Server], gate: Path):
    site = native()
    busy = connect(site)
    busy.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = AnswerReader(busy).begin()
    os.kill(site.worker_pid(), signal.SIGUSR2)
    site.wait_for_log(r"In flight: GET /held for \d+\.\d s")
    gate.write_bytes(b"!")
    assert answer.read() == b"begun done"


def test_the_proxy_protocol_tells_handlers_the_client(native: Callable[..., Server]):
    site = native("--proxy-protocol", "v1")
    assert told(site, b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n" + LAST)["client"] == "192.0.2.1"
    assert told(site)["client"] == "127.0.0.1"
    assert site.request(b"PROXY nonsense\r\n\r\n").status == 400
