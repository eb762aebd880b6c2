"""The servers under attack: started with the settings that a scenario needs, and ended after it."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attacking import observing
from attacking.swarm import HOSTILE_HOST
from benching import certificates, probe, processes
from benching.servers import SERVERS, Launch, Running, free_port, launched
from benching.virtualenv import GREENHORN
from benching.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benching.machine import Cores
    from benching.virtualenv import Virtualenv

APPLICATION = "attacking.applications:application"
THREADS = 4
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Bench:
    """What all scenarios share: the environment, the cores, seconds of measuring and of patience, our worker class."""

    venv: Virtualenv
    cores: Cores
    seconds: float
    patience: int
    worker_class: str = "gthread"


@dataclass(frozen=True, slots=True)
class Target:
    """A running server under attack, and the folder for its temporary files."""

    name: str
    running: Running
    temporary: Path

    @property
    def certfile(self) -> Path | None:
        """The certificate that it shows; None without TLS."""
        certificate = self.running.certificate
        return certificate.certfile if certificate else None

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self.running.port

    def facts(self) -> observing.Facts:
        """Return what its workers use at this moment."""
        return observing.facts(self.running.process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time that all its processes have used."""
        return processes.cpu_seconds(self.running.process.pid)

    def workers(self) -> set[int]:
        """Return the process ids of its workers."""
        return set(observing.descendants(self.running.process.pid))

    def hostile(self) -> int:
        """Return the number of hostile connections that it has, or that wait to be accepted."""
        return observing.connections(self.port, HOSTILE_HOST)

    def disk_bytes(self) -> int:
        """Return what its temporary files take on the disk."""
        return observing.disk_bytes(self.running.process.pid, self.temporary)


@contextmanager
def serving(
    bench: Bench,
    server: str,
    greenhorns: tuple[str, ...] = (),
    common: tuple[str, ...] = (),
    *,
    encrypted: bool = False,
) -> Iterator[Target]:
    """Start a server, wait until it answers, and end it after the block.

    `greenhorns` are settings that only greenhorn has, `common` such as gunicorn has too. `encrypted`:
    with a certificate for an RSA key, whose handshakes cost a server most. Raises NotServing.
    """
    own = ("--worker-class", bench.worker_class, *greenhorns)
    settings = (*common, *(own if server == GREENHORN else ()))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as keys:
        certificate = certificates.make("rsa", Path(keys)) if encrypted else None
        launch = Launch(free_port(), THREADS, APPLICATION, settings, certificate)
        variables = {"TMPDIR": folder}
        with launched(SERVERS[server], launch, bench.venv, bench.cores.server, variables) as running:
            probe.check(running, WORKLOADS["get"], [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
            yield Target(server, running, Path(folder))


def deadlines(patience: int) -> tuple[str, ...]:
    """Return the settings of greenhorn that end a wait for a client after `patience` seconds."""
    names = (
        "--first-byte-timeout",
        "--handshake-timeout",
        "--header-timeout",
        "--body-timeout",
        "--write-timeout",
        "--keep-alive",
    )
    return tuple(word for name in names for word in (name, str(patience)))


def until(condition: Callable[[], bool], seconds: float) -> float | None:
    """Return after how many seconds the condition held, asked now and then; None if it did not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began
