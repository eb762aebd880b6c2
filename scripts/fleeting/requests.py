"""Requests as the clients of the load have seen them, and what of it counts as a failure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.latency import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fleeting.journal import Journal

REFUSED, RESET, NO_ANSWER, CUT_SHORT, WRONG = "refused", "reset", "no answer", "cut short", "wrong answer"
KINDS = (REFUSED, RESET, NO_ANSWER, CUT_SHORT, WRONG)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that was sent, or was to be: its number, which the application writes down, and the client's port."""

    number: int
    port: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it began on the system's monotonic clock, what it took, and why it failed, if it did.

    `lost` is the attempt over a kept connection that ended without a byte of an answer, and was repeated as `attempt`.
    """

    began: float
    seconds: float
    failure: str
    attempt: Attempt
    lost: Attempt | None = None
    kept: bool = False
    group: str = ""

    @property
    def ended(self) -> float:
        """When it was over."""
        return self.began + self.seconds

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All that was sent for it."""
        return (self.attempt,) if self.lost is None else (self.lost, self.attempt)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What counts of the requests: failures by kind, those that are excused, and repeated ones that nobody had seen."""

    requests: int
    failures: Counter[str]
    excused: int
    repeated: int

    def describe_failures(self) -> str:
        """Return the number of failures, and of each kind."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.failures.items()))
        return f"{self.failures.total():,} ({kinds})" if kinds else "0"


def judge(requests: Iterable[Request], journal: Journal, excuse: Callable[[Request], bool]) -> Verdict:
    """Count. A repeated request whose first attempt the application had begun is one that was cut off: no answer."""
    failures: Counter[str] = Counter()
    count = excused = repeated = 0
    for request in requests:
        count += 1
        seen = request.lost is not None and request.lost.number in journal.begun
        failure = request.failure or (NO_ANSWER if seen else "")
        if failure and excuse(request):
            excused += 1
        elif failure:
            failures[failure] += 1
        elif request.lost is not None:
            repeated += 1
    return Verdict(count, failures, excused, repeated)


def windows(requests: Iterable[Request], disturbed_at: float) -> tuple[Window, Window]:
    """Return those answered before something happened to the server, and those answered since; failures left out."""
    before: list[float] = []
    during: list[float] = []
    for request in requests:
        if not request.failure:
            (before if request.ended < disturbed_at else during).append(request.seconds)
    return _window(before), _window(during)


def _window(seconds: list[float]) -> Window:
    return Window(sum(seconds), sorted(seconds), Counter())
