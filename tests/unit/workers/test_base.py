"""What every worker process has: its boot and exit codes, its signals, and what it and the master tell each other."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.workers.base import MOST_TOLD
from unit.net.waiting import DEADLINE, wait_until
from unit.workers.inprocess import TestWorker

MakeWorker = Callable[..., TestWorker]

BOOT = """
import os, socket, sys
from greenhorn.config import Settings
from greenhorn.errors import ConfigError
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

fault = os.environ.get("BOOT")
say = lambda text: os.write(2, text.encode() + b"\\n")

def settle_in():
    say(f"settle_in {worker.pid == os.getpid()}")
    if fault == "hook":
        raise ConfigError("the hook post_fork failed")
    if fault == "user":
        raise PermissionError(1, "not permitted")

def post_worker_init(worker):
    say(f"post_worker_init {worker.service.app is worker.wsgi} {worker.booted}")
    if fault == "init hook":
        raise LookupError("in the hook")

def worker_int(worker):
    say(f"worker_int {worker.alive}")
    if fault == "int hook":
        raise LookupError("in the hook")

def worker_abort(worker):
    say(f"worker_abort {worker.aborted}")
    if fault == "abort hook":
        raise LookupError("in the hook")

hooks = {"post_worker_init": post_worker_init, "worker_int": worker_int, "worker_abort": worker_abort}
channel = socket.socket(fileno=int(sys.argv[1]))
log = Logger(Settings(errorlog=os.environ.get("LOG", "-"), loglevel="debug"))
settings = Settings(wsgi_app=sys.argv[2], **(hooks if os.environ.get("HOOKS") else {}))
worker = Loop(1, settings, [], log, None, channel)
sys.exit(worker.boot(settle_in))
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
    """A worker's process without a master: what it tells and how it ends. `environ` is for the process."""

    def __init__(self, folder: Path, app: str, boot: str = "", **environ: str) -> None:
        (folder / "applied.py").write_text(APPLICATION)
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(DEADLINE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(theirs.fileno()), app],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(folder), "BOOT": boot, **environ},
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
        while more := self.channel.recv(65536):
            told += more
        self.channel.close()
        return self.process.returncode, told, log


