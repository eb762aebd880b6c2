"""The pool: order, hand-over, no item left behind while a thread sleeps, and the end."""

import collections
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from greenhorn.workers.pool import Pool
from unit.net.waiting import DEADLINE, wait_until

LONG = 2.0
"""Seconds that the loop below waits when the pool does not ask to be looked after: what a forgotten item waits."""
TOO_LONG = LONG / 2


class Loop:
    """The poller's thread as the worker's loop has it: what is ready goes to the pool, which is then overseen."""

    def __init__(self, pool: "Pool[Item]") -> None:
        self._pool = pool
        self._ready: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        pool.start()
        self._thread.start()

    def report(self, items: "list[Item]") -> None:
        """Let these items be ready."""
        self._ready.put(items)

    def _run(self) -> None:
        while True:
            wait = 0.0 if self._pool.oversee() else LONG
            try:
                ready = self._ready.get(timeout=wait) if wait else self._ready.get_nowait()
            except queue.Empty:
                continue
            if ready is None:
                return
            self._pool.put_all(ready)

    def finish(self) -> None:
        self._ready.put(None)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        assert self._pool.stop(DEADLINE), "the pool's threads did not end"


@dataclass(slots=True)
class Item:
    """What the test's application does with one item, and when that was."""

    blocks: float = 0.0
    gate: threading.Event | None = None
    put_at: float = field(default_factory=time.monotonic)
    begun: float = 0.0
    done: float = 0.0
    thread: int = 0
    behind: "Item | None" = None
    """Put by the thread that worked on this one, as pipelined requests are."""


def work_on(item: Item, put: "Callable[[Item], None] | None" = None) -> None:
    item.begun = time.monotonic()
    item.thread = threading.get_ident()
    if item.gate is not None:
        item.gate.wait(DEADLINE)
    if item.blocks:
        threading.Event().wait(item.blocks)
    item.done = time.monotonic()
    if item.behind is not None and put is not None:
        item.behind.put_at = time.monotonic()
        put(item.behind)


def make_pool(threads: int, *, parallel: bool = False) -> Pool[Item]:
    pool: Pool[Item] = Pool(threads, lambda item: work_on(item, pool.put))
    # What the pool does on a build without the interpreter lock has to work on one with it as well.
    pool._parallel = pool._parallel or parallel
    return pool


both_builds = pytest.mark.parametrize("parallel", [False, True], ids=["with lock", "without lock"])


@both_builds
def test_one_thread_takes_items_first_in_first_out(parallel: bool):
    taken: list[int] = []
    pool: Pool[int] = Pool(1, taken.append)
    pool._parallel = pool._parallel or parallel
    for number in range(500):
        pool.put(number)
    pool.put_all(range(500, 1000))
    pool.start()
    assert pool.stop(DEADLINE)
    assert taken == list(range(1000))


@both_builds
@pytest.mark.usefixtures("hasty_switches")
def test_several_threads_take_each_item_once_and_in_order(parallel: bool):
    taken: dict[int, list[int]] = {}
    pool: Pool[int] = Pool(4, lambda item: taken.setdefault(threading.get_ident(), []).append(item))
    pool._parallel = pool._parallel or parallel
    pool.start()
    for first in range(0, 20_000, 100):
        pool.put_all(range(first, first + 100))
        pool.oversee()
    assert pool.stop(DEADLINE)
    assert sorted(item for items in taken.values() for item in items) == list(range(20_000))
    for items in taken.values():
        assert items == sorted(items)


@pytest.mark.usefixtures("hasty_switches")
def test_items_put_by_many_threads_are_all_taken():
    taken: list[tuple[int, int]] = []
    pool: Pool[tuple[int, int]] = Pool(3, taken.append)
    pool.start()
    putters = [
        threading.Thread(target=lambda who=who: [pool.put((who, number)) for number in range(2000)]) for who in range(4)
    ]
    for putter in putters:
        putter.start()
    for putter in putters:
        putter.join(DEADLINE)
    assert pool.stop(DEADLINE)
    assert sorted(taken) == [(who, number) for who in range(4) for number in range(2000)]


