"""The worker classes on greenlets: who waits, for whatever it is, keeps nobody else from being served."""

import contextlib
import hashlib
import json
import os
import resource
import signal
import time

import pytest

from integration.answers import AnswerReader
from integration.green import EACH_LIBRARY, GET, LAST, ask_all, read_all, start_waiting, text, wait_for_polls
from integration.load import load
from integration.reloading import SERVES, settled, signal_and_wait, wait_for_others
from integration.running import DEADLINE, StartServer, wait_until
from integration.slow_clients import ask as ask_for_large
from integration.slow_clients import is_reset_within
from integration.staging import DUMP, ask
from integration.wire import connect, ends_in_order, is_readable, receive_to_end, reset

pytestmark = EACH_LIBRARY
MIB = 1024 * 1024


# What waits, lets others run.


def test_200_requests_that_sleep_take_as_long_as_one(server: StartServer, library: str):
    site = start_waiting(server, library)
    began = time.monotonic()
    connections = ask_all(site, 200, "/sleep?1000")
    assert read_all(connections) == {"slept"}
    assert 1 <= time.monotonic() - began < 3


def test_1000_long_polls_wait_in_one_worker_while_others_are_served(server: StartServer, library: str):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this machine allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        site = start_waiting(server, library, "--worker-connections", "1100")
        connections = ask_all(site, 1000, "/poll")
        wait_for_polls(site, 1000)
        began = time.monotonic()
        assert {text(site, "/") for _ in range(20)} == {str(site.worker_pid())}
        assert time.monotonic() - began < 4
        assert text(site, "/release") == "done"
        assert read_all(connections) == {"released"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("path", "said"),
    [("/thread", "from a thread, request"), ("/process", "from a process\n"), ("/loopback", "{pid}")],
)
def test_threads_processes_and_sockets_of_the_application_do_not_hold_the_process(
    server: StartServer, library: str, path: str, said: str
):
    site = start_waiting(server, library)
    assert text(site, path) == said.format(pid=site.worker_pid())
    assert read_all(ask_all(site, 20, path)) == {said.format(pid=site.worker_pid())}


def test_the_application_binds_what_was_replaced_before_it_was_imported(server: StartServer, library: str):
    site = start_waiting(server, library)
    sources = json.loads(text(site, "/patched"))
    assert all(source.startswith(library) for source in sources.values()), sources


HOOKS = """
import time
def told(name):
    print(name, time.sleep.__module__, flush=True)
def when_ready(server): told("when_ready")
def post_fork(server, worker): told("post_fork")
def post_worker_init(worker): told("post_worker_init")
def child_exit(server, worker): told("child_exit")
"""


def test_the_library_replaces_in_the_worker_and_only_behind_post_fork(server: StartServer, library: str):
    site = start_waiting(server, library, config=HOOKS)
    site.stop()
    told = dict(line.split() for line in site.stdout().splitlines())
    assert [told[name] for name in ("when_ready", "post_fork", "child_exit")] == ["time"] * 3
    assert told["post_worker_init"].startswith(library)


def test_an_application_that_the_master_loads_is_told_to_be_loaded_before_the_library_replaces(
    server: StartServer, library: str
):
    site = start_waiting(server, library, "--preload")
    site.wait_for_log(rf"\[WARNING\] preload_app: .*{library}")
    assert text(site, "/") == str(site.worker_pid())


# Clients that wait, or let others wait.


def test_requests_on_a_kept_connection_are_answered_in_their_order(server: StartServer, library: str):
    site = start_waiting(server, library)
    with connect(site) as connection:
        connection.sendall(ask("/sleep?50") + GET + ask("/thread"))
        reader = AnswerReader(connection)
        assert [reader.read().text for _ in range(3)] == ["slept", str(site.worker_pid()), "from a thread, request"]
        connection.sendall(GET)
        assert reader.read().status == 200


def test_half_heads_and_half_bodies_hold_nobody(server: StartServer, library: str):
    site = start_waiting(server, library)
    heads = [connect(site) for _ in range(50)]
    for connection in heads:
        connection.sendall(GET[:-2])
    bodies = [connect(site) for _ in range(50)]
    for connection in bodies:
        connection.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    assert text(site, "/") == str(site.worker_pid())
    for connection in heads:
        connection.sendall(b"\r\n")
    for connection in bodies:
        connection.sendall(b"cde")
    assert read_all(heads) == {str(site.worker_pid())}
    assert read_all(bodies) == {hashlib.sha256(b"abcde").hexdigest()}


def test_a_body_that_is_read_while_it_comes_holds_nobody(server: StartServer, library: str):
    site = start_waiting(server, library, config="stream_request_body = True\n")
    body = os.urandom(3 * MIB)
    connections = [connect(site) for _ in range(20)]
    for connection in connections:
        connection.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1000])
    assert text(site, "/") == str(site.worker_pid())
    connections[0].sendall(body[1000:])
    assert read_all(connections[:1]) == {hashlib.sha256(body).hexdigest()}
    for connection in connections[1:]:
        reset(connection)
    assert text(site, "/") == str(site.worker_pid())


