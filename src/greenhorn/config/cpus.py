"""How many CPUs this process really has, inside a container as well."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from greenhorn.config.parsers import whole

MEMBERSHIP = Path("/proc/self/cgroup")
HIERARCHY = Path("/sys/fs/cgroup")


def worker_count(value: object) -> int:
    """Return a number of workers, written as for `whole`; `auto` is the number of available CPUs."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return available_cpus()
    try:
        return whole(value)
    except ValueError as wrong:
        raise ValueError(f"{wrong}, or auto for the number of available CPUs") from None


def available_cpus(membership: Path = MEMBERSHIP, hierarchy: Path = HIERARCHY) -> int:
    """Return the number of CPUs that this process may use at once, at least 1.

    It is the lower of what the scheduler allows and of what control groups grant, a fraction of a CPU
    counting as one. The arguments are those of `granted_cpus`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_cpus(membership, hierarchy)
    return max(1, allowed if granted is None else min(allowed, math.ceil(granted)))


def granted_cpus(membership: Path = MEMBERSHIP, hierarchy: Path = HIERARCHY) -> float | None:
    """Return the CPU time per time that the control groups of this process grant; None without a limit.

    `membership` is the file that names the groups, `hierarchy` the folder where they are mounted. The limits of all
    ancestors count, the lowest one wins; a group that cannot be seen from within a container is passed over.
    """
    return min(_grants(membership, hierarchy), default=None)


def _grants(membership: Path, hierarchy: Path) -> Iterator[float]:
    try:
        lines = membership.read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _lineage(hierarchy, group):
                yield from _share(_words(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            # Systems differ in whether the folder is called by the one controller or by all that share it.
            for mount in dict.fromkeys((hierarchy / "cpu", hierarchy / controllers)):
                for folder in _lineage(mount, group):
                    yield from _share(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))


def _lineage(mount: Path, group: str) -> Iterator[Path]:
    """Yield the folders of `group` and its ancestors; of a group outside of the namespace (/../x) the mount only."""
    path = PurePosixPath(group.lstrip("/"))
    if ".." not in path.parts:
        for part in (path, *path.parents):
            if part.parts:
                yield mount / part
    yield mount


def _words(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").split()
    except (OSError, UnicodeError):
        return []


def _share(words: list[str]) -> Iterator[float]:
    """Yield quota / period, both in microseconds, unless there is no limit ("max" or -1) or no such pair."""
    try:
        quota, period = map(int, words)
    except ValueError:
        return
    if quota > 0 and period > 0:
        yield quota / period
