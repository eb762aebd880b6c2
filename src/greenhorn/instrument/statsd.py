"""The logger that gunicorn takes when statsd_host is set, for classes that were derived from it.

Here every logger counts when statsd_host is set; this one has the methods that send a metric also when it is not.
"""

from greenhorn.observe.logger import Logger

__all__ = ["Statsd"]


class Statsd(Logger):
    """A logger whose methods send metrics, if there is a server to send them to. Any thread; none raises or blocks."""

    def gauge(self, name: str, value: object) -> None:
        """Say how much there is of something."""
        if self.statsd is not None:
            self.statsd.gauge(name, value)

    def increment(self, name: str, value: object, sampling_rate: float = 1.0) -> None:
        """Count `value` more; `sampling_rate` is the part of all events that is told."""
        if self.statsd is not None:
            self.statsd.increment(name, value, sampling_rate)

    def decrement(self, name: str, value: object, sampling_rate: float = 1.0) -> None:
        """Count `value` less."""
        if self.statsd is not None:
            self.statsd.decrement(name, value, sampling_rate)

    def timer(self, name: str, value: object) -> None:
        """Say that something took `value` milliseconds."""
        if self.statsd is not None:
            self.statsd.timer(name, value)

    def histogram(self, name: str, value: object) -> None:
        """Add `value` to a distribution."""
        if self.statsd is not None:
            self.statsd.histogram(name, value)
