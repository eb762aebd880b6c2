"""The worker class sync: one request at a time in the main thread, and clients that wait cost it nothing."""

import re
import signal
import time
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.green import APPLICATIONS, GET, ask_all, read_all, text
from integration.load import load
from integration.reloading import SERVES, signal_and_wait, wait_for_others
from integration.running import Server, StartServer, wait_until
from integration.slow_clients import ask as ask_for_large
from integration.staging import ask
from integration.wire import connect, ends_in_order, receive_to_end, reset

MIB = 1024 * 1024
WHERE = """
import threading
inside = 0
most = 0

def application(environ, start_response):
    global inside, most
    inside += 1
    most = max(most, inside)
    if environ["PATH_INFO"] == "/slow":
        threading.Event().wait(0.05)
    inside -= 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    where = threading.current_thread() is threading.main_thread()
    multi = environ["wsgi.multithread"]
    return [f"{where} {most} {threading.active_count()} {multi}".encode()]
"""
"""An application that says where it runs, and how often at once at most."""


def start_sync(server: StartServer, *arguments: str, **options: object) -> Server:
    """Start the application `waiting` with one worker of the class sync, unless the options say how many."""
    return server("waiting", "-k", "sync", *arguments, pythonpath=(APPLICATIONS,), **options)


def test_one_request_at_a_time_runs_in_the_main_thread_and_there_is_no_other(server: StartServer):
    site = server(None, "-k", "sync", app_source=WHERE)
    assert read_all(ask_all(site, 20, "/slow")) == {"True 1 1 False"}


def test_each_connection_is_closed_behind_its_answer_and_says_so(server: StartServer):
    site = start_sync(server)
    with connect(site) as connection:
        connection.sendall(GET + GET)
        reader = AnswerReader(connection)
        assert reader.read().headers["Connection"] == "close"
        assert reader.rest() == b""


def test_half_heads_and_half_bodies_do_not_keep_it_from_others(server: StartServer):
    site = start_sync(server)
    heads = [connect(site) for _ in range(100)]
    bodies = [connect(site) for _ in range(100)]
    silent = [connect(site) for _ in range(100)]
    for connection in heads:
        connection.sendall(GET[:-2])
    for connection in bodies:
        connection.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    for _ in range(10):
        assert text(site, "/") == str(site.worker_pid())
    for connection in heads:
        connection.sendall(b"\r\n")
    assert read_all(heads) == {str(site.worker_pid())}
    assert all(connection.fileno() >= 0 for connection in silent)


def test_an_answer_that_nobody_reads_does_not_keep_it_from_others(server: StartServer):
    site = start_sync(server)
    with ask_for_large(site, "/large") as connection:
        assert text(site, "/") == str(site.worker_pid())
        assert len(receive_to_end(connection).partition(b"\r\n\r\n")[2]) == 16 * MIB


def test_deadlines_hold_for_clients_as_they_do_elsewhere(server: StartServer):
    site = start_sync(server, config="first_byte_timeout = header_timeout = body_timeout = 1\n")
    silent, head, body = (connect(site) for _ in range(3))
    head.sendall(GET[:-2])
    body.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    assert AnswerReader(head).read().status == 408
    assert AnswerReader(body).read("POST").status == 408
    assert ends_in_order(silent)
    assert text(site, "/") == str(site.worker_pid())


ABORTED = """
def worker_abort(worker):
    print("worker_abort", worker.pid, worker.aborted, worker.alive, flush=True)
def worker_exit(server, worker):
    print("worker_exit", worker.pid, flush=True)
"""


def test_a_request_longer_than_timeout_ends_the_worker_which_is_replaced(server: StartServer):
    site = start_sync(server, "--timeout", "1", config=ABORTED, allow_traceback=True)
    worker = site.worker_pid()
    with connect(site) as connection:
        connection.sendall(ask("/block?30000"))
        site.wait_for_log(rf"\[CRITICAL\] .*\(pid:{worker}\)")
        site.wait_for_log(r"waiting\.py.* in block")
        assert receive_to_end(connection) == b""
    wait_for_others(site, [worker])
    assert text(site, "/") != str(worker)
    assert site.stdout().splitlines()[:2] == [f"worker_abort {worker} True False", f"worker_exit {worker}"]


