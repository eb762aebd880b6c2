"""WINCH beside a second master: the first one has no workers, and whatever comes then, they come back."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.reloading import GIVEN_UP, SERVES, signal_and_wait, source, start_reloadable, version, write_app
from integration.running import Server, StartServer, wait_until
from integration.upgrading import stop, upgraded, wait_for_workers, workers_of


@pytest.fixture
def site(server: StartServer) -> Server:
    """A server of two workers, which is to be upgraded."""
    return start_reloadable(server, source("one"), workers=2, allow_traceback=True)


@contextmanager
def withdrawn(site: Server) -> Iterator[int]:
    """Upgrade the server and withdraw the first master's workers; gives the pid of the second, which serves alone."""
    with upgraded(site, 2) as successor:
        site.signal(signal.SIGWINCH)
        wait_until(lambda: workers_of(site.pid) == [successor], what="the end of the first master's workers")
        yield successor


def stuck(site: Server, gate: Path, then: str = "") -> None:
    """Put an application on disk whose worker waits at the gate before it is ready, or fails; return once it waits."""
    reached = gate.with_name("reached")
    write_app(site, source("stuck", f"open({str(reached)!r}, 'w').close()\nopen({str(gate)!r}).read()\n{then}"))
    site.signal(signal.SIGHUP)
    wait_until(reached.exists, what="the worker at the gate")


def test_a_reload_that_is_given_up_leaves_it_to_the_next_one_to_bring_them_back(site: Server):
    with withdrawn(site) as successor:
        write_app(site, "raise RuntimeError('zq81')")
        signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
        wait_until(lambda: workers_of(site.pid) == [successor], what="the end of the worker that was tried")
        write_app(site, source("two"))
        signal_and_wait(site, signal.SIGHUP, SERVES)
        wait_for_workers(site, site.pid, 2)
        stop(successor)
        assert version(site) == "two"


def test_two_reloads_in_a_row_bring_them_back(site: Server, gate: Path):
    with withdrawn(site) as successor:
        stuck(site, gate)
        write_app(site, source("two"))
        signal_and_wait(site, signal.SIGHUP, SERVES)
        wait_for_workers(site, site.pid, 2)
        stop(successor)
        assert version(site) == "two"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_they_come_back_when_the_second_master_ends(site: Server, number: signal.Signals):
    with withdrawn(site) as successor:
        os.kill(successor, number)
        wait_for_workers(site, site.pid, 2)
    assert version(site) == "one"


def test_they_come_back_when_the_second_master_ends_while_a_broken_reload_is_tried(site: Server, gate: Path):
    with withdrawn(site) as successor:
        stuck(site, gate, "raise RuntimeError('zq81')")
        write_app(site, source("two"))
        stop(successor, signal.SIGKILL)
        site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
        gate.write_bytes(b"!")
        wait_for_workers(site, site.pid, 2)
    site.wait_for_log(GIVEN_UP)
    assert version(site) == "two"
