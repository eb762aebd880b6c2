"""What healthy clients have seen in a span of time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attacking.healthy import Sample


@dataclass(frozen=True, slots=True)
class Window:
    """The requests that were under way in a span of `seconds`: their times in order, and failures by reason."""

    seconds: float
    latencies: list[float]
    failures: Counter[str]

    @classmethod
    def cut(cls, samples: Iterable[Sample], begin: float, end: float) -> Window:
        """Return the window from `begin` to `end` on the clock of the samples."""
        inside = [sample for sample in samples if sample.began < end and sample.began + sample.seconds >= begin]
        failures = Counter(sample.failure for sample in inside if sample.failure)
        return cls(end - begin, sorted(sample.seconds for sample in inside), failures)

    @property
    def rate(self) -> float:
        """Requests answered well, per second."""
        return (len(self.latencies) - self.failures.total()) / self.seconds

    def milliseconds(self, quantile: float) -> float:
        """Return a quantile of the latencies, those of failures included; infinite if there are none."""
        if not self.latencies:
            return math.inf
        return self.latencies[max(0, math.ceil(quantile * len(self.latencies)) - 1)] * 1000

    def quantiles(self) -> list[str]:
        """Return p50, p99 and the maximum in ms, as a table shows them."""
        return [milliseconds(self.milliseconds(quantile)) for quantile in (0.5, 0.99, 1)]

    def describe_failures(self) -> str:
        """Return the number of failures, and their reasons."""
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(self.failures.items()))
        return f"{self.failures.total()} ({reasons})" if reasons else "0"


def milliseconds(value: float) -> str:
    """Return a time as a table shows it."""
    return "-" if math.isinf(value) else f"{value:.1f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - digits
