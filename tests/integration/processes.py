"""The processes of this machine, as a test asks for those of its server."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A living process; one that has ended and only waits to be reaped is none."""

    pid: int
    parent: int
    group: int
    name: str
    state: str
    """The kernel's letter: R, S, D, or T for one that is stopped by a signal."""


def processes() -> Iterator[Process]:
    """Yield every living process: from /proc, and from ps where there is no /proc."""
    if Path("/proc/self/stat").exists():
        folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        rows = [row for folder in folders if (row := _stat_row(folder / "stat"))]
    else:
        command = ["ps", "-A", "-o", "pid=,stat=,ppid=,pgid=,comm="]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 4) for line in listing.splitlines()]
    for pid, state, parent, group, name in rows:
        if state[0] not in "ZX":
            yield Process(int(pid), int(parent), int(group), name, state[0])


def _stat_row(stat: Path) -> list[str] | None:
    try:
        head, _, rest = stat.read_text(errors="replace").rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None  # it ended since the directory was listed
    pid, _, name = head.partition(" (")
    return [pid, *rest.split()[:3], name]


def is_pending(pid: int, number: int) -> bool:
    """Tell whether a process that stands still was sent a signal."""
    [mask] = re.findall(r"^ShdPnd:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)
