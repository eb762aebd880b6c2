"""How workers end: who leaves in time, who is killed, who does not turn any more, and the stop of all."""

import math
import os
import signal
import socket
from collections.abc import Callable

import pytest

from greenhorn.master.fleet import HURRY, LONG_TURN
from greenhorn.net.listener import Address, Listener, Manner, listen
from unit.master.staff import BOOTS, CRASH, LEAVES, SERVES, Crew, generation

MakeCrew = Callable[..., Crew]


def loopback(manner: Manner = Manner()) -> Listener:  # noqa: B008 - a value
    return listen(Address("127.0.0.1", 0), manner)


# Leaving.


def test_who_leaves_is_told_at_which_listeners_others_go_on(make_crew: MakeCrew):
    crew = make_crew()
    kept, dropped, own, new = loopback(), loopback(), loopback(Manner(reuse_port=True)), loopback()
    crew.first.listeners = [kept, dropped, own]
    try:
        crew.staffed(1)
        second = generation()
        second.listeners = [kept, own, new]
        crew.fleet.attempt(second)
        assert crew.turn(ready=(2,)) == {1: LEAVES, 2: SERVES}
        assert crew.orders(1) == [f"leave {kept.fd}"]
    finally:
        for listener in (kept, dropped, own, new):
            listener.close()


def test_who_cannot_be_told_is_told_by_a_signal(crew: Crew):
    crew.staffed(2)
    child = crew.child(1)
    child.worker.end.shutdown(socket.SHUT_RDWR)
    crew.fleet.heard(child)
    crew.fleet.target = 1
    assert crew.turn() == {1: LEAVES, 2: SERVES}
    assert crew.kills(1) == [signal.SIGTERM]


def test_who_does_not_leave_in_time_is_killed(make_crew: MakeCrew):
    crew = make_crew(graceful_timeout=7)
    crew.staffed(2)
    crew.fleet.target = 1
    crew.turn()
    assert crew.child(1).leave_by == crew.clock.now + 7 + HURRY
    assert crew.child(2).leave_by == math.inf
    for _ in range(9):
        crew.clock.now += 1
        crew.say(2, "beat")
        crew.turn()
    assert crew.kernel.kills == []
    crew.clock.now += 0.1
    crew.turn()
    assert crew.kills(1) == [signal.SIGKILL]
    crew.end(1, status=signal.SIGKILL)
    assert crew.turn() == {2: SERVES}
    log = crew.log()
    assert "was ended by SIGKILL" in log
    assert "out of memory" not in log


def test_what_was_given_up_and_does_not_leave_is_killed(crew: Crew):
    crew.staffed(1)
    crew.fleet.attempt(generation())
    crew.fleet.abandon()
    assert crew.turn() == {1: SERVES, 2: LEAVES}
    crew.clock.now += HURRY + 0.1
    crew.turn()
    assert crew.kills(2) == [signal.SIGTERM, signal.SIGKILL]


# Who does not turn any more.


def test_a_worker_that_does_not_beat_is_aborted_and_then_killed(make_crew: MakeCrew):
    crew = make_crew(timeout=3)
    crew.staffed(2)
    for _ in range(3):
        crew.clock.now += 1
        crew.say(2, "beat")
        crew.turn()
    assert crew.kernel.kills == []
    crew.clock.now += 0.5
    crew.turn()
    assert crew.kills(1) == [signal.SIGABRT]
    assert f"WORKER TIMEOUT (pid:{crew.child(1).pid})" in crew.log()
    for _ in range(2):
        crew.clock.now += 1
        crew.say(2, "beat")
        crew.turn()
        assert crew.kills(1) == [signal.SIGABRT], "it has a moment for its stacks and its hook"
    crew.clock.now += 0.5
    crew.turn()
    assert crew.kills(1) == [signal.SIGABRT, signal.SIGKILL]
    assert crew.kills(2) == []
    crew.end(1, status=signal.SIGKILL)
    assert crew.turn() == {2: SERVES, 3: BOOTS}
    log = crew.log()
    assert "WORKER TIMEOUT" not in log
    assert "out of memory" not in log


def test_any_line_is_a_sign_of_life_also_of_one_that_leaves(make_crew: MakeCrew):
    crew = make_crew(timeout=3)
    crew.staffed(2)
    crew.fleet.target = 1
    for _ in range(6):
        crew.clock.now += 1
        crew.say(1, "beat")
        crew.say(2, "retire")
        crew.turn()
    assert crew.kernel.kills == []
    for _ in range(4):
        crew.clock.now += 1
        crew.say(2, "beat")
        crew.turn()
    assert crew.kills(1) == [signal.SIGABRT]


def test_without_a_timeout_nobody_is_aborted(make_crew: MakeCrew):
    crew = make_crew(timeout=0, boot_timeout=0)
    crew.staffed(1)
    crew.fleet.target = 2
    for _ in range(100):
        crew.clock.now += LONG_TURN - 1
        crew.turn()
    assert crew.state() == {1: SERVES, 2: BOOTS}
    assert crew.kernel.kills == []


