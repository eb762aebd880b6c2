"""The master's own decisions, without processes: its start, its signals, what it tells outside, its end."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.errors import AppLoadError, ConfigError
from greenhorn.master.arbiter import Arbiter
from greenhorn.master.handover import OLD_MASTER
from unit.master.mastering import configuration
from unit.master.staff import CRASH, Kernel, failing
from unit.net.waiting import wait_until

MakeArbiter = Callable[..., Arbiter]


def begun(arbiter: Arbiter) -> Arbiter:
    """A master whose workers are ready."""
    arbiter._start()
    arbiter.fleet.turn()
    for child in list(arbiter.fleet.children.values()):
        child.worker.end.send(b"ready\n")
        arbiter.fleet.heard(child)
    return arbiter


def log(folder: Path) -> str:
    return (folder / "error.log").read_text()


# The start.


def test_an_arbiter_with_a_worker_class_that_there_is_not_does_not_begin(arbiter: MakeArbiter):
    with pytest.raises(ConfigError, match="worker_class"):
        arbiter(worker_class="gsync")


def test_an_address_that_cannot_be_listened_at_gives_the_others_back(arbiter: MakeArbiter, tmp_path: Path):
    path = tmp_path / "s"
    made = arbiter(bind=(f"unix:{path}", "unix:/no/such/folder/s"))
    with pytest.raises(ConfigError, match="/no/such/folder/s"):
        made.run()
    assert not path.exists()
    assert made.LISTENERS == []


@pytest.mark.parametrize("name", ["errorlog", "accesslog"])
def test_a_log_that_cannot_be_opened_ends_the_start(arbiter: MakeArbiter, name: str):
    with pytest.raises(ConfigError, match=name):
        arbiter(**{name: "/no/such/folder/log"}).run()


@pytest.mark.parametrize("hook", ["on_starting", "when_ready", "nworkers_changed"])
def test_a_hook_that_fails_at_the_start_ends_it_and_leaves_nothing(arbiter: MakeArbiter, tmp_path: Path, hook: str):
    settings: dict[str, Any] = {hook: failing}
    with pytest.raises(ConfigError, match=f"the hook {hook} failed"):
        arbiter(bind=(f"unix:{tmp_path}/s",), pidfile=str(tmp_path / "pid"), **settings).run()
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "pid").exists()


def test_an_application_that_cannot_be_preloaded_ends_the_start_and_leaves_nothing(
    arbiter: MakeArbiter, tmp_path: Path
):
    made = arbiter(
        bind=(f"unix:{tmp_path}/s",), pidfile=str(tmp_path / "pid"), preload_app=True, wsgi_app="no_such_module:app"
    )
    with pytest.raises(AppLoadError, match="no_such_module"):
        made.run()
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "pid").exists()


def test_hooks_of_the_start_are_called_in_gunicorns_order(arbiter: MakeArbiter, tmp_path: Path):
    order: list[str] = []
    names = ("nworkers_changed", "on_starting", "when_ready", "pre_fork")
    hooks = {name: lambda *_, name=name: order.append(name) for name in names}
    begun(arbiter(bind=(f"unix:{tmp_path}/s",), **hooks))
    assert order == list(names)


def test_no_workers_at_all_is_told(arbiter: MakeArbiter, tmp_path: Path):
    begun(arbiter(workers=0))
    assert "workers is 0: nobody serves" in log(tmp_path)


def test_the_pidfile_of_a_second_master_is_beside_the_firsts_until_that_has_left(
    arbiter: MakeArbiter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(OLD_MASTER, str(os.getppid()))
    made = begun(arbiter(pidfile=str(tmp_path / "pid")))
    assert (tmp_path / "pid.2").read_text().strip() == str(os.getpid())
    assert not (tmp_path / "pid").exists()
    made.handover.predecessor = 2**22 + 1
    assert made.handover.promoted()
    made._promote()
    assert not (tmp_path / "pid.2").exists()
    assert (tmp_path / "pid").read_text().strip() == str(os.getpid())


# Signals.


def test_ttin_and_ttou_count_and_never_below_one(arbiter: MakeArbiter):
    made = begun(arbiter(workers=1))
    for name, wanted in (("TTIN", 2), ("TTIN", 3), ("TTOU", 2), ("TTOU", 1), ("TTOU", 1)):
        made._obey(name)
        assert made.num_workers == wanted


@pytest.mark.parametrize(("name", "left"), [("TTIN", 2), ("WINCH", 0)])
def test_a_hook_that_fails_at_a_count_does_not_end_the_master(
    arbiter: MakeArbiter, tmp_path: Path, name: str, left: int
):
    calls: list[int] = []

    def nworkers_changed(_server: Arbiter, _new: int, _old: int | None) -> None:
        calls.append(1)
        if len(calls) > 1:
            failing()

    made = begun(arbiter(nworkers_changed=nworkers_changed, daemon=True))
    made._obey(name)
    assert made.num_workers == left
    assert "the hook nworkers_changed failed" in log(tmp_path)


@pytest.mark.parametrize(("daemon", "left"), [(False, 2), (True, 0)])
def test_winch_withdraws_the_workers_of_a_daemon_only_and_hup_brings_them_back(
    arbiter: MakeArbiter, daemon: bool, left: int
):
    made = begun(arbiter(workers=2, daemon=daemon))
    made._obey("WINCH")
    assert made.num_workers == left
    made._obey("WINCH")
    made._obey("HUP")
    assert made.num_workers == 2


def test_winch_beside_a_second_master_withdraws_the_workers(arbiter: MakeArbiter):
    made = begun(arbiter(workers=2))
    made.handover.successor = 2**22 + 1
    made._obey("WINCH")
    assert made.num_workers == 0


def test_usr2_beside_another_master_does_nothing(arbiter: MakeArbiter, tmp_path: Path):
    made = begun(arbiter())
    made.handover.successor = 2**22 + 1
    made._obey("USR2")
    assert made.handover.successor == 2**22 + 1
    assert "USR2 does nothing" in log(tmp_path)


def test_a_second_master_that_has_ended_is_told_and_another_can_follow(
    arbiter: MakeArbiter, kernel: Kernel, tmp_path: Path
):
    made = begun(arbiter())
    made._obey("USR2")
    pid = made.reexec_pid
    assert pid
    kernel.ends.append((pid, CRASH))
    made._reap()
    assert made.reexec_pid == 0
    assert f"The second master (pid:{pid}) has ended" in log(tmp_path)
    made._obey("USR2")
    assert made.reexec_pid not in (0, pid)


def test_usr1_opens_the_logs_anew_here_and_in_the_workers(arbiter: MakeArbiter, kernel: Kernel, tmp_path: Path):
    made = begun(arbiter(accesslog=str(tmp_path / "access.log")))
    for name in ("error.log", "access.log"):
        (tmp_path / name).rename(tmp_path / f"old-{name}")
    made._obey("USR1")
    made.log.info("written anew")
    assert "written anew" in log(tmp_path)
    assert (tmp_path / "access.log").exists()
    assert kernel.kills == [(next(iter(made.WORKERS)), signal.SIGUSR1)]


def test_a_log_that_cannot_be_opened_anew_is_gone_on_with(arbiter: MakeArbiter, tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    made = begun(arbiter(accesslog=str(folder / "access.log")))
    folder.rename(tmp_path / "old")
    made._obey("USR1")
    assert "the old one is written to" in log(tmp_path)


def test_after_the_end_was_decided_no_signal_counts(arbiter: MakeArbiter):
    made = begun(arbiter(workers=1))
    made._exit_code = 0
    made._obey("TTIN")
    assert made.num_workers == 1


def test_signals_of_the_process_reach_the_loop(arbiter: MakeArbiter):
    made = arbiter(workers=1)
    made._start()
    signal.raise_signal(signal.SIGTTIN)
    wait_until(lambda: made._turn() or made.num_workers == 2, "the signal")


# What is told outside.


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """A service manager; returns what it was told since it was asked before."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

        def told() -> list[str]:
            lines: list[str] = []
            try:
                while True:
                    lines += sock.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines

        yield told


