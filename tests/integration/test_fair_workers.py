"""Several workers: new requests go to those that have a thread free, and somebody accepts when none has."""

import time
from collections import Counter

import pytest

from integration.answers import AnswerReader
from integration.running import Server
from integration.staging import GET, Theatre, ask
from integration.wire import connect

TAKES = 0.5
"""Seconds that the application takes for a request."""
ROUNDS = 3


def seconds_for(site: Server, count: int) -> float:
    """Let so many clients connect and ask at once; return the seconds until all have their answers."""
    began = time.monotonic()
    connections = []
    for _ in range(count):
        connections.append(connect(site))
        connections[-1].sendall(ask(f"/slow?{TAKES * 1000:.0f}"))
    for connection in connections:
        assert AnswerReader(connection).read().status == 200
    took = time.monotonic() - began
    for connection in connections:
        connection.close()
    return took


@pytest.mark.parametrize(("workers", "threads"), [(2, 2), (3, 1), (2, 1)])
def test_as_many_requests_as_there_are_threads_are_worked_on_at_once(stage: Theatre, workers: int, threads: int):
    site = stage.start("--threads", str(threads), workers=workers)
    seconds = [seconds_for(site, workers * threads) for _ in range(ROUNDS)]
    assert max(seconds) < 1.5 * TAKES, f"no worker takes what another has a thread for: {seconds}"


def test_a_worker_whose_threads_are_all_held_leaves_new_connections_to_another(stage: Theatre):
    site = stage.start("--threads", "1", "--queue-timeout", "1", workers=2)
    holder, held = stage.hold(site)
    answers = [site.request(GET) for _ in range(20)]
    served = [int(answer.text) for answer in answers if answer.status == 200]
    assert held.pid not in served
    assert len(served) >= 18, (
        "it accepts after a while, in case that nobody else does, which a busy machine can bring on"
    )
    held.release()
    assert AnswerReader(holder).read().text == str(held.pid)


def test_connections_are_accepted_when_all_threads_of_all_workers_are_held(stage: Theatre):
    site = stage.start("--threads", "2", workers=2)
    holding = [stage.hold(site) for _ in range(4)]
    assert sorted(Counter(held.pid for _, held in holding).values()) == [2, 2]
    for _ in range(5):
        began = time.monotonic()
        assert site.request(b"malformed\r\n\r\n").status == 400
        assert time.monotonic() - began < 1.0
    waiting = [connect(site) for _ in range(3)]
    for connection in waiting:
        connection.sendall(GET)
    for connection, held in holding:
        held.release()
        assert AnswerReader(connection).read().status == 200
    for connection in waiting:
        assert AnswerReader(connection).read().status == 200