def test_a_worker_that_boots_has_boot_timeout_whatever_the_timeout_is(make_crew: MakeCrew):
    crew = make_crew(timeout=1, boot_timeout=10)
    crew.staffed(1)
    crew.fleet.target = 2
    for _ in range(10):
        crew.turn()
        crew.clock.now += 1
        crew.say(1, "beat")
    crew.turn()
    assert crew.kernel.kills == []
    crew.clock.now += 0.5
    crew.turn()
    assert crew.kills(2) == [signal.SIGABRT]
    log = crew.log()
    assert "WORKER BOOT TIMEOUT" in log
    crew.end(2, status=signal.SIGABRT)
    assert "cannot boot: it was not ready after boot_timeout (10 s)" in crew.log()
    assert crew.turn() == {1: SERVES, 3: BOOTS}


def test_a_halt_of_the_whole_machine_is_nobodys_silence(make_crew: MakeCrew):
    crew = make_crew(timeout=3, boot_timeout=10)
    crew.staffed(1)
    crew.fleet.target = 2
    crew.turn()
    crew.clock.now += 3600
    crew.turn()
    assert crew.kernel.kills == []
    for _ in range(4):  # from here on it counts again
        crew.clock.now += 1
        crew.turn()
    assert crew.kills(1)[0] == signal.SIGABRT
    assert crew.kills(2) == []
    for _ in range(7):
        crew.clock.now += 1
        crew.turn()
    assert crew.kills(2) == [signal.SIGABRT]


def test_what_was_told_while_the_master_was_busy_counts(make_crew: MakeCrew):
    crew = make_crew(timeout=3)
    crew.staffed(1)
    for _ in range(4):
        crew.clock.now += 1
        crew.child(1).worker.end.send(b"beat\n")  # which nobody reads before the turn
        crew.turn()
    assert crew.kernel.kills == []


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_reaches_everybody_by_a_signal(crew: Crew, number: int):
    crew.staffed(2)
    crew.fleet.target = 3
    crew.turn()
    crew.fleet.stop(number, others_serve=False)
    for age in (1, 2, 3):
        assert crew.kills(age) == [number]
    assert crew.fleet.stopping
    crew.end(1, 2, status=number)
    crew.end(3, status=3 << 8, failure="it was ended in its boot")
    assert crew.master.told == []
    assert "starts in" not in crew.log()


def test_a_stop_beside_another_master_leaves_those_who_wait_to_that_one(crew: Crew):
    listener = loopback()
    crew.first.listeners = [listener]
    try:
        crew.staffed(1)
        crew.fleet.target = 2
        crew.turn()
        crew.fleet.stop(signal.SIGTERM, others_serve=True)
        assert crew.orders(1) == [f"leave {listener.fd}"]
        assert crew.kills(1) == []
        assert crew.kills(2) == [signal.SIGTERM]  # which is not ready, and may not read orders for long
        crew.fleet.stop(signal.SIGQUIT, others_serve=True)
        assert crew.kills(1) == [signal.SIGQUIT]
    finally:
        listener.close()


def test_an_announced_stop_is_told_to_all_and_to_those_that_are_ready_later(crew: Crew):
    crew.staffed(1)
    crew.fleet.target = 2
    crew.turn()
    crew.fleet.announce_stop()
    crew.turn(ready=(2,))
    assert set(crew.orders(1)) == set(crew.orders(2)) == {"stopping"}
    crew.end(1, status=CRASH)
    crew.turn(ready=())
    crew.turn(ready=(3,))
    assert crew.orders(3) == ["stopping"]
    for _ in range(3):
        crew.say(3, "beat")
    assert crew.orders(3) == []


def test_a_signal_for_all_reaches_all_and_one_for_those_with_a_handler_those_that_are_ready(crew: Crew):
    crew.staffed(1)
    crew.fleet.target = 2
    crew.turn()
    crew.fleet.tell_ready(signal.SIGUSR1)
    assert (crew.kills(1), crew.kills(2)) == ([signal.SIGUSR1], [])
    crew.fleet.tell_all(signal.SIGQUIT)
    assert (crew.kills(1), crew.kills(2)) == ([signal.SIGUSR1, signal.SIGQUIT], [signal.SIGQUIT])


def test_children_that_are_no_workers_are_told_to_whom_it_concerns(crew: Crew):
    crew.staffed(1)
    crew.kernel.ends.append((77, 0))
    assert crew.fleet.reap() == [77]
    assert crew.turn() == {1: SERVES}


def test_a_master_without_children_has_nobody_to_bury(crew: Crew, monkeypatch: pytest.MonkeyPatch):
    def waitpid(_pid: int, _options: int) -> tuple[int, int]:
        raise ChildProcessError

    monkeypatch.setattr(os, "waitpid", waitpid)
    assert crew.fleet.reap() == []
