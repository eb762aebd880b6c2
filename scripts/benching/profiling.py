"""Where greenhorn spends its time under a workload: functions by samples, from py-spy or else perf."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benching import load, probe, processes
from benching.machine import BenchError, note
from benching.servers import HOST, started
from benching.tables import Bullets, Heading, Table

if TYPE_CHECKING:
    from benching.machine import Cores
    from benching.servers import Server
    from benching.tables import Block
    from benching.virtualenv import Virtualenv
    from benching.workloads import Workload

TOP = 30
SAMPLES_PER_SECOND = 400
# The load outlasts the profiler, which needs a moment to find its way into the interpreter.
LEAD_SECONDS = 3


def profile(server: Server, workload: Workload, venv: Virtualenv, cores: Cores, seconds: int) -> list[Block]:
    """Run the server under the workload and return its functions by samples.

    Raises BenchError when there is no profiler, NotServing when the server does not answer.
    """
    why = venv.install("py-spy")
    with (
        started(server, workload, venv, cores.server) as running,
        tempfile.TemporaryDirectory() as directory,
    ):
        requests = workload.requests(f"{HOST}:{running.port}")
        probe.check(running, workload, requests)
        ring = load.write_ring(Path(directory), requests)
        load.run(running, workload, ring, cores, 1)
        worker = max(processes.tree(running.process.pid), key=lambda process: process.ticks).pid
        arguments = load.command(workload, ring, running.port, cores.client, seconds + LEAD_SECONDS)
        client = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        try:
            stacks, profiler = _sample(venv, worker, seconds, Path(directory), why)
        finally:
            client.kill()
            client.wait()
    heading = Heading(f"{server.name}, {workload.name}, {venv.python}, {profiler}")
    return [
        heading,
        _table(stacks),
        Bullets(["a thread that waits for the processor or the lock counts as well"]),
    ]


def _sample(
    venv: Virtualenv, pid: int, seconds: int, directory: Path, why_no_spy: str | None
) -> tuple[Counter[tuple[str, ...]], str]:
    """Return the stacks of a process, outermost function first, with the number of samples that show each."""
    if why_no_spy is None:
        path = directory / "stacks"
        record = [
            venv.program("py-spy"),
            "record",
            "--pid",
            str(pid),
            "--duration",
            str(seconds),
            "--function",
        ]
        record += ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", str(path)]
        # Without this it stops the server for each sample, which wakes the threads that wait for work: their
        # waiting then looks like most of the work. The price is a senseless stack now and then.
        record.append("--nonblocking")
        done = subprocess.run(record, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return _folded(path.read_text()), "py-spy"
        why_no_spy = done.stderr.strip()[-200:]
    note(f"py-spy: {why_no_spy}; trying perf")
    try:
        return _perf(pid, seconds, directory), "perf"
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"neither py-spy ({why_no_spy}) nor perf ({error}) can look into the server") from error


def _folded(text: str) -> Counter[tuple[str, ...]]:
    """Read lines of "outer;inner;innermost 12"."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        frames, _, number = line.rpartition(" ")
        if frames:  # none where py-spy could not read the stack
            stacks[tuple(frames.split(";"))] += int(number)
    return stacks


def _perf(pid: int, seconds: int, directory: Path) -> Counter[tuple[str, ...]]:
    data = str(directory / "perf.data")
    record = ["perf", "record", "-q", "-F", str(SAMPLES_PER_SECOND), "-g", "-p", str(pid), "-o", data]
    subprocess.run([*record, "--", "sleep", str(seconds)], capture_output=True, check=True)
    script = subprocess.run(
        ["perf", "script", "-i", data, "-F", "ip,sym"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    stacks: Counter[tuple[str, ...]] = Counter()
    for sample in script.stdout.split("\n\n"):
        # Innermost first, each as an address and a symbol: functions of C and of the kernel.
        frames = [line.split(None, 1)[1] for line in sample.splitlines() if len(line.split(None, 1)) > 1]
        stacks[tuple(reversed(frames))] += 1
    del stacks[()]
    return stacks


def _table(stacks: Counter[tuple[str, ...]]) -> Table:
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, number in stacks.items():
        own[stack[-1]] += number
        for function in set(stack):
            within[function] += number
    whole = max(stacks.total(), 1)
    rows = [
        [function, f"{number / whole:.1%}", f"{within[function] / whole:.1%}"]
        for function, number in own.most_common(TOP)
    ]
    return Table(["function", "own time", "with callees"], rows)
