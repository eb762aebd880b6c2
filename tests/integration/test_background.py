"""daemon, pidfile, names and numbers: what a start owes to whoever starts it, with and without a terminal."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from integration import running
from integration.descriptors import descriptors, listening_sockets
from integration.launching import start_by
from integration.processes import processes
from integration.reloading import FRESH, hang_up
from integration.running import READY, StartServer, wait_until
from integration.staging import GET
from integration.upgrading import is_alive, stop, upgraded, workers_of

SOURCE = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getppid()} {os.getcwd()} {os.environ.get('SHOWN', '-')}".encode()]
"""


class Daemon:
    """A server in the background, found by its pidfile and its log."""

    def __init__(self, folder: Path) -> None:
        self.pidfile, self.log = folder / "daemon.pid", folder / "daemon.log"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--daemon", "--pid", str(self.pidfile), "--error-logfile", str(self.log))

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    @property
    def url(self) -> str:
        return str(re.findall(r"Listening at: (http://\S+)", self.log.read_text())[-1])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A name for a server in the background, which is ended with the test."""
    named = Daemon(tmp_path)
    yield named
    if named.pidfile.exists():
        stop(named.pid)


def test_a_daemon_lets_go_of_its_terminal_when_it_serves(server: StartServer, daemon: Daemon):
    site = server(None, *daemon.arguments, app_source=SOURCE, workers=2, ready=False)
    assert site.wait() == 0
    assert site.log() + site.stdout() == ""
    assert len(READY.findall(daemon.log.read_text())) >= 1
    master = daemon.pid
    assert httpx.get(daemon.url, trust_env=False).text.startswith(f"{master} ")
    group = [process for process in processes() if process.pid == master]
    assert [(process.parent == site.pid, process.pid == process.group) for process in group] == [(False, False)]
    for pid in (master, *workers_of(master)):
        fds = descriptors(pid)
        assert {fds[0], fds[1], fds[2]} == {os.devnull}
        assert not any(str(site.folder / "std") in target or "/pts/" in target for target in fds.values())
    stop(master)
    assert not daemon.pidfile.exists()
    assert "Shutting down" in daemon.log.read_text()


def test_a_daemon_that_is_to_have_no_workers_yet_is_started(server: StartServer, daemon: Daemon):
    assert server(None, *daemon.arguments, app_source=SOURCE, workers=0, ready=False).wait() == 0
    os.kill(daemon.pid, signal.SIGTTIN)
    wait_until(lambda: READY.search(daemon.log.read_text()), what="a worker")
    assert httpx.get(daemon.url, trust_env=False).status_code == 200


def test_a_daemon_obeys_winch_without_a_second_master(server: StartServer, daemon: Daemon):
    assert server(None, *daemon.arguments, app_source=SOURCE, ready=False).wait() == 0
    os.kill(daemon.pid, signal.SIGWINCH)
    wait_until(lambda: not workers_of(daemon.pid), what="the end of the workers")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "The new generation serves" in daemon.log.read_text(), what="a worker")
    assert httpx.get(daemon.url, trust_env=False).status_code == 200


FAILING = {
    "an application that is broken": ("import zq81", (), {3}, "No module named 'zq81'"),
    "an address that is taken": (SOURCE, ("--bind", "TAKEN"), {1}, "the port is in use by process"),
    "a pidfile that is taken": (SOURCE, ("--pid", "HELD"), {1}, "held by process"),
    "an application that dies": ("import os; os._exit(81)", (), {1, 3}, "exited with code 81"),
}


@pytest.mark.parametrize(("source", "arguments", "codes", "message"), FAILING.values(), ids=FAILING)
def test_a_daemon_that_cannot_serve_says_so_before_the_launcher_ends(
    server: StartServer,
    daemon: Daemon,
    tmp_path: Path,
    source: str,
    arguments: tuple[str, ...],
    codes: set[int],
    message: str,
):
    with socket.create_server(("127.0.0.1", 0)) as taken, (tmp_path / "held.pid").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(str(os.getpid()))
        held.flush()
        places = {"TAKEN": f"127.0.0.1:{taken.getsockname()[1]}", "HELD": str(tmp_path / "held.pid")}
        extra = [places.get(argument, argument) for argument in arguments]
        site = server(None, *daemon.arguments, *extra, app_source=source, ready=False, allow_traceback=True)
        assert site.wait() in codes
        assert site.log().count(message) == 1
        wait_until(lambda: not left_behind(site.folder), what="the end of the daemon")
    assert not daemon.pidfile.exists()


def left_behind(folder: Path) -> list[int]:
    """Return the processes that work in `folder`."""
    found = []
    for process in processes():
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if Path(f"/proc/{process.pid}/cwd").readlink() == folder:
                found.append(process.pid)
    return found


def test_relative_paths_of_a_daemon_count_from_chdir(server: StartServer, tmp_path: Path):
    (tmp_path / "there").mkdir()
    arguments = ("--daemon", "--pid", "daemon.pid", "--error-logfile", "daemon.log", "--chdir", str(tmp_path / "there"))
    daemon = Daemon(tmp_path / "there")
    try:
        assert server(None, *arguments, app_source=SOURCE, ready=False).wait() == 0
        assert httpx.get(daemon.url, trust_env=False).text.split(" ")[1] == str(tmp_path / "there")
    finally:
        if daemon.pidfile.exists():
            stop(daemon.pid)
    assert not daemon.pidfile.exists()


# The pidfile.


def test_a_pidfile_holds_the_master_and_only_one(server: StartServer, tmp_path: Path):
    pidfile = tmp_path / "pid"
    site = server(None, "--pid", str(pidfile), app_source=SOURCE)
    assert pidfile.read_text() == f"{site.pid}\n"
    other = server(None, "--pid", str(pidfile), app_source=SOURCE, ready=False)
    assert other.wait() == 1
    assert re.search(rf"held by process {site.pid} .*; stop it first \(kill {site.pid}\)", other.log())
    assert pidfile.read_text() == f"{site.pid}\n"
    hang_up(site)
    assert pidfile.read_text() == f"{site.pid}\n"
    assert site.stop() == 0
    assert not pidfile.exists()


def test_a_pidfile_of_a_killed_master_is_replaced(server: StartServer, tmp_path: Path):
    pidfile = tmp_path / "pid"
    killed = server(None, "--pid", str(pidfile), app_source=SOURCE)
    worker = killed.worker_pid()
    killed.signal(signal.SIGKILL)
    killed.wait()
    wait_until(lambda: not is_alive(worker), what="the end of the worker")
    site = server(None, "--pid", str(pidfile), app_source=SOURCE)
    assert re.search(rf"replaced the stale pidfile .*{killed.pid} is gone", site.log())
    assert pidfile.read_text() == f"{site.pid}\n"


def test_a_pidfile_that_belongs_to_another_by_now_is_left_alone(server: StartServer, tmp_path: Path):
    pidfile = tmp_path / "pid"
    site = server(None, "--pid", str(pidfile), app_source=SOURCE)
    pidfile.unlink()
    pidfile.write_text("81\n")
    assert site.stop() == 0
    assert pidfile.read_text() == "81\n"


def test_a_pidfile_that_was_removed_is_written_again_by_hup(server: StartServer, tmp_path: Path):
    pidfile = tmp_path / "pid"
    site = server(None, "--pid", str(pidfile), app_source=SOURCE)
    pidfile.unlink()
    hang_up(site)
    assert pidfile.read_text() == f"{site.pid}\n"


# Where, with which variables, under which name.


def test_chdir_and_variables_are_those_of_the_settings(server: StartServer, tmp_path: Path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "found.py").write_text(SOURCE)
    site = server("found:application", "--chdir", str(folder), "--env", "SHOWN=a=b c", env={"SHOWN": "before"})
    assert site.request(GET).text == f"{site.pid} {folder} a=b c"


NEEDS_TITLES = pytest.mark.skipif(
    find_spec("setproctitle") is None or sys.platform != "linux", reason="the package setproctitle is not installed"
)


def title(pid: int) -> str:
    """Return what ps and top show of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


