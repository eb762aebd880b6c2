"""The master's decisions, without processes: which worker class, when the next worker starts, when it gives up."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.arbiter import (
    FIRST_DELAY,
    LONGEST_DELAY,
    LONGEST_DELAY_OF_READY,
    SHORTEST_LIFE,
    Arbiter,
    find_worker_class,
)
from greenhorn.master.child import Child
from greenhorn.workers.gthread import ThreadWorker

CRASH = 1 << 8


@pytest.mark.parametrize("name", ["sync", "gevent", "tornado", "", "greenhorn.workers.gthread:ThreadWorker"])
def test_a_worker_class_that_there_is_not_is_an_error_that_names_those_there_are(name: str):
    with pytest.raises(ConfigError, match="worker_class") as caught:
        find_worker_class(name)
    assert repr(name) in str(caught.value)
    assert "gthread" in str(caught.value)


def test_a_worker_class_is_found_by_gunicorns_name():
    assert find_worker_class("gthread") is ThreadWorker


def test_an_arbiter_with_a_worker_class_that_there_is_not_does_not_begin(tmp_path: Path):
    with pytest.raises(ConfigError, match="worker_class"):
        make_arbiter(tmp_path, worker_class="sync")


def make_arbiter(folder: Path, **settings: Any) -> Arbiter:
    return Arbiter(Settings(errorlog=str(folder / "error.log"), **settings))


@pytest.fixture
def arbiter(tmp_path: Path) -> Iterator[Arbiter]:
    made = make_arbiter(tmp_path, bind=())
    yield made
    for child in made.children.values():
        child.close()
    made._signals.close()
    made._selector.close()


@pytest.fixture(autouse=True)
def forget_log() -> Iterator[None]:
    """Leave no handler behind that writes to a test's files."""
    yield
    logger = logging.getLogger("greenhorn.error")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def bury(arbiter: Arbiter) -> Callable[..., float]:
    """Let a worker of this age and this end be buried; returns the seconds until the next one may start.

    It was born after the one before had died, unless it dies `together` with that.
    """

    def act(age: float = 0.0, status: int = CRASH, *, ready: bool = True, together: bool = False) -> float:
        ours, theirs = socket.socketpair()
        with theirs:
            child = Child(0, ours)
            child.born -= age + together
            if ready:
                theirs.send(b"ready\n")
                child.listen()
            before = time.monotonic()
            arbiter._bury(child, status)
        return max(0.0, arbiter._spawn_at - before)

    return act


def test_the_first_worker_that_dies_is_replaced_at_once(bury: Callable[..., float]):
    assert bury() < FIRST_DELAY / 2


@pytest.mark.parametrize(("ready", "longest"), [(False, LONGEST_DELAY), (True, LONGEST_DELAY_OF_READY)])
def test_workers_that_die_young_are_replaced_later_each_time_up_to_a_longest_delay(
    bury: Callable[..., float], ready: bool, longest: float
):
    delays = [bury(ready=ready) for _ in range(12)]
    assert delays[0] < FIRST_DELAY / 2
    for number, delay in enumerate(delays[1:]):
        assert delay == pytest.approx(min(FIRST_DELAY * 2**number, longest), abs=0.1)
    assert delays[-1] == pytest.approx(longest, abs=0.1)


def test_workers_that_die_together_add_to_the_delay_once(bury: Callable[..., float]):
    bury()
    for _ in range(8):
        assert bury(together=True) == pytest.approx(FIRST_DELAY, abs=0.1)
    assert bury() == pytest.approx(FIRST_DELAY, abs=0.1)
    assert bury() == pytest.approx(2 * FIRST_DELAY, abs=0.1)


def test_a_worker_that_lived_long_is_replaced_at_once_whatever_was_before(bury: Callable[..., float]):
    for _ in range(5):
        bury()
    assert bury(age=SHORTEST_LIFE + 1) < FIRST_DELAY / 2
    assert bury() == pytest.approx(FIRST_DELAY, abs=0.1)


def test_the_end_of_a_worker_and_the_delay_are_told(arbiter: Arbiter, bury: Callable[..., float], tmp_path: Path):
    del arbiter
    bury(status=9)
    bury(status=7 << 8)
    text = (tmp_path / "error.log").read_text()
    assert "was ended by SIGKILL" in text
    assert "exited with code 7; the next one starts in 0.25 s" in text


@pytest.mark.parametrize("code", [3, 4])
def test_the_first_worker_that_cannot_boot_ends_the_start_with_its_code(
    arbiter: Arbiter, bury: Callable[..., float], code: int
):
    bury(status=code << 8, ready=False)
    assert arbiter._exit_code == code


@pytest.mark.parametrize("code", [3, 4])
def test_a_later_worker_that_cannot_boot_is_tried_again(arbiter: Arbiter, bury: Callable[..., float], code: int):
    bury(status=CRASH, ready=True)
    bury(status=code << 8, ready=False)
    assert arbiter._exit_code is None


def test_a_worker_that_was_ready_and_exits_with_such_a_code_is_replaced(arbiter: Arbiter, bury: Callable[..., float]):
    bury(status=3 << 8, ready=True)
    assert arbiter._exit_code is None


def test_a_worker_killed_before_it_is_ready_is_tried_again(arbiter: Arbiter, bury: Callable[..., float]):
    bury(status=9, ready=False)
    assert arbiter._exit_code is None


def test_no_worker_is_started_before_its_time(arbiter: Arbiter):
    arbiter._spawn_at = time.monotonic() + 100
    arbiter._spawn_missing()
    assert arbiter.children == {}


def test_an_address_that_cannot_be_listened_at_gives_the_others_back(tmp_path: Path):
    path = tmp_path / "s"
    made = make_arbiter(tmp_path, bind=(f"unix:{path}", "unix:/no/such/folder/s"))
    with pytest.raises(ConfigError, match="/no/such/folder/s"):
        made._start()
    assert not path.exists()
    assert made.listeners == []
    made._signals.close()
    made._selector.close()


def test_a_log_that_cannot_be_opened_ends_the_start():
    for name in ("errorlog", "accesslog"):
        with pytest.raises(ConfigError, match=name):
            Arbiter(Settings(**{"errorlog": "-", name: "/no/such/folder/log"}))
