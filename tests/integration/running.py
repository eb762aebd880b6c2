"""A server as a test sees it: the real command in a process group of its own, on a kernel-picked port.

The command is `python -m greenhorn`, or what GREENHORN_TEST_COMMAND names, so that the same tests can be
tried on another server: GREENHORN_TEST_COMMAND="gunicorn -k gthread --threads 4 --no-control-socket".
"""

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from integration.answers import Answer, AnswerReader
from integration.processes import Process, processes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE = 15.0
"""Seconds in which a server must be ready, answer, or be gone: far more than it needs on a busy machine."""

COMMAND = shlex.split(os.environ.get("GREENHORN_TEST_COMMAND", "")) or [sys.executable, "-m", "greenhorn"]
LISTENING = re.compile(r"Listening at: (.+) \(\d+\)$", re.MULTILINE)
READY = re.compile(r"Worker ready \(pid: (\d+)\)")
BOOTING = re.compile(r"Booting worker with pid: (\d+)")
STEERING = (
    "GUNICORN_CMD_ARGS",
    "GREENHORN_CMD_ARGS",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "PORT",
    "WEB_CONCURRENCY",
)
"""Variables that would steer a server from outside the test."""

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], timeout: float = DEADLINE, what: str = "the condition") -> T:
    """Return the first true value of `condition`, asked every 5 ms; AssertionError after `timeout` s."""
    expires = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > expires:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.005)
    return value


@dataclass(frozen=True)
class Launch:
    """What a test asks of a server; the fields are the arguments of the `server` fixture.

    `app` is APP_MODULE and `arguments` stand before it. `app_source` is written to a module of its own which
    is served as `written:application` unless `app` names something else. `config` is the text of a
    configuration file. `bind` is one address or several; an empty sequence leaves it to the configuration.
    `workers` is how many to start and to wait for; with None the command line does not say, and one must be
    ready. `ready=False` returns at once, for a start that is meant to fail. TERM must lead to `exit_code`.
    `pass_fds` are descriptors that the server inherits. With `trust` its clients speak TLS to it, as to `localhost`,
    and believe whom that believes.
    """

    app: str | None = None
    arguments: Sequence[str] = ()
    app_source: str | None = None
    config: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    bind: str | Sequence[str] = "127.0.0.1:0"
    workers: int | None = 1
    pythonpath: Sequence[Path] = (EXAMPLES,)
    ready: bool = True
    exit_code: int = 0
    allow_traceback: bool = False
    pass_fds: Sequence[int] = ()
    trust: ssl.SSLContext | None = None

    def command(self, folder: Path) -> list[str]:
        """Return the argv; writes the application and the configuration file into `folder`."""
        path = list(self.pythonpath)
        if self.app_source is not None:
            (folder / "written.py").write_text(self.app_source)
            path.insert(0, folder)
        command = [*COMMAND, "--pythonpath", ",".join(map(str, path))]
        if self.config is not None:
            (folder / "config.py").write_text(self.config)
            command += ["--config", str(folder / "config.py")]
        for address in [self.bind] if isinstance(self.bind, str) else self.bind:
            command += ["--bind", address]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        app = self.app or ("written:application" if self.app_source is not None else None)
        return [*command, *self.arguments, *([app] if app else [])]


class StartServer(Protocol):
    """Starts a server and returns it when its workers are ready; `Launch` says what the options mean."""

    def __call__(self, app: str | None = None, *arguments: str, **options: Any) -> "Server": ...