@NEEDS_TITLES
@pytest.mark.parametrize("name", ["shop", None])
def test_processes_are_called_by_their_role_and_the_name(server: StartServer, name: str | None):
    site = server(None, *(["--name", name] if name else []), app_source=SOURCE, workers=2)
    shown = name or "written:application"
    assert title(site.pid) == f"greenhorn: master [{shown}]"
    assert {title(pid) for pid in site.worker_pids()} == {f"greenhorn: worker [{shown}]"}
    with upgraded(site, 2) as successor:
        assert title(successor) == f"greenhorn: master [{shown}.2]"
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        wait_until(lambda: title(successor) == f"greenhorn: master [{shown}]", what="the promotion")


@NEEDS_TITLES
def test_hup_takes_another_name(server: StartServer):
    site = server(app_source=SOURCE, config="proc_name = 'first'")
    assert title(site.pid) == "greenhorn: master [first]"
    (site.folder / "config.py").write_text("proc_name = 'second'")
    [worker] = hang_up(site)
    assert (title(site.pid), title(worker)) == ("greenhorn: master [second]", "greenhorn: worker [second]")


# How many, and where.


def test_web_concurrency_and_port_are_taken_from_the_environment(server: StartServer):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = server(
        app_source=SOURCE, env={"WEB_CONCURRENCY": "2", "PORT": str(port)}, bind=(), workers=None, ready=False
    )
    site.wait_for_log("Worker ready[^~]*Worker ready")
    assert len(site.worker_pids()) == 2
    assert site.url == f"http://0.0.0.0:{port}"
    assert site.request(GET).status == 200


