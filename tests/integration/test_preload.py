"""preload_app: the master loads the application once, and the workers share what it has loaded."""

import gc
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.reloading import FRESH, hang_up, write_app
from integration.running import Server, StartServer, wait_until
from integration.staging import GET
from integration.upgrading import upgraded
from integration.wire import connect


def source(version: str, first: str = "") -> str:
    """Return an application that notes each process that loads it, and tells of itself."""
    return f"""{first}
import gc, json, os

with open("loaded", "a") as notes:
    notes.write(f"{version} {{os.getpid()}}\\n")

def application(environ, start_response):
    start_response("200 OK", [])
    frozen = gc.get_freeze_count() if hasattr(gc, "get_freeze_count") else None
    told = {{"version": "{version}", "pid": os.getpid(), "master": os.getppid(), "frozen": frozen}}
    return [json.dumps(told).encode()]
"""


def told(site: Server) -> dict[str, Any]:
    """Ask the application."""
    return dict(json.loads(site.request(GET).text))


def loaded(site: Server) -> list[str]:
    """Return which version was loaded by which process, in order."""
    return (site.folder / "loaded").read_text().splitlines()


def test_the_master_loads_the_application_once_for_all_workers(server: StartServer):
    site = server(None, "--preload", app_source=source("one"), env=FRESH, workers=3)
    assert loaded(site) == [f"one {site.pid}"]
    first, *_ = site.worker_pids()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: site.log().count("Worker ready") == 4, what="the next worker")
    assert loaded(site) == [f"one {site.pid}"]
    assert told(site)["master"] == site.pid


def test_without_it_every_worker_loads_the_application(server: StartServer):
    site = server(app_source=source("one"), env=FRESH, workers=3)
    assert sorted(loaded(site)) == sorted(f"one {pid}" for pid in site.worker_pids())


@pytest.mark.skipif(not hasattr(gc, "get_freeze_count"), reason="this Python does not tell what is frozen")
def test_what_was_loaded_is_frozen_so_that_it_stays_shared(server: StartServer):
    plain = told(server(app_source=source("one"), env=FRESH))["frozen"]
    preloaded = told(server(None, "--preload", app_source=source("one"), env=FRESH))["frozen"]
    assert plain == 0
    assert preloaded > 1000


def test_hup_exchanges_the_workers_and_keeps_the_code_and_usr2_takes_the_new_one(server: StartServer):
    site = server(None, "--preload", app_source=source("one"), env=FRESH, workers=2)
    write_app(site, source("two"))
    old = site.worker_pids()
    new = hang_up(site)
    assert not set(old) & set(new)
    assert told(site)["version"] == "one"
    assert re.search("stays as it was loaded; USR2", site.log())
    assert loaded(site) == [f"one {site.pid}"]
    with upgraded(site, 2) as successor:
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert told(site)["version"] == "two"
        assert loaded(site) == [f"one {site.pid}", f"two {successor}"]


