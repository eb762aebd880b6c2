"""Threads over a queue of connections that are ready; what a connection is, nobody here knows."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Pool(Generic[Item]):
    """`threads` threads that call `work(item)` for each item that is put, first in, first out.

    `work` must not raise. Items are put from any thread.
    """

    def __init__(self, threads: int, work: Callable[[Item], None]) -> None:
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._work = work
        self.put: Callable[[Item], None] = self._queue.put
        """Queue an item; takes no lock of ours and never blocks."""
        # Daemon threads: a request that never ends must not keep a process that was told to leave.
        self.threads = [
            threading.Thread(target=self._run, name=f"greenhorn-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        get = self._queue.get
        work = self._work
        while (item := get()) is not None:
            work(item)

    def stop(self, timeout: float) -> bool:
        """End each thread once the items before are worked off; whether all had ended after `timeout` seconds."""
        for _ in self.threads:
            self._queue.put(None)
        until = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)
