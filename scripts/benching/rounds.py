"""Rounds: every server under every workload, repeatedly, so that the machine's noise hits all alike."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benching import load, probe
from benching.machine import note
from benching.servers import HOST, NotServing, started

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benching.load import Sample
    from benching.machine import Cores
    from benching.servers import Server
    from benching.virtualenv import Virtualenv
    from benching.workloads import Workload

WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: in this environment, on these cores, for some seconds in each of some rounds."""

    venv: Virtualenv
    cores: Cores
    servers: list[Server]
    workloads: list[Workload]
    seconds: int
    rounds: int


@dataclass(slots=True)
class Result:
    """What the rounds of one server under one workload have given.

    `failure` says why the last of them gave no sample.
    """

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def median(self, attribute: str) -> float:
        """Return the median of an attribute of the samples, of which there has to be one."""
        return float(median(getattr(sample, attribute) for sample in self.samples))

    def extremes(self) -> tuple[float, float]:
        """Return the lowest and the highest number of requests per second."""
        rates = [sample.requests_per_second for sample in self.samples]
        return min(rates), max(rates)

    @property
    def measured(self) -> bool:
        """There is a sample, and every round has given one."""
        return bool(self.samples) and not self.failure

    @property
    def errors(self) -> Counter[str]:
        """Errors of all rounds by kind."""
        return sum((Counter(sample.errors) for sample in self.samples), Counter())


Results = dict[tuple[str, str], Result]


def fits(server: Server, workload: Workload) -> bool:
    """Say whether the server can take part: one thread cannot sleep for 128 clients, not all have that log or TLS."""
    if workload.interface not in server.interfaces:
        return False
    if workload.name == "sleep" and not server.threaded:
        return False
    if workload.worker_class and not server.classes:
        return False
    return (server.logs or not workload.logged) and (server.encrypts or not workload.key)


def play(plan: Plan) -> Results:
    """Measure all and return the results by names of server and workload; what fails is not tried again."""
    pairs = [(server, workload) for workload in plan.workloads for server in plan.servers if fits(server, workload)]
    results: Results = {(server.name, workload.name): Result() for server, workload in pairs}
    for number in range(1, plan.rounds + 1):
        # Every other round backwards: nobody always runs after the same neighbour.
        for server, workload in pairs if number % 2 else reversed(pairs):
            result = results[server.name, workload.name]
            if result.failure:
                continue
            label = f"round {number}/{plan.rounds}  {workload.name:14} {server.name:10}"
            try:
                sample = measure(plan, server, workload)
            except NotServing as failure:
                result.failure = str(failure)
                note(f"{label} FAILED: {failure}")
            else:
                result.samples.append(sample)
                errors = describe_errors(sample.errors.items())
                note(f"{label} {sample.requests_per_second:>9,.0f} requests/s{errors}")
    return results


def measure(plan: Plan, server: Server, workload: Workload) -> Sample:
    """Start a server, check its answers, warm it up, and measure it once. Raises NotServing."""
    with (
        started(server, workload, plan.venv, plan.cores.server) as running,
        tempfile.TemporaryDirectory() as directory,
    ):
        requests = workload.requests(f"{HOST}:{running.port}")
        probe.check(running, workload, requests)
        ring = load.write_ring(Path(directory), requests)
        load.run(running, workload, ring, plan.cores, WARM_UP_SECONDS)
        return load.run(running, workload, ring, plan.cores, plan.seconds)


def describe_errors(errors: Iterable[tuple[str, int]]) -> str:
    """Return errors as ", 3 read, 1 timeout"; nothing when there are none."""
    return "".join(f", {number} {kind}" for kind, number in sorted(errors))
