"""The pool without threads: who puts works, in rounds, and beats in between."""

import threading

import pytest

from greenhorn.workers.inline import Inline


class Bench:
    """An inline pool whose work is noted; `again` are items that put others while they are worked on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.again: dict[str, str] = {}
        self.breaths = 0
        self.threads: set[int] = set()
        self.pool: Inline[str] = Inline(self._work, self._breathe)

    def _work(self, item: str) -> None:
        self.done.append(item)
        self.threads.add(threading.get_ident())
        if item in self.again:
            self.pool.put_behind(self.again.pop(item))

    def _breathe(self) -> None:
        self.breaths += 1


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_put_together_is_worked_off_at_once_by_the_thread_that_puts_it(bench: Bench):
    bench.pool.put_all(["a", "b"], ["new"])
    assert bench.done == ["a", "b", "new"]
    assert bench.threads == {threading.get_ident()}


def test_there_is_a_breath_before_each_item(bench: Bench):
    bench.pool.put_all(["a", "b", "c"])
    assert bench.breaths == 3


def test_what_waits_already_goes_before_what_is_put(bench: Bench):
    bench.pool.put("first")
    bench.pool.put_whole("second", new=True)
    bench.pool.put_behind("third")
    assert bench.done == []
    bench.pool.put_all(["fourth"])
    assert bench.done == ["first", "second", "third", "fourth"]


def test_what_is_put_in_the_midst_waits_for_the_next_round_so_that_the_poller_has_its_turn(bench: Bench):
    bench.again = {"a": "again"}
    bench.pool.put_all(["a", "b"])
    assert bench.done == ["a", "b"]
    assert bench.pool.oversee() is False
    assert bench.done == ["a", "b", "again"]


def test_an_item_that_puts_itself_for_ever_does_not_keep_the_poller(bench: Bench):
    bench.again = {"a": "a1", "a1": "a2"}
    bench.pool.put_all(["a"])
    assert bench.pool.oversee() is True
    assert bench.done == ["a", "a1"]
    assert bench.pool.oversee() is False


def test_overseeing_what_is_empty_does_nothing(bench: Bench):
    assert bench.pool.oversee() is False
    assert bench.breaths == 0


def test_the_thread_that_asks_is_the_one_that_is_free(bench: Bench):
    assert bench.pool.idle == 1


def test_who_waits_for_a_free_thread_is_told_once_when_the_round_is_over(bench: Bench):
    told: list[int] = []
    bench.pool.on_idle = lambda: told.append(len(bench.done))
    bench.pool.put_all(["a", "b"])
    bench.pool.put_all(["c"])
    assert told == [2]
