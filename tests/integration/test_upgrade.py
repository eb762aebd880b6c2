"""USR2: a second master beside the first, on the same sockets; who leaves is up to the operator."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from integration import running
from integration.launching import ask_at, start_by
from integration.load import load
from integration.processes import processes
from integration.reloading import FRESH, write_app
from integration.running import DEADLINE, READY, Server, StartServer, accepts, wait_until
from integration.staging import GET
from integration.upgrading import (
    is_alive,
    second_master,
    stop,
    upgraded,
    wait_for_workers,
    workers_of,
)
from integration.wire import connect

OWN_COMMAND = pytest.mark.skipif("GREENHORN_TEST_COMMAND" in os.environ, reason="this is about greenhorn's own command")


def source(version: str) -> str:
    """Return an application that tells its version and all that it knows about where it was started."""
    return f"""
import json, os, sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    names = {{name: os.environ[name] for name in os.environ if name.startswith(("GREENHORN", "SHOWN", "LISTEN"))}}
    told = {{"version": "{version}", "master": os.getppid(), "folder": os.getcwd(), "names": names}}
    return [json.dumps({{**told, "command": sys.orig_argv, "path": sys.path[0]}}).encode()]
"""


def start(server: StartServer, *arguments: str, **options: object) -> Server:
    env = {**FRESH, **dict(options.pop("env", {}))}  # type: ignore[call-overload]
    return server(None, *arguments, app_source=source("one"), env=env, **options)


class Told(NamedTuple):
    """What the application tells."""

    version: str
    master: int
    folder: str
    names: dict[str, str]
    command: list[str]
    path: str


def told(site: Server) -> Told:
    """Ask the application on a new connection."""
    return Told(**json.loads(site.request(GET).text))


def pids_in(*pidfiles: Path) -> list[int | None]:
    """Return what stands in each pidfile; None where there is none."""
    return [int(path.read_text()) if path.exists() else None for path in pidfiles]


def test_an_upgrade_under_load_loses_no_request_and_moves_the_pidfile(server: StartServer, tmp_path: Path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = start(server, "--pid", str(pidfile), workers=2)
    assert pids_in(pidfile, second) == [site.pid, None]
    with load(site) as clients:
        clients.more(100)
        write_app(site, source("two"))
        with upgraded(site, 2) as successor:
            assert pids_in(pidfile, second) == [site.pid, successor]
            clients.more(100)
            site.signal(signal.SIGTERM)
            assert site.wait() == 0
            wait_until(lambda: pids_in(pidfile, second) == [successor, None], what="the promotion")
            clients.more(100)
            assert told(site)[:2] == ("two", successor)
            clients.stop()
    assert pids_in(pidfile, second) == [None, None]
    assert "ERROR" not in site.log()


def test_an_upgrade_is_rolled_back_by_winch_hup_and_term(server: StartServer, tmp_path: Path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = start(server, "--pid", str(pidfile), workers=2)
    with load(site) as clients:
        write_app(site, source("two"))
        with upgraded(site, 2) as successor:
            site.signal(signal.SIGWINCH)
            wait_until(lambda: workers_of(site.pid) == [successor], what="the end of the first master's workers")
            assert is_alive(site.pid), "it waits for whether it is needed again"
            assert told(site)[:2] == ("two", successor)
            clients.more(30)
            write_app(site, source("one again"))
            site.signal(signal.SIGHUP)
            wait_for_workers(site, site.pid, 2)
            stop(successor)
        assert told(site).version == "one again"
        clients.more(30)
    assert pids_in(pidfile, second) == [site.pid, None]
    site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
    with upgraded(site, 2) as successor:  # it is as if nothing had been
        assert pids_in(pidfile, second) == [site.pid, successor]


@pytest.mark.parametrize(
    "broken",
    ["import zq81", "def (", "import os; os._exit(81)", "application = None"],
    ids=["import", "syntax", "death", "no application"],
)
def test_a_version_that_cannot_boot_leaves_the_first_master_serving_and_usr2_works_again(
    server: StartServer, tmp_path: Path, broken: str
):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = start(server, "--pid", str(pidfile), workers=2, allow_traceback=True)
    workers = site.worker_pids()
    write_app(site, broken)
    failed = second_master(site)
    site.wait_for_log(rf"The second master \(pid:{failed}\) has ended")
    assert site.worker_pids() == workers
    assert told(site).version == "one"
    assert pids_in(pidfile, second) == [site.pid, None]
    assert site.log().count("Cannot start") == 1
    write_app(site, source("two"))
    with upgraded(site, 2) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert told(site)[:2] == ("two", successor)


def test_a_configuration_file_that_is_broken_leaves_the_first_master_serving(server: StartServer):
    site = start(server, config="threads = 2", allow_traceback=True)
    (site.folder / "config.py").write_text("threads = 'many'")
    failed = second_master(site)
    site.wait_for_log(rf"The second master \(pid:{failed}\) has ended")
    assert "config.py" in site.log()
    assert told(site).version == "one"
    (site.folder / "config.py").write_text("threads = 3")
    with upgraded(site) as successor:
        assert told(site).master in {site.pid, successor}


def test_there_are_never_more_than_two_masters(server: StartServer):
    site = start(server)
    with upgraded(site) as successor:
        for master in (site.pid, successor):
            before = site.log().count("USR2 does nothing")
            os.kill(master, signal.SIGUSR2)
            wait_until(lambda before=before: site.log().count("USR2 does nothing") > before, what="the refusal")
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        site.wait_for_log("The first master has left")
        third = second_master(site, successor)
        try:
            wait_for_workers(site, third)
            stop(successor)
            assert told(site).master == third
        finally:
            stop(third)


def test_the_second_master_ends_first_and_the_first_goes_on_alone(server: StartServer):
    site = start(server, workers=2)
    workers = site.worker_pids()
    with upgraded(site, 2) as successor, connect(site):
        stop(successor)
    site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
    assert site.worker_pids() == workers
    assert told(site).master == site.pid


def test_a_first_master_that_is_killed_is_succeeded_by_the_second(server: StartServer, tmp_path: Path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = start(server, "--pid", str(pidfile))
    orphans = site.worker_pids()
    with upgraded(site) as successor:
        site.signal(signal.SIGKILL)
        assert site.wait() == -signal.SIGKILL
        wait_until(lambda: pids_in(pidfile, second) == [successor, None], what="the promotion")
        wait_until(lambda: not any(map(is_alive, orphans)), what="the end of the orphans")
        assert told(site).master == successor


def test_a_second_master_that_is_killed_leaves_nothing_that_hinders_the_next_one(server: StartServer, tmp_path: Path):
    pidfile, second = tmp_path / "pid", tmp_path / "pid.2"
    site = start(server, "--pid", str(pidfile))
    with upgraded(site) as successor:
        orphans = workers_of(successor)
        stop(successor, signal.SIGKILL)
        site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
        wait_until(lambda: not any(map(is_alive, orphans)), what="the end of the orphans")
    assert told(site).master == site.pid
    with upgraded(site) as successor:
        assert pids_in(pidfile, second) == [site.pid, successor]


def test_the_new_version_is_loaded_from_where_a_symbolic_link_leads_now(server: StartServer, tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "released.py").write_text(source(name))
    current = tmp_path / "current"
    current.symlink_to("one")
    # A shell that has entered the link tells so by PWD, as `cd` does.
    command = f'cd "{current}" && exec {shlex.join(running.COMMAND)} "$@"'
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f"#!/bin/sh\n{command}\n")
    wrapper.chmod(0o755)
    site = start_by(server, [str(wrapper)], "released:application", env=FRESH)
    assert told(site).version == "one"
    current.unlink()
    current.symlink_to("two")
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert told(site)[:3] == ("two", successor, str(tmp_path / "two"))


COMMANDS = {
    "module": [sys.executable, "-m", "greenhorn"],
    "interpreter option": [sys.executable, "-X", "dev", "-W", "error::BytesWarning", "-m", "greenhorn"],
    "script": [str(Path(sys.executable).with_name("greenhorn"))],
}


@OWN_COMMAND
@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_master_is_started_by_the_command_that_started_the_first(server: StartServer, name: str):
    site = start_by(server, COMMANDS[name], None, "--env", "SHOWN=a b", app_source=source("one"))
    first = told(site)
    assert first.command[1:].index("--pythonpath") == len(COMMANDS[name]) - (name != "script")
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert told(site) == first._replace(master=successor)


@OWN_COMMAND
def test_an_application_called_app_is_not_mistaken_for_a_module_of_the_server(server: StartServer, tmp_path: Path):
    (tmp_path / "app.py").write_text(source("mine"))
    site = start_by(server, COMMANDS["module"], "app:application", pythonpath=(tmp_path,), env=FRESH)
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert told(site)[:2] == ("mine", successor)


def test_the_environment_is_that_of_the_start_without_what_was_handed_over(server: StartServer):
    config = "import os\nraw_env = ['SHOWN=replaced', 'SHOWN_BEFORE=' + os.environ.get('SHOWN', 'nothing')]\n"
    site = start(server, config=config, env={"SHOWN": "at start"})
    names = {"SHOWN": "replaced", "SHOWN_BEFORE": "at start"}
    assert told(site).names == names
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        site.wait_for_log("The first master has left")
        assert told(site)[1:4:2] == (successor, names)
        third = second_master(site, successor)
        try:
            wait_for_workers(site, third)
            stop(successor)
            assert told(site)[1:4:2] == (third, names)
        finally:
            stop(third)


def test_the_path_of_a_unix_socket_goes_with_the_last_master(server: StartServer, tmp_path: Path):
    path = tmp_path / "a socket"
    site = start(server, bind=(f"unix:{path}", "127.0.0.1:0"))
    inode = path.stat().st_ino
    with upgraded(site) as successor:
        stop(successor)
    site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
    assert path.stat().st_ino == inode
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert path.stat().st_ino == inode
        assert str(successor).encode() in ask_at(path)
        site.wait_for_log("The first master has left")
    assert not path.exists()


SAME_PORT = {"one": ["127.0.0.1:0"], "two": ["127.0.0.1:0", "localhost:0"], "the same twice": ["127.0.0.1:0"] * 2}


@pytest.mark.parametrize("bind", SAME_PORT.values(), ids=SAME_PORT)
def test_ports_that_the_kernel_picked_stay(server: StartServer, bind: list[str]):
    site = start(server, bind=bind)
    ports = site.addresses
    with upgraded(site):
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert site.addresses == ports
        assert all(accepts(address) for address in ports)
    assert not any(accepts(address) for address in ports)


def test_an_upgrade_with_reuse_port_keeps_the_port_and_serves_on(server: StartServer):
    site = start(server, "--reuse-port", workers=2)
    with upgraded(site, 2) as successor:
        assert len(site.addresses) == 1
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert {told(site).master for _ in range(8)} == {successor}


def test_an_upgrade_in_the_background_goes_by_the_pidfile(server: StartServer, tmp_path: Path):
    pidfile, second, log = tmp_path / "pid", tmp_path / "pid.2", tmp_path / "error.log"
    site = start(server, "--daemon", "--pid", str(pidfile), "--error-logfile", str(log), ready=False)
    assert site.wait() == 0
    [first] = pids_in(pidfile)
    assert first is not None
    try:
        os.kill(first, signal.SIGUSR2)
        wait_until(lambda: len(READY.findall(log.read_text())) == 2, what="the second master")
        [successor] = pids_in(second)
        assert successor is not None
        assert {process.parent for process in processes() if process.pid == successor} == {first}
        stop(first)
        wait_until(lambda: pids_in(pidfile, second) == [successor, None], what="the promotion")
    finally:
        for master in filter(None, pids_in(pidfile, second)):
            stop(master)
    assert pids_in(pidfile, second) == [None, None]


@OWN_COMMAND
def test_descriptors_that_fit_nothing_end_the_start_with_a_message(tmp_path: Path):
    env = {**os.environ, "GREENHORN_FD": "3,4", "GREENHORN_BIND": "127.0.0.1:0", "GREENHORN_PID": str(os.getpid())}
    (tmp_path / "written.py").write_text(source("one"))
    result = subprocess.run(
        [*running.COMMAND, "written"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert result.returncode == 1
    assert "GREENHORN_FD=3,4 does not fit" in result.stderr
    assert "Traceback" not in result.stderr
