"""What happens seldom and should be known: how many requests were turned away, dropped or stuck."""

import threading

from greenhorn.observe.logger import Logger

TELL_EVERY = 60.0
"""Seconds between two reports."""


class Counters:
    """Counts of events by their name. Any thread; not for what happens with every request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._tell_at = 0.0
        self._quiet: set[str] = set()

    def add(self, name: str, *, quiet: bool = False) -> None:
        """Count one more; `quiet` ones are the weather of the internet, and told on request only."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1
            if quiet:
                self._quiet.add(name)

    def totals(self) -> dict[str, int]:
        """How often each has happened so far."""
        with self._lock:
            return dict(self._counts)

    def tell(self, log: Logger, now: float) -> None:
        """Log what happened since this was done before: at once after a quiet time, else once in `TELL_EVERY`.

        One thread only. `now` is on the monotonic clock, `inf` for the last time.
        """
        if now < self._tell_at:
            return
        totals = self.totals()
        for name, count in totals.items():
            since = count - self._told.get(name, 0)
            if since and name not in self._quiet:
                log.warning("%d %s since the last report", since, name)
                self._tell_at = now + TELL_EVERY
        self._told = totals
