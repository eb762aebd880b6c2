"""The end under load and against the clock: who waits is served, who is idle is told, and a second word hurries."""

import os
import signal
import socket
import time

import pytest

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI_ONCE, ONE_REQUEST, USUAL_KIND, differs
from integration.load import LAST_GET, Load
from integration.processes import is_pending, processes
from integration.reloading import signal_and_wait, source, start_reloadable
from integration.running import Server, StartServer, accepts, wait_until
from integration.staging import GET, Theatre, ask
from integration.wire import connect, ends_in_order

pytestmark = AND_ASGI_ONCE

QUICK = 6.0
"""Seconds in which a quick end is over, on a busy machine too."""
READINESS = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ready" if environ["greenhorn.ready"]() else b"leaving"]
"""


def ask_all(site: Server, count: int, request: bytes) -> list[socket.socket]:
    """Return so many new connections, on each of which the request was sent."""
    connections = [connect(site) for _ in range(count)]
    for connection in connections:
        connection.sendall(request)
    return connections


def assert_all_told(connections: list[socket.socket]) -> None:
    """Check that all get 200 with the word that the connection closes, and then an orderly end."""
    for connection in connections:
        reader = AnswerReader(connection)
        answer = reader.read()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert reader.rest() == b""
        connection.close()


def wait_for_the_end_of_listening(site: Server, kind: str) -> None:
    """Return when nobody accepts connections any more; with sync that is not before the application returns."""
    if kind != "sync":
        wait_until(lambda: not accepts(site.url), what="the end of listening")


@pytest.mark.parametrize("connections", [8, 1000], ids=["full of connections", "with room for more"])
def test_term_answers_what_runs_and_fifty_that_wait_in_the_listen_queue(stage: Theatre, kind: str, connections: int):
    site = stage.start("--threads", "1", "--worker-connections", str(connections))
    running, held = stage.hold(site)
    [worker] = site.worker_pids()
    site.pause(worker)
    waiting = ask_all(site, 50, ask("/slow?20"))
    site.signal(signal.SIGTERM)
    wait_until(lambda: is_pending(worker, signal.SIGTERM), what="the master's signal to the worker")
    os.kill(worker, signal.SIGCONT)
    wait_for_the_end_of_listening(site, kind)
    held.release()
    assert_all_told([running, *waiting])
    assert site.wait(QUICK) == 0
    assert "ERROR" not in site.log()


def test_clients_that_ask_all_the_time_get_an_answer_or_are_refused_when_it_stops(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    clients = Load(site.port, 8)
    clients.start()
    clients.more(100)
    site.signal(signal.SIGTERM)
    assert site.wait(QUICK) == 0
    clients.stop()
    assert all("Refused" in failure for failure in clients.failures), clients.failures
    assert "ERROR" not in site.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_int_and_quit_cut_off_what_runs(stage: Theatre, number: signal.Signals):
    site = stage.start()
    running, _ = stage.hold(site)
    began = time.monotonic()
    site.signal(number)
    assert site.wait(QUICK) == 0
    assert time.monotonic() - began < QUICK
    with pytest.raises(ConnectionError):
        AnswerReader(running).read()


@USUAL_KIND
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_second_signal_hurries(stage: Theatre, second: signal.Signals):
    site = stage.start(workers=2)
    stage.hold(site)
    site.signal(signal.SIGTERM)
    site.wait_for_log("Handling signal: term")
    wait_until(lambda: len(site.worker_pids()) == 1, what="the end of the worker that has nothing to do")
    began = time.monotonic()
    site.signal(second)
    assert site.wait(QUICK) == 0
    assert time.monotonic() - began < QUICK


@differs("sync", row=ONE_REQUEST)
def test_an_idle_kept_connection_is_told_with_a_request_sent_just_after_term(stage: Theatre):
    site = stage.start()
    running, held = stage.hold(site)
    kept = [connect(site) for _ in range(5)]
    readers = [AnswerReader(connection) for connection in kept]
    for connection, reader in zip(kept, readers, strict=True):
        connection.sendall(GET)
        assert reader.read().headers["Connection"] != "close"
    with connect(site) as silent:
        site.signal(signal.SIGTERM)
        for connection, reader in zip(kept[:4], readers, strict=False):
            connection.sendall(GET)
            assert reader.read().status == 200
        told = [connection for connection in kept[:4] if ends_in_order(connection)]
        assert len(told) == 4
        assert ends_in_order(kept[4]), "one that is silent is closed in order"
        assert ends_in_order(silent)
    held.release()
    assert_all_told([running])
    assert site.wait(QUICK) == 0


def readiness(connection: socket.socket, reader: AnswerReader) -> tuple[str, bool]:
    """Return what the application knows of readiness, and whether the connection is kept."""
    connection.sendall(GET)
    answer = reader.read()
    return answer.text, answer.headers["Connection"] != "close"


@differs("sync", row=ONE_REQUEST)
def test_shutdown_delay_serves_on_after_term_while_readiness_says_no(server: StartServer):
    site = server(None, "--shutdown-delay", "1", app_source=READINESS, workers=2)
    with connect(site) as kept:
        reader = AnswerReader(kept)
        assert readiness(kept, reader) == ("ready", True)
        began = time.monotonic()
        signal_and_wait(site, signal.SIGTERM, "Stopping in 1 s")
        wait_until(lambda: site.request(GET).text == "leaving", what="the word of it")
        # It is another worker that may have it, which hears of it a moment later.
        wait_until(lambda: readiness(kept, reader)[1] is False, what="the last answer of the kept connection")
        assert reader.rest() == b""
    answer = site.request(GET)
    assert (answer.status, answer.text, answer.headers["Connection"]) == (200, "leaving", "close")
    assert site.wait(QUICK) == 0
    assert time.monotonic() - began >= 1


def test_nobody_is_turned_away_during_shutdown_delay_and_a_worker_that_comes_late_knows(server: StartServer):
    site = server(None, "--shutdown-delay", "60", app_source=READINESS)
    [first] = site.worker_pids()
    clients = Load(site.port, 4)
    clients.start()
    try:
        clients.more(20)
        signal_and_wait(site, signal.SIGTERM, "Stopping in 60 s")
        signal_and_wait(site, signal.SIGTTIN, "Worker ready")
        clients.more(50)
        site.signal(signal.SIGTTOU)
        wait_until(lambda: first not in site.worker_pids(), what="the end of the first worker")
        assert {answer.text for answer in clients.more(50)} == {"leaving"}
    finally:
        clients.stop()
    assert not clients.failures
    signal_and_wait(site, signal.SIGHUP, "Handling signal: hup")
    began = time.monotonic()
    site.signal(signal.SIGTERM)
    assert site.wait(QUICK) == 0, "a second TERM ends the delay"
    assert time.monotonic() - began < QUICK


@USUAL_KIND
def test_a_quick_stop_does_not_wait_for_the_shutdown_delay(server: StartServer):
    site = server(None, "--shutdown-delay", "60", app_source=READINESS)
    signal_and_wait(site, signal.SIGTERM, "Stopping in 60 s")
    site.signal(signal.SIGINT)
    assert site.wait(QUICK) == 0


def test_a_stop_while_workers_boot_is_quick(server: StartServer):
    app = source("one", "import threading; threading.Event().wait(60)")
    site = server(app_source=app, workers=2, ready=False)
    site.wait_for_log("Booting worker(.|\n)*Booting worker")
    site.signal(signal.SIGTERM)
    assert site.wait(QUICK) == 0


@USUAL_KIND
def test_a_stop_during_a_reload_ends_both_generations(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    (site.folder / "written.py").write_text(source("two", "import threading; threading.Event().wait(60)"))
    signal_and_wait(site, signal.SIGHUP, "Booting worker")
    site.signal(signal.SIGTERM)
    assert site.wait(QUICK) == 0
    assert "ERROR" not in site.log()


def group(site: Server) -> list[int]:
    """Return the living processes of the server."""
    return [process.pid for process in processes() if process.group == site.pid]


def test_workers_of_a_killed_master_leave_when_they_have_served_who_waits(stage: Theatre, kind: str):
    site = stage.start("--threads", "1", workers=1)
    running, held = stage.hold(site)
    [worker] = site.worker_pids()
    site.pause(worker)
    waiting = ask_all(site, 10, LAST_GET)
    site.signal(signal.SIGKILL)
    assert site.wait() == -signal.SIGKILL
    os.kill(worker, signal.SIGCONT)
    wait_for_the_end_of_listening(site, kind)
    held.release()
    assert_all_told([running, *waiting])
    wait_until(lambda: not group(site), what="the end of the worker")
    assert f"The master is gone: worker {worker} finishes what it has and leaves" in site.log()


def test_a_booting_worker_whose_master_was_killed_leaves(server: StartServer):
    site = server(app_source=source("one", "import threading; threading.Event().wait(1)"), ready=False)
    site.wait_for_log("Booting worker")
    site.signal(signal.SIGKILL)
    assert site.wait() == -signal.SIGKILL
    wait_until(lambda: not group(site), what="the end of the worker")
