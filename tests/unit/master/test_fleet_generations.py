"""Which generation workers are spawned of, and what becomes of those before: tried, accepted, given up."""

import errno
import signal
from collections.abc import Callable

from greenhorn.master.fleet import TICK
from unit.master.staff import BOOTS, CRASH, LEAVES, SERVES, Crew, failing, generation

MakeCrew = Callable[..., Crew]


def test_of_a_new_generation_one_worker_is_tried_and_then_all_are_exchanged_at_once(crew: Crew):
    crew.staffed(3)
    second = generation()
    crew.fleet.attempt(second)
    assert crew.turn() == {1: SERVES, 2: SERVES, 3: SERVES, 4: BOOTS}
    assert (crew.fleet.current, crew.fleet.candidate) == (crew.first, second)
    crew.say(4, "beat")
    assert crew.master.told == []
    crew.say(4, "ready")
    assert crew.master.told == [("accepted", second, crew.first)]
    assert (crew.fleet.current, crew.fleet.candidate) == (second, None)
    assert crew.turn() == {1: LEAVES, 2: SERVES, 3: SERVES, 4: SERVES, 5: BOOTS, 6: BOOTS}
    assert [crew.child(age).generation is second for age in (4, 5, 6)] == [True] * 3
    assert crew.turn(ready=(6,)) == {1: LEAVES, 2: LEAVES, 3: SERVES, 4: SERVES, 5: BOOTS, 6: SERVES}
    assert crew.turn(ready=(5,)) == {1: LEAVES, 2: LEAVES, 3: LEAVES, 4: SERVES, 5: SERVES, 6: SERVES}
    assert crew.master.told == [("accepted", second, crew.first)]
    assert crew.log().count("is exchanged") == 3


def test_there_are_never_fewer_that_serve_than_there_are_to_be_whatever_their_order(crew: Crew):
    crew.staffed(4)
    crew.say(2, "retire")
    crew.turn()
    crew.fleet.attempt(generation())
    for _ in range(12):
        state = crew.turn()
        assert list(state.values()).count(SERVES) >= 4
        booting = [age for age, each in state.items() if each == BOOTS]
        if booting:
            crew.say(booting[-1], "ready")
    assert crew.fleet.serving() == 4
    assert all(child.generation is crew.fleet.current for child in crew.fleet.children.values() if child.serving)


def test_while_one_is_tried_the_present_generation_replaces_its_own(crew: Crew):
    crew.staffed(2)
    crew.fleet.attempt(generation())
    crew.end(1, status=CRASH)
    assert crew.turn() == {2: SERVES, 3: BOOTS, 4: BOOTS}
    assert crew.child(4).generation is crew.first


def test_workers_of_the_old_generation_that_are_not_ready_yet_are_ended(crew: Crew):
    crew.staffed(1)
    crew.fleet.target = 2
    crew.turn()
    crew.fleet.attempt(generation())
    assert crew.turn(ready=(3,)) == {1: SERVES, 2: LEAVES, 3: SERVES, 4: BOOTS}
    assert crew.kills(2) == [signal.SIGTERM]
    assert crew.turn(ready=(4,)) == {1: LEAVES, 2: LEAVES, 3: SERVES, 4: SERVES}


def test_a_generation_that_cannot_boot_is_given_up_with_its_reason(make_crew: MakeCrew):
    seen: list[int] = []
    crew = make_crew()
    crew.staffed(2)
    bad = generation(child_exit=lambda _server, worker: seen.append(worker.age))
    crew.fleet.attempt(bad)
    pid = crew.child(3).pid
    crew.turn()
    crew.end(3, status=3 << 8, failure="no module named shop")
    [told] = crew.master.told
    assert told == ("given up", bad, f"worker (pid:{pid}) cannot boot: no module named shop")
    assert crew.fleet.candidate is None
    assert crew.fleet.current is crew.first
    assert seen == [3]
    assert crew.turn() == {1: SERVES, 2: SERVES}
    assert crew.fleet.nap() == TICK


def test_a_generation_whose_worker_dies_without_a_word_is_given_up(crew: Crew):
    crew.staffed(1)
    crew.fleet.attempt(generation())
    crew.turn()
    crew.end(2, status=signal.SIGSEGV)
    [(what, _, why)] = crew.master.told
    assert what == "given up"
    assert "was ended by SIGSEGV" in why


