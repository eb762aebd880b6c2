"""How many CPUs this process really has, inside a container as well."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from greenhorn.config.cgroups import HIERARCHY, MEMBERSHIP, group_folders
from greenhorn.config.parsers import whole


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
    for version, folder in group_folders("cpu", membership, hierarchy):
        if version == 1:
            yield from _share(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
        else:
            yield from _share(_words(folder / "cpu.max"))


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
