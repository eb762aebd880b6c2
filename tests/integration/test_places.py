"""worker_connections, for each worker class: who leaves when all places are taken, and who waits for one."""

import os
import signal
import time

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI, BUSY, ONE_REQUEST, differs
from integration.running import Server, StartServer, wait_until
from integration.wire import is_readable

pytestmark = AND_ASGI

PLACES = 5
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SLOW = """
import time
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def start(server: StartServer, *arguments: str) -> Server:
    return server(None, "--worker-connections", str(PLACES), "--threads", "1", *arguments, app_source=SLOW)


def start_sleeping(server: StartServer, kind: str) -> Server:
    return start(server) if kind == "sync" else start(server, "--threads", str(PLACES))


@differs("sync", row=ONE_REQUEST)
def test_nobody_leaves_while_each_has_a_place(server: StartServer):
    site = start(server)
    worker = site.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    connections = [site.connect() for _ in range(PLACES)]
    os.kill(worker, signal.SIGCONT)
    for _ in range(2):
        for connection in connections:
            connection.sendall(GET)
            assert AnswerReader(connection).read().status == 200
    assert not any(is_readable(connection, 0.2 if connection is connections[0] else 0) for connection in connections)


@differs("sync", row=ONE_REQUEST)
def test_who_comes_when_all_places_are_taken_gets_one_of_an_idle_connection(server: StartServer):
    site = start(server)
    connections = [site.connect() for _ in range(PLACES)]
    for connection in connections:
        connection.sendall(GET)
        assert AnswerReader(connection).read().status == 200
    for _ in range(3):
        assert site.request(LAST_GET).status == 200
    wait_until(lambda: any(is_readable(connection, 0) for connection in connections), what="the end of one of them")
    assert sum(is_readable(connection, 0) for connection in connections) <= 3


@differs("sync", row=BUSY)
def test_who_comes_when_all_are_at_work_waits_and_is_answered(server: StartServer, kind: str):
    site = start_sleeping(server, kind)
    working = [site.connect() for _ in range(PLACES)]
    for connection in working:
        connection.sendall(LAST_GET.replace(b"/", b"/?0.7", 1))
    time.sleep(0.2)
    waiting = [site.connect() for _ in range(PLACES)]
    for connection in waiting:
        connection.sendall(LAST_GET)
    site.wait_for_log(r"Accepting pauses: worker_connections are reached")
    assert {AnswerReader(connection).read().status for connection in (*working, *waiting)} == {200}


def test_a_stop_answers_who_waits_for_a_place(server: StartServer, kind: str):
    site = start_sleeping(server, kind)
    connections = [site.connect() for _ in range(3 * PLACES)]
    for connection in connections:
        connection.sendall(LAST_GET.replace(b"/", b"/?0.3", 1))
    time.sleep(0.2)
    site.signal(signal.SIGTERM)
    assert {AnswerReader(connection).read().status for connection in connections} == {200}
