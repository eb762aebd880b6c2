"""Start, exchange and stop of workers that serve ASGI: signals, lifespan, max_requests, and what is in flight."""

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any, Protocol

import pytest

from integration.answers import AnswerReader
from integration.asgi import FAMILY, Site
from integration.load import GET, LAST_GET, load
from integration.reloading import SERVES, ready_workers, signal_and_wait, wait_for_others, write_config
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.staging import DUMP

HELD = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"
LIFE = """
async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    await receive()
    BODY
"""
"""An application whose lifespan is still to be written."""


class Start(Protocol):
    """Starts the application `asgi_plain`."""

    def __call__(self, *arguments: str, **options: Any) -> Site: ...


@pytest.fixture(params=FAMILY)
def start(server: StartServer, tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    return lambda *arguments, **options: Site(
        server, tmp_path, "asgi_plain:application", *arguments, kind=request.param, **options
    )


def hold(site: Site) -> socket.socket:
    """Return a connection with a request that the application holds."""
    connection = site.server.connect()
    connection.sendall(HELD)
    site.wait_for("held")
    return connection


def test_the_application_is_told_of_start_and_stop(start: Start):
    site = start()
    assert site.notes() == ["up"]
    site.server.stop()
    assert site.notes() == ["up", "down"]


def test_without_a_lifespan_it_is_told_of_neither(start: Start):
    site = start("--asgi-lifespan", "off")
    assert site.server.request(LAST_GET).status == 200
    site.server.stop()
    assert site.notes() == []


def lifespan(body: str) -> str:
    return LIFE.replace("BODY", body)


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_an_application_that_cannot_start_ends_the_start_as_one_that_cannot_be_imported(server: StartServer, mode: str):
    body = 'await send({"type": "lifespan.startup.failed", "message": "no database"})'
    site = server(None, "-k", "asgi", "--asgi-lifespan", mode, app_source=lifespan(body), ready=False, exit_code=3)
    assert site.wait(DEADLINE) == 3
    site.wait_for_log("the application's lifespan cannot start:\nno database")


def test_what_a_lifespan_raises_is_told_and_by_default_no_reason_not_to_serve(server: StartServer):
    source = lifespan('raise LookupError("here")')
    site = server(None, "-k", "asgi", app_source=source, allow_traceback=True)
    assert site.request(LAST_GET).status == 200
    site.wait_for_log("is left out since asgi_lifespan is auto:\n(.*\n)+LookupError: here")
    arguments = ("-k", "asgi", "--asgi-lifespan", "on")
    strict = server(None, *arguments, app_source=source, ready=False, exit_code=3, allow_traceback=True)
    assert strict.wait(DEADLINE) == 3
    strict.wait_for_log("lifespan cannot start:\n(.*\n)+LookupError: here")


def test_a_lifespan_that_fails_to_stop_is_told(server: StartServer):
    body = (
        'await send({"type": "lifespan.startup.complete"}); await receive(); '
        'await send({"type": "lifespan.shutdown.failed", "message": "still busy"})'
    )
    site = server(None, "-k", "asgi", app_source=lifespan(body))
    site.stop()
    site.wait_for_log("lifespan failed to stop:\nstill busy")


def test_a_reload_whose_application_cannot_start_is_given_up(start: Start):
    site = start("--asgi-lifespan", "on", config="", allow_traceback=True)
    before = site.server.worker_pids()
    write_config(site.server, 'import os\nraw_env = ["NOTES=/nonexistent/notes"]\n')
    signal_and_wait(site.server, signal.SIGHUP, "The reload is given up")
    assert site.server.worker_pids() == before
    assert site.server.request(LAST_GET).status == 200


def test_term_lets_a_request_finish_serves_who_waits_and_says_close(start: Start):
    site = start()
    kept = site.server.connect()
    kept.sendall(GET)
    assert "Connection" not in AnswerReader(kept).read().headers
    held = hold(site)
    site.server.signal(signal.SIGTERM)
    site.server.wait_for_log("Handling signal: term")
    wait_until(lambda: kept.recv(1) == b"", what="the end of the idle connection")
    site.open_gate()
    answer = AnswerReader(held).read()
    assert (answer.text, answer.headers["Connection"]) == ("held", "close")
    assert site.server.wait() == 0
    assert site.notes()[-1] == "down"


def test_requests_that_do_not_end_are_cancelled_when_the_time_is_over(start: Start):
    site = start("--graceful-timeout", "1")
    held = hold(site)
    site.server.signal(signal.SIGTERM)
    assert site.server.wait() == 0
    assert held.recv(65536)[9:12] in (b"", b"500")
    assert site.notes() == ["up", "held", "cancelled", "down"]
    site.server.wait_for_log("1 requests are cancelled: the time to finish is over")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_at_once(start: Start, number: signal.Signals):
    site = start()
    hold(site)
    site.server.signal(number)
    assert site.server.wait(5) == 0


def test_a_function_that_blocks_in_a_thread_does_not_hold_up_the_end(start: Start):
    site = start("--graceful-timeout", "2", config="def worker_exit(server, worker):\n    worker.log.info('told')\n")
    for turn, number in enumerate((signal.SIGINT, signal.SIGTERM), 1):
        worker = site.server.worker_pid()
        with site.server.connect() as connection:
            connection.sendall(HELD.replace(b"held", b"block"))
            wait_until(lambda turn=turn: site.notes().count("blocks") == turn, what="the request")
            os.kill(worker, number)
            wait_for_others(site.server, [worker], 1)
            site.server.wait_for_log(rf"Worker \(pid:{worker}\) exited with code 0")
    assert site.server.log().count("told") == 2


def test_a_worker_whose_master_dies_leaves(start: Start):
    site = start(exit_code=-signal.SIGKILL)
    worker = site.server.worker_pid()
    site.server.signal(signal.SIGKILL)
    assert site.server.wait() == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), what="the end of the worker")
    assert site.notes() == ["up", "down"]


