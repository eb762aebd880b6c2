"""The master's view of a worker: what it tells, how it ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from greenhorn.master.child import Child, describe_end
from unit.net.waiting import DEADLINE


@pytest.fixture
def told() -> Iterator[tuple[Child, socket.socket]]:
    """A child that is no process, and the worker's end of its channel."""
    ours, theirs = socket.socketpair()
    child = Child(os.getpid(), ours)
    yield child, theirs
    child.close()
    theirs.close()


def test_a_silent_worker_is_not_ready_and_not_gone(told: tuple[Child, socket.socket]):
    child, _ = told
    assert child.listen() is True
    assert not child.ready
    assert child.last_beat == child.born


def test_a_worker_that_says_so_is_ready(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"ready\n")
    assert child.listen() is True
    assert child.ready
    assert child.last_beat > child.born


def test_lines_in_pieces_are_put_together(told: tuple[Child, socket.socket]):
    child, worker = told
    for piece in (b"be", b"at\nrea", b"d", b"y"):
        worker.send(piece)
        assert child.listen() is True
        assert not child.ready
    beat = child.last_beat
    assert beat > child.born
    worker.send(b"\nbeat\n")
    assert child.listen() is True
    assert child.ready
    assert child.last_beat > beat


def test_a_beginning_is_no_beat(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"bea")
    child.listen()
    assert child.last_beat == child.born


def test_words_that_nobody_knows_are_a_sign_of_life_and_nothing_more(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"already\nready now\nREADY\n\n")
    child.listen()
    assert not child.ready
    assert child.last_beat > child.born


def test_a_worker_that_closed_its_end_is_gone_after_its_last_words(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"ready\n")
    worker.close()
    assert child.listen() is True
    assert child.ready
    assert child.listen() is False


def test_a_channel_that_broke_is_a_worker_that_is_gone(told: tuple[Child, socket.socket]):
    child, _ = told
    child.channel.close()
    assert child.listen() is False


def test_a_signal_reaches_the_process_and_one_that_is_gone_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    ours, theirs = socket.socketpair()
    child = Child(process.pid, ours)
    with ours, theirs, process:
        child.kill(signal.SIGTERM)
        assert process.wait(DEADLINE) == -signal.SIGTERM
        child.kill(signal.SIGTERM)


def test_a_child_remembers_when_it_was_born():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = time.monotonic()
        assert before <= Child(1, ours).born <= time.monotonic()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with code 0"),
        (3 << 8, "exited with code 3"),
        (255 << 8, "exited with code 255"),
        (signal.SIGTERM, "was ended by SIGTERM"),
        (signal.SIGABRT, "was ended by SIGABRT"),
        (signal.SIGSEGV | 0x80, "was ended by SIGSEGV"),
        (signal.SIGKILL, "was ended by SIGKILL, perhaps because the system is out of memory"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(status: int, words: str):
    assert describe_end(status) == words


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="the system has no real-time signals")
def test_signals_without_a_name_of_their_own_are_told_as_well():
    assert str(signal.SIGRTMIN + 5) in describe_end(signal.SIGRTMIN + 5)
