"""What hooks get as `server`: the names that gunicorn's users rely on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.master.arbiter import Arbiter
from greenhorn.master.handover import OLD_MASTER
from unit.master.staff import CRASH, failing

MakeArbiter = Callable[..., Arbiter]


def test_a_hook_finds_the_attributes_that_it_knows_from_gunicorn(arbiter: MakeArbiter, tmp_path: Path):
    server = arbiter(bind=(f"unix:{tmp_path}/s",), timeout=17, workers=2)
    server._start()
    server.fleet.turn()
    assert server.pid == os.getpid()
    assert server.cfg.timeout == server.timeout == 17
    assert server.address == (f"unix:{tmp_path}/s",)
    assert [str(listener) for listener in server.LISTENERS] == [f"unix:{tmp_path}/s"]
    assert server.num_workers == 2
    assert server.worker_age == 2
    assert sorted(worker.age for worker in server.WORKERS.values()) == [1, 2]
    assert [worker.pid for worker in server.WORKERS.values()] == list(server.WORKERS)
    assert (server.reexec_pid, server.master_pid, server.master_name) == (0, 0, "Master")
    assert server.app is None
    server.log.info("said by a hook")
    assert "[INFO] said by a hook" in (tmp_path / "error.log").read_text()


def test_a_worker_finds_its_own_attributes_as_well(arbiter: MakeArbiter, tmp_path: Path):
    server = arbiter(bind=(f"unix:{tmp_path}/s",), timeout=17)
    server._start()
    server.fleet.turn()
    [worker] = server.WORKERS.values()
    assert (worker.age, worker.ppid, worker.nr) == (1, os.getpid(), 0)
    assert worker.timeout == 8.5
    assert worker.cfg is server.cfg
    assert worker.sockets == server.LISTENERS
    assert (worker.alive, worker.booted, worker.aborted) == (True, False, False)
    assert worker.log is server.log
    assert str(worker) == f"<Worker {worker.pid}>"


def test_the_name_of_the_processes_is_the_applications_unless_there_is_another(arbiter: MakeArbiter):
    assert arbiter(default_proc_name="hello:app").proc_name == "hello:app"
    assert arbiter(default_proc_name="hello:app", proc_name="shop").proc_name == "shop"


def test_a_second_master_knows_the_first(arbiter: MakeArbiter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(OLD_MASTER, "77")
    server = arbiter()
    assert (server.master_pid, server.master_name) == (77, "Master.2")


def test_a_change_of_the_number_of_workers_is_told_with_the_number_before(arbiter: MakeArbiter):
    told: list[tuple[object, ...]] = []
    server = arbiter(workers=3, nworkers_changed=lambda *given: told.append(given))
    server._start()
    assert told == [(server, 3, None)]
    server.num_workers += 1
    server.num_workers = 1
    assert told[1:] == [(server, 4, 3), (server, 1, 4)]
    assert server.fleet.target == 1


def test_a_hook_that_is_not_set_is_not_called(arbiter: MakeArbiter):
    arbiter().call("on_reload")


def test_a_hook_that_fails_is_an_error_with_its_traceback(arbiter: MakeArbiter):
    server = arbiter(on_reload=failing)
    with pytest.raises(ConfigError, match="the hook on_reload failed") as caught:
        server.call("on_reload")
    assert "LookupError: it fails" in str(caught.value)
    assert "staff.py" in str(caught.value)


def test_a_hook_that_fails_at_the_end_is_logged_only(arbiter: MakeArbiter, tmp_path: Path):
    server = arbiter(on_exit=failing)
    server.call_safely("on_exit")
    assert "the hook on_exit failed" in (tmp_path / "error.log").read_text()


def test_a_hook_that_changes_the_number_of_workers_is_obeyed(arbiter: MakeArbiter):
    def child_exit(server: Arbiter, _worker: object) -> None:
        server.num_workers = 3

    server = arbiter(workers=1, child_exit=child_exit)
    server._start()
    server.fleet.turn()
    [child] = server.fleet.children.values()
    child.worker.end.send(b"ready\n")
    server.fleet.heard(child)
    del server.fleet.children[child.pid]
    server.fleet._bury(child, CRASH)
    server.fleet.turn()
    assert len(server.WORKERS) == 3
