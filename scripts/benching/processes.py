"""Trees of processes as /proc shows them: CPU time, memory, and their end by process id."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TERM_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat, times in ticks.

    `started`, counted from the boot of the machine, tells a process from a later one with the same number.
    """

    pid: int
    parent: int
    state: str
    ticks: int
    started: int
    resident_pages: int


def read(pid: int) -> Process | None:
    """Return what /proc knows of the process, None when it is gone.

    `ticks` is user and system time, that of children that ended and were waited for included.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses, which may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        ticks=sum(map(int, fields[11:15])),
        started=int(fields[19]),
        resident_pages=int(fields[21]),
    )


def tree(root: int) -> list[Process]:
    """Return the process and all its living descendants, the root first; empty when the root is gone."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    everyone = [found for number in numbers if (found := read(number))]
    members = [process for process in everyone if process.pid == root]
    for member in members:  # grows while it is walked
        members.extend(process for process in everyone if process.parent == member.pid)
    return members


def cpu_seconds(root: int) -> float:
    """Return the user and system time that the tree has used since its start."""
    return sum(process.ticks for process in tree(root)) / TICKS_PER_SECOND


def core_seconds(core: int) -> float:
    """Return the time since boot for which a core was not idle, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, interrupts, soft_interrupts, stolen = map(int, fields[:8])
            return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_PER_SECOND
    raise ValueError(f"/proc/stat has no core {core}")


def resident_bytes(root: int) -> int:
    """Return the memory of the tree; pages shared by its processes count once per process."""
    return sum(process.resident_pages for process in tree(root)) * PAGE_BYTES


def end(root: subprocess.Popen[bytes]) -> None:
    """End the whole tree: TERM to the root; after a deadline or a second Ctrl-C KILL to the rest."""
    members = tree(root.pid)
    try:
        _signal(members[:1], signal.SIGTERM)
        deadline = time.monotonic() + TERM_SECONDS
        while _alive(members) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        _signal(_alive(members + tree(root.pid)), signal.SIGKILL)
        root.wait()


def _alive(members: list[Process]) -> list[Process]:
    """Return those that still run: zombies do not, and a new process with an old number is not ours."""
    return [
        process
        for process in members
        if (now := read(process.pid)) and now.started == process.started and now.state not in "ZX"
    ]


def _signal(members: list[Process], number: signal.Signals) -> None:
    for process in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
