"""The server under test: a process with the recording application, its log and its end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from conform.conversation import HOST, RECEIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCRIPTS = Path(__file__).resolve().parent.parent
APPLICATION = "conform.recorder:application"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
TRACEBACK = "Traceback (most recent call last)"
# Settings that gunicorn reads as one text with commas, and cases may give as a list.
COMMA_SEPARATED = ("forwarded_allow_ips", "forwarder_headers", "proxy_allow_ips")
READY = b"GET /ready HTTP/1.1\r\nHost: conform.test\r\nConnection: close\r\n\r\n"


class ServerError(Exception):
    """The server could not be started; the message holds the end of its log."""


class Server:
    """A running server with one worker and four threads, as a context manager. Raises ServerError on entry.

    `settings` are written to a configuration file in Python syntax. `ready_port` is the client's port of
    the request that found the server ready: it stands in a record if the server hands REMOTE_PORT to its
    application.
    """

    def __init__(self, command: Sequence[str], settings: dict[str, Any]) -> None:
        self.command = command
        self.settings = settings
        self.port = 0
        self.ready_port = 0
        self.stubborn = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(TemporaryDirectory(prefix="conformance-")))
            self.records = self.folder / "records"
            self.log = self.folder / "log"
            self.process = self.start()
            stack.callback(self.stop)
            self.await_ready()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process on a port that was free a moment ago. Raises ServerError."""
        config = self.folder / "config.py"
        config.write_text("".join(setting_lines(self.settings)), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        arguments = [
            *self.command,
            *("-b", f"{HOST}:{self.port}", "-w", "1", "--threads", "4"),
            *("-c", str(config), "--pythonpath", str(SCRIPTS), APPLICATION),
        ]
        environ = {**os.environ, "CONFORM_RECORDS": str(self.records)}
        try:
            with self.log.open("wb") as log:
                return subprocess.Popen(
                    arguments,
                    env=environ,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise ServerError(f"{self.command[0]} cannot be run: {error.strerror}") from error

    def await_ready(self) -> None:
        """Wait until a request is answered, whatever the answer. Raises ServerError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.alive:
                raise ServerError(f"it ended with {self.process.returncode}: {self.log_end()}")
            if self.answers_request():
                return
            time.sleep(POLL_SECONDS)
        raise ServerError(f"it did not answer within {START_SECONDS:.0f} s: {self.log_end()}")

    def answers_request(self) -> bool:
        """Send one request and say whether anything came back."""
        try:
            with socket.create_connection((HOST, self.port), timeout=START_SECONDS) as connection:
                self.ready_port = connection.getsockname()[1]
                connection.sendall(READY)
                answered = bool(connection.recv(RECEIVE_BYTES))
                while connection.recv(RECEIVE_BYTES):
                    pass
        except OSError:
            return False
        return answered

    def stop(self) -> None:
        """End the process by its id: TERM, then KILL after a deadline."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.stubborn = True
            self.process.kill()
            self.process.wait()
        self.final_log = self.log_text()

    @property
    def alive(self) -> bool:
        """The process has not ended."""
        return self.process.poll() is None

    def log_text(self) -> str:
        """Return what the server wrote so far to stdout and stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def log_end(self) -> str:
        """Return the last lines of the log."""
        return " | ".join(line for line in self.log_text().splitlines()[-5:] if line) or "no word in its log"


def setting_lines(settings: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a configuration file."""
    for name, value in settings.items():
        joined = ",".join(value) if name in COMMA_SEPARATED and isinstance(value, list) else value
        yield f"{name} = {joined!r}\n"
