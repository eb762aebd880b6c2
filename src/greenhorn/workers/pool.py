"""The threads of a worker and the queues of what is ready for them.

With the interpreter lock, two threads that are awake take turns at it, and each system call of one is an occasion
for the other: handing over costs more than most requests. So while the process uses a processor nearly all the time,
a thread that gets on with the queue is left alone with it, and the others sleep on. The poller's
thread looks after a moment whether it still does, and otherwise wakes as many as there are items.
While the process has time left, which is when the application waits for something, and without the lock, this is an
ordinary pool that wakes a thread per item.
"""

import contextlib
import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

PATIENCE = 0.001
"""Seconds that a thread may be busy with one item before others are woken for the items behind it."""
SATURATED = 0.8
"""The share of the time that a process used a processor, from which on more threads would not get more done."""
JUDGED_EVERY = 0.01
"""Seconds over which that share is measured."""
QUICK = 0.002
"""Seconds that no item may take if items are to count as quick."""
BUSY = 0.1
"""Seconds within which the next items have to come for that."""
QUICK_STREAK = 20
"""Measurements in a row that have to say so."""


class Slot(Generic[Item]):
    """One thread's place: what it sleeps on, what it works on, and since when."""

    __slots__ = ("alarm", "item", "lost", "since", "thread")

    def __init__(self) -> None:
        self.alarm = threading.Lock()
        self.alarm.acquire()
        self.since = 0.0
        """When it took its item, on the monotonic clock, 0 while it has none; written by its thread alone."""
        self.item: Item | None = None
        self.lost = False
        """Whether the thread was given up and ends with its item, if ever."""
        self.thread: threading.Thread