@both_builds
def test_an_item_behind_a_blocked_thread_is_soon_taken_although_nothing_new_arrives(parallel: bool):
    loop = Loop(make_pool(2, parallel=parallel))
    gate = threading.Event()
    try:
        for together in (True, False):
            blocked, behind = Item(gate=gate), Item()
            if together:
                loop.report([blocked, behind])
            else:
                loop.report([blocked])
                wait_until(lambda blocked=blocked: blocked.begun, "the blocked item's thread")
                behind.put_at = time.monotonic()
                loop.report([behind])
            wait_until(lambda behind=behind: behind.done, "the item behind")
            assert behind.begun - behind.put_at < TOO_LONG
            assert not blocked.done
            gate.set()
            wait_until(lambda blocked=blocked: blocked.done, "the blocked item")
            gate.clear()
    finally:
        gate.set()
        loop.finish()


def test_an_item_that_a_blocked_thread_put_is_soon_taken_by_another():
    gate, taken = threading.Event(), threading.Event()

    def act(item: str) -> None:
        if item == "first":
            pool.put("second")
            gate.wait(DEADLINE)
        else:
            taken.set()

    pool: Pool[str] = Pool(2, act)
    pool.start()
    pool.put("first")
    assert taken.wait(DEADLINE)
    assert not gate.is_set()
    gate.set()
    assert pool.stop(DEADLINE)


def test_every_thread_is_used_when_all_items_block():
    loop = Loop(make_pool(8))
    gate = threading.Event()
    items = [Item(gate=gate) for _ in range(8)]
    loop.report(items)
    wait_until(lambda: all(item.begun for item in items), "eight threads at eight items")
    assert len({item.thread for item in items}) == 8
    gate.set()
    loop.finish()


def test_items_that_block_for_less_than_the_patience_are_worked_on_side_by_side():
    loop = Loop(make_pool(4))
    concurrency = []
    for _ in range(6):
        items = [Item(blocks=0.0005) for _ in range(300)]
        began = time.monotonic()
        loop.report(items)
        wait_until(lambda items=items: all(item.done for item in items), "the items")
        concurrency.append(sum(item.done - item.begun for item in items) / (max(item.done for item in items) - began))
    loop.finish()
    assert min(concurrency) > 1.5, f"threads of 4 that worked at a time, by round: {concurrency}"


@both_builds
@pytest.mark.usefixtures("hasty_switches")
def test_no_item_waits_long_while_a_thread_sleeps(parallel: bool):
    chance = random.Random(8)
    loop = Loop(make_pool(4, parallel=parallel))
    until = time.monotonic() + 2.0
    total = 0
    try:
        while total < 30_000 and time.monotonic() < until:
            burst = [an_item(chance) for _ in range(chance.choice((1, 1, 2, 3, 5, 8, 40)))]
            every = [one for item in burst for one in (item, item.behind) if one is not None]
            for item in burst:
                item.put_at = time.monotonic()
            cut = chance.randrange(len(burst) + 1)
            loop.report(burst[:cut])
            loop.report(burst[cut:])
            wait_for_all(every)
            total += len(every)
            longest = max(item.begun - item.put_at for item in every)
            assert longest < TOO_LONG, f"an item waited {longest:.2f} s, after {total} others"
    finally:
        loop.finish()
    assert total > 2000


def an_item(chance: random.Random) -> Item:
    blocks = chance.uniform(0, 0.003) if chance.random() < 0.02 else 0.0
    return Item(blocks=blocks, behind=Item() if chance.random() < 0.1 else None)


def wait_for_all(items: list[Item]) -> None:
    expires = time.monotonic() + DEADLINE
    while not all(item.done for item in items):
        assert time.monotonic() < expires, "an item was never taken"
        time.sleep(0)


# Interleavings that the interpreter lock makes rare, brought about on purpose.


