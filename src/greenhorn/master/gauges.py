"""What the master measures: how many workers serve, and how many connections wait for one."""

import math
from collections.abc import Iterable

from greenhorn.net.kernel import waiting_connections
from greenhorn.net.listener import Listener
from greenhorn.observe.statsd import StatsD

REPEAT = 10.0
"""Seconds after which a gauge is told again though it is the same: some servers forget what they do not hear of."""
SAMPLE = 1.0
"""Seconds between two measurements of the queues."""


class Gauges:
    """Tells a StatsD server what changes between two turns of the master. Main thread of the master."""

    def __init__(self) -> None:
        self._told: StatsD | None = None
        self._workers = -1
        self._repeat_at = self._sample_at = -math.inf

    def tell(self, statsd: StatsD | None, now: float, workers: int, listeners: Iterable[Listener]) -> None:
        """Send what is due at `now` on the monotonic clock; without `listeners` no queue is measured."""
        if statsd is None:
            return
        if statsd is not self._told or workers != self._workers or now >= self._repeat_at:
            self._told, self._workers, self._repeat_at = statsd, workers, now + REPEAT
            statsd.gauge("gunicorn.workers", workers)
        if now >= self._sample_at:
            self._sample_at = now + SAMPLE
            # Sockets that are only reserved have no queue: each worker listens at one of its own.
            counts = [waiting_connections(listener.socket) for listener in listeners if not listener.reserved]
            if any(count is not None for count in counts):
                statsd.histogram("gunicorn.backlog", sum(count or 0 for count in counts))
