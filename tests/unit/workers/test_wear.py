"""When a worker is worn out: by requests, by age, by memory."""

import math
import mmap
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from greenhorn.workers import wear
from greenhorn.workers.wear import MIB, Wear, own_memory, resident

NEVER = (0, 0)
needs_statm = pytest.mark.skipif(not wear.STATM.exists(), reason="the system has no statm")
needs_rollup = pytest.mark.skipif(not wear.ROLLUP.exists(), reason="the system has no smaps_rollup")


def test_without_limits_a_worker_is_never_worn_out():
    one = Wear((0, 100), (0, 100), 0)
    assert one.most_requests == 0
    assert one.complaint(time.monotonic() + 1e9) == ""
    assert one.complaint(1e18) == ""


def test_a_worker_knows_when_it_was_born():
    before = time.time()
    assert before <= Wear(NEVER, NEVER, 0).born <= time.time()


def test_requests_are_as_many_as_are_said_and_up_to_the_jitter_more():
    assert Wear((100, 0), NEVER, 0).most_requests == 100
    assert {Wear((100, 3), NEVER, 0).most_requests for _ in range(300)} == {100, 101, 102, 103}


def test_a_life_is_as_long_as_is_said():
    now = time.monotonic()
    one = Wear(NEVER, (50, 0), 0)
    assert one.complaint(now + 49.9) == ""
    assert one.complaint(time.monotonic() + 50) == "max_worker_lifetime is over"


def test_a_life_is_up_to_the_jitter_longer():
    now = time.monotonic()
    lives = [Wear(NEVER, (50, 100), 0) for _ in range(100)]
    assert not any(one.complaint(now + 49.9) for one in lives)
    assert all(one.complaint(time.monotonic() + 150) for one in lives)
    middle = sum(bool(one.complaint(now + 100)) for one in lives)
    assert 0 < middle < 100


def test_memory_of_its_own_wears_a_worker_out():
    assert Wear(NEVER, NEVER, 2**50).complaint(0) == ""
    told = Wear(NEVER, NEVER, 1).complaint(0)
    assert told.startswith("max_worker_memory is exceeded (")
    assert told.endswith(" MiB)")
    assert 1 < float(told.split("(")[1].split()[0]) * MIB < 2**40


@needs_statm
@needs_rollup
def test_memory_that_is_touched_counts_and_is_given_back():
    before = own_memory()
    size = 64 * MIB
    region = mmap.mmap(-1, size)
    assert own_memory() - before < size / 2
    region.write(b"#" * size)
    assert own_memory() - before > size * 0.9
    assert resident() >= own_memory()
    region.close()
    assert own_memory() - before < size / 2


@needs_rollup
def test_memory_that_is_shared_with_the_master_is_not_the_workers():
    size = 64 * MIB
    region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    region.write(b"#" * size)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, f"{own_memory()} {resident()}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        own, everything = map(int, told.read().split())
    os.waitpid(pid, 0)
    region.close()
    assert everything > size
    assert own < everything - size * 0.9


def test_where_the_system_does_not_tell_the_most_there_ever_was_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wear, "STATM", Path("/no/such/file"))
    monkeypatch.setattr(wear, "ROLLUP", Path("/no/such/file"))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    assert most <= resident() <= 2 * most
    assert math.isclose(own_memory(), resident(), rel_tol=0.1)
    assert "exceeded" in Wear(NEVER, NEVER, 1).complaint(0)


@pytest.mark.parametrize("text", ["", "5", "five six"])
def test_a_system_that_tells_nonsense_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str):
    (tmp_path / "statm").write_text(text)
    monkeypatch.setattr(wear, "STATM", tmp_path / "statm")
    assert resident() > MIB
