"""What is broken on disk: a running server serves on as before and says why, a start ends at once.

Everything with the usual worker class; what goes wrong in the workers also with the others.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from integration.kinds import EVERY_KIND, USUAL, WSGI
from integration.load import load
from integration.reloading import (
    GIVEN_UP,
    hang_up,
    settled,
    signal_and_wait,
    source,
    start_reloadable,
    version,
    write_app,
    write_config,
)
from integration.running import DEADLINE, Server, StartServer, wait_until

OTHER_KINDS = EVERY_KIND(*(kind for kind in WSGI if kind != USUAL))
QUICK = 5.0
"""Seconds in which a start that fails is over, on a busy machine too."""
RAISE = "    raise RuntimeError('zq81')"
SLOW = "import threading; threading.Event().wait(0.5)"
GOOD = "workers = 2\nboot_timeout = 30\nbind = '127.0.0.1:0'\n"


class Fault(NamedTuple):
    """A broken application or configuration file, what the log says of it, and the code of a start with it."""

    app: str = source("broken")
    config: str = ""
    said: str = "zq81"
    code: int = 3
    traceback: bool = True


def hook(name: str, arguments: str) -> str:
    """Return a hook that raises."""
    return f"def {name}({arguments}):\n{RAISE}\n"


FAULTS = {
    "a syntax error": Fault(app="def (", said="SyntaxError", traceback=False),
    "an import that fails": Fault(app="import zq81", said="No module named 'zq81'"),
    "an exception at import": Fault(app="raise RuntimeError('zq81')", said="RuntimeError: zq81"),
    "an exit at import": Fault(app="raise SystemExit('zq81')", said="SystemExit: zq81"),
    "no application": Fault(app="zq81 = print", said="zq81", code=4, traceback=False),
    "a configuration file with a syntax error": Fault(config="zq81 = (", said="config.py", code=1, traceback=False),
    "a configuration file that fails": Fault(config="raise ValueError('zq81')", code=1, traceback=False),
    "a configuration file that exits": Fault(config="import sys\nsys.exit('zq81')", code=1, traceback=False),
    "a misspelt setting": Fault(config="max_request = 3", said="max_requests", code=1, traceback=False),
    "a value that is none": Fault(config="threads = 'zq81'", code=1, traceback=False),
    "a certificate": Fault(config="certfile = '/zq81/cert.pem'", said="certfile", code=1, traceback=False),
    "an address of another machine": Fault(config="bind = '192.0.2.81:0'", said="192.0.2.81", code=1, traceback=False),
    "a log in no folder": Fault(config="errorlog = '/zq81/log'", code=1, traceback=False),
    "an access log in no folder": Fault(config="accesslog = '/zq81/log'", code=1, traceback=False),
    "a worker class": Fault(config="worker_class = 'zq81'", code=1, traceback=False),
    "pre_fork": Fault(config=hook("pre_fork", "server, worker"), code=1),
    "post_fork": Fault(config=hook("post_fork", "server, worker")),
    "post_worker_init": Fault(config=hook("post_worker_init", "worker")),
    "nworkers_changed": Fault(config=hook("nworkers_changed", "server, new, old"), code=1),
    "a worker that leaves at boot": Fault(app="import os; os._exit(0)", said="exited with code 0", traceback=False),
    "post_fork that leaves": Fault(
        config="import os\ndef post_fork(server, worker):\n    os._exit(0)\n",
        said="exited with code 0",
        traceback=False,
    ),
    "post_worker_init that exits": Fault(
        config="import sys\ndef post_worker_init(worker):\n    sys.exit(0)\n", said="SystemExit: 0"
    ),
    "post_worker_init that is interrupted": Fault(
        config="def post_worker_init(worker):\n    raise KeyboardInterrupt('zq81')\n", said="KeyboardInterrupt: zq81"
    ),
    "post_fork that is interrupted": Fault(
        config="def post_fork(server, worker):\n    raise KeyboardInterrupt('zq81')\n", said="KeyboardInterrupt: zq81"
    ),
    "threads that cannot be started": Fault(
        app="import threading\nthreading.stack_size(1 << 46)\n" + source("broken"), said="can't start new thread"
    ),
    "pre_fork that is interrupted": Fault(
        config="def pre_fork(server, worker):\n    raise KeyboardInterrupt('zq81')\n",
        said="KeyboardInterrupt: zq81",
        code=1,
    ),
}
AT_RELOAD = FAULTS | {
    "on_reload": Fault(config=hook("on_reload", "server")),
    "an exit at boot": Fault(app="import os; os._exit(81)", said="exited with code 81", traceback=False),
    "a kill at boot": Fault(app="import os; os.kill(os.getpid(), 9)", said="SIGKILL", traceback=False),
    "a crash at boot": Fault(app="import os; os.kill(os.getpid(), 11)", said="SIGSEGV", traceback=False),
    "a boot without end": Fault(
        app="import threading; threading.Event().wait(60)",
        config="boot_timeout = 1",
        said="boot_timeout (1 s)",
        traceback=False,
    ),
}


IN_WORKERS = {
    name: AT_RELOAD[name]
    for name in (
        "an exception at import",
        "an exit at import",
        "no application",
        "post_fork",
        "post_worker_init",
        "post_worker_init that exits",
        "a worker that leaves at boot",
    )
}
"""Those that a worker finds out about."""
AT_RELOAD_IN_WORKERS = IN_WORKERS | {name: AT_RELOAD[name] for name in ("a kill at boot", "a boot without end")}


@pytest.fixture(scope="module")
def shared(module_server: StartServer) -> Server:
    """A server that each test leaves as it found it: with two workers of a good version."""
    return start_reloadable(module_server, source("good"), config=GOOD, bind=(), workers=None, allow_traceback=True)


@pytest.fixture
def site(shared: Server) -> Iterator[Server]:
    wait_until(lambda: len(shared.worker_pids()) == 2, what="two workers")
    yield shared
    write_app(shared, source("good"))
    write_config(shared, GOOD)


def errors(log: str) -> list[str]:
    """Return the records of the log that tell of an error or worse, each with the lines that belong to it."""
    records = re.split(r"^(?=\[\d{4}-)", log, flags=re.MULTILINE)
    return [record for record in records if re.match(r"\[[^]]*\] \[\d+\] \[(ERROR|CRITICAL)\]", record)]


@pytest.mark.parametrize("fault", AT_RELOAD.values(), ids=AT_RELOAD)
def test_a_reload_of_something_broken_changes_nothing_and_the_next_good_one_recovers(site: Server, fault: Fault):
    assert_given_up(site, fault)


@OTHER_KINDS
@pytest.mark.parametrize("fault", AT_RELOAD_IN_WORKERS.values(), ids=AT_RELOAD_IN_WORKERS)
def test_a_reload_of_every_class_whose_worker_cannot_boot_changes_nothing(site: Server, fault: Fault):
    assert_given_up(site, fault)


def assert_given_up(site: Server, fault: Fault) -> None:
    """Check that a reload to the fault changes nothing and tells it once, and that the next good one recovers."""
    old = site.worker_pids()
    before = len(site.log())
    write_app(site, fault.app)
    write_config(site, GOOD + fault.config)
    signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    wait_until(lambda: len(site.worker_pids()) == 2, what="the end of the worker that was tried")
    assert site.worker_pids() == old
    assert {version(site) for _ in range(4)} == {"good"}
    write_app(site, source("good"))
    write_config(site, GOOD)
    hang_up(site)
    assert {version(site) for _ in range(4)} == {"good"}
    log = site.log()[before:]
    told = [record for record in errors(log) if "BOOT TIMEOUT" not in record]
    assert len(told) == 1, log
    assert GIVEN_UP in told[0]
    assert fault.said in told[0]
    assert log.count("Traceback (most recent call last)") == fault.traceback


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_start_with_something_broken_ends_at_once_and_says_why(server: StartServer, fault: Fault):
    assert_ends_at_once(server, fault)


@OTHER_KINDS
@pytest.mark.parametrize("fault", IN_WORKERS.values(), ids=IN_WORKERS)
def test_a_start_of_every_class_whose_workers_cannot_boot_ends_and_says_why(server: StartServer, fault: Fault):
    assert_ends_at_once(server, fault)


def assert_ends_at_once(server: StartServer, fault: Fault) -> None:
    """Check that a start with the fault ends, with its code, and tells it once."""
    began = time.monotonic()
    config = GOOD + fault.config
    site = start_reloadable(server, fault.app, config=config, ready=False, bind=(), workers=None, allow_traceback=True)
    assert site.wait(QUICK) == fault.code
    assert time.monotonic() - began < QUICK
    log = site.log()
    told = errors(log)
    assert len(told) <= 1, "one message"
    assert fault.said in (told[0] if told else log)
    assert log.count("Traceback (most recent call last)") == fault.traceback
    assert log.count("Booting worker") <= 2, "no loop"
    assert "Worker ready" not in log


def test_a_hook_that_exits_at_reload_is_given_up_like_one_that_raises(server: StartServer):
    site = start_reloadable(server, source("good"), allow_traceback=True)
    old = site.worker_pids()
    write_config(site, "import sys\ndef on_reload(server):\n    sys.exit('zq81')\n")
    assert "zq81" in signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    assert site.worker_pids() == old
    assert version(site) == "good"


@EVERY_KIND
def test_a_broken_reload_costs_no_request_under_load(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2, allow_traceback=True)
    old = site.worker_pids()
    with load(site, 4) as clients:
        for _ in range(3):
            write_app(site, "raise RuntimeError('zq81')")
            signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
        assert {answer.text.split()[0] for answer in clients.more(50)} == {"one"}
        assert set(old) <= set(site.worker_pids())
        write_app(site, source("two"))
        hang_up(site, 2)
        assert clients.more(50)[-1].text.split()[0] == "two"


def test_a_broken_reload_leaves_addresses_environment_and_number_as_they_were(server: StartServer):
    config = 'workers = 2\nraw_env = ["SHOWN=old"]\nbind = "127.0.0.1:0"\n'
    site = start_reloadable(server, source("one"), config=config, bind=(), workers=None, allow_traceback=True)
    settled(site, 2)
    path = site.folder / "new"
    write_app(site, "raise RuntimeError('zq81')")
    write_config(site, f'workers = 3\nraw_env = ["SHOWN=new", "OTHER=1"]\nbind = "unix:{path}"\n')
    signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    assert not path.exists()
    settled(site, 2)
    write_app(site, source("two"))  # what an old worker's replacement loads
    [killed, staying] = site.worker_pids()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in site.worker_pids(), what="its end")
    assert staying in settled(site, 2)
    site.pause(staying)
    assert re.fullmatch(r"two \d+ old", site.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").text)
    os.kill(staying, signal.SIGCONT)


@pytest.mark.parametrize("number", [1, 4], ids=["fewer workers", "more workers"])
def test_a_broken_reload_that_wants_another_number_of_workers_leaves_all_where_they_are(
    server: StartServer, number: int
):
    site = start_reloadable(server, source("one"), config="workers = 3", workers=None, allow_traceback=True)
    old = settled(site, 3)
    write_app(site, SLOW + "\nraise RuntimeError('zq81')")
    write_config(site, f"workers = {number}")
    signal_and_wait(site, signal.SIGHUP, GIVEN_UP)
    wait_until(lambda: len(site.worker_pids()) == 3, what="the end of the worker that was tried")
    assert site.worker_pids() == old
    assert site.log().count("RuntimeError: zq81") == 1
    assert len(errors(site.log())) == 1


@pytest.mark.parametrize(
    "app", ["import os; os._exit(81)", "import os; os.kill(os.getpid(), 9)"], ids=["an exit", "a kill"]
)
def test_a_start_whose_workers_die_ends_and_says_how_they_died(server: StartServer, app: str):
    site = server(app_source=app, workers=2, ready=False)
    assert site.wait(QUICK) in (1, 3)
    assert re.search(r"exited with code 81|ended by SIGKILL", site.log())


def test_a_worker_that_is_told_to_leave_before_the_first_is_ready_is_replaced(server: StartServer, gate: Path):
    site = server(app_source=source("one", f"open({str(gate)!r}).read()"), ready=False)
    first = int(site.wait_for_log(r"Booting worker with pid: (\d+)")[1])
    os.kill(first, signal.SIGTERM)
    site.wait_for_log(rf"Booting worker with pid: (?!{first}$)")
    gate.write_bytes(b"!")
    site.wait_until_ready()
    assert version(site) == "one"
    assert not errors(site.log())


def test_a_start_that_takes_longer_than_boot_timeout_ends_with_the_stacks_in_the_log(server: StartServer):
    app = "import threading\ndef zq81():\n    threading.Event().wait(60)\nzq81()"
    site = server(None, "--boot-timeout", "1", app_source=app, workers=2, ready=False)
    assert site.wait(DEADLINE) in (1, 3)
    assert "boot_timeout (1 s)" in site.log()
    assert "in zq81" in site.log()


def test_workers_that_wear_out_serve_on_while_what_is_on_disk_is_broken(server: StartServer):
    config = "workers = 2\nmax_requests = 20\n"
    site = start_reloadable(server, source("one"), config=config, workers=None, allow_traceback=True)
    old = site.worker_pids()
    write_app(site, "raise RuntimeError('zq81')")
    with load(site, 4) as clients:
        clients.more(100)
        wait_until(lambda: site.log().count("RuntimeError: zq81") >= 1, what="the reason")
        wait_until(lambda: site.log().count("cannot boot") >= 3, what="further attempts")
        assert {answer.text.split()[0] for answer in clients.more(50)} == {"one"}
        assert set(old) <= set(site.worker_pids())
        assert site.log().count("RuntimeError: zq81") == 1, "the traceback is told once"
        write_app(site, source("two"))
        wait_until(lambda: not set(old) & set(site.worker_pids()), what="the exchange")
        assert clients.more(30)[-1].text.split()[0] == "two"


def test_a_worker_that_dies_while_what_is_on_disk_is_broken_leaves_the_others(server: StartServer):
    site = start_reloadable(server, source("one"), workers=2, allow_traceback=True)
    write_app(site, "raise RuntimeError('zq81')")
    killed, staying = site.worker_pids()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: site.log().count("cannot boot") >= 2, what="two attempts")
    assert version(site) == "one"
    assert staying in site.worker_pids()
    assert site.log().count("RuntimeError: zq81") == 1
    write_app(site, source("two"))
    hang_up(site, 2)
    assert {version(site) for _ in range(4)} == {"two"}
