"""The end: what runs is finished, what waits is served, and nothing is left, however the server is ended."""

import os
import signal
import time

import pytest

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI_ONCE, CANCELLED, ONE_REQUEST, differs
from integration.processes import is_pending, processes
from integration.reloading import signal_and_wait
from integration.running import Server, StartServer, accepts, wait_until
from integration.staging import GET, Theatre
from integration.wire import connect

pytestmark = AND_ASGI_ONCE

QUICK = 6.0
"""Seconds in which a quick end is over, on a busy machine too."""


def wait_for_the_end_of_listening(site: Server, kind: str) -> None:
    """Return when nobody accepts connections any more; with sync that is not before the application returns."""
    if kind != "sync":
        wait_until(lambda: not accepts(site.url), what="the end of listening")


def test_a_request_that_runs_at_term_is_finished_and_closes_its_connection(stage: Theatre, kind: str):
    site = stage.start()
    connection, held = stage.hold(site)
    signal_and_wait(site, signal.SIGTERM, "Handling signal: term")
    wait_for_the_end_of_listening(site, kind)
    held.release()
    reader = AnswerReader(connection)
    answer = reader.read()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert reader.rest() == b""
    assert site.wait(QUICK) == 0


def test_an_answer_that_has_begun_at_term_arrives_whole(stage: Theatre, kind: str):
    site = stage.start()
    connection, held = stage.hold(site, "/begun")
    reader = AnswerReader(connection)
    answer = reader.begin()
    assert answer.read(5) == b"begun"
    signal_and_wait(site, signal.SIGTERM, "Handling signal: term")
    wait_for_the_end_of_listening(site, kind)
    held.release()
    assert answer.read() == b"ended"
    assert reader.rest() == b""
    assert site.wait(QUICK) == 0


def test_a_body_that_is_on_its_way_at_term_is_awaited(holding: StartServer):
    site = holding()
    with connect(site) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha")
        assert site.request(GET).status == 200
        site.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(site.url), what="the end of listening")
        connection.sendall(b"lf")
        reader = AnswerReader(connection)
        answer = reader.read("POST")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert reader.rest() == b""
        connection.close()
    assert site.wait(QUICK) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_wait_in_the_listen_queue_at_term_are_served(holding: StartServer, workers: int):
    site = holding(workers=workers)
    pids = site.worker_pids()
    for pid in pids:
        site.pause(pid)
    waiting = [connect(site) for _ in range(20)]
    for connection in waiting:
        connection.sendall(GET)
    site.signal(signal.SIGTERM)
    for pid in pids:
        wait_until(lambda: is_pending(pid, signal.SIGTERM), what="the master's signal to the worker")  # noqa: B023 - now
        os.kill(pid, signal.SIGCONT)
    for connection in waiting:
        reader = AnswerReader(connection)
        answer = reader.read()
        # One that is answered before the worker comes to its signal is kept, and ends like an idle one.
        assert (answer.status, answer.headers["Connection"]) in ((200, "close"), (200, None))
        assert reader.rest() == b""
        connection.close()
    assert site.wait(QUICK) == 0


@differs("sync", row=ONE_REQUEST)
def test_a_request_that_follows_on_a_kept_connection_at_term_is_served(holding: StartServer):
    site = holding()
    kept = [connect(site) for _ in range(10)]
    readers = [AnswerReader(connection) for connection in kept]
    for connection, reader in zip(kept, readers, strict=True):
        connection.sendall(GET)
        assert reader.read().status == 200
    [pid] = site.worker_pids()
    site.pause(pid)
    for connection in kept:
        connection.sendall(GET)
    site.signal(signal.SIGTERM)
    wait_until(lambda: is_pending(pid, signal.SIGTERM), what="the master's signal to the worker")
    os.kill(pid, signal.SIGCONT)
    for connection, reader in zip(kept, readers, strict=True):
        assert reader.read().status == 200  # "close" or not: it may be begun before the worker looks at its signals
        assert reader.rest() == b""
        connection.close()
    assert site.wait(QUICK) == 0


def test_connections_without_a_request_do_not_hold_up_the_end(holding: StartServer):
    site = holding()
    kept = [connect(site) for _ in range(10)]
    for connection in kept[:5]:
        connection.sendall(GET)
        assert AnswerReader(connection).read().status == 200
    assert site.request(GET).status == 200
    began = time.monotonic()
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert time.monotonic() - began < QUICK
    for connection in kept:
        assert connection.recv(1) == b""


@differs("asgi", "asgi-h11", row=CANCELLED)
def test_a_request_that_hangs_is_cut_off_after_the_graceful_timeout(stage: Theatre):
    site = stage.start("--graceful-timeout", "1")
    connection, _ = stage.hold(site)
    began = time.monotonic()
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert 1.0 <= time.monotonic() - began < QUICK
    with pytest.raises(ConnectionError):
        AnswerReader(connection).read()


@pytest.mark.parametrize("numbers", [["INT"], ["QUIT"], ["TERM", "INT"], ["TERM", "QUIT"]], ids=" then ".join)
def test_int_and_quit_end_quickly_although_a_request_hangs(stage: Theatre, numbers: list[str]):
    site = stage.start(workers=2)
    stage.hold(site)
    began = time.monotonic()
    for name in numbers:
        site.signal(signal.Signals[f"SIG{name}"])
        site.wait_for_log(f"Handling signal: {name.lower()}" if name == numbers[0] else ".")
    assert site.wait() == 0
    assert time.monotonic() - began < QUICK


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_ends_it_as_one_to_the_master_does(holding: StartServer, number: signal.Signals):
    site = holding(workers=2)
    os.killpg(site.pid, number)
    assert site.wait(QUICK) == 0
    assert "ERROR" not in site.log()


def group(site: Server) -> list[int]:
    """Return the living processes of the server."""
    return [process.pid for process in processes() if process.group == site.pid]


def test_workers_whose_master_was_killed_leave_and_free_the_port(holding: StartServer):
    site = holding(workers=2)
    with connect(site) as idle:
        idle.sendall(GET)
        assert AnswerReader(idle).read().status == 200
        site.signal(signal.SIGKILL)
        assert site.wait() == -signal.SIGKILL
        wait_until(lambda: not group(site), what="the end of the workers")
        assert not accepts(site.url)
        assert idle.recv(1) == b""


def test_workers_whose_master_was_killed_finish_what_runs(stage: Theatre, kind: str):
    site = stage.start()
    connection, held = stage.hold(site)
    site.signal(signal.SIGKILL)
    assert site.wait() == -signal.SIGKILL
    wait_for_the_end_of_listening(site, kind)
    held.release()
    assert AnswerReader(connection).read().status == 200
    wait_until(lambda: not group(site), what="the end of the worker")
