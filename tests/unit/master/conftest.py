"""Fixtures of the tests of the pidfile."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unit.master.holding import HOLD, Start


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that have said one line; they are ended at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str, executable: str = sys.executable) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, executable=executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def holder(start: Start) -> Callable[[Path], subprocess.Popen[str]]:
    """Start a process that holds the pidfile at a path."""

    def begin(path: Path) -> subprocess.Popen[str]:
        process = start(sys.executable, "-c", HOLD, str(path))
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    return begin


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.pid"