def test_an_answer_that_nobody_reads_holds_nobody_and_arrives_whole_when_it_is_read(server: StartServer, library: str):
    site = start_waiting(server, library)
    with contextlib.ExitStack() as clients:
        connections = [clients.enter_context(ask_for_large(site, "/large")) for _ in range(10)]
        for _ in range(5):
            assert text(site, "/") == str(site.worker_pid())
        answers = [receive_to_end(connection) for connection in connections[:3]]
        assert [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers] == [16 * MIB] * 3
    assert text(site, "/") == str(site.worker_pid())


def test_what_an_application_yields_leaves_before_it_goes_on(server: StartServer, library: str):
    site = start_waiting(server, library)
    with connect(site) as connection:
        connection.sendall(ask("/lines"))
        answer = AnswerReader(connection).begin()
        assert answer.readline() == b"first\n"
        assert not is_readable(connection, 0.1)
        text(site, "/release")
        assert answer.read() == b"last\n"


# Deadlines and limits.

DEADLINES = """
first_byte_timeout = header_timeout = body_timeout = keepalive = 1
"""


def test_clients_that_keep_the_server_waiting_are_told_so_in_time_each(server: StartServer, library: str):
    site = start_waiting(server, library, config=DEADLINES)
    silent, head, body, kept = (connect(site) for _ in range(4))
    began = time.monotonic()
    head.sendall(GET[:-2])
    body.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    kept.sendall(GET)
    assert AnswerReader(kept).read().status == 200
    assert AnswerReader(head).read().status == 408
    assert AnswerReader(body).read("POST").status == 408
    assert ends_in_order(silent)
    assert ends_in_order(kept)
    assert time.monotonic() - began < 4


def test_who_does_not_read_is_reset_in_time(server: StartServer, library: str):
    site = start_waiting(server, library, config="write_timeout = 1\n")
    with ask_for_large(site, "/large") as connection:
        assert is_reset_within(connection, DEADLINE)


def test_connections_beyond_worker_connections_take_the_place_of_idle_ones(server: StartServer, library: str):
    site = start_waiting(server, library, "--worker-connections", "10")
    idle = [connect(site) for _ in range(10)]
    for connection in idle:
        connection.sendall(GET)
        assert AnswerReader(connection).read().status == 200
    polls = ask_all(site, 9, "/poll")
    wait_for_polls(site, 9)
    assert sum(is_readable(connection, 0) for connection in idle) >= 9
    assert text(site, "/release", LAST) == "done"
    assert read_all(polls) == {"released"}


def test_connections_wait_when_every_place_is_taken_by_a_request(server: StartServer, library: str):
    site = start_waiting(server, library, "--worker-connections", "5")
    slow = ask_all(site, 5, "/sleep?1500")
    waits = ask_all(site, 1, "/")
    site.wait_for_log(r"\[WARNING\] Accepting pauses: worker_connections are reached")
    assert not is_readable(waits[0], 0)
    assert read_all(slow) == {"slept"}
    assert read_all(waits) == {str(site.worker_pid())}


# Failures.


def test_an_application_that_wants_to_end_gets_an_answer_500_and_ends_nothing(server: StartServer, library: str):
    site = start_waiting(server, library, allow_traceback=True)
    worker = site.worker_pid()
    assert site.request(ask("/fail")).status == 500
    site.wait_for_log("SystemExit: the application wants to end")
    assert text(site, "/") == str(worker)


def test_clients_that_leave_in_the_midst_leave_nothing_behind(server: StartServer, library: str):
    site = start_waiting(server, library, "--worker-connections", "50")
    for _ in range(4):
        for connection in ask_all(site, 40, "/sleep?10"):
            reset(connection)
    assert read_all(ask_all(site, 45, "/sleep?10")) == {"slept"}
    assert "ERROR" not in site.log()


def test_a_reload_says_nothing_that_is_no_line_of_the_log(server: StartServer, library: str):
    site = start_waiting(server, library)
    signal_and_wait(site, signal.SIGHUP, SERVES)
    assert [line for line in site.log().splitlines() if not line.startswith("[")] == []


def test_a_worker_that_lets_nobody_run_is_replaced_and_the_log_says_where_it_was(server: StartServer, library: str):
    site = start_waiting(server, library, "--timeout", "2", allow_traceback=True)
    worker = site.worker_pid()
    with connect(site) as connection:
        connection.sendall(ask("/block?30000"))
        site.wait_for_log(rf"\[CRITICAL\] .*\(pid:{worker}\)")
        site.wait_for_log(r"waiting\.py.* in block")
    wait_for_others(site, [worker])
    assert text(site, "/") != str(worker)


