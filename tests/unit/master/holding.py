"""Processes that hold a pidfile, or look as if they did."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HOLD = """
import sys
from greenhorn.master.pidfile import Pidfile
pidfile = Pidfile(sys.argv[1])
try:
    pidfile.acquire()
except Exception as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
    pidfile.release()
"""
DEAD = 2**22
"""No process: Linux gives pids below this one only."""

Start = Callable[..., subprocess.Popen[str]]


def posing(start: Start, title: str) -> subprocess.Popen[str]:
    """Start a process that only waits and shows this title."""
    process = start(title, executable="/bin/cat")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("up\n")
    process.stdin.flush()
    assert process.stdout.readline() == "up\n"  # before that, the system may not know its command line yet
    return process


def waiting(start: Start, script: Path) -> subprocess.Popen[str]:
    """Start a Python script at this path that only waits."""
    script.parent.mkdir(exist_ok=True)
    script.write_text("print('up', flush=True); input()", encoding="ascii")
    process = start(sys.executable, "-X", "utf8", str(script))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def ask(start: Start, path: Path) -> str:
    """What another process says that wants the file."""
    process = start(sys.executable, "-c", HOLD, str(path))
    assert process.stdout is not None
    return process.stdout.readline()


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    """Let the system say what a file system without locks says."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