def test_reloads_under_load_lose_no_request(start: Start):
    site = start(config="workers = 2\n", workers=None)
    with load(site.server) as clients:
        for _ in range(2):
            old = ready_workers(site.server)
            clients.more(100)
            site.server.signal(signal.SIGHUP)
            wait_for_others(site.server, old, 2)
        clients.more(100)
    assert SERVES in site.server.log()


def test_max_requests_under_load_lose_no_request(start: Start):
    site = start("--max-requests", "150", "--max-requests-jitter", "50", workers=2)
    first = site.server.worker_pids()
    with load(site.server) as clients:
        answers = clients.more(800)
        wait_until(lambda: not set(first) & set(site.server.worker_pids()), what="other workers")
    assert len({answer.text for answer in answers}) >= 3
    for pid in first:
        site.server.wait_for_log(rf"max_requests is reached: worker {pid} asks to be exchanged")
        site.server.wait_for_log(rf"Worker \(pid:{pid}\) exited with code 0")


def test_term_under_load_answers_whoever_was_let_in(start: Start):
    site = start(workers=2)
    connections = [site.server.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(LAST_GET)
    site.server.signal(signal.SIGTERM)
    assert [AnswerReader(connection).read().status for connection in connections] == [200] * 20
    assert site.server.wait() == 0


def test_a_second_master_takes_over_without_a_lost_request(start: Start, tmp_path: Path):
    pidfile = tmp_path / "pid"
    site = start("--pid", str(pidfile))
    with load(site.server) as clients:
        clients.more(50)
        site.server.signal(signal.SIGUSR2)
        second = wait_until(
            lambda: Path(f"{pidfile}.2").exists() and Path(f"{pidfile}.2").read_text(), what="a pidfile"
        )
        site.server.wait_for_log(rf"\[{second.strip()}\][^\n]*Using worker")
        wait_until(lambda: len(re.findall("Worker ready", site.server.log())) == 2, what="the second worker")
        os.kill(int(second), signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{int(second)}").exists(), what="the end of the second master")
        clients.more(50)


def test_what_is_in_flight_is_logged_when_asked(start: Start):
    site = start()
    hold(site)
    site.server.signal(DUMP)
    site.server.wait_for_log(r"In flight: GET /held for [\d.]+ s, from 127\.0\.0\.1:\d+:\n(.*\n)*.*in hold")
    site.server.wait_for_log("1 in flight, 0 WebSockets, 1 connections")
    site.open_gate()


@pytest.mark.parametrize("grace", ["0", "1"])
def test_a_request_whose_client_has_left_is_cancelled_after_the_grace_period(start: Start, grace: str):
    site = start("--asgi-disconnect-grace-period", grace)
    hold(site).close()
    site.wait_for("cancelled")
    assert "ERROR" not in site.server.log()


def test_a_request_that_takes_too_long_is_answered_504(start: Start):
    site = start("--request-timeout", "1", "--access-logfile", "-")
    assert AnswerReader(hold(site)).read().status == 504
    site.server.wait_for_log("Request beyond request_timeout: GET /held")
    wait_until(lambda: re.search(r'"GET /held HTTP/1.1" 504 ', site.server.stdout()), what="the line")


def test_an_idle_connection_gives_way_where_there_is_no_more_room(start: Start):
    site = start("--worker-connections", "2")
    idle = [site.server.connect() for _ in range(2)]
    for connection in idle:
        connection.sendall(GET)
        AnswerReader(connection).read()
    assert site.server.request(LAST_GET).status == 200
    assert idle[0].recv(1) == b""


def test_who_finds_no_room_waits_for_it(start: Start):
    site = start("--worker-connections", "1")
    held = hold(site)
    waiting = site.server.connect()
    waiting.sendall(LAST_GET)
    site.server.wait_for_log("Accepting pauses: worker_connections are reached")
    site.open_gate()
    assert AnswerReader(held).read().status == 200
    assert AnswerReader(waiting).read().status == 200


HOOKS = """
def pre_request(worker, req):
    worker.log.info("before %s %s %s %s", req.method, req.uri, req.scheme, dict(req.headers)["X-ASKED"])
    req.headers.append(("X-ADDED", "by the hook"))

def post_request(worker, req, environ, resp):
    worker.log.info("after %s %s %s %s %d", req.path, environ["type"], resp.status, resp.status_code, worker.nr)
"""


def test_request_hooks_see_requests_and_answers(start: Start):
    site = start(config=HOOKS).server
    answer = site.request(b"GET /scope?a=1 HTTP/1.1\r\nHost: x\r\nX-Asked: yes\r\nConnection: close\r\n\r\n")
    assert '["x-added", "by the hook"]' in answer.text
    site.wait_for_log(r"before GET /scope\?a=1 http yes")
    site.wait_for_log("after /scope http 200 OK 200 1")


def test_a_hook_that_fails_is_a_500(start: Start):
    site = start(config="def pre_request(worker, req):\n    raise LookupError(req.uri)\n", allow_traceback=True).server
    assert site.request(LAST_GET).status == 500
    site.wait_for_log("pre_request failed for GET /")


def test_access_lines_have_the_atoms_and_ids_reach_the_application(start: Start):
    form = "%(h)s %(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(f)s %({x-asked}i)s %({content-type}o)s %(id)s %(L)s"
    arguments = ("--access-logfile", "-", "--access-logformat", form, "--forwarded-hops", "1")
    site = start(*arguments).server
    fields = "X-Asked: yes\r\nReferer: there\r\nX-Forwarded-For: 198.51.100.7\r\nX-Request-Id: abc-1\r\n"
    answer = site.request(f"GET /scope?a=1 HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n".encode())
    line = wait_until(site.stdout, what="the line").split()
    size = str(len(answer.body))
    assert line[:-1] == [
        "198.51.100.7",
        "GET",
        "/scope",
        "a=1",
        "HTTP/1.1",
        "200",
        size,
        "there",
        "yes",
        "text/plain",
        "abc-1",
    ]
    assert 0 < float(line[-1]) < DEADLINE
    assert '["x-request-id", "abc-1"]' in answer.text


def test_a_worker_whose_loop_stands_still_is_replaced(server: StartServer):
    source = """
import threading
async def application(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/stuck":
        threading.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""
    site: Server = server(None, "-k", "asgi", "--timeout", "2", app_source=source, allow_traceback=True)
    first = site.worker_pid()
    connection = site.connect()
    connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: ready_workers(site) not in ([], [first]), what="another worker")
    assert site.request(LAST_GET).status == 200


@pytest.mark.parametrize("worker_class", FAMILY)
@pytest.mark.parametrize("flag", [(), ("--check-config",)], ids=["start", "check"])
def test_where_uvicorn_is_missing_one_line_says_what_to_install(
    server: StartServer, tmp_path: Path, worker_class: str, flag: tuple[str, ...]
):
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')")
    without = {"PYTHONPATH": str(tmp_path)}
    site = server("wsgi_app", "-k", worker_class, *flag, env=without, ready=False, exit_code=1)
    assert site.wait() == 1
    [line] = site.log().splitlines()
    assert line.endswith(
        f"worker_class = {worker_class!r}: needs uvicorn, which is not installed: pip install 'greenhorn[asgi]'"
    )
