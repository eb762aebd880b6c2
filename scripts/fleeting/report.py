"""The report: conditions, one table of what the clients have seen, one of what was seen of the server, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benching import machine
from benching.tables import Bullets, Heading, Table
from benching.virtualenv import GREENHORN
from fleeting.journal import NAP_SECONDS
from fleeting.load import INTERVALS
from fleeting.playing import MOST_SLOWER_MS
from fleeting.requests import KINDS
from fleeting.scenarios import SCENARIOS
from fleeting.stage import THREADS, WORKERS

if TYPE_CHECKING:
    from attacking.verdicts import Outcome
    from benching.tables import Block
    from fleeting.stage import Bench

COLUMNS = ("requests", "failed", "excused", "repeated", "before", "during", "slower ms")
MET, BROKEN = "met", "not met"
LEGEND = (
    f"failed: requests without the right answer: {', '.join(KINDS)}",
    "excused: inside a worker that was killed (4); refused after TERM, since nobody listens any more (8)",
    "repeated: GETs over a kept connection that was closed as they were sent, before the application saw them",
    "these are sent again over a new connection, as browsers and proxies do, and were answered then: no failure",
    "before, during: p50 / p99 / max in ms of answered requests, before anything happens and from then on",
    f"promised: failed 0, and slower by no more than {MOST_SLOWER_MS:.0f} ms, the max during less the max before",
)


def conditions(bench: Bench, servers: list[str]) -> list[Block]:
    """Return what has to be known to read or repeat the numbers."""
    versions = ", ".join(f"{name} {bench.venv.version(name)}" for name in servers)
    cores = bench.cores
    kept = sum(kept for kept, _ in INTERVALS)
    rate = sum(1 / interval for _, interval in INTERVALS)
    pinning = (
        "one core for everybody, so the times say little"
        if cores.shared
        else f"server on core {cores.server}, clients on core {cores.client}"
    )
    clients = f"{len(INTERVALS)} clients, {kept} on kept and {len(INTERVALS) - kept} on fresh connections"
    load = f"{rate:.0f} requests/s at the most; the application takes {NAP_SECONDS * 1000:.0f} ms"
    lines = [
        f"{bench.venv.python}; {machine.describe()}; {pinning}",
        f"servers: {versions}; {WORKERS} workers of {THREADS} threads each (gunicorn: gthread, keep-alive of 75 s)",
        f"{clients}, {load}",
    ]
    return [Heading("Exchanges", level=1), Bullets(lines)]


def blocks(outcomes: list[Outcome]) -> list[Block]:
    """Return the tables and the verdict."""
    rows = [[*_named(outcome), *(_found(outcome, what) for what in COLUMNS), verdict(outcome)] for outcome in outcomes]
    clients = Table(["scenario", "server", *COLUMNS, "promise"], rows, left=2)
    return [
        Heading("What the clients have seen"),
        clients,
        Bullets(list(LEGEND)),
        Heading("What was seen of the servers"),
        Table(["scenario", "server", "found"], [[*_named(outcome), _rest(outcome)] for outcome in outcomes], left=3),
        *_complaints(outcomes),
    ]


def summary(outcome: Outcome) -> str:
    """Return one line on an outcome, for the person who waits."""
    complaints = "; ".join(outcome.complaints)
    return f"{verdict(outcome)}{f': {complaints}' if complaints else ''}"


def verdict(outcome: Outcome) -> str:
    """Return in a word whether the promise is met."""
    if outcome.failure:
        return "failed"
    return BROKEN if outcome.complaints else MET


def _named(outcome: Outcome) -> list[str]:
    return [f"{outcome.scenario} {SCENARIOS[int(outcome.scenario)].title}", outcome.server]


def _found(outcome: Outcome, what: str) -> str:
    finding = outcome.find(what)
    return finding.found if finding else "-"


def _rest(outcome: Outcome) -> str:
    """Return what stands in no column, with what was promised where that is not met."""
    words = []
    for finding in outcome.findings:
        if finding.what not in COLUMNS:
            missed = f" (promised: {finding.promise})" if finding.kept is False and finding.promise else ""
            words.append(f"{finding.what}: {finding.found}{missed}")
    return "; ".join([*words, *([outcome.failure] if outcome.failure else [])])


def _complaints(outcomes: list[Outcome]) -> list[Block]:
    ours = [outcome for outcome in outcomes if outcome.server == GREENHORN]
    if not ours:
        return []
    lines = [f"{outcome.scenario}: {complaint}" for outcome in ours for complaint in outcome.complaints]
    return [Heading(f"What {GREENHORN} promises"), Bullets(lines or ["everything is met"])]
