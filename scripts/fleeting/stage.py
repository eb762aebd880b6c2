"""A server on the stage: started for a scenario, told by signals, watched from outside, and ended with all it left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attacking import observing
from attacking.launching import until
from benching import probe, processes
from benching.servers import SERVERS, Launch, Running, free_port, launched
from benching.workloads import WORKLOADS
from fleeting.journal import Journal, importers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from benching.machine import Cores
    from benching.virtualenv import Virtualenv

WORKERS, THREADS = 2, 4
SETTLE_SECONDS = 20.0
STOP_SECONDS = 5.0
READY_SECONDS = 0.3
"""What a worker may take from the end of its import until it is ready."""
LISTENS = "0A"
MODULE = "exchanged"
GOOD_MODULE = "from fleeting.application import application\n"
CONFIGURATION = "configuration.py"
PIDFILE = "pid"


@dataclass(frozen=True, slots=True)
class Bench:
    """What all scenarios share: the environment, the cores, and the seconds of load before anything happens."""

    venv: Virtualenv
    cores: Cores
    seconds: float


@dataclass(slots=True)
class Stage:
    """A running server with the files that a scenario writes; `master` is its master process at the moment."""

    server: str
    running: Running
    folder: Path
    master: int

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self.running.port

    @property
    def pidfile(self) -> Path:
        """Its pidfile."""
        return self.folder / PIDFILE

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.folder / CONFIGURATION

    @property
    def module(self) -> Path:
        """The module with its application."""
        return self.folder / f"{MODULE}.py"

    def exit_code(self) -> int | None:
        """Return the exit code of the master that was started first; None while it runs."""
        return self.running.process.poll()

    def alive(self) -> bool:
        """Return whether the master runs."""
        process = processes.read(self.master)
        return process is not None and process.state not in "ZX"

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the master, if it is there still."""
        if self.alive():
            os.kill(self.master, number)

    def workers(self, master: int | None = None) -> set[int]:
        """Return the processes below a master, that of the stage if none is named."""
        return set(observing.descendants(self.master if master is None else master))

    def imported(self, master: int | None = None) -> set[int]:
        """Return the workers that have imported the application."""
        return self.workers(master) & set(importers(self.folder))

    def imports(self) -> int:
        """Return how many times the application was imported."""
        return len(importers(self.folder))

    def settled(self, without: AbstractSet[int] = frozenset(), count: int = WORKERS) -> bool:
        """Return whether there are so many workers, all with the application, and none of the old ones."""
        workers = self.workers()
        return len(workers) == count and not workers & without and workers <= self.imported()

    def exchange(self) -> bool:
        """Tell the master HUP, wait until other workers than those before serve, and say whether they do."""
        before = self.workers()
        self.tell(signal.SIGHUP)
        return self.wait(lambda: not self.alive() or self.settled(without=before)) and self.alive()

    def wait(self, condition: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> bool:
        """Wait until the condition holds, and say whether it came to that in time."""
        return until(condition, seconds) is not None

    def halt(self, pid: int) -> None:
        """Stop a process by SIGSTOP, and wait until it does not run any more."""
        os.kill(pid, signal.SIGSTOP)
        self.wait(lambda: (process := processes.read(pid)) is None or process.state in "TZX")

    def ports_of_clients(self, pid: int) -> set[int]:
        """Return the ports of the clients whose connections a process holds."""
        inodes = set()
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
        return {_port(fields[2]) for fields in self._sockets() if fields[9] in inodes and fields[3] != LISTENS}

    def queue_length(self) -> int:
        """Return how many connections wait to be accepted."""
        queues = [int(fields[4].partition(":")[2], 16) for fields in self._sockets() if fields[3] == LISTENS]
        return sum(queues)

    def _sockets(self) -> list[list[str]]:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return [fields for fields in map(str.split, lines) if _port(fields[1]) == self.port]

    def journal(self) -> Journal:
        """Return what the application has seen."""
        return Journal.read(self.folder)

    def errors(self) -> int:
        """Return how many errors are in the log."""
        return sum(self.running.log().count(f"[{level}]") for level in ("ERROR", "CRITICAL"))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


@contextmanager
def staged(bench: Bench, server: str, settings: tuple[str, ...], variables: dict[str, str]) -> Iterator[Stage]:
    """Start a server, wait until all its workers serve, and end whatever is left of it after the block.

    Raises NotServing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{MODULE}.py").write_text(GOOD_MODULE)
        (folder / CONFIGURATION).write_text("")
        files = ("--pid", str(folder / PIDFILE), "-c", str(folder / CONFIGURATION), "--pythonpath", name)
        common = ("-w", str(WORKERS), "--log-level", "info", *files, *settings)
        launch = Launch(free_port(), THREADS, f"{MODULE}:application", common)
        environ = {"FLEET_FOLDER": name, **variables}
        with launched(SERVERS[server], launch, bench.venv, bench.cores.server, environ) as running:
            try:
                probe.check(running, WORKLOADS["get"], [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
                stage = Stage(server, running, folder, running.process.pid)
                stage.wait(stage.settled)
                time.sleep(READY_SECONDS)
                yield stage
            finally:
                _end_session(running.process)


def _end_session(root: subprocess.Popen[bytes]) -> None:
    """End what a master has left behind: a second master, or workers without one. They are of its session."""
    root.poll()
    if root.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            root.terminate()
            root.wait(STOP_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _members(root.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until(lambda: not _members(root.pid), STOP_SECONDS)


def _members(session: int) -> list[int]:
    """Return the processes of a session that run still."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ProcessLookupError, ValueError):
            pid = int(entry.name)
            if os.getsid(pid) == session and (process := processes.read(pid)) and process.state not in "ZX":
                found.append(pid)
    return found