class RacingQueue(collections.deque[Any]):
    """A queue in which `race` happens, once, just after a thread found it empty."""

    race: Callable[[], None] | None = None

    def popleft(self) -> Any:
        try:
            return super().popleft()
        except IndexError:
            race, self.race = self.race, None
            if race is not None:
                race()
            raise


class RacingIdlers(list[Any]):
    """The places of threads that sleep; `race` happens, once, just after one was added."""

    race: Callable[[], None] | None = None

    def append(self, slot: Any) -> None:
        super().append(slot)
        race, self.race = self.race, None
        if race is not None:
            race()


@both_builds
@pytest.mark.parametrize("late", [False, True], ids=["before it is known to sleep", "after"])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_item_put_while_a_thread_falls_asleep_is_taken(parallel: bool, late: bool, threads: int):
    pool = make_pool(threads, parallel=parallel)
    pool.ready, pool._idle = ready, idle = RacingQueue(), RacingIdlers()
    for round_number in range(30):
        item = Item()
        racing: Any = idle if late else ready
        racing.race = lambda item=item: pool.put(item)
        if not round_number:
            pool.start()
        else:
            pool.put(Item())  # somebody wakes, and falls asleep again
        wait_until(lambda item=item: item.done, "the item")
        wait_until(lambda: len(idle) == threads, "the threads' sleep")
        assert len({id(slot) for slot in idle}) == threads
    assert pool.stop(DEADLINE)


@both_builds
def test_items_put_together_are_taken_at_once_when_all_sleep(parallel: bool):
    pool = make_pool(2, parallel=parallel)
    pool.start()
    for _ in range(100):
        wait_until(lambda: len(pool._idle) == 2, "the threads' sleep")
        items = [Item(), Item()]
        pool.put_all(items)
        wait_until(lambda items=items: all(item.done for item in items), "the items, without an overseer's help")
    assert pool.stop(DEADLINE)


@both_builds
def test_items_put_before_the_end_are_worked_on_and_then_the_threads_end(parallel: bool):
    pool = make_pool(3, parallel=parallel)
    pool.start()
    items = [Item(blocks=0.001) for _ in range(50)]
    pool.put_all(items)
    assert pool.stop(DEADLINE)
    assert all(item.done for item in items)
    assert not any(thread.is_alive() for thread in [slot.thread for slot in pool.slots])


def test_the_end_of_a_pool_that_never_worked_is_quick():
    pool = make_pool(4)
    pool.start()
    assert pool.stop(DEADLINE)


def test_a_stuck_thread_is_told_and_does_not_hold_the_end():
    pool = make_pool(2)
    gate = threading.Event()
    stuck = Item(gate=gate)
    pool.start()
    pool.put(stuck)
    wait_until(lambda: stuck.begun, "the stuck item")
    began = time.monotonic()
    assert pool.stop(0.05) is False
    assert time.monotonic() - began < TOO_LONG
    assert all(thread.daemon for thread in [slot.thread for slot in pool.slots])
    gate.set()
    wait_until(
        lambda: not any(thread.is_alive() for thread in [slot.thread for slot in pool.slots]), "the threads' end"
    )


def test_a_pool_without_items_asks_for_nothing():
    pool = make_pool(2)
    pool.start()
    began = time.monotonic()
    assert not any(pool.oversee() for _ in range(1000))
    assert time.monotonic() - began < TOO_LONG
    assert pool.stop(DEADLINE)


def test_busy_threads_are_not_waited_for():
    pool = make_pool(1)
    gate = threading.Event()
    pool.start()
    pool.put(first := Item(gate=gate))
    wait_until(lambda: first.begun, "the first item")
    pool.put_all([second := Item()])
    # Nobody can take it before the first is done: the poller's thread is free to wait for its descriptors.
    wait_until(lambda: not pool.oversee(), "the pool to let the poller's thread go")
    assert not second.begun
    gate.set()
    wait_until(lambda: second.done, "the second item")
    assert pool.stop(DEADLINE)
