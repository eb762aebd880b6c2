"""Threads over a queue of items that are ready; what an item is, nobody here knows.

With the interpreter lock, threads that are awake without need are dear: each system call of one hands the lock to
another. So while the process has no processor time left, one thread that gets on with the queue is left alone with
it; the poller's thread looks after a moment whether it still does, and otherwise wakes as many as there are items.
While the process has time left, which is when the application waits for something, and without the lock, this is an
ordinary pool that wakes a thread per item.
"""

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

PATIENCE = 0.001
"""Seconds that a thread may be busy with one item before others are woken for the items behind it."""
SATURATED = 0.8
"""The share of the time that a process used a processor, from which on more threads would not get more done."""
JUDGED_EVERY = 0.01
"""Seconds over which that share is measured."""


class Slot:
    """One thread's place: what it sleeps on, and since when it has been at work."""

    __slots__ = ("alarm", "since")

    def __init__(self) -> None:
        self.alarm = threading.Lock()
        self.alarm.acquire()
        self.since = 0.0
        """When it took its item, on the monotonic clock; written by its thread alone."""


class Pool(Generic[Item]):
    """`threads` threads that call `work(item)` for each item that is put, first in, first out.

    `work` must not raise. One thread, the poller's, calls `put_all` and `oversee`; `put` is for any thread.
    """

    def __init__(self, threads: int, work: Callable[[Item], None]) -> None:
        self._work = work
        self._ready: deque[Item | None] = deque()
        self._slots = [Slot() for _ in range(threads)]
        self._idle: list[Slot] = []
        self._drained = threading.Lock()
        self._drained.acquire()
        self._overseen = False
        self._parallel = not getattr(sys, "_is_gil_enabled", lambda: True)()
        self._saturated = False
        self._judged_at = time.monotonic()
        self._used_before = time.process_time()
        # Daemon threads: a request that never ends must not keep a process that was told to leave.
        self.threads = [
            threading.Thread(target=self._run, args=(slot,), name=f"greenhorn-{number}", daemon=True)
            for number, slot in enumerate(self._slots)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self.threads:
            thread.start()

    def put(self, item: Item) -> None:
        """Queue one item, and wake a thread if one sleeps. Any thread; never blocks."""
        self._ready.append(item)
        self._wake(1)

    def put_all(self, items: Sequence[Item]) -> None:
        """Queue items, and see to it that somebody works on them. Poller's thread; never blocks."""
        self._ready.extend(items)
        now = time.monotonic()
        if now - self._judged_at >= JUDGED_EVERY:
            self._judge(now)
        if not self._saturated:
            self._wake(len(self._ready))
        elif not self._someone_gets_on():
            self._wake(1)

    def oversee(self) -> bool:
        """Whether items wait, after the threads had up to `PATIENCE` to take them. Poller's thread; blocks so long."""
        if not self._ready or not self._saturated or not (self._idle or self._someone_gets_on()):
            return False
        self._overseen = True
        taken_in_time = self._drained.acquire(timeout=PATIENCE)
        self._overseen = False
        if not self._ready:
            return False
        if not taken_in_time:
            self._judge(time.monotonic())
        if not self._saturated or not self._someone_gets_on():
            self._wake(len(self._ready))
        return True

    def _judge(self, now: float) -> None:
        """Measure whether the process had processor time left since it was measured before."""
        used = time.process_time()
        self._saturated = not self._parallel and used - self._used_before >= SATURATED * (now - self._judged_at)
        self._judged_at = now
        self._used_before = used

    def _someone_gets_on(self) -> bool:
        """Whether a thread took its item so recently that it can be expected to take the next one at once."""
        lately = time.monotonic() - PATIENCE
        return any(slot.since > lately for slot in self._slots)

    def _wake(self, most: int) -> None:
        idle = self._idle
        for _ in range(most):
            try:
                slot = idle.pop()
            except IndexError:
                return
            slot.alarm.release()

    def _run(self, slot: Slot) -> None:
        ready, idle, work, take, now = (
            self._ready,
            self._idle,
            self._work,
            self._ready.popleft,
            time.monotonic,
        )
        while True:
            try:
                item = take()
            except IndexError:
                slot.since = 0.0
                idle.append(slot)
                if not ready or not self._withdraw(slot):
                    self._tell_drained()
                    slot.alarm.acquire()
                continue
            if item is None:
                return
            slot.since = now()
            work(item)

    def _withdraw(self, slot: Slot) -> bool:
        """Take a slot back from the idle ones; False if somebody has taken it already and rings its alarm."""
        try:
            self._idle.remove(slot)
        except ValueError:
            return False
        return True

    def _tell_drained(self) -> None:
        if self._overseen:
            self._overseen = False
            with contextlib.suppress(RuntimeError):  # two threads were the last one
                self._drained.release()

    def stop(self, timeout: float) -> bool:
        """End each thread once the items before are worked off; whether all had ended after `timeout` seconds."""
        for _ in self.threads:
            self._ready.append(None)
        self._wake(len(self.threads))
        until = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)
