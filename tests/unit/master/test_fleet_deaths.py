"""What follows from a worker's death: when the next one starts, what is logged, and when the start is given up."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.master.fleet import FIRST_DELAY, LONGEST_DELAY, LONGEST_DELAY_OF_READY, SHORTEST_LIFE
from greenhorn.master.memory import OomCounter
from unit.master.staff import BOOTS, CRASH, Crew


@pytest.fixture
def bury(crew: Crew) -> Callable[..., float]:
    """Let a worker of this age and this end be buried; returns the seconds until the next one may start.

    It was born after the one before had died, unless it dies `together` with that.
    """

    def act(age: float = 0.0, status: int = CRASH, *, ready: bool = True, together: bool = False) -> float:
        fleet = crew.fleet
        fleet.target = 1
        crew.clock.now += 1
        fleet._spawn(crew.first)
        child = crew.child(fleet.age)
        child.born = fleet._slowed_at - 1 if together else child.born - age
        if ready:
            crew.say(fleet.age, "ready")
        before = crew.clock.now
        crew.end(fleet.age, status=status)
        return max(0.0, fleet._spawn_at - before)

    return act


def test_the_first_worker_that_dies_is_replaced_at_once(bury: Callable[..., float]):
    assert bury() == 0


@pytest.mark.parametrize(("ready", "longest"), [(False, LONGEST_DELAY), (True, LONGEST_DELAY_OF_READY)])
def test_workers_that_die_young_are_replaced_later_each_time_up_to_a_longest_delay(
    crew: Crew, bury: Callable[..., float], ready: bool, longest: float
):
    crew.fleet.was_ready = True
    delays = [bury(ready=ready) for _ in range(12)]
    assert delays == [0] + [min(FIRST_DELAY * 2**number, longest) for number in range(11)]
    assert delays[-1] == longest


def test_workers_that_die_together_add_to_the_delay_once(bury: Callable[..., float]):
    bury()
    for _ in range(8):
        assert bury(together=True) == FIRST_DELAY
    assert bury() == FIRST_DELAY
    assert bury() == 2 * FIRST_DELAY


def test_a_worker_that_lived_long_is_replaced_at_once_whatever_was_before(bury: Callable[..., float]):
    for _ in range(5):
        bury()
    assert bury(age=SHORTEST_LIFE + 1) == 0
    assert bury() == FIRST_DELAY


def test_a_worker_that_was_long_in_its_boot_lived_not_long(bury: Callable[..., float]):
    bury()
    assert bury(age=SHORTEST_LIFE + 1, ready=False) == FIRST_DELAY


def test_no_worker_is_started_before_its_time(crew: Crew, bury: Callable[..., float]):
    bury()
    bury()
    assert crew.fleet.nap() == FIRST_DELAY
    assert crew.turn() == {}
    crew.clock.now += FIRST_DELAY - 0.01
    assert crew.turn() == {}
    crew.clock.now += 0.01
    assert crew.turn() == {3: BOOTS}


def test_the_end_of_a_worker_and_the_delay_are_told(crew: Crew, bury: Callable[..., float]):
    bury(status=9)
    bury(status=7 << 8)
    text = crew.log()
    assert "was ended by SIGKILL, which was not sent from here; perhaps because the system is out of memory\n" in text
    assert "exited with code 7; the next one starts in 0.25 s" in text
    assert text.count("[ERROR]") == 2


def test_a_worker_that_somebody_told_to_leave_is_no_error(crew: Crew, bury: Callable[..., float]):
    bury(status=0)
    assert "[ERROR]" not in crew.log()
    assert crew.turn() == {2: BOOTS}


@pytest.mark.parametrize("code", [3, 4])
def test_the_first_worker_that_cannot_boot_ends_the_start_with_its_code(crew: Crew, code: int):
    crew.fleet.target = 1
    crew.turn()
    crew.end(1, status=code << 8, failure="no module named shop")
    assert crew.master.told == [("cannot start", "cannot boot: no module named shop", code)]


@pytest.mark.parametrize("code", [3, 4])
def test_a_worker_without_a_reason_that_cannot_boot_is_told_by_its_end(
    crew: Crew, bury: Callable[..., float], code: int
):
    bury(status=code << 8, ready=False)
    [(what, why, told)] = crew.master.told
    assert (what, told) == ("cannot start", code)
    assert f"exited with code {code}" in why


@pytest.mark.parametrize("code", [3, 4])
def test_a_later_worker_that_cannot_boot_is_tried_again(crew: Crew, bury: Callable[..., float], code: int):
    bury(status=CRASH, ready=True)
    bury(status=code << 8, ready=False)
    assert crew.master.told == []
    crew.clock.now += FIRST_DELAY
    assert crew.turn() == {3: BOOTS}


def test_a_worker_that_was_ready_and_exits_with_such_a_code_is_replaced(crew: Crew, bury: Callable[..., float]):
    bury(status=3 << 8, ready=True)
    assert crew.master.told == []


@pytest.mark.parametrize("status", [9, CRASH, 0])
def test_a_worker_that_dies_before_any_was_ready_ends_the_start(crew: Crew, bury: Callable[..., float], status: int):
    bury(status=status, ready=False)
    [(what, why, code)] = crew.master.told
    assert (what, code) == ("cannot start", 3)
    assert "SIGKILL" in why or "exited with code" in why


@pytest.mark.parametrize("status", [9, CRASH, 0])
def test_a_worker_that_dies_before_it_is_ready_is_tried_again_if_others_were(
    crew: Crew, bury: Callable[..., float], status: int
):
    crew.fleet.was_ready = True
    bury(status=status, ready=False)
    assert crew.master.told == []
    assert crew.turn() == {2: BOOTS}


def test_the_same_failure_is_told_in_full_once(crew: Crew):
    crew.staffed(2)
    crew.fleet.target = 3
    told = []
    for age in range(3, 8):
        crew.clock.now += 30
        crew.say(1, "beat")
        crew.say(2, "beat")
        crew.turn()
        crew.end(age, status=3 << 8, failure="Traceback of the first" if age < 6 else "Traceback of another")
        told.append(crew.log())
    assert ["Traceback of the first" in text for text in told] == [True, False, False, False, False]
    assert ["Traceback of another" in text for text in told] == [False, False, False, True, False]
    assert ["for the same reason as the one before" in text for text in told] == [False, True, True, False, True]


def test_a_failure_that_comes_again_after_a_worker_was_ready_is_told_in_full_again(crew: Crew):
    crew.staffed(1)
    crew.fleet.target = 2
    for age in (2, 4):
        crew.clock.now += 30
        crew.turn()
        crew.end(age, status=3 << 8, failure="Traceback")
        assert "cannot boot: Traceback" in crew.log()
        crew.clock.now += 30
        crew.turn()
        crew.turn(ready=(age + 1,))
        crew.fleet.target += 1


def test_last_words_that_nobody_has_read_yet_are_read_at_the_end(crew: Crew):
    crew.staffed(1)
    crew.end(1, status=CRASH, failure="all at once")
    assert "cannot boot: all at once" in crew.log()
    assert crew.turn() == {2: BOOTS}


def test_a_kill_for_want_of_memory_is_told_as_one(crew: Crew, tmp_path: Path):
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 4\n")
    (tmp_path / "membership").write_text("0::/\n")
    crew.fleet._oom = OomCounter(tmp_path / "membership", tmp_path)
    crew.staffed(2)
    events.write_text("oom_kill 5\n")
    crew.end(1, status=signal.SIGKILL)
    assert "its control group ran out of memory" in crew.log()
    crew.end(2, status=signal.SIGKILL)
    assert "its control group ran out of memory" not in crew.log()
