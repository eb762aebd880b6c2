"""How the threaded worker ends: gracefully, quickly, and when its master is gone."""

import select
import signal
import socket
import time
from collections.abc import Callable

import pytest

from greenhorn.net.kernel import poll_one
from greenhorn.net.state import State
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import Gate, TestWorker, hello, is_closed, read_answer, receive_all, wait_for_state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ServeApp = Callable[..., TestWorker]
MakeWorker = Callable[..., TestWorker]


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


def test_who_connects_just_as_a_worker_leaves_is_served_although_others_stay(make_worker: MakeWorker):
    made = make_worker(hello, bind=("127.0.0.1:0",))
    made.worker._acceptor.listen()
    clients = [made.connect() for _ in range(3)]
    wait_until(lambda: poll_one(made.listeners[0].fd, select.POLLIN), "a connection that can be accepted")
    made.worker.drain({listener.fd for listener in made.listeners})
    # The kernel tells one worker of each: the others sleep on if this one does nothing with what it was told.
    assert len(made.worker.connections) == 1, f"one of {len(clients)}: the rest is left to those who stay"


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
        except ConnectionResetError:  # it was just being closed
            return False
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