def test_many_short_requests_together_take_longer_than_timeout_and_harm_nobody(server: StartServer):
    site = start_sync(server, "--timeout", "1")
    worker = site.worker_pid()
    began = time.monotonic()
    assert read_all(ask_all(site, 12, "/sleep?150")) == {"slept"}
    assert time.monotonic() - began > 1.5
    assert site.worker_pid() == worker


@pytest.mark.parametrize("how", ["flag", "file"])
def test_with_threads_it_is_gthread(server: StartServer, how: str):
    flags = ("--threads", "2") if how == "flag" else ()
    site = start_sync(server, *flags, config="" if flags else "threads = 2\n")
    assert re.search(r"Using worker: gthread", site.log())
    with connect(site) as connection:
        connection.sendall(ask("/sleep?500"))
        assert text(site, "/") == str(site.worker_pid())
        assert AnswerReader(connection).read().text == "slept"


def test_settings_that_it_does_not_go_by_are_told_once(server: StartServer):
    site = start_sync(server, "--keep-alive", "7", "--max-requests", "10", config="queue_timeout = 3\n")
    told = [line for line in site.log().splitlines() if "has no effect with the worker class sync" in line]
    assert [line.partition("[WARNING] ")[2].split()[0] for line in told] == ["queue_timeout", "keepalive"]


def test_requests_go_to_workers_that_are_free(server: StartServer):
    site = start_sync(server, workers=2)
    with connect(site) as connection:
        connection.sendall(ask("/block?2000"))
        began = time.monotonic()
        others = {text(site, "/") for _ in range(20)}
        assert time.monotonic() - began < 1.5
        busy = AnswerReader(connection).read().text
    assert others == set(map(str, site.worker_pids())) - {busy}


def test_max_requests_and_hup_under_load_lose_no_request(server: StartServer):
    site = start_sync(server, workers=None, config="workers = 2\nmax_requests = 100\nmax_requests_jitter = 50\n")
    wait_until(lambda: len(re.findall("Worker ready", site.log())) >= 2, what="two workers")
    first = site.worker_pids()
    with load(site) as clients:
        clients.more(400)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
        signal_and_wait(site, signal.SIGHUP, SERVES)
        clients.more(200)
    assert "ERROR" not in site.log()


def test_term_answers_what_waits_and_what_is_in_the_listen_queue(server: StartServer):
    site = start_sync(server)
    connections = ask_all(site, 20, "/sleep?50")
    site.signal(signal.SIGTERM)
    answers = [AnswerReader(connection).read() for connection in connections]
    assert {(answer.status, answer.text) for answer in answers} == {(200, "slept")}
    assert site.wait() == 0


def test_an_application_that_wants_to_end_gets_an_answer_500_and_ends_nothing(server: StartServer):
    site = start_sync(server, allow_traceback=True)
    worker = site.worker_pid()
    assert site.request(ask("/fail")).status == 500
    assert text(site, "/") == str(worker)


def test_hooks_of_requests_are_called_in_the_same_thread(server: StartServer, tmp_path: Path):
    told = tmp_path / "told"
    config = f"""
import threading
def told(what):
    with open({str(told)!r}, "a") as file:
        print(what, threading.current_thread() is threading.main_thread(), file=file)
def pre_request(worker, req): told("pre " + req.path)
def post_request(worker, req, environ, resp): told("post " + resp.status)
"""
    site = start_sync(server, config=config)
    assert text(site, "/") == str(site.worker_pid())
    wait_until(lambda: told.exists() and told.read_text().count("\n") == 2, what="both hooks")
    assert told.read_text() == "pre / True\npost 200 OK True\n"


def test_requests_whose_clients_left_while_another_ran_are_dropped(server: StartServer):
    site = start_sync(server)
    first = ask_all(site, 1, "/sleep?500")
    second, *others = ask_all(site, 6, "/sleep?500")
    assert read_all(first) == {"slept"}
    for connection in others:
        reset(connection)
    began = time.monotonic()
    assert read_all([second]) == {"slept"}
    assert text(site, "/") == str(site.worker_pid())
    assert time.monotonic() - began < 2
    site.stop()
    assert "5 requests dropped whose clients had left" in site.log()
