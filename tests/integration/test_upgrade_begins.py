"""USR2 in its first moments: the fork that calls pre_exec, and what it hands on."""

import os
import signal
from pathlib import Path

import pytest

from integration.launching import ask_at
from integration.reloading import source
from integration.resources import NEEDS_PROC
from integration.running import Server, StartServer, wait_until
from integration.staging import GET
from integration.upgrading import is_alive, second_master, stop, upgraded, wait_for_workers

SOCKETS = """
import os, subprocess, sys

SCRIPT = '''
import os, pathlib
names = [os.readlink(fd) for fd in pathlib.Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink()]
print(sum(name.startswith("socket:") for name in names))
'''

def application(environ, start_response):
    start_response("200 OK", [])
    told = subprocess.run([sys.executable, "-c", SCRIPT], close_fds=False, capture_output=True, check=True)
    return [b"%d " % os.getppid(), told.stdout]
"""
"""Tells how many sockets a program has that it starts without closing anything."""


@pytest.fixture
def site(server: StartServer, gate: Path, tmp_path: Path) -> Server:
    """A server with a pidfile, at a unix socket as well, whose pre_exec waits for the gate."""
    config = f"def pre_exec(server):\n    server.log.info('pre_exec')\n    open({str(gate)!r}).read()\n"
    bind = ("127.0.0.1:0", f"unix:{tmp_path / 'a socket'}")
    return server(None, "--pid", str(tmp_path / "pid"), app_source=source("one"), config=config, bind=bind)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_to_what_becomes_the_second_master_is_not_obeyed_by_the_first(site: Server, number: signal.Signals):
    [worker] = site.worker_pids()
    successor = second_master(site)
    site.wait_for_log("pre_exec$")
    os.kill(successor, number)
    site.wait_for_log(rf"The second master \(pid:{successor}\) has ended")
    site.signal(signal.SIGUSR1)
    site.wait_for_log("Handling signal: usr1")
    assert site.log().count("Handling signal") == 2, "USR2 and USR1"
    assert site.worker_pids() == [worker]
    assert site.request(GET).text.startswith(f"one {worker} ")


def test_a_first_master_that_ends_before_the_second_has_begun_is_succeeded(site: Server, gate: Path, tmp_path: Path):
    pidfile, second, path = (tmp_path / name for name in ("pid", "pid.2", "a socket"))
    successor = second_master(site)
    try:
        site.wait_for_log("pre_exec$")
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert path.is_socket()
        gate.write_bytes(b"!")
        [worker] = wait_for_workers(site, successor)
        wait_until(lambda: pidfile.exists() and int(pidfile.read_text()) == successor, what="the promotion")
        assert not second.exists()
        assert f"one {worker} ".encode() in ask_at(path)
    finally:
        stop(successor)
    assert not path.exists()
    assert not pidfile.exists()


def test_a_second_master_that_is_killed_leaves_no_pidfile(server: StartServer, tmp_path: Path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = server(None, "--pid", str(pidfile), app_source=source("one"))
    with upgraded(site) as successor:
        assert int(second.read_text()) == successor
        stop(successor, signal.SIGKILL)
        site.wait_for_log(rf"The second master \(pid:{successor}\) has ended")
        wait_until(lambda: not second.exists(), timeout=3, what="the end of its pidfile")
    assert is_alive(site.pid)
    assert int(pidfile.read_text()) == site.pid


@NEEDS_PROC
def test_what_the_application_starts_has_no_socket_of_either_master(server: StartServer):
    site = server(app_source=SOCKETS)
    assert site.request(GET).text.split() == [str(site.pid), "0"]
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert site.request(GET).text.split() == [str(successor), "0"]