BROKEN = {
    "no such module": ("import zq81", "No module named 'zq81'"),
    "a syntax error": ("def (", "SyntaxError"),
    "no application": ("application = None; raise_ = 81", "None"),
    "an exit": ("raise SystemExit(81)", "SystemExit: 81"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_an_application_that_cannot_be_loaded_ends_the_start_with_one_message(
    server: StartServer, tmp_path: Path, text: str, message: str
):
    pidfile = tmp_path / "pid"
    arguments = ("--preload", "--pid", str(pidfile))
    site = server(None, *arguments, app_source=text, ready=False, allow_traceback=True, workers=2)
    assert site.wait() == 1
    assert site.log().count(message) == 1
    assert "greenhorn/" not in site.log().replace("greenhorn/0", ""), "a traceback of greenhorn's own"
    assert "Booting worker" not in site.log()
    assert not pidfile.exists()


def test_hup_switches_it_on_and_a_broken_application_leaves_the_old_workers(server: StartServer):
    site = server(app_source=source("one"), config="", env=FRESH, workers=2, allow_traceback=True)
    workers = site.worker_pids()
    write_app(site, "import zq81")
    (site.folder / "config.py").write_text("preload_app = True")
    site.signal(signal.SIGHUP)
    site.wait_for_log("The reload is given up")
    assert site.worker_pids() == workers
    assert told(site)["version"] == "one"
    assert site.log().count("No module named 'zq81'") == 1
    write_app(site, source("two"))
    hang_up(site)
    assert told(site)["version"] == "two"
    assert loaded(site)[-1] == f"two {site.pid}"


SPOILING = {
    "handlers": "for name in ('TERM', 'INT', 'QUIT', 'HUP', 'CHLD'):\n"
    "    signal.signal(signal.Signals['SIG' + name], lambda *_: sys.exit(81))\n",
    "ignored": "for name in ('TERM', 'INT', 'QUIT', 'HUP', 'CHLD'):\n"
    "    signal.signal(signal.Signals['SIG' + name], signal.SIG_IGN)\n",
    "wakeup": "ends = socket.socketpair()\nends[1].setblocking(False)\nsignal.set_wakeup_fd(ends[1].fileno())\n",
}
"""What an application, or an event loop that it makes, may do to signals while it is imported."""


@pytest.mark.parametrize("first", SPOILING.values(), ids=SPOILING)
def test_signals_that_the_application_uses_at_import_are_still_the_masters(
    holding: StartServer, gate: Path, tmp_path: Path, first: str
):
    pidfile = tmp_path / "pid"
    text = f"import signal, socket, sys\n{first}from holding import application"
    site = holding(None, "--preload", "--pid", str(pidfile), app_source=text)
    os.kill(site.worker_pid(), signal.SIGKILL)
    wait_until(lambda: site.log().count("Worker ready") == 2, what="the next worker")
    hang_up(site)
    with connect(site) as connection:
        connection.sendall(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = AnswerReader(connection).begin()
        assert int(answer.readline()) == site.worker_pid()
        site.signal(signal.SIGTERM)
        site.wait_for_log("Handling signal: term")
        gate.write_bytes(b"!")
        assert answer.read() == b"end"
        assert site.wait() == 0
    assert not pidfile.exists()


def test_signals_that_are_used_by_what_a_reload_reads_are_still_the_masters(server: StartServer):
    site = server(app_source=source("one"), config="preload_app = True\n", env=FRESH)
    ignore = "import signal\nsignal.signal(signal.{}, signal.SIG_IGN)\n"
    (site.folder / "other.py").write_text(ignore.format("SIGTERM") + source("other"))
    (site.folder / "config.py").write_text(
        ignore.format("SIGHUP") + "preload_app = True\nwsgi_app = 'other:application'\n"
    )
    hang_up(site)
    hang_up(site)
    assert site.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_that_stops_is_obeyed_while_the_application_is_loaded(
    server: StartServer, gate: Path, tmp_path: Path, number: signal.Signals
):
    pidfile, path = tmp_path / "pid", tmp_path / "a socket"
    text = f"print('loading', flush=True)\nopen({str(gate)!r}).read()\n"
    arguments = ("--preload", "--pid", str(pidfile))
    site = server(None, *arguments, app_source=text, bind=("127.0.0.1:0", f"unix:{path}"), ready=False)
    wait_until(lambda: "loading" in site.stdout(), what="the import")
    assert pidfile.exists()
    assert path.is_socket()
    site.signal(number)
    assert site.wait() == (0 if number == signal.SIGTERM else 130)
    assert not pidfile.exists()
    assert not path.exists()


def test_a_signal_that_stops_is_obeyed_in_the_first_hook(server: StartServer, gate: Path, tmp_path: Path):
    pidfile = tmp_path / "pid"
    config = f"def on_starting(server):\n    server.log.info('on_starting')\n    open({str(gate)!r}).read()\n"
    site = server(None, "--pid", str(pidfile), app_source=source("one"), config=config, ready=False)
    site.wait_for_log("on_starting$")
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert not pidfile.exists()


def test_threads_that_the_application_starts_at_import_are_warned_of_by_name(server: StartServer):
    first = "import threading\nstop = threading.Event()\n"
    first += "threading.Thread(target=stop.wait, name='collector zq81', daemon=True).start()\n"
    site = server(None, "--preload", app_source=source("one", first), env=FRESH)
    assert re.search(r"WARNING\] preload_app: .*started threads.*collector zq81", site.log())
    assert told(site)["version"] == "one"


def test_it_is_left_out_while_reload_is_on(server: StartServer):
    site = server(None, "--preload", "--reload", app_source=source("one"), env=FRESH)
    assert re.search(r"WARNING\] preload_app is left out", site.log())
    assert loaded(site) == [f"one {site.worker_pid()}"]
