"""Workers that are full: the queue in front of their threads, and their connections."""

import time

from integration.answers import AnswerReader
from integration.staging import GET, Theatre, ask, dump, pass_the_poller, post, seen, status_on, wait_seconds
from integration.wire import connect, ends_in_order, is_readable, refusals_behind

LATE = 0.5
"""Seconds after its time in which an answer must have come."""


def test_a_full_queue_turns_others_away_at_once_and_is_served_in_order(stage: Theatre):
    site = stage.start("--threads", "1", "--queue-size", "3")
    holder, held = stage.hold(site)
    waiting = [connect(site) for _ in range(3)]
    for number, connection in enumerate(waiting):
        connection.sendall(ask(f"/pid?waiting-{number}"))
    for number in range(2):
        began = time.monotonic()
        with connect(site) as another:
            another.sendall(ask(f"/pid?another-{number}"))
            answer = AnswerReader(another).read()
            assert (answer.status, answer.headers["Connection"]) == (503, None)
            assert int(answer.headers["Retry-After"]) >= 1
            assert time.monotonic() - began < LATE
    assert "1 in flight, 3 waiting for a thread" in dump(site)
    held.release()
    for connection in (holder, *waiting):
        assert AnswerReader(connection).read().status == 200
    assert [name for name in seen(site) if "-" in name] == ["waiting-0", "waiting-1", "waiting-2"]
    assert {line[5] for line in refusals_behind(site, 0)} == {"the queue was full"}


def test_idle_connections_are_closed_for_new_ones_the_oldest_first(stage: Theatre):
    site = stage.start("--threads", "2", "--worker-connections", "6")
    holder, held = stage.hold(site)
    idle = [connect(site)]  # which stays silent, and is accepted before any other is answered
    for _ in range(4):
        idle.append(connect(site))
        assert status_on(idle[-1]) == 200
    wait_seconds(time.monotonic(), 1.2)
    others = []
    for number, connection in enumerate(idle):
        others.append(connect(site))
        assert status_on(others[-1]) == 200
        assert ends_in_order(connection)
        assert not any(is_readable(later, 0) for later in idle[number + 1 :])
    assert [status_on(other) for other in others] == [200] * 5
    held.release()
    assert AnswerReader(holder).read().status == 200


def test_slow_connections_are_closed_for_new_ones_the_slowest_first_and_requests_at_work_are_not(stage: Theatre):
    site = stage.start("--threads", "5", "--worker-connections", "6")
    at_work = [stage.hold(site) for _ in range(2)]
    slow = [connect(site) for _ in range(3)]
    assert [status_on(connection) for connection in slow] == [200] * 3
    began = time.monotonic()
    for connection, half in zip(slow, (GET[:-2], post("/echo", b"body")[:-2], GET[:-3]), strict=True):
        connection.sendall(half)
        pass_the_poller(site)
    at_work.append(stage.hold(site))
    assert not any(is_readable(connection, 0) for connection in slow), "there was room for one"
    at_work.append(stage.hold(site))
    assert 1.9 < time.monotonic() - began < 2.0 + 2 * LATE
    assert ends_in_order(slow[0])
    wait_seconds(time.monotonic(), 0.2)
    at_work.append(stage.hold(site))
    assert ends_in_order(slow[1])
    slow[2].sendall(GET[-3:])
    for connection, held in at_work:
        held.release()
        assert AnswerReader(connection).read().status == 200
    assert AnswerReader(slow[2]).read().status == 200


def test_connections_that_carried_no_request_make_room_before_those_that_did(stage: Theatre):
    site = stage.start("--threads", "1", "--worker-connections", "3")
    served = connect(site)
    assert status_on(served) == 200
    silent = [connect(site) for _ in range(2)]
    for number in range(6):
        silent.append(connect(site))
        assert ends_in_order(silent[number])
        assert status_on(served) == 200
