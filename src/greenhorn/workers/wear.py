"""When a worker is worn out: after how many requests, how much memory, how long a life."""

import contextlib
import random
import resource
import sys
import time
from pathlib import Path

STATM = Path("/proc/self/statm")
ROLLUP = Path("/proc/self/smaps_rollup")
OWN = (b"Private_Clean:", b"Private_Dirty:", b"Private_Hugetlb:")
MIB = 1048576


class Wear:
    """The limits of one worker's life, each with its share of chance, so that workers do not wear out together.

    `requests` and `lifetime` (seconds) come with their jitter; `memory` is in bytes; 0 is no limit.
    """

    def __init__(self, requests: tuple[int, int], lifetime: tuple[int, int], memory: int) -> None:
        self.born = time.time()
        """Wall-clock seconds."""
        most, jitter = requests
        self.most_requests = most + random.randint(0, jitter) if most else 0  # noqa: S311 - nothing secret
        life, spread = lifetime
        self._die_at = time.monotonic() + life + random.uniform(0, spread) if life else float("inf")  # noqa: S311
        self._most_memory = memory

    def complaint(self, now: float) -> str:
        """Why this worker should be exchanged, empty if it need not; `now` is on the monotonic clock."""
        if now >= self._die_at:
            return "max_worker_lifetime is over"
        if self._most_memory and resident() > self._most_memory:
            own = own_memory()
            if own > self._most_memory:
                return f"max_worker_memory is exceeded ({own / MIB:.0f} MiB)"
        return ""


def resident() -> int:
    """Bytes of this process in memory, shared ones included; the most there ever were, where nothing else is known."""
    try:
        return int(STATM.read_bytes().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def own_memory() -> int:
    """Bytes that only this process has in memory: what it shares with the master after preload_app is not its own."""
    with contextlib.suppress(OSError, ValueError):
        lines = ROLLUP.read_bytes().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(OWN))
    return resident()
