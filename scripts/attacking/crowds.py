"""The main scenario: healthy clients alone, then while a crowd of hostile ones arrives, stays, and is gone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attacking.companion import Companion
from attacking.healthy import Healthy
from attacking.latency import Window, milliseconds
from attacking.launching import deadlines, serving, until
from attacking.observing import Facts
from attacking.verdicts import Outcome
from benching.servers import NotServing

if TYPE_CHECKING:
    from attacking.attacks import Attack
    from attacking.healthy import Sample
    from attacking.launching import Bench, Target

MIB = 1_048_576
WARM_UP_SECONDS = 1.0
ALONE_SECONDS = 3.0
PER_SECOND = 400
SAMPLING_SECONDS = 0.2
# After which those who have not arrived are not waited for any more.
STANDSTILL_SECONDS = 5.0
# What comes on top of the patience: lingering, a sweep a second, a slow machine.
SLACK_SECONDS = 6.0
SETTLING_SECONDS = 3.0

MOST_P99_MS = 20.0
MOST_P99_MS_ENCRYPTED = 50.0
MOST_GROWTH = 64 * MIB
# What allocators keep when it comes back in pieces.
KEPT = 32 * MIB
# OpenSSL takes its memory for a handshake in pieces, which the allocator keeps for the next ones.
KEPT_ENCRYPTED = 64 * MIB


@dataclass(frozen=True, slots=True)
class Spans:
    """When what began, on the system's monotonic clock."""

    alone: float
    arriving: float
    there: float
    end: float

    def windows(self, samples: list[Sample]) -> tuple[Window, Window, Window]:
        """Return what the healthy saw alone, while the hostile arrived, and while they were there."""
        return (
            Window.cut(samples, self.alone, self.arriving),
            Window.cut(samples, self.arriving, self.there),
            Window.cut(samples, self.there, self.end),
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """The server, and the processes that play the hostile and the healthy."""

    target: Target
    swarm: Companion
    healthy: Healthy


class Watch:
    """The highest figures of a server since the watch began."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.before = target.facts()
        self.resident = self.before.resident
        self.anonymous = self.before.anonymous

    def sleep_until(self, end: float) -> None:
        """Look at the server now and then until `end`."""
        while (left := end - time.monotonic()) > 0:
            self.look()
            time.sleep(min(left, SAMPLING_SECONDS))

    def look(self) -> Facts:
        """Look at the server, and return what is seen."""
        now = self._target.facts()
        self.resident = max(self.resident, now.resident)
        self.anonymous = max(self.anonymous, now.anonymous)
        return now


def play(bench: Bench, attack: Attack, count: int, server: str) -> Outcome:
    """Attack a server with a crowd of one kind, and return what was found."""
    outcome = Outcome(attack.name, server)
    outcome.note("hostile", f"{count:,}")
    try:
        with (
            serving(bench, server, deadlines(bench.patience), encrypted=attack.encrypted) as target,
            # Begun before anything is measured: the start of an interpreter takes the processor of the healthy.
            Companion("swarm", attack.name, target.port, count, PER_SECOND) as swarm,
            Healthy(target.port, certfile=target.certfile) as healthy,
        ):
            _play(bench, attack, count, Stage(target, swarm, healthy), outcome)
    except (NotServing, RuntimeError) as failure:
        outcome.failure = str(failure)
    return outcome


def _play(bench: Bench, attack: Attack, count: int, stage: Stage, outcome: Outcome) -> None:
    target, swarm = stage.target, stage.swarm
    watch, alone, arriving = gather(stage, count)
    there, busy = time.monotonic(), target.cpu_seconds()
    # Who came first must not be thrown out before the end; if that has happened already, who came last.
    left = arriving + bench.patience - 1 - there
    watch.sleep_until(there + min(bench.seconds, left if left >= 1 else bench.patience))
    spans = Spans(alone, arriving, there, time.monotonic())
    busy = (target.cpu_seconds() - busy) / (spans.end - there)
    tally = swarm.ask("rest")
    present = target.hostile()
    if target.running.process.poll() is not None:
        raise NotServing(f"died under attack{target.running.complaint()}")
    late = spans.there + bench.patience * 1.5 + SLACK_SECONDS - time.monotonic()
    gone = until(lambda: not _looked(watch, target), max(late, SLACK_SECONDS))
    left = target.hostile()
    until(lambda: is_back(watch.look(), watch.before), SETTLING_SECONDS)
    after = target.facts()
    outcome.note("arrived", f"{tally['arrived']:,}")
    outcome.note("there", f"{present:,}")
    outcome.note("busy", f"{busy:.0%}")
    most = MOST_P99_MS_ENCRYPTED if attack.encrypted else MOST_P99_MS
    judge_windows(outcome, spans.windows(stage.healthy.stop()), most)
    _judge_memory(outcome, watch, present, counts=attack.memory_counts)
    outcome.note("left open", f"{left:,}", "0", kept=left == 0)
    outcome.note("gone after", "never" if gone is None else f"{spans.end - spans.there + gone:.0f} s")
    judge_return(outcome, watch.before, after, KEPT_ENCRYPTED if attack.encrypted else KEPT)


def gather(stage: Stage, count: int) -> tuple[Watch, float, float]:
    """Measure the healthy alone, then let the crowd come; return the watch, and since when each of both lasted."""
    stage.swarm.ask()
    time.sleep(WARM_UP_SECONDS)
    alone = time.monotonic()
    time.sleep(ALONE_SECONDS)
    watch = Watch(stage.target)
    arriving = time.monotonic()
    stage.swarm.ask("go")
    await_crowd(stage.swarm, watch, count)
    return watch, alone, arriving


def await_crowd(swarm: Companion, watch: Watch, count: int) -> None:
    """Return when all have come, or when nothing happens any more."""
    before, since = 0, time.monotonic()
    while time.monotonic() < since + STANDSTILL_SECONDS:
        tally = swarm.ask()
        now = tally["arrived"] + tally["refused"] + tally["failed"]
        if now >= count:
            return
        if now > before:
            before, since = now, time.monotonic()
        watch.sleep_until(time.monotonic() + SAMPLING_SECONDS)


def _looked(watch: Watch, target: Target) -> int:
    watch.look()
    return target.hostile()


def is_back(now: Facts, before: Facts) -> bool:
    """Say whether threads and descriptors are where they were."""
    return now.threads <= before.threads and now.descriptors <= before.descriptors


def judge_windows(outcome: Outcome, windows: tuple[Window, Window, Window], most_p99_ms: float = MOST_P99_MS) -> None:
    """Note what the healthy saw alone, while the hostile arrived, and while they were there."""
    alone, arriving, there = windows
    most = max(most_p99_ms, 2 * alone.milliseconds(0.99))
    outcome.note("requests/s", f"{there.rate:,.0f}")
    outcome.note("failures", there.describe_failures(), "0", kept=not there.failures and bool(there.latencies))
    p50, p99, longest = there.quantiles()
    outcome.note("p50 ms", p50)
    outcome.note("p99 ms", p99, f"{most:.0f}", kept=there.milliseconds(0.99) < most)
    outcome.note("max ms", longest)
    outcome.note("p99 alone", milliseconds(alone.milliseconds(0.99)))
    outcome.note("arriving: failures", arriving.describe_failures())
    outcome.note("arriving: p99", milliseconds(arriving.milliseconds(0.99)))


def _judge_memory(outcome: Outcome, watch: Watch, present: int, *, counts: bool) -> None:
    resident, anonymous = watch.resident - watch.before.resident, watch.anonymous - watch.before.anonymous
    kept = resident < MOST_GROWTH if counts else None
    outcome.note("RSS MiB", f"+{resident / MIB:.0f}", f"{MOST_GROWTH // MIB}", kept=kept)
    outcome.note("anonymous MiB", f"+{anonymous / MIB:.0f}")
    outcome.note("KiB each", f"{anonymous / present / 1024:.1f}" if present else "-")


def judge_return(outcome: Outcome, before: Facts, after: Facts, most_kept: int = KEPT) -> None:
    """Note what the server has kept after all have gone."""
    threads, descriptors = after.threads - before.threads, after.descriptors - before.descriptors
    outcome.note("threads", f"{threads:+}", "+0", kept=threads <= 0)
    outcome.note("descriptors", f"{descriptors:+}", "+0", kept=descriptors <= 0)
    memory = after.resident - before.resident
    outcome.note("memory MiB", f"{memory / MIB:+.0f}", f"+{most_kept // MIB}", kept=memory < most_kept)
