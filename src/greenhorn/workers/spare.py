"""The spare thread: when all threads are held up in the application, clients do not have to wait for them as well."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from greenhorn.net.connection import Connection
from greenhorn.workers.pool import Pool

PATIENCE = 0.05
"""Seconds that a connection waits for a thread of the pool before the spare thread takes it."""
SHORT_PATIENCE = 0.002
"""The same while the spare thread was needed just now."""
STOPS_WITHIN = 1.0
CATCH_UP_EVERY = 0.02
"""Seconds between two looks at clients that did not keep up."""
LATELY = 0.5
"""Seconds for which that counts as just now."""


class Spare:
    """One thread that takes what waits too long for the threads of a pool, and runs no application code.

    It also sends what is there for the clients of `lagging`, whose applications go on without it.
    `prepare(connection)` runs a turn up to the point where the application is needed; `give_up(connection)` ends the
    wait of a whole request that has waited for `queue_timeout` seconds (0: never) in vain. Neither may raise.
    """

    def __init__(
        self,
        prepare: Callable[[Connection], None],
        give_up: Callable[[Connection], None],
        queue_timeout: float,
        lagging: Mapping[Connection, bool] = MappingProxyType({}),
    ) -> None:
        self._pool: Pool[Connection]
        self._prepare = prepare
        self._give_up = give_up
        self.queue_timeout = queue_timeout
        """Changed by the poller's thread."""
        self._lagging = lagging
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._asleep = False
        self._needed_at = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="greenhorn-spare", daemon=True)

    def start(self, pool: Pool[Connection]) -> None:
        """Start the thread, beside those of `pool`."""
        self._pool = pool
        self._thread.start()

    def call(self) -> None:
        """Say that items wait and that no thread of the pool sleeps. Any thread; never blocks."""
        if self._asleep:
            self._asleep = False
            with contextlib.suppress(RuntimeError):  # another thread was as quick
                self._alarm.release()

    def stop(self) -> None:
        """End the thread, and wait for that, unless a disk keeps it for long."""
        self._stopping = True
        self._asleep = True
        self.call()
        if self._thread.ident is not None:
            self._thread.join(STOPS_WITHIN)

    def _run(self) -> None:
        catch_up_at = 0.0
        while not self._stopping:
            now = time.monotonic()
            nap = self._tend(now)
            if self._lagging:
                if now >= catch_up_at:
                    catch_up_at = now + CATCH_UP_EVERY
                    for connection in list(self._lagging):
                        connection.catch_up()
                nap = CATCH_UP_EVERY if nap is None else min(nap, CATCH_UP_EVERY)
            if nap is None:
                self._asleep = True
                if not self._something_waits():
                    self._alarm.acquire()
                self._asleep = False
            elif nap > 0:
                self._alarm.acquire(timeout=min(nap, PATIENCE))

    def _something_waits(self) -> bool:
        pool = self._pool
        waits = pool.ready or pool.new or pool.behind or self._lagging
        return bool(waits or (self.queue_timeout and pool.requests))

    def _tend(self, now: float) -> float | None:
        """Take one connection whose time has come; returns seconds until there will be one, None if none waits."""
        pool = self._pool
        naps = []
        if self.queue_timeout:
            naps = [
                self._tend_first(queue, self.queue_timeout, self._give_up, now)
                for queue in (pool.whole, pool.admitted, pool.new_whole)
            ]
        patience = SHORT_PATIENCE if now - self._needed_at < LATELY else PATIENCE
        naps += [self._tend_first(queue, patience, self._prepare, now) for queue in (pool.ready, pool.new, pool.behind)]
        return min((nap for nap in naps if nap is not None), default=None)

    def _tend_first(
        self, queue: deque[Any], patience: float, act: Callable[[Connection], None], now: float
    ) -> float | None:
        """Act on the first of a queue if it has waited for too long; returns seconds until it will have, or None."""
        try:
            first: Connection | None = queue[0]
        except IndexError:
            return None
        if first is None:  # the pool ends
            return None
        wait = first.queued_at + patience - now
        if wait > 0:
            return wait
        try:
            taken: Connection | None = queue.popleft()
        except IndexError:
            return 0.0
        if taken is None or taken.queued_at > first.queued_at:  # a thread of the pool was quicker with the first
            self._pool.put_back(queue, taken)
        else:
            self._needed_at = now
            act(taken)
        return 0.0
