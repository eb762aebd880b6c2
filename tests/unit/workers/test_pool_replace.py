"""Threads of a pool that are given up: another takes the place of each, and they end with their item."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from greenhorn.workers.pool import Pool
from unit.net.waiting import DEADLINE, wait_until


@dataclass(eq=False)
class Item:
    """What a thread works on: it waits for the gate, if there is one."""

    gate: threading.Event | None = None
    begun: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


def work(item: Item) -> None:
    item.begun.set()
    if item.gate is not None:
        item.gate.wait(DEADLINE)
    item.done.set()


@pytest.fixture
def pool() -> Iterator[Pool[Item]]:
    one: Pool[Item] = Pool(1, work)
    one.start()
    yield one
    assert one.stop(1.0), "the threads did not end"


def test_another_thread_takes_the_place_of_one_that_is_given_up(pool: Pool[Item]):
    stuck, other = Item(threading.Event()), Item()
    pool.put(stuck)
    assert stuck.begun.wait(DEADLINE)
    slot = pool.slots[0]
    pool.put(other)
    pool.replace(slot)
    assert other.done.wait(DEADLINE)
    assert (pool.count_lost(), len(pool.slots)) == (1, 1)
    assert stuck.gate is not None
    stuck.gate.set()
    wait_until(lambda: pool.count_lost() == 0, "the end of the thread")
    assert not slot.thread.is_alive()
    assert pool.slots[0].thread.is_alive()


def test_a_thread_that_was_given_up_takes_no_other_item(pool: Pool[Item]):
    stuck = Item(threading.Event())
    pool.put(stuck)
    assert stuck.begun.wait(DEADLINE)
    slot = pool.slots[0]
    pool.replace(slot)
    assert stuck.gate is not None
    stuck.gate.set()
    slot.thread.join(DEADLINE)
    assert not slot.thread.is_alive()
    items = [Item() for _ in range(100)]
    for item in items:
        pool.put(item)
    assert all(item.done.wait(DEADLINE) for item in items)


def test_a_thread_that_comes_back_just_before_it_is_given_up_ends_as_well(pool: Pool[Item]):
    item = Item()
    pool.put(item)
    assert item.done.wait(DEADLINE)
    wait_until(lambda: pool.idle == 1, "the thread's sleep")
    slot = pool.slots[0]
    pool.replace(slot)
    wait_until(lambda: pool.count_lost() == 0, "the end of the thread", 2.0)
    assert slot not in pool._idle


def test_no_item_is_left_to_a_thread_that_comes_back_just_before_it_is_given_up(pool: Pool[Item]):
    item, other = Item(), Item()
    pool.put(item)
    assert item.done.wait(DEADLINE)
    wait_until(lambda: pool.idle == 1, "the thread's sleep")
    pool.replace(pool.slots[0])
    wait_until(lambda: pool.slots[0] in pool._idle, "the other thread's sleep")
    pool.put(other)
    assert other.done.wait(2.0)
    for _ in range(3):
        pool.put(another := Item())
        assert another.done.wait(2.0)


def test_threads_that_are_given_up_at_any_moment_leave_no_item_behind(pool: Pool[Item]):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            item, other = Item(), Item()
            pool.put(item)
            assert item.begun.wait(DEADLINE)
            pool.replace(pool.slots[0])
            pool.put(other)
            assert other.done.wait(2.0)
        wait_until(lambda: pool.count_lost() == 0, "the end of the threads", 2.0)
    finally:
        sys.setswitchinterval(before)