def test_a_generation_that_does_not_become_ready_is_given_up_in_the_end(crew: Crew):
    crew.staffed(1)
    crew.fleet.attempt(generation(boot_timeout=2))
    for _ in range(6):
        crew.clock.now += 1
        crew.say(1, "beat")
        crew.turn()
    assert crew.kills(2) == [signal.SIGABRT, signal.SIGKILL]
    assert crew.log().count("WORKER BOOT TIMEOUT") == 1
    crew.end(2, status=signal.SIGKILL)
    [(what, _, why)] = crew.master.told
    assert what == "given up"
    assert "boot_timeout (2 s)" in why


def test_a_generation_of_which_no_worker_can_be_started_is_given_up(crew: Crew):
    crew.staffed(1)
    crew.kernel.refusal = OSError(errno.ENOMEM, "no memory")
    crew.fleet.attempt(generation())
    [(what, _, why)] = crew.master.told
    assert what == "given up"
    assert "no memory" in why
    crew.kernel.refusal = None
    crew.fleet.attempt(generation(pre_fork=failing))
    assert "the hook pre_fork failed" in crew.master.told[1][2]
    assert crew.fleet.candidate is None
    assert crew.turn() == {1: SERVES}


def test_a_generation_that_is_tried_is_given_up_for_a_newer_one(crew: Crew):
    crew.staffed(1)
    crew.fleet.attempt(generation())
    crew.turn()
    third = generation()
    crew.fleet.attempt(third)
    assert crew.turn() == {1: SERVES, 2: LEAVES, 3: BOOTS}
    assert crew.kills(2) == [signal.SIGTERM]
    crew.say(2, "ready")  # it was too late
    assert crew.master.told == []
    crew.end(2, status=signal.SIGTERM)
    assert crew.master.told == []
    assert crew.fleet.candidate is third
    assert crew.turn(ready=(3,)) == {1: LEAVES, 3: SERVES}
    assert crew.master.told == [("accepted", third, crew.first)]


def test_a_generation_can_follow_before_the_exchange_has_ended(crew: Crew):
    crew.staffed(2)
    second, third = generation(), generation()
    crew.fleet.attempt(second)
    crew.turn(ready=(3,))
    assert crew.state() == {1: LEAVES, 2: SERVES, 3: SERVES, 4: BOOTS}
    crew.fleet.attempt(third)
    assert crew.turn(ready=(5,)) == {1: LEAVES, 2: LEAVES, 3: SERVES, 4: LEAVES, 5: SERVES, 6: BOOTS}
    assert crew.turn(ready=(6,)) == {1: LEAVES, 2: LEAVES, 3: LEAVES, 4: LEAVES, 5: SERVES, 6: SERVES}


def test_a_worker_that_was_ready_and_died_before_that_was_read_counts_as_accepted_and_is_replaced(crew: Crew):
    crew.staffed(1)
    second = generation()
    crew.fleet.attempt(second)
    crew.turn()
    crew.child(2).worker.end.send(b"ready\n")
    crew.end(2, status=CRASH)
    assert crew.master.told == [("accepted", second, crew.first)]
    assert crew.turn() == {1: SERVES, 3: BOOTS}
    assert crew.child(3).generation is second


def test_an_accepted_generation_starts_without_the_delay_that_the_one_before_had_earned(crew: Crew):
    crew.staffed(1)
    for age in (1, 2):
        crew.end(age, status=CRASH)
        crew.clock.now += 1
        crew.turn()
    crew.turn(ready=(3,))
    crew.end(3, status=CRASH)
    assert crew.turn() == {}
    crew.fleet.attempt(generation())
    crew.fleet.target = 2
    assert crew.turn() == {4: BOOTS}
    assert crew.turn(ready=(4,)) == {4: SERVES, 5: BOOTS}


def test_with_a_target_of_none_a_generation_is_tried_nevertheless(crew: Crew):
    crew.turn()
    crew.fleet.attempt(generation())
    assert crew.turn() == {1: BOOTS}
    assert crew.turn(ready=(1,)) == {1: LEAVES}
    assert crew.master.told[0][0] == "accepted"
