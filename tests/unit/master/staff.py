"""A fleet whose workers are socket pairs: nothing is forked or killed, and time passes when the test says so."""

import itertools
import json
import os
import selectors
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import pytest

from greenhorn.config import Settings
from greenhorn.master.child import Child
from greenhorn.master.entrances import Entrances
from greenhorn.master.fleet import Fleet
from greenhorn.master.generation import Generation
from greenhorn.master.process import Identity
from greenhorn.observe.logger import Logger
from greenhorn.workers.base import Worker
from unit.master.holding import DEAD

CRASH = 1 << 8
BOOTS, SERVES, LEAVES = "boots", "serves", "leaves"


class Clock:
    """The module `time` of a test that lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Kernel:
    """What the system does with processes: it notes who is killed, and tells the ends that the test has put there."""

    def __init__(self) -> None:
        self.refusal: OSError | None = None
        """What a fork fails with."""
        self.kills: list[tuple[int, int]] = []
        self.ends: deque[tuple[int, int]] = deque()
        self._pids = itertools.count(DEAD + 1)

    def fork(self) -> int:
        """The pid of a process that there is not."""
        if self.refusal is not None:
            raise self.refusal
        return next(self._pids)

    def kill(self, pid: int, number: int) -> None:
        """Note a signal."""
        self.kills.append((pid, number))

    def waitpid(self, _pid: int, _options: int) -> tuple[int, int]:
        """The next end."""
        return self.ends.popleft() if self.ends else (0, 0)

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for the system's calls until the end of the test."""
        for name in ("fork", "kill", "waitpid"):
            monkeypatch.setattr(os, name, getattr(self, name))


class Seat(Worker):
    """A worker that is no process: the test speaks for it at `end`."""

    taken: ClassVar[list["Seat"]] = []
    """Every one whose end is open."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.taken.append(self)
        self.end = self.channel.dup()
        self.end.setblocking(False)

    def orders(self) -> list[str]:
        """What the master has written since this was asked before."""
        try:
            return self.end.recv(65536).decode().splitlines()
        except BlockingIOError:
            return []


class House:
    """A master that notes what the fleet tells it."""

    def __init__(self, log: Logger) -> None:
        self.log = log
        self.told: list[tuple[Any, ...]] = []

    def become(self, worker: Worker, generation: Generation) -> int:
        """Never: nothing is forked."""
        raise AssertionError(f"{worker} of {generation} was forked")

    def accepted(self, generation: Generation, before: Generation) -> None:
        """Note who serves now."""
        self.told.append(("accepted", generation, before))

    def given_up(self, generation: Generation, why: str) -> None:
        """Note who cannot serve."""
        self.told.append(("given up", generation, why))

    def cannot_start(self, why: str, code: int) -> None:
        """Note why the start fails."""
        self.told.append(("cannot start", why, code))


class Crew:
    """A fleet, its master and everything around it. `settings` are those of the first generation."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.clock = Clock()
        monkeypatch.setattr("greenhorn.master.fleet.time", self.clock)
        monkeypatch.setattr("greenhorn.master.child.time", self.clock)
        self.kernel = Kernel()
        self.kernel.take_over(monkeypatch)
        self._path = folder / "error.log"
        self._read = 0
        self.master = House(Logger(Settings(errorlog=str(self._path), loglevel="debug")))
        self._selector = selectors.DefaultSelector()
        self.fleet = Fleet(self.master, self._selector)
        self.first = self.fleet.current = generation(**settings)

    def log(self) -> str:
        """What was logged since this was asked before."""
        text = self._path.read_text()
        new, self._read = text[self._read :], len(text)
        return new

    # The workers by their age.

    def child(self, age: int) -> Child:
        """The worker of this age."""
        [found] = [child for child in self.fleet.children.values() if child.worker.age == age]
        return found

    def orders(self, age: int) -> list[str]:
        """What a worker was told since this was asked before."""
        seat: Seat = self.child(age).worker
        return seat.orders()

    def kills(self, age: int) -> list[int]:
        """The signals that a worker was sent."""
        pid = self.child(age).pid
        return [number for each, number in self.kernel.kills if each == pid]

    def state(self) -> dict[int, str]:
        """Every worker by its age, and whether it boots, serves or leaves."""
        return {
            child.worker.age: LEAVES if child.told else SERVES if child.ready else BOOTS
            for child in self.fleet.children.values()
        }

    # What happens.

    def say(self, age: int, line: str) -> None:
        """Let a worker write a line, and the master read it."""
        child = self.child(age)
        child.worker.end.send(line.encode() + b"\n")
        self.fleet.heard(child)

    def turn(self, *, ready: tuple[int, ...] = ()) -> dict[int, str]:
        """Let these workers be ready, and the fleet take its turn; returns the state after it."""
        for age in ready:
            self.say(age, "ready")
        self.fleet.turn()
        return self.state()

    def staffed(self, count: int) -> None:
        """Be at a point where so many workers serve."""
        self.fleet.target = count
        self.turn()
        self.turn(ready=tuple(range(1, count + 1)))
        assert self.state() == dict.fromkeys(range(1, count + 1), SERVES)
        self.log()

    def end(self, *ages: int, status: int = 0, failure: str = "") -> None:
        """Let workers end together, each with its last words, and the master bury them."""
        for age in ages:
            child = self.child(age)
            if failure:
                child.worker.end.send(f"failed {json.dumps(failure)}\n".encode())
            child.worker.end.close()
            self.kernel.ends.append((child.pid, status))
        assert self.fleet.reap() == []

    def close(self) -> None:
        """Give everything back."""
        for child in self.fleet.children.values():
            child.close()
        while Seat.taken:
            Seat.taken.pop().end.close()
        self._selector.close()


def generation(**settings: Any) -> Generation:
    """A generation of workers that are no processes."""
    made = Settings(wsgi_app="hello:app", **settings)
    return Generation(made, Seat, Identity(None, None, initgroups=False), Entrances(made))


def failing(*_: object) -> None:
    """A hook that fails."""
    raise LookupError("it fails")
