"""Workers that wear out, and workers that die: each is replaced, in order or at once, and the log says why."""

import os
import re
import signal

import pytest

from integration.kinds import AND_ASGI_ONCE, BUSY, CANCELLED, NO_TIMEOUT, NOT_STUCK, USUAL_KIND, differs
from integration.load import Load, load, slowest, usual
from integration.reloading import ready_workers, signal_and_wait, source, start_reloadable, wait_for_others
from integration.resources import NEEDS_PROC
from integration.running import READY, StartServer, wait_until
from integration.staging import GET, Theatre

pytestmark = AND_ASGI_ONCE

GAP = 0.75
"""Seconds that an exchange may cost the slowest request on a busy machine; it would be a second if nobody served."""
BLINK = 0.25
"""The same for 99 of 100 requests."""
SLOW_IMPORT = "import threading; threading.Event().wait(1)"
EXCHANGED = re.compile(r"Worker \(pid:(\d+)\) is exchanged")


def serving_over_time(log: str) -> list[int]:
    """Return how many workers were ready and not told to leave, after each line of the log that changes it."""
    serving: set[str] = set()
    counts = []
    for line in log.splitlines():
        if ready := READY.search(line):
            serving.add(ready[1])
        elif told := EXCHANGED.search(line):
            serving.discard(told[1])
        else:
            continue
        counts.append(len(serving))
    return counts


def assert_never_fewer(log: str, least: int) -> None:
    """Check that once so many workers were ready there always were."""
    counts = serving_over_time(log)
    assert min(counts[counts.index(least) :]) >= least, counts


def test_max_requests_exchanges_workers_under_load_without_a_failed_or_slow_request(server: StartServer):
    config = "workers = 2\nmax_requests = 100\nmax_requests_jitter = 40\n"
    site = start_reloadable(server, source("one"), config=config, workers=None)
    first = wait_for_others(site, [], 2)
    with load(site) as clients:
        answers = clients.more(1000)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
    assert len({answer.text for answer in answers}) >= 4
    assert_never_fewer(site.log(), 2)
    assert "ERROR" not in site.log()
    for pid in first:
        site.wait_for_log(rf"max_requests is reached: worker {pid} asks to be exchanged")
        site.wait_for_log(rf"Worker \(pid:{pid}\) exited with code 0")


def test_workers_that_wear_out_together_leave_one_by_one_when_another_is_ready(server: StartServer):
    site = start_reloadable(server, source("one", SLOW_IMPORT), "--max-worker-lifetime", "2", workers=2)
    first = site.worker_pids()
    with load(site) as clients:
        before = clients.more(50)
        mark = len(clients.answers)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
        during = clients.answers[mark:]
    assert_never_fewer(site.log(), 2)
    assert max(serving_over_time(site.log())) == 3
    assert slowest(during) < slowest(before) + GAP
    assert usual(during) < usual(before) + BLINK
    for pid in first:
        assert f"max_worker_lifetime is over: worker {pid} asks to be exchanged" in site.log()


