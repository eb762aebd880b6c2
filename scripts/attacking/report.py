"""The report: conditions, one table of all crowds, one of each other scenario, and what is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attacking import crowds
from attacking.attacks import ATTACKS
from attacking.encrypted import ENCRYPTED
from attacking.launching import THREADS
from attacking.swarm import FLEETING_PER_SECOND, FLOOD_BYTES_PER_SECOND
from benching import machine
from benching.tables import Bullets, Heading, Table
from benching.virtualenv import GREENHORN

if TYPE_CHECKING:
    from attacking.launching import Bench
    from attacking.verdicts import Outcome
    from benching.tables import Block

MIB = 1_048_576
CROWDS = ATTACKS | ENCRYPTED
KEPT, BROKEN = "met", "not met"
# In the table of crowds, in this order.
COLUMNS = (
    "hostile",
    "there",
    "busy",
    "requests/s",
    "failures",
    "p50 ms",
    "p99 ms",
    "max ms",
    "p99 alone",
    "arriving: failures",
    "arriving: p99",
    "RSS MiB",
    "anonymous MiB",
    "KiB each",
    "left open",
    "gone after",
    "threads",
    "descriptors",
    "memory MiB",
)
LEGEND = (
    f"they come at {crowds.PER_SECOND} a second; tiny-chunks sends {FLOOD_BYTES_PER_SECOND // MIB} MiB a second in all",
    f"connects makes {FLEETING_PER_SECOND:,} connections a second, of which so many are open at a time",
    "the healthy are 4 clients with a request every 5 ms each, one in fifty over a new connection",
    "their figures are of the time when all hostile ones were there; alone: just before; arriving: in between; in ms",
    "there: hostile connections at the end of measuring; busy: share of a core that the server has used meanwhile",
    "RSS, anonymous: highest growth of the worker; KiB each: of anonymous memory, by those who were there",
    "with TLS the certificate has an RSA key of 2048 bits, and the healthy make full handshakes",
    "left open ... memory (RSS): what is left when the deadlines are over",
    f"promised: no failure; p99 below {crowds.MOST_P99_MS:.0f} ms or twice that of the healthy alone",
    f"promised with TLS: p99 below {crowds.MOST_P99_MS_ENCRYPTED:.0f} ms or twice that",
    f"promised: RSS below +{crowds.MOST_GROWTH // MIB} MiB but for lists and files, afterwards +{crowds.KEPT // MIB}",
    f"promised with TLS: afterwards +{crowds.KEPT_ENCRYPTED // MIB}, since the allocator keeps what OpenSSL took",
    "promised: when the deadlines are over, no connection, thread or descriptor more than before",
)


def conditions(bench: Bench, servers: list[str]) -> list[Block]:
    """Return what has to be known to read or repeat the numbers."""
    versions = ", ".join(f"{name} {bench.venv.version(name)}" for name in servers)
    cores = bench.cores
    pinning = (
        "one core for everybody, so these numbers say little"
        if cores.shared
        else f"server pinned to core {cores.server}, hostile and healthy clients to core {cores.client}"
    )
    lines = [
        f"{bench.venv.python}; {machine.describe()}; {pinning}",
        f"servers: {versions}; each with one worker and {THREADS} threads (gunicorn: gthread, keep-alive of 75 s)",
        f"worker class of {GREENHORN}: {bench.worker_class}",
        f"{GREENHORN}'s deadlines are set to {bench.patience} s; measured for {bench.seconds:g} s at the most",
    ]
    return [Heading("Attacks", level=1), Bullets(lines)]


def crowd_blocks(outcomes: list[Outcome]) -> list[Block]:
    """Return the table of all crowds."""
    if not outcomes:
        return []
    rows = [
        [outcome.scenario, outcome.server, *(_found(outcome, what) for what in COLUMNS), _verdict(outcome)]
        for outcome in outcomes
    ]
    legend = [f"{attack.name}: {attack.title}" for attack in CROWDS.values() if _is_among(attack.name, outcomes)]
    table = Table(["scenario", "server", *COLUMNS, "promise"], rows, left=2)
    return [Heading("Crowds of hostile clients"), table, Bullets([*legend, *LEGEND])]


def scenario_blocks(title: str, outcomes: list[Outcome]) -> list[Block]:
    """Return the table of one other scenario: a row for each thing found, a column for each server."""
    names = list(dict.fromkeys(finding.what for outcome in outcomes for finding in outcome.findings))
    rows = []
    for name in names:
        found = [finding for outcome in outcomes if (finding := outcome.find(name))]
        # What is promised may hang on what the server does otherwise: that of greenhorn, which comes first.
        rows.append([name, *(_found(outcome, name) for outcome in outcomes), found[0].promise])
    rows.append(["promise", *(_verdict(outcome) for outcome in outcomes), ""])
    scenario = outcomes[0].scenario
    table = Table([scenario, *(outcome.server for outcome in outcomes), "promised"], rows)
    return [Heading(f"{scenario}: {title}"), table]


def verdict_blocks(outcomes: list[Outcome]) -> list[Block]:
    """Return what greenhorn has not kept."""
    ours = [outcome for outcome in outcomes if outcome.server == GREENHORN]
    if not ours:
        return []
    lines = [
        f"{outcome.scenario}{f', {size.found} hostile' if (size := outcome.find('hostile')) else ''}: {complaint}"
        for outcome in ours
        for complaint in outcome.complaints
    ]
    return [Heading(f"What {GREENHORN} promises"), Bullets(lines or ["everything is met"])]


def summary(outcome: Outcome) -> str:
    """Return one line on an outcome, for the person who waits."""
    return f"{_verdict(outcome)}{': ' if outcome.complaints else ''}{'; '.join(outcome.complaints)}"


def _is_among(name: str, outcomes: list[Outcome]) -> bool:
    return any(outcome.scenario == name for outcome in outcomes)


def _found(outcome: Outcome, what: str) -> str:
    finding = outcome.find(what)
    return finding.found if finding else "-"


def _verdict(outcome: Outcome) -> str:
    if outcome.failure:
        return "failed"
    return BROKEN if outcome.complaints else KEPT
