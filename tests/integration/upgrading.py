"""Two masters side by side: USR2, and what becomes of the second one."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from integration.processes import processes
from integration.running import READY, Server, wait_until

STARTED = re.compile(r"The second master is started \(pid:(\d+)\)")


def workers_of(master: int) -> list[int]:
    """Return the living children of a master in order; a second master is one of them."""
    return sorted(process.pid for process in processes() if process.parent == master)


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, and not only its remains."""
    return any(process.pid == pid for process in processes())


def wait_for_workers(site: Server, master: int, count: int = 1) -> list[int]:
    """Return the workers of a master when so many of them are ready and there are no others."""

    def ready() -> list[int] | None:
        told = set(map(int, READY.findall(site.log())))
        pids = [pid for pid in workers_of(master) if pid not in seconds(site)]
        return pids if len(pids) == count and told.issuperset(pids) else None

    try:
        return wait_until(ready, what=f"{count} ready workers of {master}")
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {workers_of(master)}:\n{site.log()}") from None


def seconds(site: Server) -> list[int]:
    """Return the pids of all second masters that there ever were."""
    return [int(pid) for pid in STARTED.findall(site.log())]


def second_master(site: Server, master: int | None = None) -> int:
    """Send USR2 to a master (default: the first one), and return the pid of the one that it starts."""
    before = len(STARTED.findall(site.log()))
    os.kill(master or site.pid, signal.SIGUSR2)
    wait_until(lambda: len(STARTED.findall(site.log())) > before, what="a second master")
    return int(STARTED.findall(site.log())[-1])


def stop(master: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal to a master that is no child of the test, and return when it is gone."""
    with suppress(ProcessLookupError):
        os.kill(master, number)
    wait_until(lambda: not is_alive(master), what=f"the end of master {master}")


@contextmanager
def upgraded(site: Server, count: int = 1) -> Iterator[int]:
    """Start a second master and give its pid when it serves; at the end none but the first, if that lives, is left."""
    successor = second_master(site)
    try:
        wait_for_workers(site, successor, count)
        yield successor
    finally:
        stop(successor)
