"""The threaded worker in a thread of the test, on real sockets, with each kind of poller."""

import hashlib
import itertools
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenhorn.net.state import State
from unit.net.sockets import has_ipv6
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import Gate, TestWorker, echo, hello, read_answer, receive_all, wait_for_state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ServeApp = Callable[..., TestWorker]


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


# Capacity.


def test_a_client_above_the_capacity_waits_while_the_others_are_at_work(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, worker_connections=1)
    first = served.connect()
    first.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    second = served.connect()
    second.sendall(GET)
    wait_until(lambda: "worker_connections are reached" in served.log(), "the worker's pause")
    assert len(served.worker.connections) == 1
    gate.opened.set()
    assert read_answer(first)[1] == b"Hello, world!"
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


# Faults.


def test_a_turn_that_fails_closes_its_connection_and_leaves_the_thread(
    serve_app: ServeApp, monkeypatch: pytest.MonkeyPatch
):
    served = serve_app(hello, threads=1)

    def broken(_connection: Any, _service: Any) -> State:
        raise RuntimeError("a turn went wrong")

    with monkeypatch.context() as patch:
        patch.setattr("greenhorn.workers.reception.serve", broken)
        bad = served.connect()
        bad.sendall(GET)
        assert receive_all(bad) == b""
    good = served.connect()
    good.sendall(GET)
    assert read_answer(good)[1] == b"Hello, world!"
    assert "a turn went wrong" in served.log()


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
