"""A service of systemd: what it is told by NOTIFY_SOCKET, and sockets that it has opened."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from integration import running
from integration.launching import activated, ask_at, start_by
from integration.notifying import Manager, manager
from integration.reloading import FRESH, write_app
from integration.running import Server, StartServer, accepts, wait_until
from integration.staging import GET
from integration.upgrading import second_master, stop, upgraded

SOURCE = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getppid()} {environ['SERVER_NAME']}:{environ['SERVER_PORT']}".encode()]
"""
GATED = "import os\nopen(os.environ['GATE']).read()\n" + SOURCE


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Where the service tells its states."""
    with manager(tmp_path, abstract=request.param == "abstract") as opened:
        yield opened


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[Manager]:
    """The same at a path only, for tests to which it makes no difference."""
    with manager(tmp_path) as opened:
        yield opened


def test_ready_is_told_when_the_first_worker_is_ready_and_not_before(server: StartServer, systemd: Manager, gate: Path):
    env = {"NOTIFY_SOCKET": systemd.address, "GATE": str(gate)}
    site = server(app_source=GATED, env=env, workers=2, ready=False)
    site.wait_for_log("Booting worker[^~]*Booting worker")
    assert systemd.is_silent_for(0.3)
    gate.write_bytes(b"!")
    site.wait_until_ready()
    ready = systemd.receive()
    assert (ready.about, ready.words["READY"], ready.pid) == ("READY", "1", site.pid)
    assert "of 2 workers serve" in ready.words["STATUS"]
    if not ready.words["STATUS"].startswith("2"):
        systemd.until(lambda told: told.words.get("STATUS", "").startswith("2 of 2 workers"))
    site.signal(signal.SIGTERM)
    stopping = systemd.until_about("STOPPING")[-1]
    assert stopping.pid == site.pid
    assert int(stopping.words["EXTEND_TIMEOUT_USEC"]) >= 30_000_000
    assert site.wait() == 0


def test_a_start_that_fails_is_never_told_to_be_ready(server: StartServer, notified: Manager):
    site = server(app_source="import zq81", env={"NOTIFY_SOCKET": notified.address}, ready=False, allow_traceback=True)
    assert site.wait() == 3
    assert notified.receive().about == "STOPPING"
    assert notified.is_silent_for(0)


def test_a_reload_is_told_from_its_begin_to_its_end(server: StartServer, notified: Manager):
    env = {"NOTIFY_SOCKET": notified.address, **FRESH}
    site = server(app_source=SOURCE, env=env, allow_traceback=True)
    notified.until_about("READY")
    for source in (SOURCE, "import zq81", SOURCE):
        write_app(site, source)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        site.signal(signal.SIGHUP)
        begin = notified.until_about("RELOADING")[-1]
        end = notified.until_about("READY")[-1]
        assert before <= int(begin.words["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert {begin.pid, end.pid} == {site.pid}
        assert site.request(GET).status == 200


def test_the_status_tells_how_many_workers_serve(server: StartServer, notified: Manager):
    site = server(app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address})
    notified.until_about("READY")
    site.signal(signal.SIGTTIN)
    assert notified.until(lambda told: told.words["STATUS"] == "2 of 2 workers serve")
    os.kill(site.worker_pids()[0], signal.SIGKILL)
    notified.until(lambda told: told.words["STATUS"] == "1 of 2 workers serve")
    notified.until(lambda told: told.words["STATUS"] == "2 of 2 workers serve")
    site.signal(signal.SIGTTOU)
    notified.until(lambda told: told.words["STATUS"] == "1 of 1 workers serve")


PERIOD = 1.0


@pytest.mark.parametrize("pid", ["", "another"])
def test_the_watchdog_is_told_in_time_that_the_master_lives(
    server: StartServer, notified: Manager, gate: Path, pid: str
):
    env = {"NOTIFY_SOCKET": notified.address, "WATCHDOG_USEC": str(int(PERIOD * 1_000_000)), "GATE": str(gate)}
    if pid:
        env["WATCHDOG_PID"] = "1"
    site = server(app_source=GATED, env=env, ready=False)
    site.wait_for_log("Booting worker")
    if pid:
        assert notified.is_silent_for(PERIOD)
        gate.write_bytes(b"!")
        site.wait_until_ready()
        notified.until_about("READY")
        assert notified.is_silent_for(PERIOD)
        return
    beats = [notified.until_about("WATCHDOG")[-1] for _ in range(4)]  # an application that loads long is no failure
    gate.write_bytes(b"!")
    site.wait_until_ready()
    beats += [notified.until_about("WATCHDOG")[-1] for _ in range(4)]
    assert max(late.at - early.at for early, late in pairwise(beats)) < PERIOD
    assert {beat.pid for beat in beats} == {site.pid}


def test_an_upgrade_tells_the_new_main_process_and_no_stop(server: StartServer, notified: Manager):
    site = server(app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address, "WATCHDOG_USEC": "1000000"})
    notified.until_about("READY")
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        site.wait_for_log("The first master has left")
        told = notified.until(lambda told: "MAINPID" in told.words)
        assert (told[-1].pid, told[-1].words["MAINPID"]) == (site.pid, str(successor)), "only the old one is believed"
        told += notified.until(lambda told: told.pid == successor and told.about == "READY")
        assert "STOPPING" not in {one.about for one in told}
        assert notified.until_about("WATCHDOG")[-1].pid == successor
        stop(successor)
        stopping = notified.until_about("STOPPING")
        assert stopping[-1].pid == successor


def test_a_roll_back_never_names_another_main_process(server: StartServer, notified: Manager):
    site = server(app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address})
    notified.until_about("READY")
    with upgraded(site) as successor:
        stop(successor)
        site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
        site.signal(signal.SIGHUP)
        notified.until(lambda told: told.pid == site.pid and told.about == "RELOADING")
        notified.until(lambda told: told.pid == site.pid and told.about == "READY")
    assert site.stop() == 0
    told = notified.until(lambda told: told.pid == site.pid and told.about == "STOPPING")
    assert not [one for one in told if "MAINPID" in one.words]


def test_a_second_master_that_fails_or_is_rolled_back_tells_nothing(server: StartServer, notified: Manager):
    env = {"NOTIFY_SOCKET": notified.address, **FRESH}
    site = server(app_source=SOURCE, env=env, allow_traceback=True)
    notified.until_about("READY")
    write_app(site, "import zq81")
    failed = second_master(site)
    site.wait_for_log(rf"second master \(pid:{failed}\) has ended")
    write_app(site, SOURCE)
    with upgraded(site) as successor:
        os.kill(successor, signal.SIGHUP)
        site.wait_for_log("The new generation serves")
        stop(successor)
    site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
    assert site.stop() == 0
    told = notified.until_about("STOPPING")
    assert {one.pid for one in told} == {site.pid}, "systemd would stop the whole service"


def test_a_delayed_stop_beside_a_second_master_is_no_stop_of_the_service(server: StartServer, notified: Manager):
    site = server(None, "--shutdown-delay", "1", app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address})
    notified.until_about("READY")
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        site.wait_for_log("Stopping in 1 s")
        assert site.wait() == 0
        told = notified.until(lambda told: told.pid == successor)
        assert [(one.pid, one.about) for one in told] == [(site.pid, "MAINPID"), (successor, "MAINPID")]
        assert notified.receive().about == "READY"


def test_a_reload_before_the_first_worker_is_ready_does_not_tell_that_it_is(
    server: StartServer, notified: Manager, gate: Path
):
    env = {"NOTIFY_SOCKET": notified.address, "GATE": str(gate)}
    site = server(app_source=GATED, config="", env=env, ready=False)
    site.wait_for_log("Booting worker")
    (site.folder / "config.py").write_text("threads = 'zq81'")
    site.signal(signal.SIGHUP)
    site.wait_for_log("The reload is given up")
    gate.write_bytes(b"!")
    first = notified.receive()
    assert (first.about, first.words.get("STATUS")) == ("READY", "1 of 1 workers serve")


def test_the_service_manager_may_go_away_or_be_slow(server: StartServer, notified: Manager):
    site = server(app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address, "WATCHDOG_USEC": "20000"})
    notified.until_about("WATCHDOG")
    notified.close()  # the path stays, and nobody is there
    site.signal(signal.SIGHUP)
    site.wait_for_log("The new generation serves")
    Path(notified.address).unlink()
    assert site.request(GET).status == 200


def test_a_service_without_workers_is_ready_at_once(server: StartServer, notified: Manager):
    site = server(app_source=SOURCE, env={"NOTIFY_SOCKET": notified.address}, workers=0, ready=False)
    ready = notified.receive()
    assert (ready.about, ready.words["STATUS"], ready.pid) == ("READY", "0 of 0 workers serve", site.pid)
    site.signal(signal.SIGTTIN)
    site.wait_until_ready()
    assert site.request(GET).status == 200


# Sockets that systemd has opened.


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    """A TCP socket named web and a unix socket named admin, which listen."""
    opened = {"web": socket.create_server(("127.0.0.1", 0)), "admin": socket.socket(socket.AF_UNIX)}
    opened["admin"].bind(str(tmp_path / "admin.socket"))
    opened["admin"].listen(64)
    yield opened
    close(opened)


def close(sockets: dict[str, socket.socket]) -> None:
    """Do as systemd does that stops the socket units."""
    for sock in sockets.values():
        sock.close()


def start_activated(
    server: StartServer, sockets: dict[str, socket.socket], *, named: bool = True, **options: object
) -> Server:
    """Start a server with these sockets."""
    how = activated(sockets, named=named)
    return start_by(server, how["command"], None, app_source=SOURCE, pass_fds=how["pass_fds"], **options)


@pytest.mark.parametrize("named", [True, False])
def test_sockets_that_systemd_has_opened_take_the_place_of_all_addresses(
    server: StartServer, sockets: dict[str, socket.socket], tmp_path: Path, named: bool
):
    path = tmp_path / "admin.socket"
    site = start_activated(server, sockets, named=named, bind="127.0.0.1:0")
    assert len(site.addresses) == 2
    assert site.port == sockets["web"].getsockname()[1]
    assert site.request(GET).text.endswith(f":{site.port}")
    assert str(path).encode() in ask_at(path)
    assert site.stop() == 0
    assert path.is_socket(), "it is systemd's"
    assert accepts(site.url), "it is systemd's"
    close(sockets)
    path.unlink()


def test_sockets_of_systemd_are_chosen_by_their_names(
    server: StartServer, sockets: dict[str, socket.socket], tmp_path: Path
):
    path = tmp_path / "admin.socket"
    site = start_activated(server, sockets, bind=("fd://admin", "127.0.0.1:0"))
    assert sorted(site.addresses) == sorted([f"unix:{path}", site.url])
    assert site.port != sockets["web"].getsockname()[1]
    assert site.request(GET).status == 200
    assert str(path).encode() in ask_at(path)
    assert site.stop() == 0
    assert not accepts(site.url)
    path.unlink()


def test_a_name_that_systemd_did_not_give_ends_the_start(
    server: StartServer, sockets: dict[str, socket.socket], tmp_path: Path
):
    site = start_activated(server, sockets, bind="fd://zq81", ready=False)
    assert site.wait() == 1
    assert "zq81" in site.log()
    assert "LISTEN_FDNAMES" in site.log()
    assert (tmp_path / "admin.socket").is_socket()


def test_a_socket_that_was_promised_and_not_passed_ends_the_start(server: StartServer):
    promise = "import os, sys\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    promise += "os.closerange(3, 64)\nos.execvp(sys.argv[1], sys.argv[1:])\n"
    command = [sys.executable, "-c", promise, *running.COMMAND]
    site = start_by(server, command, None, app_source=SOURCE, bind=(), ready=False)
    assert site.wait() == 1
    assert "descriptor 3 is not open" in site.log()


def test_sockets_for_another_process_are_left_alone(server: StartServer, sockets: dict[str, socket.socket]):
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}
    site = server(app_source=SOURCE, env=env)
    assert site.port != sockets["web"].getsockname()[1]
    assert site.request(GET).status == 200


@pytest.mark.parametrize("named", [True, False])
def test_sockets_of_systemd_outlive_reloads_and_upgrades(
    server: StartServer, sockets: dict[str, socket.socket], tmp_path: Path, named: bool
):
    path = tmp_path / "admin.socket"
    site = start_activated(server, sockets, named=named, bind=())
    inode, addresses = path.stat().st_ino, site.addresses
    site.signal(signal.SIGHUP)
    site.wait_for_log("The new generation serves")
    with upgraded(site) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        site.wait_for_log("The first master has left")
        assert site.addresses == addresses
        for _ in range(4):
            assert site.request(GET).text.startswith(f"{successor} ")
        assert b"\r\n\r\n%d " % successor in ask_at(path)
        os.kill(successor, signal.SIGHUP)
        wait_until(lambda: site.log().count("The new generation serves") == 2, what="the reload")
        assert b"\r\n\r\n%d " % successor in ask_at(path)
    assert path.stat().st_ino == inode
    assert accepts(site.url)
    close(sockets)
    path.unlink()