class Pool(Generic[Item]):
    """`threads` threads that call `work(item)` for each item that is put.

    `work` must not raise. Each queue is first in, first out: `whole` goes first, then `admitted`, then `ready`; and for
    each item that the poller puts there one of `new_whole` is admitted, and one of `new` and of `behind` let in behind
    it, or whenever the first three are empty. So a flood in one queue does not delay the others by more than an item
    for each of theirs.

    One thread, the poller's, calls `put_all`, `oversee` and `replace`; the others may be called by any. `on_busy()`,
    from any thread, says that items wait and that no thread sleeps.
    """

    def __init__(self, threads: int, work: Callable[[Item], None], on_busy: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._on_busy = on_busy
        self.on_idle: Callable[[], None] | None = None
        """Called once, by the next thread that goes to sleep, and then forgotten."""
        self.whole: deque[Item] = deque()
        """Requests that are whole, of connections that carried one before."""
        self.ready: deque[Item | None] = deque()
        """Connections that carried a request before, on which something has come."""
        self.admitted: deque[Item] = deque()
        """Those of `new_whole` whose time has come."""
        self.new_whole: deque[Item] = deque()
        """The first requests of connections, where they are whole."""
        self.new: deque[Item] = deque()
        """Connections that carried no request before."""
        self.behind: deque[Item | None] = deque()
        """Connections that had a turn just now, and need another."""
        self._idle: list[Slot[Item]] = []
        self._drained = threading.Lock()
        self._drained.acquire()
        self._overseen = False
        self._parallel = not getattr(sys, "_is_gil_enabled", lambda: True)()
        self._saturated = False
        self._streak = 0
        self._judged_at = time.monotonic()
        self._used_before = time.process_time()
        self._numbers = itertools.count()
        self.slots: list[Slot[Item]] = [self._place(f"greenhorn-{next(self._numbers)}") for _ in range(threads)]
        self.lost: list[Slot[Item]] = []
        """Places of threads that were given up."""

    def _place(self, name: str) -> Slot[Item]:
        slot: Slot[Item] = Slot()
        # A daemon: a request that never ends must not keep a process that was told to leave.
        slot.thread = threading.Thread(target=self._run, args=(slot,), name=name, daemon=True)
        return slot

    def start(self) -> None:
        """Start the threads."""
        for slot in self.slots:
            slot.thread.start()

    @property
    def idle(self) -> int:
        """How many threads sleep. Any thread."""
        return len(self._idle)

    def put(self, item: Item) -> None:
        """Queue one item, and wake a thread if one sleeps. Any thread; never blocks."""
        self.ready.append(item)
        self._wake(1)

    def put_behind(self, item: Item) -> None:
        """Queue one item behind all that comes from the poller. Any thread; never blocks."""
        self.behind.append(item)
        self._wake(1)

    def put_whole(self, item: Item, *, new: bool) -> None:
        """Queue one item that needs no more reading; `new`: the first request of a connection. Any thread."""
        (self.new_whole if new else self.whole).append(item)
        self._wake(1)

    def put_back(self, queue: deque[Any], item: Item | None) -> None:
        """Put an item back that was the first of `queue`. Any thread; never blocks."""
        queue.appendleft(item)
        self._wake(1)

    def put_all(self, items: Sequence[Item], new: Sequence[Item] = ()) -> None:
        """Queue items, and see to it that somebody works on them. Poller's thread; never blocks."""
        self.ready.extend(items)
        if new:
            self.new.extend(new)
        if self.new or self.behind or self.new_whole:
            self._let_in(len(items))
        now = time.monotonic()
        if now - self._judged_at >= JUDGED_EVERY:
            self._judge(now)
        if not self._saturated:
            self._wake(len(items) + len(new))
        elif not self._someone_gets_on():
            self._wake(1)

    def _let_in(self, most: int) -> bool:
        """Let up to `most` items of each other queue in behind those that have gone first; whether there were any."""
        any_of_them = False
        fronts: tuple[tuple[deque[Any], deque[Any]], ...] = (
            (self.new_whole, self.admitted),
            (self.new, self.ready),
            (self.behind, self.ready),
        )
        for queue, front in fronts:
            with contextlib.suppress(IndexError):
                for _ in range(most):
                    front.append(queue.popleft())
                    any_of_them = True
        return any_of_them

    def waiting(self) -> int:
        """How many items wait. Any thread."""
        return self.requests + len(self.ready) + len(self.new) + len(self.behind)

    @property
    def requests(self) -> int:
        """How many of them are requests that are known to be whole. Any thread."""
        return len(self.whole) + len(self.admitted) + len(self.new_whole)

    def oversee(self) -> bool:
        """Whether items wait, after the threads had up to `PATIENCE` to take them. Poller's thread; blocks so long."""
        if not (self.ready or self.new) or not self._saturated:
            return False
        if not (self._idle or self._someone_gets_on()):
            self._on_busy()
            return False
        self._overseen = True
        taken_in_time = self._drained.acquire(timeout=PATIENCE)
        self._overseen = False
        if not (self.ready or self.new):
            return False
        if not taken_in_time:
            self._judge(time.monotonic())
        if not self._saturated or not self._someone_gets_on():
            self._wake(self.waiting())
        else:
            self._on_busy()
        return True

    def _judge(self, now: float) -> None:
        """Measure whether the process had processor time left since it was measured before."""
        used = time.process_time()
        self._saturated = not self._parallel and used - self._used_before >= SATURATED * (now - self._judged_at)
        slow = any(slot.since and now - slot.since > QUICK for slot in self.slots)
        self._streak = 0 if slow or now - self._judged_at > BUSY else self._streak + 1
        self._judged_at = now
        self._used_before = used

    @property
    def quick(self) -> bool:
        """Whether items come all the time and none has taken long lately. Poller's thread."""
        return self._streak >= QUICK_STREAK

    def _someone_gets_on(self) -> bool:
        """Whether a thread took its item so recently that it can be expected to take the next one at once."""
        lately = time.monotonic() - PATIENCE
        return any(slot.since > lately for slot in self.slots)

    def _wake(self, most: int) -> None:
        idle = self._idle
        for _ in range(most):
            try:
                slot = idle.pop()
            except IndexError:
                self._on_busy()
                return
            slot.alarm.release()

    def _run(self, slot: Slot[Item]) -> None:
        whole, admitted, take = self.whole, self.admitted, self.ready.popleft
        idle, work, now = self._idle, self._work, time.monotonic
        while not slot.lost:
            try:
                item = (whole or admitted).popleft() if whole or admitted else take()
            except IndexError:
                if self._let_in(1):
                    continue
                slot.since = 0.0
                slot.item = None
                idle.append(slot)
                if not (self.waiting() or slot.lost) or not self._withdraw(slot):
                    self._tell_idle()
                    slot.alarm.acquire()
                continue
            if item is None:
                return
            slot.item = item
            slot.since = now()
            work(item)
        self._wake(1)  # the alarm may have rung for an item

    def _withdraw(self, slot: Slot[Item]) -> bool:
        """Take a slot back from the idle ones; False if somebody has taken it already and rings its alarm."""
        try:
            self._idle.remove(slot)
        except ValueError:
            return False
        return True

    def _tell_idle(self) -> None:
        if self._overseen:
            self._overseen = False
            with contextlib.suppress(RuntimeError):  # two threads were the last one
                self._drained.release()
        told = self.on_idle
        if told is not None:
            self.on_idle = None
            told()

    # Threads that do not come back.

    def replace(self, slot: Slot[Item]) -> None:
        """Give the thread of `slot` up, and start another in its place. Poller's thread."""
        slot.lost = True
        if self._withdraw(slot):  # it has just come back, and sleeps
            slot.alarm.release()
        fresh = self._place(f"greenhorn-{next(self._numbers)}")
        self.lost.append(slot)
        self.slots = [fresh if each is slot else each for each in self.slots]
        fresh.thread.start()

    def count_lost(self) -> int:
        """How many threads that were given up have not come back to their end. Poller's thread."""
        self.lost = [slot for slot in self.lost if slot.thread.is_alive()]
        return len(self.lost)

    def stop(self, timeout: float) -> bool:
        """End each thread once the items before are worked off; whether all had ended after `timeout` seconds."""
        threads = [slot.thread for slot in self.slots]
        for _ in threads:
            self.behind.append(None)
        for _ in threads:
            with contextlib.suppress(IndexError):
                self._idle.pop().alarm.release()
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)
