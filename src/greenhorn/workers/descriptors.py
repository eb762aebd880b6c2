"""How many descriptors a worker may have."""

import contextlib
import resource

from greenhorn.observe.logger import Logger

DESCRIPTORS_BESIDE = 256
"""Descriptors that a worker needs beside those of its connections."""


def allow_descriptors(connections: int, log: Logger) -> None:
    """Raise the soft limit on descriptors as far as so many connections need it, each with a temporary file.

    Logs that the limit is too low for them. Main thread of a worker, at its boot.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + DESCRIPTORS_BESIDE
    if resource.RLIM_INFINITY not in (soft, hard):
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            soft = needed
    if soft != resource.RLIM_INFINITY and soft < connections + DESCRIPTORS_BESIDE:
        log.warning("The limit of %d descriptors does not allow %d worker_connections", soft, connections)
