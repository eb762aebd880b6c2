"""Scenario: ten times more requests than four threads can answer."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.applications import NAP_SECONDS
from attacking.companion import Companion
from attacking.crowds import ALONE_SECONDS, MOST_P99_MS, WARM_UP_SECONDS
from attacking.healthy import Healthy
from attacking.latency import Window, milliseconds
from attacking.launching import THREADS, serving, until
from attacking.verdicts import Outcome
from benching.servers import NotServing

if TYPE_CHECKING:
    from attacking.launching import Bench, Target

QUEUE_SECONDS = 1
FOLD = 10
# As many as can be under way at ten times the rate if each answer takes the queue's time, and half as many more.
CONNECTIONS = int(THREADS / NAP_SECONDS * FOLD * QUEUE_SECONDS * 1.5)
ROOM = ("--worker-connections", "8192")
CONNECTING_SECONDS = 20.0
RECOVERY_SECONDS = 2.0
# Beyond the queue's own time: a sweep, and a processor that is busy with all the others.
SLACK_SECONDS = 1.0
GOODPUT = 0.9
OFFERED = 0.9
PATH = "/nap"
OK, OVERLOADED = 200, 503
TITLE = (
    f"{FOLD} times what {THREADS} threads can answer, {NAP_SECONDS * 1000:.0f} ms each, --queue-timeout {QUEUE_SECONDS}"
)


@dataclass(frozen=True, slots=True)
class Load:
    """What came back within `seconds`: status, seconds, Retry-After; failures by reason; what is `unanswered` yet."""

    seconds: float
    offered: int
    unanswered: int
    answers: list[tuple[int, float, bool]]
    failures: Counter[str]

    def times(self, status: int) -> list[float]:
        """Return how long answers of a status took."""
        return [seconds for found, seconds, _ in self.answers if found == status]


def play(bench: Bench, server: str) -> Outcome:
    """Find the best, overload, and return what was left of it."""
    outcome = Outcome("overload", server)
    try:
        with serving(bench, server, ("--queue-timeout", str(QUEUE_SECONDS)), ROOM) as target:
            best = _best(target, bench.seconds)
            normal = _calm(target, 0.0)
            load = _overload(target, best, bench.seconds)
            after = _calm(target, RECOVERY_SECONDS)
            outcome.note("best goodput, requests/s", f"{best:,.0f}")
            _judge(outcome, best, load)
            most = max(MOST_P99_MS, 2 * normal)
            outcome.note("p99 before, ms", milliseconds(normal))
            what = f"p99 from {RECOVERY_SECONDS:.0f} s after it, ms"
            outcome.note(what, milliseconds(after), f"{most:.0f}", kept=after < most)
    except (NotServing, RuntimeError) as failure:
        outcome.failure = str(failure)
    return outcome


def _best(target: Target, seconds: float) -> float:
    """Return the rate of good answers when each thread always has the next request, and not more."""
    with Healthy(target.port, clients=2 * THREADS, interval=0, path=PATH) as healthy:
        time.sleep(WARM_UP_SECONDS)
        began = time.monotonic()
        time.sleep(seconds)
        return Window.cut(healthy.stop(), began, began + seconds).rate


def _calm(target: Target, delay: float) -> float:
    """Return the p99 in ms of a light load from `delay` seconds after now; infinite if a request fails."""
    began = time.monotonic() + max(delay, WARM_UP_SECONDS)
    with Healthy(target.port, interval=0.05, path=PATH) as healthy:
        time.sleep(began + ALONE_SECONDS - time.monotonic())
        window = Window.cut(healthy.stop(), began, began + ALONE_SECONDS)
    return math.inf if window.failures else window.milliseconds(0.99)


def _overload(target: Target, best: float, seconds: float) -> Load:
    with Companion("offering", target.port, PATH, CONNECTIONS, best * FOLD) as offer:
        until(lambda: bool(offer.ask()["free"] >= CONNECTIONS), CONNECTING_SECONDS)
        before = Counter(offer.ask()["failures"])
        offer.ask("go")
        began = time.monotonic()
        time.sleep(seconds)
        found = offer.ask("stop")
        took = time.monotonic() - began
    answers = [(status, time_taken, retry) for status, time_taken, retry in found["answers"]]
    return Load(took, found["offered"], found["under_way"], answers, Counter(found["failures"]) - before)


def _judge(outcome: Outcome, best: float, load: Load) -> None:
    good, refused = load.times(OK), load.times(OVERLOADED)
    goodput = len(good) / load.seconds
    offered, wanted = load.offered / load.seconds, best * FOLD
    # Fewer are offered when all connections wait for an answer.
    outcome.note("offered, requests/s", f"{offered:,.0f}", f"{wanted:,.0f}", kept=offered >= OFFERED * wanted)
    found = f"{goodput:,.0f} ({goodput / best:.0%})"
    outcome.note("goodput then, requests/s", found, f"{GOODPUT:.0%} of the best", kept=goodput >= GOODPUT * best)
    outcome.note("slowest 200, s", f"{max(good, default=math.nan):.2f}")
    slowest = max(refused, default=math.inf)
    outcome.note("answers 503 per second", f"{len(refused) / load.seconds:,.0f}")
    most = QUEUE_SECONDS + SLACK_SECONDS
    outcome.note("slowest 503, s", f"{slowest:.2f}" if refused else "none", f"{most:.0f}", kept=slowest < most)
    outcome.note("unanswered at the end", f"{load.unanswered:,}")
    without = sum(not retry for status, _, retry in load.answers if status == OVERLOADED)
    outcome.note("503 without Retry-After", f"{without:,}", "0", kept=without == 0 and bool(refused))
    others = Counter(str(status) for status, _, _ in load.answers if status not in (OK, OVERLOADED)) + load.failures
    words = ", ".join(f"{reason} {number:,}" for reason, number in sorted(others.items()))
    outcome.note("neither 200 nor 503", words or "0", "0", kept=not others)
