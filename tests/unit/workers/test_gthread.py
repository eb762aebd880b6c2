"""The threaded worker in a thread of the test, on real sockets, with each kind of poller."""

import hashlib
import itertools
import math
import random
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.net.connection import State
from greenhorn.net.poller import SelectorPoller
from greenhorn.workers.serve import serve
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import TestWorker, hello, is_closed, read_answer, receive_all, wait_for_state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ServeApp = Callable[..., TestWorker]
SELECTORS = [name for name in ("EpollSelector", "PollSelector", "SelectSelector") if hasattr(selectors, name)]


@pytest.fixture(params=["best", *SELECTORS])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let workers wait with each kind of poller in turn."""
    name: str = request.param
    if name != "best":
        made = getattr(selectors, name)
        monkeypatch.setattr("greenhorn.workers.gthread.best_poller", lambda: SelectorPoller(made()))
    return name


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Digest", hashlib.sha256(body).hexdigest()), ("Content-Length", str(len(body)))])
    yield from (body[at : at + 100_000] for at in range(0, len(body), 100_000))


@pytest.mark.usefixtures("poller")
def test_kept_connections_are_served_again_and_again(serve_app: ServeApp):
    served = serve_app(hello)
    clients = [served.connect() for _ in range(5)]
    for _ in range(20):
        for client in clients:
            client.sendall(GET)
        for client in clients:
            assert read_answer(client)[1] == b"Hello, world!"
    assert len(served.worker.connections) == 5


@pytest.mark.usefixtures("poller")
def test_new_connections_that_get_the_numbers_of_closed_ones_are_served(serve_app: ServeApp):
    served = serve_app(hello)
    for _ in range(100):
        client = served.connect()
        client.sendall(GET[:-2] + b"Connection: close\r\n\r\n")
        assert receive_all(client).endswith(b"Hello, world!")
    wait_for_state(served, [])


@pytest.mark.usefixtures("poller")
def test_a_large_body_comes_back_whole_to_a_client_that_sends_before_it_reads(serve_app: ServeApp, tmp_path: Path):
    served = serve_app(echo, tmp_upload_dir=str(tmp_path))
    client = served.connect()
    body = bytes(range(256)) * 8_000
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    client.sendall(body)
    head, answer = read_answer(client)
    assert answer == body
    assert hashlib.sha256(body).hexdigest().encode() in head


@pytest.mark.usefixtures("poller")
def test_many_clients_at_once_get_their_own_answers(serve_app: ServeApp):
    served = serve_app(echo, threads=4)
    failures: list[object] = []

    def client(number: int) -> None:
        connection = served.connect()
        for turn in range(15):
            body = b"%d/%d " % (number, turn) * 50
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            answer = read_answer(connection)[1]
            if answer != body:
                failures.append((number, turn, answer))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures


@pytest.mark.usefixtures("poller")
def test_silent_half_and_slow_clients_do_not_hold_the_only_thread(serve_app: ServeApp):
    served = serve_app(hello, threads=1)
    held = [served.connect() for _ in range(6)]
    for client, begin in zip(held, itertools.cycle((b"", b"GET / HT", GET + b"POST")), strict=False):
        client.sendall(begin)
    client = served.connect()
    client.sendall(GET)
    assert read_answer(client)[1] == b"Hello, world!"


@pytest.mark.usefixtures("poller")
def test_expired_connections_of_each_kind_are_ended(serve_app: ServeApp):
    served = serve_app(hello)
    silent, half = served.connect(), served.connect()
    half.sendall(b"GET / HT")
    wait_for_state(served, [State.NEW, State.HEAD])
    for connection in list(served.worker.connections.values()):
        connection.deadline = 0.0
    assert receive_all(silent) == b""
    assert receive_all(half).startswith(b"HTTP/1.1 408 ")
    half.close()
    wait_for_state(served, [])


def test_all_kinds_of_sockets_are_served(serve_app: ServeApp, tmp_path: Path):
    def who(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        names = ("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT")
        return [" ".join(repr(environ.get(name)) for name in (*names, "REMOTE_PORT")).encode()]

    path = tmp_path / "s"
    bind = ["127.0.0.1:0", f"unix:{path}"] + (["[::1]:0"] if has_ipv6() else [])
    served = serve_app(who, bind=tuple(bind))
    answers = []
    for number in range(len(bind)):
        client = served.connect(number)
        client.sendall(b"GET / HTTP/1.1\r\nHost: example.com:81\r\n\r\n")
        answers.append(read_answer(client)[1].decode())
    assert answers[0].startswith(f"'127.0.0.1' '127.0.0.1' '{served.listeners[0].name[1]}' '")
    assert answers[1] == "'' 'example.com' '81' None"
    assert all(answer.startswith(f"'::1' '::1' '{served.listeners[2].name[1]}' '") for answer in answers[2:])


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


# Capacity.


def test_a_client_above_the_capacity_waits_until_another_leaves(serve_app: ServeApp):
    served = serve_app(hello, worker_connections=1)
    first = served.connect()
    first.sendall(GET)
    read_answer(first)
    second = served.connect()
    second.sendall(GET)
    wait_until(lambda: "worker_connections (1) are open" in served.log(), "the worker's pause")
    assert len(served.worker.connections) == 1
    first.close()
    assert read_answer(second)[1] == b"Hello, world!"


def test_a_process_without_descriptors_pauses_and_goes_on(serve_app: ServeApp, monkeypatch: pytest.MonkeyPatch):
    served = serve_app(hello)
    real_accept, failed = served.listeners[0].accept, threading.Event()

    def accept() -> Any:
        if not failed.is_set():
            failed.set()
            raise OSError(24, "Too many open files")
        return real_accept()

    monkeypatch.setattr(served.listeners[0], "accept", accept)
    client = served.connect()
    client.sendall(GET)
    assert read_answer(client)[1] == b"Hello, world!"
    assert failed.is_set()
    assert "Too many open files" in served.log()


# The end.


class Gate:
    """An application that waits in each request until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.entered.set()
        self.opened.wait(DEADLINE)
        return hello(environ, start_response)