class Server:
    """A running server. Made by the `server` fixture, which also ends it and checks what it leaves behind.

    `folder` is its working directory (empty, private); its standard output and error go to files there.
    """

    def __init__(self, launch: Launch, folder: Path) -> None:
        self.launch = launch
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self._open: list[socket.socket | httpx.Client] = []
        self._waited = False
        command = launch.command(folder)
        outside = {name: value for name, value in os.environ.items() if name not in STEERING}
        with self._file("stdout").open("wb") as out, self._file("stderr").open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**outside, "TMPDIR": str(self.temporary), **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=launch.pass_fds,
            )

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    # What it is

    @property
    def pid(self) -> int:
        """Of the master, which leads the process group."""
        return self._process.pid

    @property
    def addresses(self) -> list[str]:
        """Everywhere it has listened, as it logged: `http://127.0.0.1:43210`, `unix:/path`."""
        lines = LISTENING.findall(self.log())
        return list(dict.fromkeys(address for line in lines for address in line.split(",")))

    @property
    def url(self) -> str:
        """The first address that is a URL, without a slash at the end."""
        urls = [address for address in self.addresses if "://" in address]
        assert urls, f"it never said that it listens at a URL:\n{self.log()}"
        return urls[0]

    @property
    def port(self) -> int:
        """The TCP port of `url`."""
        return int(self.url.rpartition(":")[2])

    def worker_pids(self) -> list[int]:
        """Return the living children of the master, in order."""
        return sorted(process.pid for process in processes() if process.parent == self.pid)

    def worker_pid(self) -> int:
        """Return the only worker's pid."""
        [pid] = self.worker_pids()
        return pid

    # What it says

    def log(self) -> str:
        """Return its standard error so far."""
        return self._file("stderr").read_text(errors="replace")

    def stdout(self) -> str:
        """Return its standard output so far."""
        return self._file("stdout").read_text(errors="replace")

    def wait_for_log(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """Return the first match of `pattern` (multi-line) in the log, within `timeout` seconds."""
        expression = re.compile(pattern, re.MULTILINE)
        try:
            return wait_until(lambda: expression.search(self.log()), timeout, f"{pattern!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log()}") from None

    def wait_until_ready(self) -> None:
        """Return when it listens and its workers are ready; AssertionError if it ends or hangs instead."""
        try:
            wait_until(lambda: self._process.poll() is not None or self._is_ready(), what="a ready server")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log()}") from None
        code = self._process.poll()
        assert code is None, f"it ended with {code} instead of becoming ready:\n{self.log()}"

    def _is_ready(self) -> bool:
        log = self.log()
        workers = set(READY.findall(log))
        if not workers and "GREENHORN_TEST_COMMAND" in os.environ:
            workers = set(BOOTING.findall(log))  # gunicorn does not say more; the kernel holds connections until then
        return bool(LISTENING.search(log)) and len(workers) >= (self.launch.workers or 1)

    # Talking to it

    def dial(self, port: int | None = None, timeout: float = DEADLINE) -> socket.socket:
        """Return a new connection to `port`, by default that of `url`, without TLS; calls fail after `timeout` s."""
        connection = socket.create_connection(("127.0.0.1", port or self.port), timeout)
        self._open.append(connection)
        return connection

    def connect(self, timeout: float = DEADLINE) -> socket.socket:
        """Return a new connection to `url`, with TLS if the launch says so; its calls fail after `timeout` s."""
        connection = self.dial(timeout=timeout)
        return connection if self.launch.trust is None else self.secure(connection, self.launch.trust)

    def secure(self, connection: socket.socket, context: ssl.SSLContext, **options: Any) -> ssl.SSLSocket:
        """Return the connection with TLS on it, whose end without a goodbye is an error; options are wrap_socket's."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options = {"server_hostname": "localhost", "suppress_ragged_eofs": False, **options}
        secure = context.wrap_socket(connection, **options)
        self._open.append(secure)
        return secure

    def exchange(self, request: bytes) -> bytes:
        """Send `request` over a new connection and return all bytes until the server closes it."""
        with self.connect() as connection:
            connection.sendall(request)
            received = bytearray()
            while data := connection.recv(65536):
                received += data
            return bytes(received)

    def request(self, request: bytes) -> Answer:
        """Send `request` over a new connection and return the first final answer."""
        with self.connect() as connection:
            connection.sendall(request)
            return AnswerReader(connection).read(request.split(b" ", 1)[0].decode("latin-1"))

    def client(self, **options: Any) -> httpx.Client:
        """Return a client for `url` that ignores proxies; it is closed when the server is stopped."""
        if self.launch.trust is not None:
            options.setdefault("verify", self.launch.trust)
        client = httpx.Client(base_url=self.url, trust_env=False, timeout=DEADLINE, **options)
        self._open.append(client)
        return client

    # Its end

    def signal(self, number: int) -> None:
        """Send the signal to the master alone."""
        self._process.send_signal(number)

    def pause(self, pid: int) -> None:
        """Stop one of its processes with SIGSTOP, and return when that stands still."""
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: any(one.pid == pid and one.state == "T" for one in self._group()), what="a halt")

    def wait(self, timeout: float = DEADLINE) -> int:
        """Return the exit code of a server that must end within `timeout` seconds, for the test to judge."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {timeout:g} s:\n{self.log()}") from None
        self._waited = True
        return code

    def stop(self, timeout: float = DEADLINE) -> int:
        """Close this test's connections, send TERM, and return the exit code within `timeout` seconds."""
        self._close_connections()
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def finish(self) -> list[str]:
        """End the server if it still runs, and return everything that is wrong with the way it went."""
        self._close_connections()
        problems = [*self._end(), *self._leftovers()]
        if "Traceback (most recent call last)" in self.log() and not self.launch.allow_traceback:
            problems.append("there is a traceback in the log")
        return problems

    def _close_connections(self) -> None:
        while self._open:
            self._open.pop().close()

    def _end(self) -> list[str]:
        code = self._process.poll()
        if code is not None:
            return [] if self._waited else [f"it ended by itself with {code}"]
        try:
            code = self.stop()
        except AssertionError:
            return [f"it did not end within {DEADLINE:g} s after TERM"]
        return [] if code == self.launch.exit_code else [f"it ended with {code}, not with {self.launch.exit_code}"]

    def _group(self) -> list[Process]:
        return [process for process in processes() if process.group == self.pid]

    def _leftovers(self) -> list[str]:
        problems = []
        if left := self._group():
            problems.append(f"it left processes: {left}")
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE)
        for address in self.addresses:
            if address.startswith("unix:"):
                if Path(address.removeprefix("unix:")).is_socket():
                    problems.append(f"it left {address}")
            elif accepts(address):
                problems.append(f"{address} still accepts connections")
        problems += [f"it left the file {path}" for path in self.temporary.rglob("*") if not path.is_dir()]
        return problems


def accepts(url: str) -> bool:
    """Tell whether somebody accepts connections at the URL's host and port."""
    host, _, port = url.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def servers(folder: Path) -> Iterator[StartServer]:
    """Start servers in folders below `folder`; end all of them, with AssertionError for what they left."""
    started: list[Server] = []

    def start(app: str | None = None, *arguments: str, **options: Any) -> Server:
        launch = Launch(app=app, arguments=arguments, **options)
        started.append(Server(launch, folder / f"server-{len(started)}"))
        if launch.ready:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    problems = []
    for one in reversed(started):
        problems += one.finish()
        print(f"log of {one.pid}:\n{one.log()}")  # noqa: T201 - pytest shows it when the test fails
    assert not problems, "; ".join(problems)
