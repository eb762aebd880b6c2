"""Scenario: ten thousand connections that are kept after one GET."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attacking import attacks
from attacking.companion import Companion
from attacking.crowds import (
    SETTLING_SECONDS,
    Spans,
    Stage,
    gather,
    is_back,
    judge_return,
    judge_windows,
)
from attacking.healthy import Healthy
from attacking.launching import serving, until
from attacking.verdicts import Outcome
from benching.servers import NotServing

if TYPE_CHECKING:
    from attacking.launching import Bench

CONNECTIONS = 10_000
ROOM = ("--worker-connections", "12000")
# Long enough for all to come and to be measured, whatever keep-alive is by default.
KEPT = ("--keep-alive", "120")
PER_SECOND = 1000
LEAVING_SECONDS = 15.0
MOST_BYTES = 8192
TITLE = f"{CONNECTIONS:,} idle kept connections on one worker"


def play(bench: Bench, server: str) -> Outcome:
    """Keep the connections, and return what they cost and what the healthy see."""
    outcome = Outcome("idle", server)
    try:
        with (
            serving(bench, server, common=(*ROOM, *KEPT)) as target,
            Companion("swarm", attacks.IDLE.name, target.port, CONNECTIONS, PER_SECOND) as swarm,
            Healthy(target.port) as healthy,
        ):
            _play(bench, Stage(target, swarm, healthy), outcome)
    except (NotServing, RuntimeError) as failure:
        outcome.failure = str(failure)
    return outcome


def _play(bench: Bench, stage: Stage, outcome: Outcome) -> None:
    target, swarm = stage.target, stage.swarm
    watch, alone, arriving = gather(stage, CONNECTIONS)
    there = time.monotonic()
    watch.sleep_until(there + bench.seconds)
    spans = Spans(alone, arriving, there, time.monotonic())
    present = target.hostile()
    swarm.close()
    gone = until(lambda: target.hostile() == 0, LEAVING_SECONDS)
    until(lambda: is_back(watch.look(), watch.before), SETTLING_SECONDS)
    outcome.note("idle connections", f"{present:,}", f"{CONNECTIONS:,}", kept=present == CONNECTIONS)
    judge_windows(outcome, spans.windows(stage.healthy.stop()))
    each = (watch.resident - watch.before.resident) / max(present, 1)
    outcome.note("memory of each, bytes of RSS", f"{each:,.0f}", f"{MOST_BYTES:,}", kept=each < MOST_BYTES)
    outcome.note(
        "left open after all have left",
        "none" if gone is not None else f"{target.hostile():,}",
        "none",
        kept=gone is not None,
    )
    judge_return(outcome, watch.before, target.facts())