@pytest.mark.usefixtures("poller")
def test_term_lets_a_request_finish_closes_idle_connections_and_ends_the_loop(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate)
    idle, busy = served.connect(), served.connect()
    gate.opened.set()
    idle.sendall(GET)
    read_answer(idle)
    gate.opened.clear()
    gate.entered.clear()
    busy.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    served.signal(signal.SIGTERM)
    wait_until(lambda: is_closed(idle), "the idle connection's end")
    assert not served.ended()
    gate.opened.set()
    head, body = read_answer(busy)
    assert body == b"Hello, world!"
    busy.close()
    wait_until(served.ended, "the loop's end")
    assert b"HTTP/1.1 200 OK" in head
    assert not served.worker.connections


def test_term_serves_what_waits_in_the_listen_queue_although_the_worker_is_full(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, worker_connections=1)
    first, second = served.connect(), served.connect()
    first.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    second.sendall(GET)
    wait_until(lambda: "Accepting pauses" in served.log(), "the worker's pause")
    served.signal(signal.SIGTERM)
    wait_until(lambda: len(served.worker.connections) == 2, "the second connection")
    gate.opened.set()
    for client in (first, second):
        assert read_answer(client)[1] == b"Hello, world!"
        client.close()
    wait_until(served.ended, "the loop's end")


def test_a_new_client_is_turned_away_after_term(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate)
    busy = served.connect()
    address = served.listeners[0].name
    busy.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    served.signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            socket.create_connection((address[0], int(address[1])), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, "the listening socket's end")
    gate.opened.set()
    head, _ = read_answer(busy)
    assert b"HTTP/1.1 200 OK" in head


def test_requests_after_term_are_answered_with_close(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate)
    client = served.connect()
    client.sendall(GET[:10])
    wait_for_state(served, [State.HEAD])
    served.signal(signal.SIGTERM)
    wait_until(lambda: served.worker.service.draining, "the drain")
    gate.opened.set()
    client.sendall(GET[10:])
    answer = receive_all(client)
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"Hello, world!")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_the_loop_at_once(serve_app: ServeApp, number: int):
    gate = Gate()
    served = serve_app(gate)
    client = served.connect()
    client.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    served.signal(number)
    wait_until(served.ended, "the loop's end")
    gate.opened.set()


def test_quit_ends_a_worker_that_is_about_to_leave_at_once(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate)
    served.connect().sendall(GET)
    assert gate.entered.wait(DEADLINE)
    served.signal(signal.SIGTERM)
    wait_until(lambda: served.worker.service.draining, "the drain")
    assert not served.ended()
    served.signal(signal.SIGQUIT)
    wait_until(served.ended, "the loop's end")
    gate.opened.set()


def test_a_request_that_takes_too_long_does_not_hold_the_end(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, graceful_timeout=1)
    served.connect().sendall(GET)
    assert gate.entered.wait(DEADLINE)
    began = time.monotonic()
    served.signal(signal.SIGTERM)
    wait_until(served.ended, "the loop's end")
    assert time.monotonic() - began > 0.9
    gate.opened.set()


