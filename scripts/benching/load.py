"""The client, wrk where it can: a run of it on its own core, and what it and /proc say about that run."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benching import processes
from benching.machine import BenchError
from benching.servers import HOST, NotServing

if TYPE_CHECKING:
    from benching.machine import Cores
    from benching.servers import Running
    from benching.workloads import Workload

SCRIPT = Path(__file__).with_name("ring.lua")
HANDSHAKES = Path(__file__).with_name("handshakes.py")
# Beyond the asked-for seconds: connecting and ending.
SLACK_SECONDS = 30
# The kinds that wrk counts; `status` is an answer of 400 or more.
ERRORS = ("connect", "read", "write", "timeout", "status")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run: latencies and CPU time in microseconds, the latter of all processes of the server.

    `server_busy` and `client_busy` are the shares of their cores, from 0 to 1, that server and client have used;
    `others_busy` is what all else has taken of the server's. `resumed` is the number of connections whose session the
    server resumed, None where nobody looked.
    """

    requests_per_second: float
    cpu_us_per_request: float
    p50_us: float
    p99_us: float
    resident_bytes: int
    server_busy: float
    client_busy: float
    others_busy: float
    errors: dict[str, int]
    resumed: int | None = None


def write_ring(directory: Path, requests: list[bytes]) -> Path:
    """Write requests to a file as the Lua script reads it, and return its path."""
    path = directory / "requests"
    path.write_bytes(b"\0".join(requests))
    return path


def command(workload: Workload, ring: Path, port: int, core: int, seconds: int) -> list[str]:
    """Return the command line of the client; it gets one thread for its one core."""
    pinned = ["taskset", "-c", str(core)]
    if workload.key and not workload.kept:
        kind = "resumed" if workload.resumed else "full"
        return [
            *pinned,
            sys.executable,
            str(HANDSHAKES),
            str(port),
            str(workload.connections),
            str(seconds),
            kind,
            str(ring),
        ]
    return [
        *(*pinned, "wrk", "-t", "1", "-c", str(workload.connections), "-d", f"{seconds}s"),
        *("-s", str(SCRIPT), f"{'https' if workload.key else 'http'}://{HOST}:{port}/", "--", str(ring)),
    ]


def run(running: Running, workload: Workload, ring: Path, cores: Cores, seconds: int) -> Sample:
    """Load the server for some seconds. Raises NotServing when no request was answered or the server died."""
    arguments = command(workload, ring, running.port, cores.client, seconds)
    root = running.process.pid
    before = processes.cpu_seconds(root)
    core_before = processes.core_seconds(cores.server)
    client_before = _children_seconds()
    began = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=seconds + SLACK_SECONDS)
    wall = time.monotonic() - began
    cpu = processes.cpu_seconds(root) - before
    core = processes.core_seconds(cores.server) - core_before
    client = _children_seconds() - client_before
    if running.process.poll() is not None:
        raise NotServing(f"died under load with exit code {running.process.returncode}{running.complaint()}")
    values = _parse(done)
    if not values["requests"]:
        raise NotServing(f"answers no request under load{running.complaint()}")
    return Sample(
        requests_per_second=values["requests"] / values["duration_us"] * 1e6,
        cpu_us_per_request=cpu * 1e6 / values["requests"],
        p50_us=values["p50_us"],
        p99_us=values["p99_us"],
        resident_bytes=processes.resident_bytes(root),
        server_busy=cpu / wall,
        client_busy=client / wall,
        others_busy=max(core - cpu - (client if cores.shared else 0), 0) / wall,
        errors={kind: values[kind] for kind in ERRORS if values[kind]},
        resumed=values.get("resumed"),
    )


def _parse(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word == "measured":
            return {key: int(value) for key, _, value in (pair.partition("=") for pair in rest.split())}
    raise BenchError(
        f"the client measured nothing: exit code {done.returncode}, {(done.stdout + done.stderr).strip()[-300:]}"
    )


def _children_seconds() -> float:
    """Return the CPU time of the children that were waited for: between two calls here, that is the client."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
