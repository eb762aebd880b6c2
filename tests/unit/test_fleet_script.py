"""scripts/fleet measures what it says: its clients, its arithmetic and its command line, without either server."""

import os
import runpy
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from attacking.launching import until
from fleeting.journal import Journal, importers
from fleeting.load import INTERVALS, Load
from fleeting.requests import (
    CUT_SHORT,
    KINDS,
    NO_ANSWER,
    REFUSED,
    RESET,
    WRONG,
    Attempt,
    Request,
    judge,
    windows,
)
from fleeting.scenarios import SCENARIOS, STORM
from fleeting.scene import nothing
from fleeting.stage import WORKERS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fleet"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DEADLINE = 10.0

Serve = Callable[[socket.socket, int], None]


def request(failure: str = "", *, number: int = 2, lost: int = 0, began: float = 0.0, seconds: float = 0.01) -> Request:
    return Request(began, seconds, failure, Attempt(number, 40_002), Attempt(lost, 40_001) if lost else None)


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """A server that hands each connection, and how many came before it, to `serve`, in a thread; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection, number), daemon=True).start()
            number += 1

    def answer(connection: socket.socket, number: int) -> None:
        with connection:
            try:
                serve(connection, number)
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE)


def seen(port: int, *, at_least: int) -> list[Request]:
    """What the clients have seen by the time that they made so many requests."""
    with Load(port) as load:
        assert until(lambda: len(load.over("")) >= at_least, DEADLINE) is not None
        return load.stop()


def answer_all(connection: socket.socket, _number: int) -> None:
    while connection.recv(4096):
        connection.sendall(ANSWER)


def test_a_good_server_has_only_good_answers_over_kept_and_fresh_connections():
    with listening(answer_all) as port:
        requests = seen(port, at_least=60)
    assert {each.failure for each in requests} == {""}
    assert {each.kept for each in requests} == {True, False}
    assert all(each.lost is None for each in requests)
    assert len({each.attempt.port for each in requests if each.kept}) <= sum(kept for kept, _ in INTERVALS)
    fresh = [each.attempt.port for each in requests if not each.kept]
    assert len(set(fresh)) == len(fresh)


def test_a_port_where_nobody_listens_counts_as_refused():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    assert {each.failure for each in seen(port, at_least=20)} == {REFUSED}


def reset(connection: socket.socket, _number: int) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave(connection: socket.socket, _number: int) -> None:
    connection.recv(4096)


def break_off(connection: socket.socket, _number: int) -> None:
    connection.recv(4096)
    connection.sendall(ANSWER[:-1])


def fail(connection: socket.socket, _number: int) -> None:
    connection.recv(4096)
    connection.sendall(ANSWER.replace(b"200 OK", b"500 Internal Server Error"))


@pytest.mark.parametrize(("serve", "kind"), [(reset, RESET), (leave, NO_ANSWER), (break_off, CUT_SHORT), (fail, WRONG)])
def test_a_request_without_its_right_answer_counts_by_kind(serve: Serve, kind: str):
    with listening(serve) as port:
        assert {each.failure for each in seen(port, at_least=20)} == {kind}


def test_a_kept_connection_that_is_closed_when_its_second_request_comes_is_repeated():
    def answer_once(connection: socket.socket, _number: int) -> None:
        connection.recv(4096)
        connection.sendall(ANSWER)
        connection.recv(4096)

    with listening(answer_once) as port:
        requests = seen(port, at_least=100)
    assert {each.failure for each in requests} == {""}
    repeated = [each for each in requests if each.lost is not None]
    assert repeated
    assert all(each.kept and each.lost and each.lost.number < each.attempt.number for each in repeated)


def test_a_connection_that_is_closed_between_two_requests_is_neither_failed_nor_repeated():
    def answer_and_leave(connection: socket.socket, _number: int) -> None:
        connection.recv(4096)
        connection.sendall(ANSWER)

    with listening(answer_and_leave) as port:
        requests = seen(port, at_least=60)
    assert not any(each.failure for each in requests)
    # One may be sent at the very moment of the close.
    assert sum(each.lost is not None for each in requests) < 10


def test_a_burst_waits_beside_the_others_and_is_told_apart():
    goes_on = threading.Event()

    def answer_late(connection: socket.socket, _number: int) -> None:
        while data := connection.recv(4096):
            if data.startswith(b"GET /late?"):
                goes_on.wait(DEADLINE)
            connection.sendall(ANSWER)

    with listening(answer_late) as port, Load(port) as load:
        load.burst(5, "/late", "late ones")
        assert until(lambda: load.waiting("late ones") == 5, DEADLINE) is not None
        assert len(load.numbers("late ones")) == 5
        assert load.over("late ones") == []
        goes_on.set()
        assert until(lambda: len(load.over("late ones")) == 5, DEADLINE) is not None
        assert not any(each.failure for each in load.stop())


def test_what_nobody_had_begun_is_repeated_and_what_the_application_had_begun_has_failed():
    journal = Journal(begun={1: 77, 2: 78, 4: 78}, ended={2, 4})
    verdict = judge([request(), request(number=4, lost=3), request(number=2, lost=1)], journal, nothing)
    assert verdict.requests == 3
    assert verdict.repeated == 1
    assert verdict.failures == {NO_ANSWER: 1}
    assert verdict.describe_failures() == "1 (no answer 1)"


def test_excused_failures_are_counted_apart():
    requests = [request(kind, number=number) for number, kind in enumerate(KINDS, 10)]
    verdict = judge(requests, Journal(), lambda each: each.failure == RESET)
    assert verdict.excused == 1
    assert verdict.failures.total() == len(KINDS) - 1
    assert RESET not in verdict.failures


def test_latencies_are_split_at_the_disturbance_and_failures_left_out():
    early = [request(began=float(number), seconds=number / 1000) for number in range(1, 101)]
    across = request(began=199.9, seconds=0.4)
    late = request(began=201.0, seconds=0.2)
    failed = request(RESET, began=202.0, seconds=9.0)
    before, during = windows([late, *early, failed, across], 200.0)
    assert [before.milliseconds(quantile) for quantile in (0.5, 0.99, 1)] == [50, 99, 100]
    assert [during.milliseconds(quantile) for quantile in (0.5, 0.99, 1)] == pytest.approx([200, 400, 400])


def test_the_journal_tells_who_began_what_and_never_ended_it(tmp_path: Path):
    (tmp_path / "requests").write_text("begun  7\nended  7\nbegun 1 7\nbegun 2 8\nbegun 3 7\nended 1 7\n")
    (tmp_path / "imports").write_text("7\n8\n")
    journal = Journal.read(tmp_path)
    assert journal.unfinished(7) == {3}
    assert journal.unfinished(8) == {2}
    assert importers(tmp_path) == [7, 8]


def test_the_journal_of_an_application_that_nobody_imported_is_empty(tmp_path: Path):
    assert Journal.read(tmp_path) == Journal()
    assert importers(tmp_path) == []


def test_the_storm_of_signals_ends_with_as_many_workers_as_it_began_with_and_never_asks_for_none():
    count = WORKERS
    for name in STORM:
        count += 1 if name == "TTIN" else -1
        assert count >= 1
    assert count == WORKERS


def arguments(*words: str) -> list[object]:
    options = runpy.run_path(os.fspath(SCRIPT))["arguments"](list(words))
    return [options.scenario, options.only, options.seconds, options.repeat]


def test_the_command_line_names_scenarios_a_server_seconds_and_rounds():
    assert arguments() == [None, None, 4, 1]
    words = ("--scenario", "1", "4", "--scenario", "9", "--only", "gunicorn", "--seconds", "2", "--repeat", "3")
    assert arguments(*words) == [[1, 4, 9], "gunicorn", 2, 3]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--scenario", "10"], "invalid choice: 10"),
        (["--only", "uwsgi"], "invalid choice: 'uwsgi'"),
        (["--seconds", "0"], "has to be at least 1"),
        (["--repeat", "-1"], "has to be at least 1"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused_with_the_reason(words: list[str], complaint: str):
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_the_help_names_every_scenario():
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, timeout=30, check=False)
    told = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert all(f"{number} {scenario.title}" in told for number, scenario in SCENARIOS.items())
