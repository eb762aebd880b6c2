"""What a process holds, as /proc shows it: memory, sockets and files."""

from contextlib import suppress
from pathlib import Path

import pytest

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is read from /proc")


def memory(pid: int) -> int:
    """Return how much memory the process has, in bytes."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """Return the most memory that the process has ever had, in bytes."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def open_sockets(pid: int) -> int:
    """Return how many sockets the process has."""
    return sum(target.startswith("socket:") for target in _targets(pid))


def temporary_files(pid: int) -> int:
    """Return how many files the process has open that have no name any more."""
    return sum(target.endswith("(deleted)") for target in _targets(pid))


def _targets(pid: int) -> list[str]:
    targets = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            targets.append(str(fd.readlink()))
    return targets
