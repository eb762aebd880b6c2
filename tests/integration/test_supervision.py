"""The master and its workers: each is there, at work, and replaced when it dies or no longer turns."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.running import READY, Server, StartServer, wait_until
from integration.staging import wait_seconds
from integration.wire import connect

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def start(server: StartServer, applications: Path) -> StartServer:
    def started(app: str | None = "holding", *arguments: str, **options: object) -> Server:
        return server(app, *arguments, pythonpath=(applications,), **options)

    return started


def wait_for_workers(site: Server, count: int) -> list[int]:
    """Return the pids of the workers when so many of them have ever been ready."""
    wait_until(lambda: len(READY.findall(site.log())) >= count, what=f"{count} workers that were ready")
    return site.worker_pids()


def test_every_worker_says_that_it_is_ready_and_they_are_processes_of_their_own(start: StartServer):
    site = start(workers=3)
    pids = site.worker_pids()
    assert sorted(map(int, READY.findall(site.log()))) == pids
    assert len(set(pids)) == 3
    assert site.pid not in pids


def test_every_worker_serves(start: StartServer):
    site = start(workers=2)
    one, other = site.worker_pids()
    for resting, working in ((one, other), (other, one)):
        site.pause(resting)
        assert int(site.request(GET).text) == working
        os.kill(resting, signal.SIGCONT)


def test_a_worker_that_is_killed_is_replaced_at_once_and_the_log_says_why(start: StartServer):
    site = start()
    [killed] = site.worker_pids()
    began = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    [replacement] = wait_for_workers(site, 2)
    assert time.monotonic() - began < 3.0
    assert replacement != killed
    assert int(site.request(GET).text) == replacement
    assert re.search(rf"ERROR\] .*\b{killed}\b.*SIGKILL", site.log())


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_worker_that_ends_in_any_way_is_replaced(start: StartServer, number: signal.Signals):
    site = start()
    [ended] = site.worker_pids()
    os.kill(ended, number)
    wait_for_workers(site, 2)
    wait_until(lambda: ended not in site.worker_pids(), what="its end")
    [replacement] = site.worker_pids()
    assert int(site.request(GET).text) == replacement != ended
    assert re.search(rf"\b{ended}\b", "\n".join(re.findall(r"^.*Worker \(pid:.*$", site.log(), re.MULTILINE)))


def test_a_worker_that_the_application_ends_is_replaced(server: StartServer):
    source = "import os\ndef application(environ, start_response):\n"
    source += "    if environ['PATH_INFO'] == '/die': os._exit(7)\n"
    source += "    start_response('200 OK', [])\n    return [b'alive']\n"
    site = server(app_source=source)
    with connect(site) as connection:
        connection.sendall(b"GET /die HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionError):
            AnswerReader(connection).read()
    wait_for_workers(site, 2)
    assert site.request(GET).body == b"alive"
    site.wait_for_log("exited with code 7")


def test_workers_that_die_again_and_again_are_replaced_ever_later(start: StartServer):
    site = start()
    for number in range(1, 5):
        [pid] = wait_for_workers(site, number)
        os.kill(pid, signal.SIGKILL)
        site.wait_for_log(rf"ERROR\] .*\b{pid}\b.*SIGKILL")
    wait_for_workers(site, 5)
    ends = re.findall(r"ERROR\] .*SIGKILL(.*)$", site.log(), re.MULTILINE)
    delays = [float(found[1]) if (found := re.search(r"in ([\d.]+) s", end)) else 0.0 for end in ends]
    assert len(delays) == 4
    assert delays[0] == 0.0
    assert 0.0 < delays[1] <= delays[2] < delays[3]  # two deaths within a moment may count as one
    assert site.request(GET).status == 200


def test_a_stop_is_quick_while_a_replacement_waits_for_its_time(start: StartServer):
    site = start()
    for number in range(1, 5):
        [pid] = wait_for_workers(site, number)
        assert site.request(GET).status == 200
        wait_seconds(time.monotonic(), 0.3)  # the master hears of a worker that is ready a moment after the log
        os.kill(pid, signal.SIGKILL)
        site.wait_for_log(rf"ERROR\] .*\b{pid}\b.*SIGKILL")
    began = time.monotonic()
    assert site.stop() == 0
    assert time.monotonic() - began < 3.0


def test_a_worker_whose_loop_stands_still_is_replaced_and_the_others_go_on(holding: StartServer, gate: Path):
    site = holding("holding", "--timeout", "2", workers=2)
    connection = connect(site)
    connection.sendall(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = AnswerReader(connection).begin()
    busy = int(answer.readline())
    [still] = set(site.worker_pids()) - {busy}
    site.pause(still)
    site.wait_for_log(rf"CRITICAL\] WORKER TIMEOUT \(pid: ?{still}\)")
    wait_for_workers(site, 3)
    pids = site.worker_pids()
    assert still not in pids
    assert busy in pids, "a long request is no reason"
    gate.write_bytes(b"!")
    assert answer.read() == b"end"
    assert site.request(GET).status == 200


def test_the_shortest_timeout_spares_workers_that_turn(start: StartServer):
    site = start("holding", "--timeout", "1", workers=4)
    pids = site.worker_pids()
    with pytest.raises(AssertionError, match="in vain"):
        site.wait_for_log("WORKER TIMEOUT", timeout=3.0)
    assert site.worker_pids() == pids


def test_a_worker_that_is_aborted_has_time_for_its_hook_and_its_stacks(server: StartServer):
    config = "import threading\ndef worker_abort(worker):\n    threading.Event().wait(0.7)\n"
    config += "    worker.log.info('told of it: %s', worker.pid)\n"
    source = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    site = server(None, "--timeout", "1", app_source=source, config=config, workers=2)
    still, _ = site.worker_pids()
    site.pause(still)
    site.wait_for_log(rf"CRITICAL\] WORKER TIMEOUT \(pid: ?{still}\)")
    os.kill(still, signal.SIGCONT)
    wait_for_workers(site, 3)
    assert f"told of it: {still}\n" in site.log()
    site.wait_for_log(rf"Worker \(pid:{still}\) (exited with code 1|was ended by SIGABRT)")


def test_a_master_that_is_busy_for_longer_than_the_timeout_blames_no_worker(server: StartServer):
    config = "import threading\ndef on_reload(server):\n    threading.Event().wait(2.2)\n"
    source = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    site = server(None, "--timeout", "1", app_source=source, config=config, workers=2)
    site.signal(signal.SIGHUP)
    site.wait_for_log("The new generation serves")
    assert "WORKER TIMEOUT" not in site.log()


def test_signals_that_are_not_for_a_stop_do_not_stop(start: StartServer):
    site = start(workers=2)
    pids = site.worker_pids()
    for name in ("USR1", "WINCH"):
        site.signal(getattr(signal, f"SIG{name}"))
        site.wait_for_log(f"{name.lower()}|{name}")
    assert site.worker_pids() == pids
    assert site.request(GET).status == 200
