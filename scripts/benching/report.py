"""The report: conditions, a table per workload, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benching import machine, targets
from benching.before import NAME
from benching.rounds import WARM_UP_SECONDS, describe_errors, fits
from benching.tables import Bullets, Heading, Table
from benching.virtualenv import GREENHORN

if TYPE_CHECKING:
    from benching.rounds import Plan, Result, Results
    from benching.tables import Block
    from benching.workloads import Workload

COLUMNS = ["server", "requests/s", "lowest-highest", "greenhorn is", "CPU us/request", "p50 ms", "p99 ms"]
COLUMNS += ["errors", "RSS MiB", "server busy", "client busy"]
# From here on the client may be what limits the number, which then says too little about a fast server.
SATURATED = 0.95
# What others may take of the server's core before they are mentioned: less may be rounding of clock ticks.
NOISE = 0.05


def conditions(plan: Plan, left_out: list[str]) -> list[Block]:
    """Return what has to be known to read or repeat the numbers; `left_out` are lines on missing servers."""
    pinning = (
        "one core only: server and client share it, so these numbers say little"
        if plan.cores.shared
        else f"server pinned to core {plan.cores.server}, the client to core {plan.cores.client}"
    )
    versions = ", ".join(
        f"{server.name}{'' if server.name == NAME else ' ' + plan.venv.version(server.name)}"
        f"{f' ({server.remark})' if server.remark else ''}"
        for server in plan.servers
    )
    threads = (
        "one worker process, four threads (64 for `sleep`), access log only for `logged`; "
        f"client {machine.wrk_version()}, one thread"
    )
    rounds = (
        f"{plan.rounds} round{'s' * (plan.rounds > 1)} over all servers, {plan.seconds} s each after "
        f"{WARM_UP_SECONDS} s of warm-up; medians of the rounds, errors of all rounds together"
    )
    units = (
        "CPU: user and system time of all processes of the server; errors: as wrk counts them "
        "(connect, read, write, timeout after 2 s, status of 400 and above)"
    )
    encrypted = (
        "new TLS connections are made by a client in Python, which does full handshakes or offers sessions as it is "
        "told; its latencies include the handshake, and it takes about as long for one as a server with a fast key: "
        "compare CPU times there"
    )
    lines = [
        f"{plan.venv.python}; {machine.describe()}; {pinning}",
        f"servers: {versions}",
        threads,
        rounds,
        units,
        *([encrypted] if any(workload.key and not workload.kept for workload in plan.workloads) else []),
        "each server answered each workload with the right status and body before it was measured",
        *left_out,
    ]
    return [Heading("Benchmarks", level=1), Bullets(lines)]


def workload_blocks(plan: Plan, workload: Workload, results: Results) -> list[Block]:
    """Return the table of one workload, and remarks on who is missing or was not the limit."""
    rows: list[list[str]] = []
    remarks: list[str] = []
    ours = results.get((GREENHORN, workload.name))
    for server in plan.servers:
        if not fits(server, workload):
            if workload.name == "sleep":
                remarks.append(f"{server.name} is left out: its one thread would sleep for one client after the other")
            continue
        result = results[server.name, workload.name]
        if result.failure:
            rows.append([server.name, "failed", *["-"] * (len(COLUMNS) - 2)])
            remarks.append(f"{server.name} failed: {result.failure}")
            continue
        found = None if server.name == GREENHORN else targets.ratio(ours, result)
        rows.append([server.name, *_cells(result, "-" if found is None else f"{found:.2f} x")])
        remarks += _doubts(server.name, workload, result)
    blocks: list[Block] = [Heading(f"{workload.name}: {workload.title}"), Table(COLUMNS, rows)]
    return [*blocks, Bullets(remarks)] if remarks else blocks


def _doubts(name: str, workload: Workload, result: Result) -> list[str]:
    """Return what speaks against the numbers of a server."""
    doubts = []
    if result.median("client_busy") > SATURATED:
        doubts.append(f"{name}: the client had no time left, the server may be faster than that; compare CPU times")
    others = result.median("others_busy")
    resumed = sum(sample.resumed or 0 for sample in result.samples)
    if workload.resumed and not resumed:
        doubts.append(f"{name}: no session was resumed, all handshakes were full")
    if others > NOISE:
        doubts.append(f"{name}: other programs took {others:.0%} of the server's core; repeat it without them")
    return doubts


def _cells(result: Result, ratio: str) -> list[str]:
    lowest, highest = result.extremes()
    return [
        f"{result.median('requests_per_second'):,.0f}",
        f"{lowest:,.0f}-{highest:,.0f}",
        ratio,
        f"{result.median('cpu_us_per_request'):.1f}",
        f"{result.median('p50_us') / 1000:.2f}",
        f"{result.median('p99_us') / 1000:.2f}",
        describe_errors(result.errors.items()).lstrip(", ") or "0",
        f"{result.median('resident_bytes') / 2**20:.0f}",
        f"{result.median('server_busy'):.0%}",
        f"{result.median('client_busy'):.0%}",
    ]


def verdict_blocks(plan: Plan, results: Results) -> list[Block]:
    """Return the table of promises."""
    words = {True: "kept", False: "MISSED", None: "-"}
    rows = [[verdict.promise, verdict.found, words[verdict.kept]] for verdict in targets.judge(results, plan.workloads)]
    return [Heading("Targets"), Table(["target", "measured", "verdict"], rows, left=3)]
