"""What every worker process has: its boot and exit codes, its words to the master, and what it makes of Settings."""

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.net.pace import Pace
from greenhorn.net.state import State
from greenhorn.workers.composition import NAMES_TOLD, DroppedNames, buffers, field_names, template
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import TestWorker

MakeWorker = Callable[..., TestWorker]

BOOT = """
import os, socket, sys
from greenhorn.config import Settings
from greenhorn.observe.logger import Logger
from greenhorn.workers.base import Worker

class Loop(Worker):
    def init(self):
        if self.settings.wsgi_app.endswith("no_init"):
            raise ZeroDivisionError("in init")
    def run(self):
        if self.settings.wsgi_app.endswith("crash"):
            raise ZeroDivisionError("in run")
        self.stopped = False
        while not self.stopped:
            self.follow_signals()
            os.read(0, 0 if self.stopped else 1)
        self.tell("stopping")
    def drain(self, others_serve=frozenset()):
        self.stopped = True
    quit = drain

channel = socket.socket(fileno=int(sys.argv[1]))
worker = Loop(1, Settings(wsgi_app=sys.argv[2]), [], Logger("-", "debug"), None, channel)
sys.exit(worker.boot(lambda: None))
"""

APPLICATION = """
import os
def application(environ, start_response): pass
no_init = crash = application
number = 5
if os.environ.get("BOOT") == "fails":
    import no_such_module
if os.environ.get("BOOT") == "hangs":
    os.read(0, 1)
"""


class Booted:
    """A worker's process without a master: what it tells and how it ends."""

    def __init__(self, folder: Path, app: str, boot: str = "") -> None:
        (folder / "applied.py").write_text(APPLICATION)
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(DEADLINE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(theirs.fileno()), app],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(folder), "BOOT": boot},
                text=True,
            )

    def hear(self, wanted: bytes) -> bytes:
        """What it tells, up to and with `wanted`."""
        told = b""
        while wanted not in told and (more := self.channel.recv(100)):
            told += more
        return told

    def end(self) -> tuple[int, bytes, str]:
        """Its exit code, the rest of what it told, and its log."""
        _, log = self.process.communicate(timeout=DEADLINE)
        told = b""
        while more := self.channel.recv(100):
            told += more
        self.channel.close()
        return self.process.returncode, told, log


