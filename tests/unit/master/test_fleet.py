"""Who is spawned and who is told to leave: at the start, by counts, and when workers ask to be exchanged."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from greenhorn.master.fleet import TICK
from unit.master.staff import BOOTS, CRASH, LEAVES, SERVES, Crew, Seat, failing

MakeCrew = Callable[..., Crew]


# The start.


def test_as_many_workers_are_spawned_as_there_are_to_be_and_no_more(crew: Crew):
    assert crew.turn() == {}
    crew.fleet.target = 3
    assert crew.turn() == {1: BOOTS, 2: BOOTS, 3: BOOTS}
    assert crew.turn() == {1: BOOTS, 2: BOOTS, 3: BOOTS}
    assert not crew.fleet.was_ready
    assert crew.turn(ready=(2,)) == {1: BOOTS, 2: SERVES, 3: BOOTS}
    assert crew.fleet.was_ready
    assert crew.fleet.serving() == 1
    assert [child.worker.age for child in crew.fleet.booting()] == [1, 3]
    assert crew.turn(ready=(1, 3)) == {1: SERVES, 2: SERVES, 3: SERVES}
    assert crew.fleet.booting() == []
    assert crew.kernel.kills == []


def test_the_master_knows_each_worker_by_the_object_it_was_forked_with(crew: Crew):
    crew.staffed(2)
    for pid, child in crew.fleet.children.items():
        assert child.pid == child.worker.pid == pid
        assert child.generation is crew.first


def test_the_fleet_naps_until_somebody_is_due(crew: Crew):
    assert crew.fleet.nap() == TICK
    crew.fleet.target = 1
    assert crew.fleet.nap() == 0
    crew.turn()
    assert crew.fleet.nap() == TICK


def test_a_system_that_cannot_fork_is_asked_again_later(crew: Crew):
    crew.staffed(1)
    crew.fleet.target = 2
    crew.kernel.refusal = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    assert crew.turn() == {1: SERVES}
    assert crew.log().count("Cannot start a worker: [Errno 11]") == 1
    assert crew.fleet.nap() == TICK
    assert crew.turn() == {1: SERVES}
    assert crew.log() == ""
    crew.kernel.refusal = None
    crew.clock.now += TICK
    assert crew.turn() == {1: SERVES, 3: BOOTS}


def test_a_fork_that_fails_leaves_no_descriptor_and_no_signal_held_back(make_crew: MakeCrew):
    crew = make_crew(pre_fork=lambda _server, _worker: opened.append(len(list(Path("/proc/self/fd").iterdir()))))
    opened: list[int] = []
    crew.fleet.target = 1
    crew.kernel.refusal = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    for _ in range(3):
        crew.turn()
        crew.clock.now += TICK
        Seat.taken.pop().end.close()
    assert len(opened) == 3
    assert opened[0] == opened[2]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT} == set()


def test_hooks_see_a_worker_before_its_fork_and_after_its_end(make_crew: MakeCrew):
    seen: list[tuple[object, ...]] = []
    crew = make_crew(
        pre_fork=lambda server, worker: seen.append(("pre_fork", server, worker.age, worker.pid)),
        child_exit=lambda server, worker: seen.append(("child_exit", server, worker.age, worker.pid)),
    )
    crew.staffed(1)
    pid = crew.child(1).pid
    crew.end(1, status=CRASH)
    assert seen == [("pre_fork", crew.master, 1, "[booting]"), ("child_exit", crew.master, 1, pid)]


def test_a_pre_fork_that_fails_ends_the_start(make_crew: MakeCrew):
    crew = make_crew(pre_fork=failing)
    crew.fleet.target = 2
    crew.turn()
    [(what, why, code)] = crew.master.told
    assert (what, code) == ("cannot start", 1)
    assert "pre_fork failed" in why
    assert "LookupError: it fails" in why


def test_a_pre_fork_that_fails_later_is_tried_again_and_everybody_else_goes_on(make_crew: MakeCrew):
    wrong: list[bool] = []
    crew = make_crew(pre_fork=lambda *_: failing() if wrong else None)
    crew.staffed(2)
    wrong.append(True)
    crew.end(1, status=CRASH)
    assert crew.turn() == {2: SERVES}
    assert "the hook pre_fork failed" in crew.log()
    assert crew.master.told == []
    wrong.clear()
    crew.clock.now += TICK
    assert crew.turn() == {2: SERVES, 4: BOOTS}


def test_a_child_exit_that_fails_is_logged_only(make_crew: MakeCrew):
    crew = make_crew(child_exit=failing)
    crew.staffed(1)
    crew.end(1, status=CRASH)
    assert "the hook child_exit failed" in crew.log()
    assert crew.turn() == {2: BOOTS}


# How many there are to be.


def test_one_more_is_spawned_beside_the_others(crew: Crew):
    crew.staffed(2)
    crew.fleet.target = 3
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: BOOTS}


def test_of_too_many_the_oldest_leave(crew: Crew):
    crew.staffed(4)
    crew.fleet.target = 2
    assert crew.turn() == {1: LEAVES, 2: LEAVES, 3: SERVES, 4: SERVES}
    assert crew.turn() == {1: LEAVES, 2: LEAVES, 3: SERVES, 4: SERVES}
    assert crew.orders(1) == ["leave "]
    assert crew.orders(3) == []
    assert "is exchanged" not in crew.log()


def test_nobody_leaves_for_one_that_is_not_ready(crew: Crew):
    crew.staffed(2)
    crew.fleet.target = 3
    crew.turn()
    crew.fleet.target = 2
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: BOOTS}
    assert crew.turn(ready=(3,)) == {1: LEAVES, 2: SERVES, 3: SERVES}


def test_with_a_target_of_none_all_leave_and_nobody_is_spawned(crew: Crew):
    crew.staffed(2)
    crew.fleet.target = 3
    crew.turn()
    crew.fleet.target = 0
    assert crew.turn() == {1: LEAVES, 2: LEAVES, 3: BOOTS}
    assert crew.turn(ready=(3,)) == {1: LEAVES, 2: LEAVES, 3: LEAVES}
    crew.end(1, 2, 3)
    assert crew.turn() == {}
    crew.fleet.target = 2
    assert crew.turn() == {4: BOOTS, 5: BOOTS}


# One that asks to be exchanged, and all at once.


def test_one_that_asks_leaves_when_another_is_ready(crew: Crew):
    crew.staffed(3)
    crew.say(2, "retire")
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: SERVES, 4: BOOTS}
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: SERVES, 4: BOOTS}
    assert crew.orders(2) == []
    assert crew.turn(ready=(4,)) == {1: SERVES, 2: LEAVES, 3: SERVES, 4: SERVES}
    assert crew.orders(2) == ["leave "]
    assert f"Worker (pid:{crew.child(2).pid}) is exchanged" in crew.log()
    crew.end(2)
    assert crew.turn() == {1: SERVES, 3: SERVES, 4: SERVES}
    assert "exited with code 0" in crew.log()


def test_all_that_ask_at_once_are_exchanged_one_by_one(crew: Crew):
    crew.staffed(3)
    for age in (1, 2, 3):
        crew.say(age, "retire")
    for age in (1, 2, 3):
        before = crew.turn()
        assert list(before.values()).count(SERVES) == 3
        assert [each for each, state in before.items() if state == BOOTS] == [3 + age]
        after = crew.turn(ready=(3 + age,))
        assert after[age] == LEAVES
        assert list(after.values()).count(SERVES) == 3
        assert list(after.values()).count(BOOTS) == (age < 3)
    assert crew.turn() == {1: LEAVES, 2: LEAVES, 3: LEAVES, 4: SERVES, 5: SERVES, 6: SERVES}


def test_one_that_asks_and_ends_before_another_is_ready_is_not_replaced_twice(crew: Crew):
    crew.staffed(2)
    crew.say(1, "retire")
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: BOOTS}
    crew.end(1, status=CRASH)
    assert crew.turn() == {2: SERVES, 3: BOOTS}
    assert crew.turn(ready=(3,)) == {2: SERVES, 3: SERVES}


def test_if_one_dies_while_all_ask_there_are_two_replacements(crew: Crew):
    crew.staffed(3)
    for age in (1, 2, 3):
        crew.say(age, "retire")
    crew.turn()
    crew.end(2, status=CRASH)
    state = crew.turn()
    assert {age for age, each in state.items() if each == SERVES} == {1, 3}
    assert list(state.values()).count(BOOTS) >= 2


def test_a_replacement_that_cannot_boot_is_tried_again_and_the_one_that_asks_goes_on(crew: Crew):
    crew.staffed(1)
    crew.say(1, "retire")
    crew.turn()
    crew.end(2, status=3 << 8, failure="no module")
    assert crew.turn() == {1: SERVES, 3: BOOTS}
    crew.end(3, status=3 << 8, failure="no module")
    assert crew.turn() == {1: SERVES}
    crew.clock.now += TICK
    assert crew.turn() == {1: SERVES, 4: BOOTS}
    assert crew.turn(ready=(4,)) == {1: LEAVES, 4: SERVES}
    assert crew.master.told == []


def test_one_too_many_is_one_that_asks(crew: Crew):
    crew.staffed(3)
    crew.say(3, "retire")
    crew.fleet.target = 2
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: LEAVES}
