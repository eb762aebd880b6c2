"""Fixtures of the tests of the master: processes that hold a pidfile, and a fleet that forks nothing."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.master.arbiter import Arbiter
from unit.master.holding import HOLD, Start
from unit.master.mastering import give_back, make_arbiter, signals_kept
from unit.master.staff import Crew, Kernel


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


@pytest.fixture
def forget_log() -> Iterator[None]:
    """Leave no handler behind that writes to a test's files."""
    yield
    logger = logging.getLogger("greenhorn.error")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def make_crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_log: None) -> Iterator[Callable[..., Crew]]:
    """Make a fleet that forks nothing; the arguments are settings of its first generation."""
    del forget_log
    made: list[Crew] = []

    def make(**settings: Any) -> Crew:
        made.append(Crew(tmp_path, monkeypatch, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def crew(make_crew: Callable[..., Crew]) -> Crew:
    """A fleet with default settings."""
    return make_crew()


@pytest.fixture
def start_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the test is started in, with an environment and a sys.path that are restored at its end."""
    folder = tmp_path / "start"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(os.environ)
    yield folder
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Stand in for what the system does with processes."""
    made = Kernel()
    made.take_over(monkeypatch)
    return made


@pytest.fixture
def arbiter(
    tmp_path: Path, start_directory: Path, kernel: Kernel, forget_log: None
) -> Iterator[Callable[..., Arbiter]]:
    """Make masters that fork nothing; the arguments are those of `make_arbiter` behind its folder."""
    del start_directory, kernel, forget_log
    made: list[Arbiter] = []

    def make(*arguments: Any, **settings: Any) -> Arbiter:
        made.append(make_arbiter(tmp_path, *arguments, **settings))
        return made[-1]

    with signals_kept():
        yield make
        for one in made:
            give_back(one)