LEAKING = """
import os
leak = []
def application(environ, start_response):
    leak.append(b"x" * 1048576)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


@NEEDS_PROC
def test_a_worker_that_leaks_is_exchanged_before_it_grows_too_large(server: StartServer):
    site = server(None, "--max-worker-memory", "100M", app_source=LEAKING)
    [first] = site.worker_pids()
    with load(site, 2) as clients:
        wait_until(lambda: first not in site.worker_pids() or clients.failures, what="another worker")
        assert clients.more(10)[-1].text != str(first)
    assert re.search(
        rf"max_worker_memory is exceeded \([1-9]\d\d MiB\): worker {first} asks to be exchanged", site.log()
    )
    assert_never_fewer(site.log(), 1)
    assert "ERROR" not in site.log()


@differs("sync", row=BUSY)
def test_a_worker_that_wears_out_finishes_what_runs(stage: Theatre):
    site = stage.start("--max-requests", "3")
    connection, held = stage.hold(site)
    for _ in range(3):
        assert site.request(GET).status == 200
    site.wait_for_log(rf"Worker \(pid:{held.pid}\) is exchanged")
    wait_until(lambda: int(site.request(GET).text) != held.pid, what="an answer of another one")
    held.release()
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    wait_until(lambda: held.pid not in site.worker_pids(), what="the end of the old worker")


@differs("asgi", row=CANCELLED)
def test_a_worker_that_hangs_when_it_is_to_leave_is_cut_off(stage: Theatre, kind: str):
    site = stage.start("--graceful-timeout", "1")
    connection, held = stage.hold(site)
    signal_and_wait(site, signal.SIGHUP, f"Worker (pid:{held.pid}) is exchanged")
    wait_until(lambda: held.pid not in site.worker_pids(), what="the end of the old worker")
    assert site.request(GET).status == 200
    assert connection.recv(1) == b"", "cut off without an answer"
    end = "was ended by SIGKILL" if kind == "sync" else "exited with code 0"  # sync cannot end it by itself
    site.wait_for_log(rf"Worker \(pid:{held.pid}\) {end}")


@USUAL_KIND
def test_a_worker_that_stands_still_when_it_is_to_leave_is_killed(server: StartServer):
    site = start_reloadable(server, source("one"), "--graceful-timeout", "1")
    [old] = site.worker_pids()
    site.pause(old)
    signal_and_wait(site, signal.SIGHUP, f"Worker (pid:{old}) is exchanged")
    wait_for_others(site, [old])
    site.wait_for_log(rf"Worker \(pid:{old}\) was ended by SIGKILL$")  # and no guess about memory: the master did it


DEATHS = {
    "SIGKILL": ("signal.raise_signal(9)", r"was ended by SIGKILL, which was not sent from here"),
    "SIGSEGV": ("signal.raise_signal(11)", r"was ended by SIGSEGV"),
    "SIGBUS": ("signal.raise_signal(7)", r"was ended by SIGBUS"),
    "a real-time signal": ("signal.raise_signal(40)", r"was ended by signal 40"),
    "exit code": ("os._exit(77)", r"exited with code 77"),
    "exit code 3": ("os._exit(3)", r"exited with code 3"),
    "exit code 4": ("os._exit(4)", r"exited with code 4"),
}
DYING = """
import os, signal
def application(environ, start_response):
    if environ["PATH_INFO"] == "/die":
        {}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


@USUAL_KIND
@pytest.mark.parametrize(("act", "said"), DEATHS.values(), ids=DEATHS)
def test_a_worker_that_dies_is_replaced_at_once_and_the_log_says_how(server: StartServer, act: str, said: str):
    site = server(app_source=DYING.format(act))
    [first] = site.worker_pids()
    assert site.exchange(b"GET /die HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    [other] = wait_for_others(site, [first])
    assert int(site.request(GET).text) == other
    assert re.search(rf"ERROR\] Worker \(pid:{first}\) {said}", site.log())
    assert "the next one starts in" not in site.log()


def test_only_requests_inside_a_killed_worker_fail(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2)
    clients = Load(site.port, 8)
    clients.start()
    try:
        for _ in range(3):
            clients.more(40)
            killed, _ = ready_workers(site)
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda pid=killed: pid not in site.worker_pids(), what="its end")
            wait_until(lambda: len(ready_workers(site)) == 2, what="its replacement")
            answered = len(clients.answers) + 40
            wait_until(lambda count=answered: len(clients.answers) >= count, what="answers of the others")
            assert len(clients.failures) <= 8, "each client had one request at most"
            assert "refused" not in "".join(clients.failures)
            clients.failures.clear()
        clients.more(40)
    finally:
        clients.stop()


@USUAL_KIND
def test_deaths_one_after_the_other_delay_the_next_worker_but_never_for_long_if_it_serves(server: StartServer):
    site = server(app_source=DYING.format("os._exit(77)"))
    for number in range(1, 6):
        wait_until(lambda count=number: len(READY.findall(site.log())) >= count, what="a worker")
        assert site.exchange(b"GET /die HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    wait_until(lambda: len(READY.findall(site.log())) == 6, what="a worker")
    delays = [float(text) for text in re.findall(r"the next one starts in ([\d.]+) s", site.log())]
    assert delays == sorted(delays)
    assert delays[0] == 0.25
    assert delays[-1] <= 5
    assert site.request(GET).status == 200


@differs("sync", row=NO_TIMEOUT)
@differs("asgi", row=NOT_STUCK)
def test_a_worker_whose_threads_are_stuck_is_exchanged_for_one_that_is_ready_first(stage: Theatre):
    site = stage.start("--request-timeout", "1", "--max-stuck-threads", "0")
    connection, held = stage.hold(site)
    assert connection.recv(65536).startswith(b"HTTP/1.1 504 ")
    site.wait_for_log(rf"Worker \(pid:{held.pid}\) is exchanged")
    [other] = [pid for pid in ready_workers(site) if pid != held.pid]
    wait_until(lambda: int(site.request(GET).text) == other, what="an answer of the other one")
    held.release()
    wait_until(lambda: site.worker_pids() == [other], what="the end of the old one")
    assert_never_fewer(site.log(), 1)
