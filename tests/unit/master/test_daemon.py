"""The daemon and the process that starts it; each daemon waits until its test ends it by pid."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.master.process import Launch
from integration.processes import processes
from unit.net.waiting import DEADLINE, wait_until

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")

PRELUDE = "import json, os, sys\nfrom greenhorn.master.process import *\n"

DAEMON = """
import signal, time
def note(**more):
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump(dict(pid=os.getpid(), parent=os.getppid(), group=os.getpgrp(), session=os.getsid(0), **more), file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


class Daemon:
    """A daemon that is started by `code` and ended with its test."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "daemon.json"
        self._pids: set[int] = set()

    def start(self, code: str, **more: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PRELUDE + DAEMON + code, str(self.file)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, **more)

    def note(self) -> dict[str, object]:
        wait_until(self.file.exists, "the daemon's note")
        note: dict[str, object] = json.loads(self.file.read_text("ascii"))
        for key in ("pid", "child"):
            if isinstance(pid := note.get(key), int):
                self._pids.add(pid)
        return note

    def end(self) -> None:
        if self.file.exists():
            self.note()
        for pid in self._pids:
            if pid in living():
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._pids.isdisjoint(living()), "the end of the daemon")


def living() -> set[int]:
    return {process.pid for process in processes()}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    one = Daemon(tmp_path)
    yield one
    one.end()


FACTS = """
os.umask(0o077)
launch = daemonize()
mask = os.umask(0)
note(mask=mask, files=[os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)], fds=len(os.listdir("/proc/self/fd")))
print("nobody hears this", flush=True)
launch.succeeded()
signal.pause()
"""


@ON_LINUX
def test_a_daemon_is_by_itself(daemon: Daemon):
    done = daemon.start(FACTS, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    facts = daemon.note()
    assert facts["pid"] in living()
    assert facts["session"] == facts["group"] != facts["pid"]
    assert facts["session"] not in living()
    assert facts["session"] != os.getsid(0)
    assert facts["mask"] == 0o022
    assert facts["files"] == [os.devnull] * 3
    assert facts["fds"] == 3 + 1 + 1  # the pipe of the launch, and the one that lists them


@ON_LINUX
@pytest.mark.parametrize("closed", [fds for count in (1, 2, 3) for fds in itertools.combinations((0, 1, 2), count)])
def test_standard_descriptors_that_are_closed_are_no_hindrance(daemon: Daemon, closed: tuple[int, ...]):
    """The launching process is started by a shell that closes them."""
    redirections = " ".join(f"{fd}>&-" for fd in closed)
    command = ["/bin/sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-c", PRELUDE + DAEMON + FACTS]
    done = subprocess.run([*command, str(daemon.file)], capture_output=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done
    assert daemon.note()["files"] == [os.devnull] * 3


@ON_LINUX
def test_output_that_goes_to_a_file_can_be_kept(daemon: Daemon, tmp_path: Path):
    code = """
launch = daemonize(keep_output=True)
note()
print("kept", flush=True)
launch.succeeded()
signal.pause()
"""
    output = tmp_path / "output"
    command = [sys.executable, "-c", PRELUDE + DAEMON + code, str(daemon.file)]
    with output.open("w") as file:
        subprocess.run(command, stdout=file, stderr=file, check=True, timeout=DEADLINE)
    assert output.read_text("ascii") == "kept\n"


def test_the_launching_process_waits_for_the_success(daemon: Daemon, tmp_path: Path):
    """The daemon succeeds only when the test has seen that it is up and nobody has exited yet."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"launch = daemonize()\nnote()\nopen({str(gate)!r}).read()\nlaunch.succeeded()\nsignal.pause()"
    command = [sys.executable, "-c", PRELUDE + DAEMON + code, str(daemon.file)]
    launching = subprocess.Popen(command)
    try:
        daemon.note()
        assert launching.poll() is None
        gate.write_text("", "ascii")
        assert launching.wait(DEADLINE) == 0
    finally:
        launching.kill()
        launching.wait()


@pytest.mark.parametrize("text", ["cannot listen at 127.0.0.1:80", "two\nlines: é\n", "x" * 100_000])
def test_a_failure_is_printed_and_its_code_returned(daemon: Daemon, text: str):
    done = daemon.start(f"launch = daemonize()\nlaunch.failed({text!r}, 3)\nlaunch.succeeded()", encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", text.rstrip("\n") + "\n")


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "sys.exit(5)", "os.kill(os.getpid(), signal.SIGKILL)", "launch.forget()"]
)
def test_an_end_without_a_word_is_a_failure(daemon: Daemon, end: str):
    done = daemon.start(f"launch = daemonize()\n{end}")
    assert done.returncode == 1
    assert "the daemon ended before it could serve" in done.stderr


def test_a_child_that_forgets_does_not_keep_the_launching_process_waiting(daemon: Daemon):
    code = """
launch = daemonize()
said, say = os.pipe()
child = os.fork()
if not child:
    launch.forget()
    os.write(say, b"!")
    signal.pause()
os.read(said, 1)
note(child=child)
os._exit(1)
"""
    done = daemon.start(code)
    assert done.returncode == 1
    child = daemon.note()["child"]
    assert child in living()


def test_a_launching_process_that_went_does_not_stop_the_daemon(daemon: Daemon, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"""
launch = daemonize()
note()
open({str(gate)!r}).read()
launch.succeeded()
os.unlink({str(gate)!r})
signal.pause()
"""
    launching = subprocess.Popen([sys.executable, "-c", PRELUDE + DAEMON + code, str(daemon.file)])
    try:
        pid = daemon.note()["pid"]
    finally:
        launching.send_signal(signal.SIGINT)
        launching.wait(DEADLINE)
    assert launching.returncode == -signal.SIGINT
    gate.write_text("", "ascii")
    wait_until(lambda: not gate.exists(), "the daemon to go on")
    assert pid in living()


def test_a_server_that_is_no_daemon_has_nobody_to_tell():
    launch = Launch()
    launch.succeeded()
    launch.failed("cannot listen", 1)
    launch.forget()
