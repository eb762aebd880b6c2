"""The servers under measurement: how each is started so that it does its best at one worker and N threads."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benching import processes
from benching.certificates import Certificate
from benching.certificates import make as make_certificate
from benching.virtualenv import GREENHORN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benching.virtualenv import Virtualenv
    from benching.workloads import Workload

HOST = "127.0.0.1"
OUTPUT_BYTES = 1_048_576
SCRIPTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Launch:
    """What a command line is made of: the port, the number of threads, and the application as module:name.

    `settings` are more flags for greenhorn and gunicorn, of which the last of a kind counts. With a `certificate`
    the server speaks TLS.
    """

    port: int
    threads: int
    target: str
    settings: tuple[str, ...] = ()
    certificate: Certificate | None = None
    interface: str = "wsgi"


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its name, which is that of its package too.

    `command` gives the program of the virtual environment and its arguments. `threaded` is False for a server
    that runs the application in its event loop, `logs` for one that can write gunicorn's access log, `encrypts` for
    one that speaks TLS, and `classes` for one that has gunicorn's worker classes. `interfaces` are the kinds of
    applications that it is measured with.
    """

    name: str
    command: Callable[[Launch], list[str]]
    threaded: bool = True
    logs: bool = False
    encrypts: bool = False
    classes: bool = False
    interfaces: tuple[str, ...] = ("wsgi",)
    remark: str = ""


def _greenhorn(launch: Launch) -> list[str]:
    kind = ["-k", "asgi"] if launch.interface == "asgi" else []
    return ["greenhorn", *kind, *_gunicorn_arguments(launch)]


def _gunicorn(launch: Launch) -> list[str]:
    # Its default worker has no threads, and its default keep-alive of 2 s could end connections that `many`
    # keeps waiting; the control socket is an extra thread that nobody here talks to.
    return [
        "gunicorn",
        *("-k", "gthread", "--keep-alive", "75", "--no-control-socket"),
        *_gunicorn_arguments(launch),
    ]


def _gunicorn_arguments(launch: Launch) -> list[str]:
    # Both stop accepting at 1,000 connections by default, which is where `many` gets: they need room.
    return [
        *("-w", "1", "--threads", str(launch.threads), "--worker-connections", "4096"),
        *("-b", f"{HOST}:{launch.port}"),
        *("--log-level", "error", "--pythonpath", str(SCRIPTS), *_pair(launch, "--certfile", "--keyfile")),
        *launch.settings,
        launch.target,
    ]


def _pair(launch: Launch, certfile: str, keyfile: str) -> list[str]:
    """Return the flags that name the certificate and its key, if there is one."""
    pair = launch.certificate
    return [certfile, str(pair.certfile), keyfile, str(pair.keyfile)] if pair else []


def _granian(launch: Launch) -> list[str]:
    # HTTP/1 only and no WebSockets, so that it need not look for either. One runtime thread is its default
    # and all that one core can use; the runtime mode that it picks for WSGI (mt) was faster in trials.
    # Its backlog bounds the requests in process too (--backpressure), so it gets more than `many` needs.
    return [
        "granian",
        *("--interface", "wsgi", "--http", "1", "--no-ws", "--no-log", "--backlog", "4096"),
        *("--workers", "1", "--runtime-threads", "1", "--blocking-threads", str(launch.threads)),
        *("--host", HOST, "--port", str(launch.port), *_pair(launch, "--ssl-certificate", "--ssl-keyfile")),
        launch.target,
    ]


def _bjoern(launch: Launch) -> list[str]:
    # It has no command: it is a module to be called.
    module, name = launch.target.split(":")
    call = f"bjoern.run({name}, {HOST!r}, {launch.port}, listen_backlog=4096)"
    return ["python", "-c", f"import bjoern; from {module} import {name}; {call}"]


