"""Whatever an application, a full disk or a short resource does, the server goes on serving everybody else."""

import os
import resource
import signal
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.running import READY, Server, StartServer, wait_until
from integration.wire import connect, is_readable, receive_to_end, reset

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def hostile(server: StartServer, applications: Path) -> StartServer:
    """Start the application that misbehaves, with two threads."""

    def start(*arguments: str, **options: object) -> Server:
        return server("hostile", "--threads", "2", *arguments, pythonpath=(applications,), **options)

    return start


def ask(path: str, method: str = "GET", body: bytes | None = None) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + length + b"\r\n" + (body or b"")


def serves(site: Server) -> bool:
    return site.request(GET).status == 200


@pytest.mark.parametrize("request_bytes", [ask("/closes"), ask("/closes", "POST", b"x" * 10)], ids=["GET", "POST"])
def test_an_application_that_closes_the_clients_socket_costs_no_thread(hostile: StartServer, request_bytes: bytes):
    site = hostile()
    for _ in range(6):
        with connect(site) as connection:
            connection.sendall(request_bytes)
            receive_to_end(connection)
    for _ in range(4):
        assert serves(site)


def test_uploads_to_a_full_disk_are_refused_and_cost_no_thread(hostile: StartServer):
    site = hostile(env={"FILE_SIZE": "200000"}, allow_traceback=True)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    for _ in range(4):
        with connect(site) as connection:
            connection.sendall(head + b"x" * 1_000_000)
            assert AnswerReader(connection).read().status == 500
    for _ in range(4):
        connection = connect(site)
        connection.sendall(head + b"x" * 195_000)
        reset(connection)
    assert serves(site)
    site.wait_for_log("cannot keep a request's body")


def test_an_upload_to_a_full_disk_that_is_given_up_costs_no_worker(hostile: StartServer):
    site = hostile("--body-timeout", "1", env={"FILE_SIZE": "200000"}, allow_traceback=True)
    with connect(site) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 195_000)
        assert AnswerReader(connection).read().status == 408
    assert serves(site)


def test_an_answer_that_a_full_disk_cannot_keep_ends_its_connection(hostile: StartServer):
    site = hostile(env={"FILE_SIZE": "200000"}, allow_traceback=True)
    with connect(site) as connection:
        connection.sendall(ask("/large"))
        site.wait_for_log("cannot keep the answer to GET /large")
        received = receive_to_end(connection)
    assert 0 < len(received) < 8_000_000
    assert not received.endswith(b"0\r\n\r\n")
    assert serves(site)


@pytest.mark.parametrize(
    "request_bytes", [ask("/endless", "HEAD"), ask("/endless-with-length")], ids=["HEAD", "Content-Length"]
)
def test_an_endless_body_of_which_no_more_can_leave_is_not_asked_for_more(hostile: StartServer, request_bytes: bytes):
    site = hostile()
    for _ in range(4):
        with connect(site) as connection:
            connection.sendall(request_bytes)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    for _ in range(3):
        assert serves(site)


def test_a_write_after_the_answer_is_complete_is_refused(hostile: StartServer):
    site = hostile()
    with connect(site) as connection:
        reader = AnswerReader(connection)
        connection.sendall(ask("/keep-write"))
        assert reader.read().body == b"early"
        connection.sendall(ask("/write-late"))
        assert reader.read().body == b"refused"


def test_a_forked_child_that_exits_answers_nobody(hostile: StartServer):
    site = hostile()
    with connect(site) as connection:
        reader = AnswerReader(connection)
        connection.sendall(ask("/fork"))
        assert reader.read().body == b"child ended with 7"
        connection.sendall(GET)
        assert reader.read().body == b"0"


def test_idle_connections_make_room_for_new_ones(hostile: StartServer):
    site = hostile("--worker-connections", "10")
    kept = [connect(site) for _ in range(10)]
    for connection in kept:
        connection.sendall(GET)
        assert AnswerReader(connection).read().status == 200
    for _ in range(20):
        assert serves(site)
    wait_until(lambda: any(is_readable(connection, 0) for connection in kept), what="the end of one of them")


def test_a_master_that_cannot_start_a_worker_tries_again(hostile: StartServer):
    site = hostile(workers=2)
    limits = resource.prlimit(site.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(site.pid, resource.RLIMIT_NOFILE, (5, limits[1]))
    os.kill(site.worker_pids()[0], signal.SIGKILL)
    site.wait_for_log("Cannot start a worker")
    assert serves(site)
    resource.prlimit(site.pid, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: len(READY.findall(site.log())) == 3, what="the worker that replaces the dead one")


LOGGING = """
import logging, logging.config
logging.config.dictConfig({
    "version": 1,
    "handlers": {"wsgi": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["wsgi"]},
})

def application(environ, start_response):
    environ["wsgi.errors"].write("said by the application\\n")
    if environ["PATH_INFO"] == "/fails":
        raise RuntimeError("zq83")
    start_response("200 OK", [])
    return [b"x"]
"""


def test_an_application_that_configures_logging_loses_no_line(server: StartServer):
    # The file is the standard error stream by its path: logging closes files when it is configured anew.
    site = server(None, "--error-logfile", "/dev/stderr", app_source=LOGGING, allow_traceback=True)
    assert serves(site)
    assert site.request(ask("/fails")).status == 500
    site.wait_for_log("^said by the application$")
    site.wait_for_log("zq83")


SIGNALS = """
import asyncio, signal
loop = asyncio.new_event_loop()
loop.add_signal_handler(signal.SIGTERM, print)
loop.close()

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""


def test_an_application_that_uses_signals_while_it_is_imported_does_not_keep_its_worker_from_stopping(
    server: StartServer,
):
    site = server(app_source=SIGNALS)
    assert serves(site)
    site.signal(signal.SIGTERM)
    assert site.wait(5) == 0
    assert "killed" not in site.log()