def test_a_long_request_that_lets_others_run_does_not_count_as_stuck(server: StartServer, library: str):
    site = start_waiting(server, library, "--timeout", "1")
    worker = site.worker_pid()
    assert text(site, "/sleep?2500") == "slept"
    assert site.worker_pid() == worker


def test_a_request_beyond_its_time_is_answered_504_and_told_while_others_are_served(server: StartServer, library: str):
    site = start_waiting(server, library, "--request-timeout", "1", "--access-logfile", "-")
    worker = site.worker_pid()
    began = time.monotonic()
    late, *in_time = (site.connect() for _ in range(3))
    late.sendall(ask("/poll"))
    for connection in in_time:
        connection.sendall(ask("/sleep?500"))
    assert read_all(in_time) == {"slept"}
    answer = AnswerReader(late).read()
    assert (answer.status, ends_in_order(late)) == (504, True)
    assert 0.9 < time.monotonic() - began < 3
    site.wait_for_log(
        r"\[ERROR\] Request beyond request_timeout: GET /poll for 1\.\d s, from 127\.0\.0\.1:\d+:\n(.*\n)*.* in poll"
    )
    site.signal(DUMP)
    site.wait_for_log(r"[12] in flight, 1 stuck, ")
    assert text(site, "/release") == "done"
    site.wait_for_log("GET /poll came to its end after all")
    assert text(site, "/") == str(worker)
    lines = [line for line in site.stdout().splitlines() if "/poll" in line]
    assert len(lines) == 1
    assert '" 504 ' in lines[0]


def test_an_answer_that_has_begun_is_cut_off_when_its_time_is_over(server: StartServer, library: str):
    site = start_waiting(server, library, "--request-timeout", "1")
    with site.connect() as connection:
        connection.sendall(ask("/lines"))
        received = receive_to_end(connection)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert not received.endswith(b"0\r\n\r\n")
    site.wait_for_log("Request beyond request_timeout: GET /lines")


def test_a_worker_with_too_many_stuck_requests_is_exchanged_and_no_other_request_fails(
    server: StartServer, library: str
):
    site = start_waiting(server, library, "--request-timeout", "1", "--max-stuck-threads", "1")
    worker = site.worker_pid()
    with load(site) as clients:
        late = ask_all(site, 2, "/poll")
        assert {AnswerReader(connection).read().status for connection in late} == {504}
        site.wait_for_log("2 requests are stuck")
        wait_for_others(site, [worker])
        clients.more(50)


def test_what_is_in_flight_is_told_with_the_stacks_of_greenlets(server: StartServer, library: str):
    site = start_waiting(server, library)
    polls = ask_all(site, 3, "/poll")
    wait_for_polls(site, 3)
    site.signal(DUMP)
    site.wait_for_log(r"3 in flight|4 in flight")
    assert len([line for line in site.log().splitlines() if "In flight: GET /poll" in line]) == 3
    assert "in poll" in site.log()
    text(site, "/release")
    read_all(polls)


# Workers come and go.


def test_a_graceful_stop_waits_for_the_greenlets_that_run(server: StartServer, library: str):
    site = start_waiting(server, library)
    slow = ask_all(site, 30, "/sleep?1000")
    idle = connect(site)
    idle.sendall(GET)
    assert AnswerReader(idle).read().status == 200
    site.signal(signal.SIGTERM)
    answers = [AnswerReader(connection).read() for connection in slow]
    assert {(answer.text, answer.headers["Connection"]) for answer in answers} == {("slept", "close")}
    assert ends_in_order(idle)
    assert site.wait() == 0


def test_what_runs_beyond_graceful_timeout_is_cut_off(server: StartServer, library: str):
    site = start_waiting(server, library, "--graceful-timeout", "1")
    polls = ask_all(site, 2, "/poll")
    wait_for_polls(site, 2)
    began = time.monotonic()
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert 0.9 < time.monotonic() - began < 6
    for connection in polls:
        with connection:
            assert not connection.recv(100)


def test_quit_waits_for_nobody(server: StartServer, library: str):
    site = start_waiting(server, library)
    ask_all(site, 2, "/poll")
    wait_for_polls(site, 2)
    site.signal(signal.SIGQUIT)
    assert site.wait(DEADLINE) == 0


def test_max_requests_hup_and_term_under_load_lose_no_request(server: StartServer, library: str):
    config = "workers = 2\nmax_requests = 150\nmax_requests_jitter = 50\n"
    site = start_waiting(server, library, workers=None, config=config)
    first = settled(site, 2)
    with load(site) as clients:
        clients.more(500)
        wait_until(lambda: not set(first) & set(site.worker_pids()), what="other workers")
        second = site.worker_pids()
        signal_and_wait(site, signal.SIGHUP, SERVES)
        wait_until(lambda: not set(second) & set(site.worker_pids()), what="workers of the new generation")
        clients.more(200)
    assert "ERROR" not in site.log()