def test_a_service_manager_is_told_when_the_first_worker_is_ready_and_once(
    arbiter: MakeArbiter, manager: Callable[[], list[str]]
):
    made = arbiter(workers=2)
    made._start()
    made.fleet.turn()
    made._tell_outside()
    assert manager() == []
    first, second = made.fleet.children.values()
    first.worker.end.send(b"ready\n")
    made.fleet.heard(first)
    made._tell_outside()
    assert manager() == ["READY=1", "STATUS=1 of 2 workers serve"]
    made._tell_outside()
    assert manager() == []
    second.worker.end.send(b"ready\n")
    made.fleet.heard(second)
    made._tell_outside()
    assert manager() == ["STATUS=2 of 2 workers serve"]


def test_a_reload_is_told_when_it_begins_and_ends_however_it_ends(
    arbiter: MakeArbiter, manager: Callable[[], list[str]], tmp_path: Path
):
    readings = [configuration(tmp_path, worker_class="gsync"), configuration(tmp_path)]
    made = begun(arbiter(lambda: readings.pop(0)))
    made._tell_outside()
    manager()
    made._obey("HUP")
    told = manager()
    assert told[0] == "RELOADING=1"
    assert "READY=1" in told
    made.generation.worker_class = type(next(iter(made.WORKERS.values())))
    made._obey("HUP")
    assert [line for line in manager() if not line.startswith("MONOTONIC")] == ["RELOADING=1"]
    made.fleet.abandon()
    made.given_up(made.generation, "by the test")
    assert "READY=1" in manager()


def test_a_delayed_stop_is_told_and_the_workers_serve_until_then(
    arbiter: MakeArbiter, manager: Callable[[], list[str]]
):
    made = begun(arbiter(shutdown_delay=30, graceful_timeout=10))
    made._tell_outside()
    manager()
    made._obey("TERM")
    assert manager() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=42000000"]
    [child] = made.fleet.children.values()
    assert child.worker.orders() == ["stopping"]
    assert made._exit_code is None
    assert made._stop_at is not None
    assert 20 < made._stop_at - time.monotonic() <= 30
    assert made._nap() <= 1
    made._obey("HUP")
    assert made.fleet.candidate is None  # nothing new begins