def test_the_command_line_comes_before_the_environment(server: StartServer):
    site = server(app_source=SOURCE, env={"WEB_CONCURRENCY": "3", "PORT": "1"}, workers=1)
    assert len(site.worker_pids()) == 1
    assert site.port != 1


def test_workers_auto_are_as_many_as_the_processors_that_there_are(server: StartServer):
    command = ["taskset", "--cpu-list", "0", *running.COMMAND] if shutil.which("taskset") else running.COMMAND
    site = start_by(server, command, None, "--workers", "auto", app_source=SOURCE, workers=None)
    expected = 1 if command is not running.COMMAND else len(os.sched_getaffinity(0))
    wait_until(lambda: len(READY.findall(site.log())) >= expected, what="the workers")
    assert len(site.worker_pids()) == expected


# Sockets of the workers' own.


def test_reuse_port_gives_each_worker_a_socket_of_its_own(server: StartServer):
    site = server(None, "--reuse-port", app_source=SOURCE, workers=3)
    own = [listening_sockets(pid, site.port) for pid in site.worker_pids()]
    assert [len(sockets) for sockets in own] == [1, 1, 1]
    assert len(set.union(*own)) == 3
    assert not listening_sockets(site.pid, site.port), "what the kernel gave to the master nobody would accept"
    for _ in range(20):
        assert site.request(GET).status == 200
    os.kill(site.worker_pids()[0], signal.SIGKILL)
    wait_until(lambda: len(READY.findall(site.log())) == 4, what="the next worker")
    port = site.port
    hang_up(site)
    assert site.port == port
    assert site.request(GET).status == 200


def test_without_it_all_workers_share_one_socket(server: StartServer):
    site = server(app_source=SOURCE, workers=3)
    assert len(set.union(*(listening_sockets(pid, site.port) for pid in (site.pid, *site.worker_pids())))) == 1


# The first process of a container.


def can_unshare() -> bool:
    """Tell whether this process may make a process namespace."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False, capture_output=True).returncode
    )


ORPHANS = """
import os, subprocess

def application(environ, start_response):
    # A shell whose background job outlives it: the kernel gives the job to the first process.
    subprocess.run(["sh", "-c", "true & true &"], check=True)
    start_response("200 OK", [])
    return [str(os.getppid()).encode()]
"""


@pytest.mark.skipif(not can_unshare(), reason="no process namespace can be made here")
def test_the_first_process_of_a_container_buries_the_dead_and_ends_on_term(server: StartServer):
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *running.COMMAND]
    site = start_by(server, command, None, app_source=ORPHANS, env=FRESH, workers=None)
    [master] = site.worker_pids()
    for _ in range(5):
        assert site.request(GET).text == "1", "the master is process 1 there"
    wait_until(lambda: len(children(master)) == 1, what="the burial of the dead")
    os.kill(master, signal.SIGHUP)
    site.wait_for_log("The new generation serves")
    wait_until(lambda: len(children(master)) == 1, what="the end of the old worker")
    assert site.request(GET).text == "1"
    os.kill(master, signal.SIGTERM)
    assert site.wait() == 0
    assert "ERROR" not in site.log()


def children(pid: int) -> list[int]:
    """Return the children of a process, dead ones that nobody has buried included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