def test_a_worker_says_when_it_is_ready_and_ends_when_told(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application")
    assert worker.hear(b"ready\n") == b"ready\n"
    worker.process.send_signal(signal.SIGTERM)
    code, told, log = worker.end()
    assert code == 0
    assert told == b"leaving\nstopping\n"
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
    assert word in reason(told)
    assert word not in log  # the master has the word


@pytest.mark.parametrize(
    ("boot", "word"),
    [
        ("hook", "the hook post_fork failed"),
        ("user", "PermissionError: [Errno 1] not permitted"),
        ("init hook", "LookupError: in the hook"),
    ],
)
def test_a_hook_or_a_user_that_cannot_be_is_a_reason_as_well(tmp_path: Path, boot: str, word: str):
    ended, told, log = Booted(tmp_path, "applied:application", boot, HOOKS="1").end()
    assert ended == 3
    assert word in reason(told)
    assert "Worker ready" not in log


def test_a_reason_that_no_master_hears_goes_to_the_log(tmp_path: Path):
    worker = Booted(tmp_path, "applied:missing")
    worker.channel.shutdown(socket.SHUT_RDWR)
    _, log = worker.process.communicate(timeout=DEADLINE)
    worker.channel.close()
    assert worker.process.returncode == 4
    assert "Worker cannot boot: " in log
    assert "missing" in log


def test_a_long_reason_is_told_by_its_end(tmp_path: Path):
    (tmp_path / "long.py").write_text("raise LookupError('#' * 200000 + ' the \u00fcend')", encoding="utf-8")
    ended, told, _ = Booted(tmp_path, "long:application").end()
    assert ended == 3
    why = reason(told)
    assert len(why) == MOST_TOLD
    assert why.endswith("# the \u00fcend")


def test_hooks_are_called_in_their_order_each_when_there_is_what_it_needs(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application", HOOKS="1")
    worker.hear(b"ready\n")
    worker.process.send_signal(signal.SIGINT)
    code, _, log = worker.end()
    assert code == 0
    said = [line for line in log.splitlines() if not line.startswith("[")]
    assert said == ["settle_in True", "post_worker_init True False", "worker_int False"]


def test_a_worker_int_that_fails_is_logged_and_the_worker_stops(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application", "int hook", HOOKS="1")
    worker.hear(b"ready\n")
    worker.process.send_signal(signal.SIGQUIT)
    code, _, log = worker.end()
    assert code == 0
    assert "worker_int failed" in log
    assert "LookupError: in the hook" in log


def reason(told: bytes) -> str:
    """Why a worker cannot boot, which is all that it told."""
    word, _, rest = told.partition(b" ")
    assert word == b"failed"
    assert rest.count(b"\n") == 1
    why: str = json.loads(rest)
    return why


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
    assert told == b"leaving\n"


def test_a_worker_that_the_master_gave_up_ends_with_1(tmp_path: Path):
    worker = Booted(tmp_path, "applied:application")
    worker.hear(b"ready\n")
    worker.process.send_signal(signal.SIGABRT)
    assert worker.end()[0] == 1


@pytest.mark.parametrize("boot", ["", "abort hook"])
def test_worker_abort_is_called_before_that_whether_it_fails_or_not(tmp_path: Path, boot: str):
    worker = Booted(tmp_path, "applied:application", boot, HOOKS="1")
    worker.hear(b"ready\n")
    worker.process.send_signal(signal.SIGABRT)
    code, _, log = worker.end()
    assert code == 1
    assert "worker_abort True" in log
    assert ("worker_abort failed" in log) is bool(boot)


def test_a_worker_opens_its_log_anew_when_told(tmp_path: Path):
    path = tmp_path / "error.log"
    worker = Booted(tmp_path, "applied:application", LOG=str(path))
    worker.hear(b"ready\n")
    path.rename(tmp_path / "old.log")
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.process.stdin is not None
    worker.process.stdin.write("\n" * 100)  # the loop turns with each
    worker.process.stdin.flush()
    wait_until(path.exists, "the new log")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 0
    assert "Worker exiting" in path.read_text()
    assert "Worker ready" in (tmp_path / "old.log").read_text()


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


def test_a_wish_to_be_exchanged_is_told_once_whoever_has_it(make_worker: MakeWorker):
    made = make_worker()
    threads = [threading.Thread(target=made.worker.ask_exchange, args=("worn",)) for _ in range(4)]
    made.worker.ask_exchange("too old")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert made._channel.recv(100) == b"retire\n"
    assert len(re.findall("asks to be exchanged", made.log())) == 1


def test_a_wish_that_could_not_be_told_is_told_later(make_worker: MakeWorker):
    made = make_worker()
    while made.worker.tell("beat"):
        pass
    made.worker.ask_exchange("too old")
    assert "asks to be exchanged" not in made.log()
    made._channel.recv(2**20)
    made.worker.ask_exchange("too old")
    told = made._channel.recv(2**20)
    assert told.endswith(b"retire\n")


# Words from the master.


def test_a_stop_that_is_announced_is_told_to_load_balancers_and_requests_are_served(make_worker: MakeWorker):
    made = make_worker()
    assert made.worker.is_ready()
    made._channel.send(b"stopp")
    assert made.worker.follow_orders()
    assert made.worker.is_ready()
    made._channel.send(b"ing\n")
    assert made.worker.follow_orders()
    assert not made.worker.is_ready()
    assert made.worker.service.keep_alive is False
    assert made.worker.service.draining is False


@pytest.mark.parametrize(("line", "served"), [(b"leave \n", set()), (b"leave 3,17\n", {3, 17})])
def test_an_order_to_leave_says_where_others_go_on(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch, line: bytes, served: set[int]
):
    made = make_worker()
    drained: list[set[int]] = []
    monkeypatch.setattr(made.worker, "drain", drained.append)
    made._channel.send(b"stopping\n" + line)
    assert made.worker.follow_orders()
    assert drained == [served]


def test_orders_that_nobody_knows_and_no_orders_change_nothing(make_worker: MakeWorker):
    made = make_worker()
    assert made.worker.follow_orders()
    made._channel.send(b"dance\n\n")
    assert made.worker.follow_orders()
    assert made.worker.is_ready()


def test_a_worker_whose_master_is_gone_finishes(make_worker: MakeWorker):
    made = make_worker()
    made.lose_master()
    assert made.worker.follow_orders() is False
    assert made.worker.service.draining
    assert not made.worker.is_ready()
    assert "The master is gone" in made.log()


def test_a_file_that_has_changed_is_told_by_its_path(make_worker: MakeWorker):
    made = make_worker()
    made.worker._tell_changed("/srv/a b\n.py")
    word, _, rest = made._channel.recv(100).partition(b" ")
    assert word == b"changed"
    assert rest.endswith(b"\n")
    assert json.loads(rest) == "/srv/a b\n.py"
