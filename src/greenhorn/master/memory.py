"""Whether the kernel ended processes of this one's control group because memory ran out."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from greenhorn.config.cgroups import HIERARCHY, MEMBERSHIP, group_folders


class OomCounter:
    """Counts out-of-memory kills in the control group of this process, version 1 or 2. Master's thread.

    `membership` is the file that names the groups, `hierarchy` the folder where they are mounted.
    """

    def __init__(self, membership: Path = MEMBERSHIP, hierarchy: Path = HIERARCHY) -> None:
        self._file = next((file for file in _candidates(membership, hierarchy) if _count(file) is not None), None)
        self._before = self._kills()

    def killed(self) -> bool:
        """Whether the kernel killed a process for want of memory since the last call; False where it does not tell."""
        before, self._before = self._before, self._kills()
        return self._before > before

    def _kills(self) -> int:
        return (_count(self._file) or 0) if self._file else 0


def _candidates(membership: Path, hierarchy: Path) -> Iterator[Path]:
    """Yield the files that may hold the count, the nearest group first.

    An ancestor counts where the group itself has no memory controller, or cannot be seen from within a container.
    """
    for version, folder in group_folders("memory", membership, hierarchy):
        yield folder / ("memory.oom_control" if version == 1 else "memory.events")


def _count(file: Path) -> int | None:
    """Return the number on the line `oom_kill`; None if there is no such file or line."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text("ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return None
