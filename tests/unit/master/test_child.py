"""The master's view of a worker: what it tells, how it ended."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from greenhorn.master.child import Child, describe_end
from unit.master.holding import DEAD
from unit.master.staff import generation
from unit.net.waiting import DEADLINE


@pytest.fixture
def told() -> Iterator[tuple[Child, socket.socket]]:
    """A child that is no process, and the worker's end of its channel."""
    ours, theirs = socket.socketpair()
    child = Child(DEAD, ours, generation(), None)
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
    worker.send(b"already\nnow ready\nREADY\n\n")
    child.listen()
    assert not child.ready
    assert child.last_beat > child.born


def test_a_worker_that_closed_its_end_is_gone_after_its_last_words(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"ready\n")
    worker.close()
    assert child.listen() is False
    assert child.ready
    assert child.listen() is False


def test_a_channel_that_broke_is_a_worker_that_is_gone(told: tuple[Child, socket.socket]):
    child, _ = told
    child.channel.close()
    assert child.listen() is False


def test_a_signal_reaches_the_process_and_one_that_is_gone_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    ours, theirs = socket.socketpair()
    child = Child(process.pid, ours, generation(), None)
    with ours, theirs, process:
        child.kill(signal.SIGTERM)
        assert process.wait(DEADLINE) == -signal.SIGTERM
        child.kill(signal.SIGTERM)


def test_a_child_remembers_when_it_was_born_and_of_what():
    ours, theirs = socket.socketpair()
    of, worker = generation(), object()
    with ours, theirs:
        before = time.monotonic()
        child = Child(DEAD, ours, of, worker)
        assert before <= child.born <= time.monotonic()
        assert child.generation is of
        assert child.worker is worker


def test_a_worker_that_asks_to_be_exchanged_goes_on_to_serve(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"ready\nretire\n")
    child.listen()
    assert child.retiring
    assert child.serving


def test_a_worker_serves_from_when_it_is_ready_until_it_is_told_to_leave(told: tuple[Child, socket.socket]):
    child, worker = told
    assert not child.serving
    worker.send(b"ready\n")
    child.listen()
    assert child.serving
    child.leave(5, ())
    assert not child.serving


def test_why_it_cannot_boot_comes_as_it_is_however_long_it_is(told: tuple[Child, socket.socket]):
    child, worker = told
    why = 'Traceback:\n  "quoted" \u00fc \U0001f600\n' * 2000
    line = b"failed " + json.dumps(why).encode() + b"\n"
    while line:
        line = line[worker.send(line[:30000]) :]
        assert child.listen() is True
    assert child.failure == why


def test_a_file_that_has_changed_is_told_by_its_path(told: tuple[Child, socket.socket]):
    child, worker = told
    worker.send(b"changed " + json.dumps("/srv/a b\n.py").encode() + b"\n")
    child.listen()
    assert child.changed == "/srv/a b\n.py"


@pytest.mark.parametrize("line", [b"failed", b"failed no JSON", b'changed "/half', b"failed \xff\xfe"])
def test_a_line_that_is_malformed_harms_nobody(told: tuple[Child, socket.socket], line: bytes):
    child, worker = told
    worker.send(line + b"\nready\n")
    assert child.listen() is True
    assert child.ready


def test_orders_are_lines(told: tuple[Child, socket.socket]):
    child, worker = told
    assert child.order("stopping")
    worker.send(b"ready\n")
    child.listen()
    before = time.monotonic()
    child.leave(5, (3, 17))
    assert before + 5 <= child.leave_by <= time.monotonic() + 5
    assert worker.recv(100) == b"stopping\nleave 3,17\n"


def test_an_order_to_one_that_is_gone_or_does_not_read_is_told_as_failed(told: tuple[Child, socket.socket]):
    child, worker = told
    while child.order("x" * 1000):
        pass
    worker.close()
    assert child.order("stopping") is False


@pytest.mark.parametrize("state", ["booting", "full"])
def test_one_that_cannot_be_told_to_leave_is_ended_by_a_signal(state: str):
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    ours, theirs = socket.socketpair()
    child = Child(process.pid, ours, generation(), None)
    with ours, theirs, process:
        if state == "full":
            theirs.send(b"ready\n")
            child.listen()
            while child.order("x" * 1000):
                pass
        child.leave(5, ())
        assert process.wait(DEADLINE) == -signal.SIGTERM
    assert child.told


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with code 0"),
        (3 << 8, "exited with code 3"),
        (255 << 8, "exited with code 255"),
        (signal.SIGTERM, "was ended by SIGTERM"),
        (signal.SIGABRT, "was ended by SIGABRT"),
        (signal.SIGSEGV, "was ended by SIGSEGV"),
        (signal.SIGSEGV | 0x80, "was ended by SIGSEGV (core dumped)"),
        (
            signal.SIGKILL,
            "was ended by SIGKILL, which was not sent from here; perhaps because the system is out of memory",
        ),
    ],
)
def test_the_end_of_a_process_is_told_in_words(status: int, words: str):
    assert describe_end(status) == words


def test_a_kill_is_told_with_what_is_known_of_its_cause():
    assert describe_end(signal.SIGKILL, by_us=True) == "was ended by SIGKILL"
    assert describe_end(signal.SIGKILL, by_us=True, out_of_memory=True) == "was ended by SIGKILL"
    known = "was ended by SIGKILL: its control group ran out of memory, and the kernel chose it"
    assert describe_end(signal.SIGKILL, out_of_memory=True) == known
    assert "memory" not in describe_end(signal.SIGTERM, out_of_memory=True)


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="the system has no real-time signals")
def test_signals_without_a_name_of_their_own_are_told_as_well():
    assert str(signal.SIGRTMIN + 5) in describe_end(signal.SIGRTMIN + 5)
