"""The measures of patience: seconds that are earned by bytes, and bytes of files that all connections share."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenhorn.net.pace import SHARE, Allotment, Buffers, Pace, Patience
from unit.net.waiting import DEADLINE

INF = float("inf")


# Pace.


def test_each_byte_earns_its_share_of_a_second():
    assert Pace.of(30, 500).earn(3.0, 1000) == 5.0


def test_nobody_can_earn_more_than_the_longest_pause():
    assert Pace.of(30, 500).earn(29.0, 1_000_000) == 30.0


def test_without_a_byte_nothing_changes():
    assert Pace.of(30, 500).earn(3.0, 0) == 3.0
    assert Pace.of(30, 0).earn(3.0, 0) == 3.0
    assert Pace.of(30, 500).earn(-1.0, 0) == -1.0


def test_a_debt_is_paid_before_there_is_time_left():
    assert Pace.of(30, 500).earn(-3.0, 1000) == -1.0


def test_without_a_rate_any_byte_earns_the_longest_pause():
    pace = Pace.of(30, 0)
    assert pace.earn(0.001, 1) == 30.0
    assert pace.earn(-100.0, 1) == 30.0


def test_a_pace_of_which_no_byte_earns_anything_is_a_deadline():
    assert Pace(30).earn(3.0, 1_000_000) == 3.0


@pytest.mark.parametrize("rate", [0, 500])
def test_without_a_timeout_there_is_always_time(rate: int):
    pace = Pace.of(0, rate)
    assert pace.most == INF
    assert pace.earn(INF, 0) == INF
    assert pace.earn(INF, 1) == INF


@given(
    st.integers(1, 100),
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50_000)), max_size=30),
)
def test_who_brings_the_rate_within_each_pause_never_runs_out_and_nobody_has_more_than_the_pause(
    timeout: int, rate: int, steps: list[tuple[float, int]]
):
    pace = Pace.of(timeout, rate)
    left = pace.most
    for seconds, count in steps:
        pause = min(seconds, timeout / 2)
        left = pace.earn(left - pause, count + int(pause * rate) + 1)
        assert 0 < left <= pace.most


# Allotment.


PACE = Pace.of(2, 10)
LONGEST = 1.5


def test_patience_ends_for_who_brings_less_than_the_rate_and_not_for_who_brings_it():
    slow, steady = Patience(PACE, 0.0, 0), Patience(PACE, 0.0, 0)
    assert [slow.is_over(PACE, float(now), 5 * now, LONGEST) for now in range(1, 5)] == [False, False, False, True]
    assert not any(steady.is_over(PACE, float(now), 10 * now, LONGEST) for now in range(1, 50))


def test_time_in_which_the_server_did_not_look_is_not_the_clients():
    patience = Patience(PACE, 0.0, 0)
    assert not patience.is_over(PACE, 60.0, 0, LONGEST)
    assert not patience.is_over(PACE, 61.0, 0, LONGEST)
    assert patience.is_over(PACE, 62.0, 0, LONGEST)


def test_a_mark_that_goes_back_costs_nothing_and_what_comes_after_counts():
    patience = Patience(PACE, 0.0, 100)
    assert not patience.is_over(PACE, 1.0, 50, LONGEST)
    assert patience.left == 1.0
    assert not patience.is_over(PACE, 2.0, 60, LONGEST)
    assert patience.left == 1.0


def test_patience_without_a_limit_never_ends():
    endless = Pace.of(0, 0)
    patience = Patience(endless, 0.0, 0)
    assert not any(patience.is_over(endless, float(now), 0, LONGEST) for now in range(1, 50))


def test_what_is_taken_is_not_there_until_it_is_given_back():
    allotment = Allotment(100)
    assert allotment.take(60)
    assert not allotment.take(41)
    assert allotment.take(40)
    assert not allotment.take(1)
    allotment.give(40)
    assert not allotment.take(41)
    assert allotment.take(40)


def test_nothing_can_be_taken_of_an_allotment_that_is_full():
    allotment = Allotment(100)
    assert allotment.take(100)
    assert allotment.take(0)
    assert not allotment.take(1)


def test_an_allotment_of_zero_has_no_limit():
    allotment = Allotment(0, lambda: pytest.fail("there is room"))
    for _ in range(3):
        assert allotment.take(10**15)
    allotment.give(1)
    assert allotment.take(10**15)


def test_room_is_made_until_there_is_enough():
    held = [30, 30, 40]

    def make_room() -> bool:
        if not held:
            return False
        allotment.give(held.pop(0))
        return True

    allotment = Allotment(100, make_room)
    assert allotment.take(100)
    assert allotment.take(50)
    assert held == [40], "no more than is needed"
    assert not allotment.take(100)
    assert not held


def test_more_than_there_ever_is_cannot_be_taken_and_that_is_found_out():
    allotment = Allotment(100)
    assert not allotment.take(101)
    assert allotment.take(100)


@pytest.mark.usefixtures("hasty_switches")
def test_threads_together_take_no_more_than_there_is():
    allotment = Allotment(1000)
    most = []
    taken = 0
    lock = threading.Lock()
    start = threading.Barrier(4)

    def work() -> None:
        nonlocal taken
        start.wait(DEADLINE)
        for size in range(1, 400):
            if allotment.take(size):
                with lock:
                    taken += size
                    most.append(taken)
                with lock:
                    taken -= size
                allotment.give(size)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert most
    assert max(most) <= 1000
    assert allotment.take(1000), "all of it came back"


# Buffers.


def test_no_more_threads_than_allowed_may_wait_at_a_time():
    buffers = Buffers(memory=1, most=1, pace=Pace(1), waiters=2)
    assert [buffers.waiters.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    buffers.waiters.release()
    assert buffers.waiters.acquire(blocking=False)


def test_who_has_much_leaves_as_much_to_the_others():
    allotment = Allotment(10 * SHARE)
    assert allotment.take(5 * SHARE)
    assert not allotment.take(1, held=5 * SHARE)
    assert not allotment.take(3 * SHARE)
    assert allotment.take(2 * SHARE)
    for _ in range(3):
        assert allotment.take(SHARE)
    assert not allotment.take(1)


def test_buffers_that_are_told_nothing_else_share_an_allotment_without_limit():
    assert Buffers(memory=1, most=1, pace=Pace(1)).allotment.take(10**15)
