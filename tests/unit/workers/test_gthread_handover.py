"""Connections between the poller and the threads: nothing that happens on one is forgotten; and their deadlines."""

import math
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from greenhorn.net.state import State
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import Gate, TestWorker, echo, hello, read_answer, receive_all, wait_for_state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ServeApp = Callable[..., TestWorker]
MakeWorker = Callable[..., TestWorker]


def test_a_sweep_just_after_a_connection_was_parked_harms_nobody(make_worker: MakeWorker):
    made = make_worker(hello)
    worker = made.worker
    client, ours = socket.socketpair()
    connection = made.adopt(ours)

    class Swept(dict[Any, bool]):
        def __setitem__(self, parked: Any, here: bool) -> None:
            super().__setitem__(parked, here)
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


def test_an_end_of_stream_that_is_told_together_with_the_bytes_before_it_is_noticed(make_worker: MakeWorker):
    made = make_worker(hello, bind=("127.0.0.1:0",))
    client = made.connect()
    client.sendall(GET)
    client.shutdown(socket.SHUT_WR)
    made.start()
    assert receive_all(client).endswith(b"Hello, world!")
    wait_for_state(made, [])


def test_news_of_a_connection_that_was_parked_just_now_are_not_lost(make_worker: MakeWorker):
    made = make_worker(hello)
    client, ours = socket.socketpair()
    with client:
        connection = made.adopt(ours)
        del made.worker._parked[connection]  # a thread has it
        assert not made.worker._wake(connection, 0)
        assert connection.woken
        made.worker._parked[connection] = True  # the thread parked it before it could see that
        assert made.worker._wake(connection, 0)
        assert connection not in made.worker._parked


def test_a_socket_that_the_application_has_closed_ends_its_connection_with_a_line(make_worker: MakeWorker):
    made = make_worker(hello)
    client, ours = socket.socketpair()
    with client:
        connection = made.adopt(ours)
        del made.worker._parked[connection]  # a thread has it
        connection.socket.close()
        made.worker.work(connection)
    assert connection.state is State.CLOSED
    assert "[WARNING] the application has closed the socket of its client" in made.log()
    assert "Traceback" not in made.log()


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


def test_a_whole_request_that_waits_for_a_thread_is_not_read_again(make_worker: MakeWorker):
    made = make_worker(hello)
    client, ours = socket.socketpair()
    with client:
        connection = made.adopt(ours)
        client.sendall(GET)
        made.take(connection)
        connection.state = State.ACTIVE
        assert connection.turn(connection, made.worker.service) is State.WHOLE
        for _ in range(2):  # as if it had been found late and then not
            made.worker.settle(connection, State.WHOLE)
            connection.state = State.ACTIVE
            assert connection.turn(connection, made.worker.service) is State.WHOLE
        made.worker.settle(connection, State.WHOLE)
        made.worker.work(made.worker.pool.new_whole.pop())
        client.settimeout(DEADLINE)
        assert read_answer(client)[1] == b"Hello, world!"


# Deadlines.


def only_connection(served: TestWorker) -> Any:
    [connection] = served.worker.connections.values()
    return connection


def test_no_byte_renews_the_time_for_a_head_but_waiting_for_a_thread_is_not_the_clients_fault(serve_app: ServeApp):
    gate = Gate()
    served = serve_app(gate, threads=1, header_timeout=30)
    client = served.connect()
    client.sendall(GET[:5])
    wait_for_state(served, [State.HEAD])
    connection = only_connection(served)
    busy = served.connect()
    busy.sendall(GET)
    assert gate.entered.wait(DEADLINE)
    connection.deadline -= 20  # as if it had been waited for so long
    client.sendall(GET[5:8])
    wait_until(lambda: connection.state is State.QUEUED, "the queue")
    gate.opened.set()
    wait_until(lambda: connection.state is State.HEAD and connection in served.worker._parked, "the next wait")
    left = connection.deadline - time.monotonic()
    assert 10 - DEADLINE < left < 11
    client.sendall(GET[8:])
    read_answer(client)


def test_a_head_on_a_kept_connection_has_its_own_time(serve_app: ServeApp):
    served = serve_app(hello, header_timeout=30, keepalive=5)
    client = served.connect()
    for _ in range(2):
        client.sendall(GET)
        read_answer(client)
        wait_for_state(served, [State.IDLE])
        connection = only_connection(served)
        assert connection.deadline - time.monotonic() <= 5
        client.sendall(GET[:5])
        wait_for_state(served, [State.HEAD])
        wait_until(lambda connection=connection: connection in served.worker._parked)
        assert connection.deadline - time.monotonic() > 30 - DEADLINE
        connection.deadline -= 25
        client.sendall(GET[5:])
        read_answer(client)
        wait_for_state(served, [State.IDLE])


def test_each_byte_renews_the_time_for_a_body_without_a_rate(serve_app: ServeApp):
    served = serve_app(echo, body_timeout=30, body_min_rate=0)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n1")
    wait_for_state(served, [State.BODY])
    connection = only_connection(served)
    wait_until(lambda: connection in served.worker._parked)
    connection.deadline -= 25
    client.sendall(b"2")
    wait_until(lambda: connection.deadline - time.monotonic() > 30 - DEADLINE, "the renewed time")
    client.sendall(b"3")
    assert read_answer(client)[1] == b"123"
