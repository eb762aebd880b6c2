"""What happens seldom: it is counted by its name, and told once in a while."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.config import Settings
from greenhorn.observe.counters import TELL_EVERY, Counters
from greenhorn.observe.logger import Logger
from unit.net.waiting import DEADLINE


class Told:
    """A log, and what was written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.log = Logger(Settings(errorlog=str(path), loglevel="info"))

    def lines(self) -> list[str]:
        """What was written since this was asked before, without time and pid."""
        text = self._path.read_text()
        new, self._read = text[self._read :], len(text)
        return [line.partition("] [WARNING] ")[2] for line in new.splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    one = Told(tmp_path / "log")
    yield one
    for handler in list(one.log.error_log.handlers):
        one.log.error_log.removeHandler(handler)
        handler.close()


def test_what_never_happened_is_no_zero_but_nothing():
    assert Counters().totals() == {}


def test_each_name_has_its_own_count():
    counters = Counters()
    for name in ("cats", "dogs", "cats"):
        counters.add(name)
    assert counters.totals() == {"cats": 2, "dogs": 1}


def test_totals_are_of_their_moment():
    counters = Counters()
    counters.add("cats")
    before = counters.totals()
    counters.add("cats")
    before["cats"] = 9
    assert counters.totals() == {"cats": 2}


def test_the_log_is_told_once_in_a_while_what_happened_since(told: Told):
    counters = Counters()
    counters.add("cats")
    counters.add("cats")
    counters.tell(told.log, 1000.0)
    assert told.lines() == ["2 cats since the last report"]
    counters.add("cats")
    counters.add("dogs")
    counters.tell(told.log, 1000.0 + TELL_EVERY - 0.1)
    assert told.lines() == []
    counters.tell(told.log, 1000.0 + TELL_EVERY)
    assert told.lines() == ["1 cats since the last report", "1 dogs since the last report"]


def test_the_log_is_told_at_once_after_a_quiet_time_and_at_the_end(told: Told):
    counters = Counters()
    counters.tell(told.log, 1000.0)
    counters.add("cats")
    counters.tell(told.log, 1001.0)
    assert told.lines() == ["1 cats since the last report"]
    counters.tell(told.log, 1000.0 + 2 * TELL_EVERY)
    assert told.lines() == []
    counters.add("cats")
    counters.tell(told.log, 1001.0 + 2 * TELL_EVERY)
    counters.add("cats")
    counters.tell(told.log, float("inf"))
    assert told.lines() == ["1 cats since the last report"] * 2


def test_threads_that_count_at_once_lose_nothing():
    counters = Counters()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        start = threading.Barrier(4)
        threads = [threading.Thread(target=count_thousand, args=(counters, start)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    finally:
        sys.setswitchinterval(before)
    assert counters.totals() == {f"name {number}": 400 for number in range(10)}


def count_thousand(counters: Counters, start: threading.Barrier) -> None:
    start.wait(DEADLINE)
    for number in range(1000):
        counters.add(f"name {number % 10}")