def test_a_worker_whose_master_is_gone_finishes_and_leaves(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate)
    client = served.connect()
    client.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    served.lose_master()
    wait_until(lambda: "master is gone" in served.log(), "the note of the loss")
    gate.opened.set()
    assert read_answer(client)[1] == b"Hello, world!"
    client.close()
    wait_until(served.ended, "the loop's end")


# Faults.


def test_a_turn_that_fails_closes_its_connection_and_leaves_the_thread(serve_app: ServeApp):
    served = serve_app(hello, threads=1)

    def broken(_connection: Any, _service: Any) -> State:
        raise RuntimeError("a turn went wrong")

    served.worker._first_turn = broken
    bad = served.connect()
    bad.sendall(GET)
    assert receive_all(bad) == b""
    served.worker._first_turn = serve
    good = served.connect()
    good.sendall(GET)
    assert read_answer(good)[1] == b"Hello, world!"
    assert "a turn went wrong" in served.log()


def test_a_sweep_just_after_a_connection_was_parked_harms_nobody(make_worker: Callable[..., TestWorker]):
    made = make_worker(hello)
    worker = made.worker
    client, ours = socket.socketpair()
    connection = made.adopt(ours)

    class Swept(dict[int, Any]):
        def __setitem__(self, fd: int, parked: Any) -> None:
            super().__setitem__(fd, parked)
            parked.woken = True
            worker._sweep(math.inf)

    with client:
        client.sendall(GET)
        made.take(connection)
        worker._parked = Swept()
        worker.work(connection)
        assert connection.state is State.CLOSED
        client.settimeout(DEADLINE)
        assert receive_all(client).endswith(b"Hello, world!")


def test_bytes_that_come_while_a_thread_has_the_connection_are_not_forgotten(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, threads=1)
    client = served.connect()
    for _ in range(5):
        gate.entered.clear()
        gate.opened.clear()
        client.sendall(GET)
        assert gate.entered.wait(DEADLINE)
        client.sendall(GET)
        gate.opened.set()
        for _ in range(2):
            assert read_answer(client)[1] == b"Hello, world!"


def test_a_stream_that_ends_while_a_thread_has_the_connection_is_noticed(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, threads=1)
    client = served.connect()
    client.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    client.shutdown(socket.SHUT_WR)
    gate.opened.set()
    assert receive_all(client).endswith(b"Hello, world!")
    wait_for_state(served, [])


@pytest.mark.usefixtures("poller")
def test_requests_in_pieces_at_any_time_are_all_answered(serve_app: ServeApp, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("greenhorn.workers.gthread.TICK", 30.0)  # no sweep helps out
    served = serve_app(echo, threads=3)
    clients = [served.connect() for _ in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=send_in_pieces, args=(client, 60, number)) for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for client in clients:
            for turn in range(60):
                assert read_answer(client)[1] == b"%d" % turn
        for thread in threads:
            thread.join(DEADLINE)
    finally:
        sys.setswitchinterval(before)


def send_in_pieces(client: socket.socket, requests: int, seed: int) -> None:
    """Send numbered requests without waiting for answers, cut anywhere, with pauses of chance."""
    chance = random.Random(seed)
    data = b"".join(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%d" % (len(str(turn)), turn)
        for turn in range(requests)
    )
    while data:
        size = chance.choice((1, 30, 66, 67, 68, 69, 140, 500))
        client.sendall(data[:size])
        data = data[size:]
        if chance.random() < 0.5:
            threading.Event().wait(chance.uniform(0, 0.0005))


def test_a_client_that_resets_its_connection_ends_only_that(serve_app: ServeApp):
    served = serve_app(hello, threads=1)
    for begin in (b"", b"GET", GET + b"GET"):
        client = served.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(begin)
        client.close()
    client = served.connect()
    client.sendall(GET)
    assert read_answer(client)[1] == b"Hello, world!"
    wait_until(lambda: len(served.worker.connections) == 1, "the end of those that were reset")
    assert "Traceback" not in served.log()


def test_memory_of_connections_threads_and_descriptors_is_given_back(serve_app: ServeApp):
    served = serve_app(echo, threads=2)

    def visit() -> None:
        client = served.connect()
        for body in (b"", b"x" * 300_000):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            read_answer(client)
        client.close()
        wait_for_state(served, [])

    visit()
    before = open_descriptors()
    for _ in range(50):
        visit()
    assert open_descriptors() == before


def open_descriptors() -> int:
    folder = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    return len(list(folder.iterdir()))