def test_a_worker_says_when_it_is_ready_and_ends_when_told(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application")
    assert worker.hear(b"ready\n") == b"ready\n"
    worker.process.send_signal(signal.SIGTERM)
    code, told, log = worker.end()
    assert code == 0
    assert told == b"stopping\n"
    assert "Worker ready" in log
    assert "Worker exiting" in log


@pytest.mark.parametrize(
    ("app", "boot", "code", "word"),
    [
        ("applied:application", "fails", 3, "no_such_module"),
        ("no_such_package:application", "", 3, "no_such_package"),
        ("applied:missing", "", 4, "missing"),
        ("applied:number", "", 4, "number"),
        ("applied:no_init", "", 3, "in init"),
    ],
)
def test_a_worker_that_cannot_boot_says_why_and_ends_with_gunicorns_code(
    tmp_path: Path, app: str, boot: str, code: int, word: str
):
    ended, told, log = Booted(tmp_path, app, boot).end()
    assert ended == code
    assert told == b""
    assert word in log


def test_a_worker_that_crashes_after_it_was_ready_says_why_and_ends_with_another_code(tmp_path: Path):
    ended, told, log = Booted(tmp_path, "applied:crash").end()
    assert ended == 255
    assert told == b"ready\n"
    assert "ZeroDivisionError: in run" in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_that_is_not_ready_yet_ends_at_once(tmp_path: Path, number: int):
    worker = Booted(tmp_path, "applied:application", "hangs")
    status = Path(f"/proc/{worker.process.pid}/status")

    def handlers_are_set() -> bool:
        if not status.exists():
            return False
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return bool(int(fields["SigCgt"], 16) >> (signal.SIGABRT - 1) & 1)

    wait_until(handlers_are_set, "the worker's handlers")
    worker.process.send_signal(number)
    ended, told, _ = worker.end()
    assert ended == 0
    assert told == b""


def test_a_worker_that_the_master_gave_up_ends_with_1(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application")
    worker.hear(b"ready\n")
    worker.process.send_signal(signal.SIGABRT)
    assert worker.end()[0] == 1


def test_signals_for_the_master_do_not_disturb_a_worker(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application")
    worker.hear(b"ready\n")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        worker.process.send_signal(number)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 0


# Words to the master.


def test_what_is_told_is_a_line(make_worker: MakeWorker):
    made = make_worker()
    made.worker.tell("ready")
    made.worker.tell("beat")
    assert made._channel.recv(100) == b"ready\nbeat\n"


def test_a_master_that_is_gone_or_does_not_read_holds_nobody(make_worker: MakeWorker):
    made = make_worker()
    for _ in range(3000):
        made.worker.tell("beat")
    made.lose_master()
    made.worker.tell("beat")
    assert "cannot tell the master 'beat'" in made.log()


# Settings.


def test_settings_reach_what_the_turns_are_given(make_worker: MakeWorker, tmp_path: Path):
    worker = make_worker(
        limit_request_line=100,
        limit_request_fields=5,
        limit_request_field_size=200,
        limit_request_head=1000,
        limit_request_body=7,
        body_buffer_size=11,
        tmp_upload_dir=str(tmp_path),
        keepalive=0,
        response_buffer_size=12,
        response_buffer_max=13,
        write_timeout=14,
        sendfile=False,
        casefold_http_method=True,
    ).worker
    service = worker.service
    limits = service.limits
    sizes = (limits.request_line, limits.fields, limits.field_size, limits.head, limits.body)
    assert sizes == (100, 5, 200, 1000, 7)
    assert (service.body_memory, service.body_folder, service.keep_alive) == (11, str(tmp_path), False)
    kept = buffers(worker.settings, service.allotment)
    assert (kept.memory, kept.most, kept.folder, kept.sendfile) == (12, 13, str(tmp_path), False)
    assert kept.pace == Pace(14, 1 / 500)
    assert service.leniency.casefold_method is True
    assert service.access is None


def test_times_of_none_are_for_ever(make_worker: MakeWorker):
    none = {"first_byte_timeout": 0, "header_timeout": 0, "body_timeout": 0, "write_timeout": 0, "keepalive": 0}
    none["handshake_timeout"] = 0
    worker = make_worker(**none).worker
    waits = {state for state, pace in worker._paces.items() if pace.most == math.inf}
    assert waits == {State.NEW, State.HANDSHAKE, State.HEAD, State.BODY, State.FLUSH, State.IDLE}


def test_the_script_name_comes_from_the_environment(make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCRIPT_NAME", "/app")
    made = make_worker(bind=("127.0.0.1:0",), threads=1, workers=2)
    shared = template(made.worker.settings, made.listeners[0], made.worker.log, made.worker.is_ready)
    assert shared["SCRIPT_NAME"] == "/app"
    assert (shared["SERVER_NAME"], shared["SERVER_PORT"]) == made.listeners[0].name
    assert shared["wsgi.multithread"] is False
    assert shared["wsgi.multiprocess"] is True
    assert shared["SERVER_SOFTWARE"].startswith("greenhorn/")


def test_dropped_field_names_are_told_once_each_and_not_without_end(make_worker: MakeWorker):
    made = make_worker()
    dropped = DroppedNames(made.worker.log)
    names = field_names(made.worker.settings, dropped, trusted=False)
    others = field_names(made.worker.settings, dropped, trusted=False)
    for _ in range(2):
        for number in range(3 * NAMES_TOLD):
            assert names[f"a_{number}"] is None
            assert others[f"a_{number}"] is None
    assert made.log().count("is not passed on") == NAMES_TOLD
    assert made.log().count("'a_7'") == 1


def test_only_trusted_peers_may_spell_fields_with_underscores(make_worker: MakeWorker):
    worker = make_worker(forwarder_headers=("REMOTE_USER",)).worker
    dropped = DroppedNames(worker.log)
    trusted, untrusted = (field_names(worker.settings, dropped, trusted=each) for each in (True, False))
    assert trusted["Remote_User"] == "HTTP_REMOTE_USER"
    assert trusted["Other_One"] is None
    assert untrusted["Remote_User"] is None