def _waitress(launch: Launch) -> list[str]:
    # Better for it here than its defaults: poll() instead of select(), more than 100 connections, large reads
    # and writes, and no temporary file for 1 MiB.
    return [
        "waitress-serve",
        *("--threads", str(launch.threads), "--listen", f"{HOST}:{launch.port}"),
        *("--asyncore-use-poll", "--connection-limit=4096", "--backlog=4096"),
        *("--recv-bytes=65536", "--send-bytes=65536", "--outbuf-overflow=4194304"),
        launch.target,
    ]


def _uvicorn(launch: Launch) -> list[str]:
    # The same protocol and loop as greenhorn's: both choose httptools and uvloop, which are installed with it.
    return ["uvicorn", "--no-access-log", "--host", HOST, "--port", str(launch.port), launch.target]


_ALL = (
    Server(GREENHORN, _greenhorn, logs=True, encrypts=True, classes=True, interfaces=("wsgi", "asgi")),
    Server(
        "gunicorn",
        _gunicorn,
        logs=True,
        encrypts=True,
        classes=True,
        remark="gthread unless the workload says otherwise; without the C parser gunicorn_h1c, as pip installs it",
    ),
    Server("granian", _granian, encrypts=True, remark="Rust"),
    Server("bjoern", _bjoern, threaded=False, remark="C; one thread runs everything"),
    Server("waitress", _waitress, remark="pure Python"),
    Server("uvicorn", _uvicorn, threaded=False, interfaces=("asgi",), remark="with httptools and uvloop"),
)
SERVERS = {server.name: server for server in _ALL}


class NotServing(Exception):  # noqa: N818 - a finding about a server, not a fault of the bench
    """The server does not answer, or wrongly; the message says how."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started: its root process, its port, what it prints into, and the certificate that it shows."""

    process: subprocess.Popen[bytes]
    port: int
    output: IO[bytes]
    certificate: Certificate | None = None

    def log(self) -> str:
        """Return what the server has printed so far."""
        # Not by seek and read: the server writes at the same offset.
        return os.pread(self.output.fileno(), OUTPUT_BYTES, 0).decode(errors="replace")

    def complaint(self) -> str:
        """Return the last line that the server printed, in parentheses, or nothing."""
        lines = self.log().strip().splitlines()
        return f" ({lines[-1].strip()[:200]})" if lines else ""


@contextmanager
def started(server: Server, workload: Workload, venv: Virtualenv, core: int) -> Iterator[Running]:
    """Start a server with the workload's application on one core, and end all its processes after the block.

    Raises NotServing when its program is missing. Whether it listens already is for the caller to find out.
    """
    # The file is in the server's own folder, and goes with it.
    settings = ("--access-logfile", "access.log") if workload.logged else ()
    kind = ("-k", workload.worker_class) if workload.worker_class else ()
    target = f"benching.applications:{workload.application}"
    with tempfile.TemporaryDirectory() as directory:
        certificate = make_certificate(workload.key, Path(directory)) if workload.key else None
        launch = Launch(free_port(), workload.threads, target, (*settings, *kind), certificate, workload.interface)
        with launched(server, launch, venv, core, {}) as running:
            yield running


@contextmanager
def launched(
    server: Server, launch: Launch, venv: Virtualenv, core: int, variables: dict[str, str]
) -> Iterator[Running]:
    """Do what `started` does, with any application and settings, and environment variables of the caller's."""
    program, *arguments = server.command(launch)
    path = venv.program(program)
    if not Path(path).exists():
        raise NotServing(f"the package {server.name} has brought no program {program}")
    # Somewhere without a configuration file, and without the variables that servers read settings from.
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as output:
        environment = {
            "PATH": f"{venv.path}/bin:{os.environ.get('PATH', os.defpath)}",
            "HOME": directory,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(SCRIPTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        process = subprocess.Popen(
            ["taskset", "-c", str(core), path, *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the bench, which then ends the server.
            start_new_session=True,
        )
        try:
            yield Running(process, launch.port, output, launch.certificate)
        finally:
            processes.end(process)


def free_port() -> int:
    """Return a port that the kernel has just picked and that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
