"""Signals as values."""

import os
import signal
from collections.abc import Iterator

import pytest

from greenhorn.master.signals import HANDLED, Signals
from unit.net.waiting import wait_until


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Signals that are installed, and the process's own handlers at the end."""
    before = {name: signal.getsignal(getattr(signal, f"SIG{name}")) for name in HANDLED}
    made = Signals()
    made.install()
    yield made
    signal.set_wakeup_fd(-1)
    for name, handler in before.items():
        signal.signal(getattr(signal, f"SIG{name}"), handler)
    made.close()


def test_nothing_came_yet(signals: Signals):
    assert signals.read() == []


@pytest.mark.parametrize("name", HANDLED)
def test_every_handled_signal_is_read_by_its_name(signals: Signals, name: str):
    os.kill(os.getpid(), getattr(signal, f"SIG{name}"))
    assert wait_until(signals.read, f"SIG{name}") == [name]
    assert signals.read() == []


def test_signals_are_read_in_their_order(signals: Signals):
    for name in ("USR1", "HUP", "TERM"):
        os.kill(os.getpid(), getattr(signal, f"SIG{name}"))
    read: list[str] = []
    wait_until(lambda: read.extend(signals.read()) or len(read) == 3, "three signals")
    assert read == ["USR1", "HUP", "TERM"]


def test_more_signals_than_the_socket_holds_do_no_harm(signals: Signals):
    for _ in range(3000):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert set(wait_until(signals.read)) == {"USR1"}
