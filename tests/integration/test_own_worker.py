"""Worker classes of one's own: gunicorn's documented contract, and the three ways to name one."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.load import load
from integration.reloading import SERVES, signal_and_wait, wait_for_others, write_config
from integration.running import Server, StartServer, wait_until
from unit.offering import offer

OWN = '''
import select
import sys

from greenhorn.workers.base import Worker


def tell(*words):
    print(*words, flush=True)


class OwnWorker(Worker):
    """Answers each connection with one fixed text; its loop is its own, and knows nothing of the server's."""

    @classmethod
    def setup(cls):
        tell("setup")

    def init_process(self):
        tell("init_process", self.booted, self.pid)
        self.ready_text = b"made in init_process"
        super().init_process()
        tell("init_process ends", self.alive)

    def init_signals(self):
        super().init_signals()
        tell("init_signals")

    def load_wsgi(self):
        tell("load_wsgi")
        return super().load_wsgi()

    def patch(self):
        tell("patch", "hello" in sys.modules)

    def handle_exit(self, sig, frame):
        tell("handle_exit", int(sig))
        super().handle_exit(sig, frame)

    def handle_quit(self, sig, frame):
        tell("handle_quit", int(sig))
        super().handle_quit(sig, frame)

    def handle_usr1(self, sig, frame):
        tell("handle_usr1", int(sig))
        super().handle_usr1(sig, frame)

    def handle_abort(self, sig, frame):
        tell("handle_abort", int(sig))
        super().handle_abort(sig, frame)

    def run(self):
        tell("run", self.alive, self.timeout, self.age, self.ppid == self.cfg_parent())
        while self.alive:
            self.notify()
            readable, _, _ = select.select([each.socket for each in self.sockets], [], [], 0.05)
            for listener in readable:
                self.answer(listener)

    def cfg_parent(self):
        import os
        return os.getppid()

    def answer(self, listener):
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.setblocking(True)
            connection.settimeout(5)
            if connection.recv(65536).startswith(b"GET /hang"):
                import time
                time.sleep(30)
            self.nr += 1
            text = self.ready_text + b" %d" % self.pid
            connection.sendall(
                b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text) + text
            )
'''
HELLO = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'app']\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the module `shop`, which has the class OwnWorker, and the application `hello:app`."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(OWN)
    (folder / "hello.py").write_text(HELLO)
    return folder


Start = Callable[..., Server]


@pytest.fixture
def start(server: StartServer, shop: Path) -> Start:
    """Start `hello:app` where `shop` can be imported."""

    def started(*arguments: str, **options: object) -> Server:
        env = {"PYTHONPATH": str(shop), **options.pop("env", {})}  # type: ignore[dict-item]
        return server("hello:app", *arguments, pythonpath=(shop,), env=env, **options)

    return started


def told(site: Server) -> list[str]:
    """Return the first words of what the worker class has printed."""
    return [line.split()[0] for line in site.stdout().splitlines()]


def answered(site: Server) -> str:
    return site.request(LAST).text


# The contract.


def test_a_loop_of_its_own_that_notifies_and_accepts_is_all_that_a_class_needs(start: Start):
    site = start("-k", "shop.OwnWorker", "--timeout", "2")
    worker = site.worker_pid()
    assert answered(site) == f"made in init_process {worker}"
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 3, what="more than the timeout")
    assert answered(site) == f"made in init_process {worker}"
    site.stop()
    lines = site.stdout().splitlines()
    assert [line.split()[0] for line in lines] == [
        "setup",
        "init_process",
        "init_signals",
        "patch",
        "load_wsgi",
        "run",
        "handle_exit",
        "init_process",
    ]
    assert lines[1] == f"init_process False {worker}"
    assert lines[3] == "patch False"
    assert lines[5] == "run True 1.0 1 True"
    assert lines[6] == f"handle_exit {int(signal.SIGTERM)}"
    assert lines[7] == "init_process ends False"


@pytest.mark.parametrize(("number", "handler"), [(signal.SIGINT, "handle_quit"), (signal.SIGQUIT, "handle_quit")])
def test_a_quick_stop_calls_its_handler_and_the_hook(start: Start, number: signal.Signals, handler: str):
    site = start("-k", "shop.OwnWorker", config="def worker_int(worker): print('worker_int', flush=True)\n")
    os.kill(site.worker_pid(), number)
    wait_until(lambda: handler in told(site) and "worker_int" in told(site), what=handler)
    assert f"{handler} {int(number)}" in site.stdout()


def test_usr1_calls_its_handler(start: Start):
    site = start("-k", "shop.OwnWorker")
    site.signal(signal.SIGUSR1)
    wait_until(lambda: "handle_usr1" in told(site), what="handle_usr1")
    assert answered(site) == f"made in init_process {site.worker_pid()}"


def test_a_worker_that_does_not_notify_is_aborted_by_its_handler_and_replaced(start: Start):
    site = start("-k", "shop.OwnWorker", "--timeout", "1", allow_traceback=True)
    worker = site.worker_pid()
    with site.connect() as connection:
        connection.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "handle_abort" in told(site), what="handle_abort")
        wait_for_others(site, [worker])
    assert answered(site) != f"made in init_process {worker}"


def test_hup_and_term_under_load_exchange_its_workers_in_order(start: Start):
    site = start("-k", "shop.OwnWorker", workers=2)
    first = site.worker_pids()
    with load(site, clients=4) as clients:
        clients.more(50)
        signal_and_wait(site, signal.SIGHUP, SERVES)
        wait_for_others(site, first)
        clients.more(50)
    assert "ERROR" not in site.log()


def test_it_is_told_when_its_master_is_gone(start: Start):
    site = start("-k", "shop.OwnWorker")
    worker = site.worker_pid()
    site.signal(signal.SIGKILL)
    site.wait()
    site.wait_for_log(rf"The master is gone: worker {worker} finishes")
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), what="its end")


def test_a_class_that_extends_one_of_the_servers_own(start: Start, shop: Path):
    (shop / "shop.py").write_text(
        "from greenhorn.workers.sync import SyncWorker\n"
        "class OwnWorker(SyncWorker):\n"
        "    def init_process(self):\n"
        "        print('init_process', flush=True)\n"
        "        super().init_process()\n"
        "    def handle_exit(self, sig, frame):\n"
        "        print('handle_exit', flush=True)\n"
        "        super().handle_exit(sig, frame)\n"
    )
    site = start("-k", "shop:OwnWorker")
    assert answered(site) == "app"
    site.stop()
    assert told(site) == ["init_process", "handle_exit"]


JUDGES = """
from greenhorn.errors import ConfigError
from greenhorn.workers.sync import SyncWorker
class OwnWorker(SyncWorker):
    @classmethod
    def check_config(cls, cfg, log):
        if cfg.timeout > 30:
            raise ConfigError("timeout: the device answers within 30 seconds")
        if cfg.timeout > 20:
            log.warning("a device that takes %d seconds is slow", cfg.timeout)
"""


def test_it_judges_the_settings_at_the_start_at_hup_and_in_the_check(start: Start, shop: Path):
    (shop / "shop.py").write_text(JUDGES)
    site = start("-k", "shop.OwnWorker", config="timeout = 25\n")
    assert "[WARNING] a device that takes 25 seconds is slow" in site.log()
    write_config(site, "timeout = 40\n")
    signal_and_wait(site, signal.SIGHUP, "timeout: the device answers within 30 seconds")
    assert site.request(LAST).status == 200
    refused = start("-k", "shop.OwnWorker", "--check-config", "-t", "40", ready=False, exit_code=1)
    assert refused.wait() == 1
    refused.wait_for_log("timeout: the device answers within 30 seconds")


@pytest.mark.parametrize("where", ["init_process", "run", "load_wsgi"])
def test_one_that_raises_before_it_is_ready_ends_the_start_with_its_traceback(start: Start, shop: Path, where: str):
    source = f"def {where}(self): raise LookupError('in {where}')"
    (shop / "shop.py").write_text(
        f"from greenhorn.workers.base import Worker\nclass OwnWorker(Worker):\n    {source}\n"
        + ("" if where == "run" else "    def run(self): pass\n")
    )
    site = start("-k", "shop.OwnWorker", ready=False, allow_traceback=True)
    if where == "run":  # it was ready: it is respawned as one that dies
        site.wait_for_log("LookupError: in run")
        site.stop()
    else:
        assert site.wait() == 3
        site.wait_for_log(f"LookupError: in {where}")


# How it is named.


def test_a_class_in_the_configuration_file(start: Start):
    site = start(config="from shop import OwnWorker\nclass Mine(OwnWorker):\n    pass\nworker_class = Mine\n")
    assert answered(site).startswith("made in init_process")
    assert "Using worker: " in site.log()
    site.signal(signal.SIGHUP)
    site.wait_for_log(SERVES)
    assert answered(site).startswith("made in init_process")


def test_an_entry_point_of_an_installed_package(start: Start, shop: Path):
    offer(shop, "own = shop:OwnWorker")
    site = start("-k", "own")
    assert answered(site).startswith("made in init_process")


@pytest.mark.parametrize(
    ("wanted", "config", "said"),
    [
        ("nowhere.OwnWorker", "", "worker_class = 'nowhere.OwnWorker': nowhere cannot be imported: No module named"),
        ("shop.Nobody", "", "worker_class = 'shop.Nobody': there is no Nobody in shop"),
        ("hello.app", "", "worker_class = 'hello.app': is no subclass of greenhorn.workers.base.Worker"),
        ("hello:broken.part", "", "worker_class = 'hello:broken.part': there is no broken.part in hello"),
        ("broken:OwnWorker", "", "worker_class = 'broken:OwnWorker': broken cannot be imported: ZeroDivisionError"),
        ("fails:OwnWorker", "", "worker_class = 'fails:OwnWorker': its setup() fails: OSError('no such device')"),
        ("own", "", "worker_class = 'own': shop.workers cannot be imported: No module named"),
        ("owm", "", "worker_class = 'owm': is no worker class of greenhorn (did you mean own?): use gthread, "),
        ("gunicorns:OwnWorker", "", "import the base class from greenhorn.workers.base"),
        ("", "class Mine: pass\nworker_class = Mine\n", "is no subclass of greenhorn.workers.base.Worker"),
    ],
)
@pytest.mark.parametrize("checking", [False, True], ids=["start", "check"])
def test_what_is_no_worker_class_is_told_in_one_line(
    start: Start, shop: Path, wanted: str, config: str, said: str, *, checking: bool
):
    (shop / "broken.py").write_text("1 / 0\n")
    (shop / "fails.py").write_text(
        "from greenhorn.workers.base import Worker\nclass OwnWorker(Worker):\n    @classmethod\n"
        "    def setup(cls): raise OSError('no such device')\n"
    )
    (shop / "gunicorns.py").write_text("from gunicorn.workers.base import Worker\nclass OwnWorker(Worker):\n    pass\n")
    if wanted in {"own", "owm"}:
        offer(shop, "own = shop.workers:OwnWorker")
    flags = ["-k", wanted] if wanted else []
    site = start(*flags, *(["--check-config"] if checking else []), config=config, ready=False)
    assert site.wait() == 1
    [line] = [line for line in site.log().splitlines() if "rror: " in line and "worker_class" in line]
    assert said in line
    assert "Traceback" not in site.log()


@pytest.mark.parametrize("wanted", ["gevent", "eventlet"])
def test_an_extra_that_is_not_installed_is_one_line_that_says_what_to_install(start: Start, shop: Path, wanted: str):
    (shop / "sitecustomize.py").write_text(f"import sys\nsys.modules['{wanted}'] = None\n")
    site = start("-k", wanted, ready=False)
    assert site.wait() == 1
    [line] = [line for line in site.log().splitlines() if "worker_class" in line]
    assert line.endswith(f"needs {wanted}, which is not installed: pip install 'greenhorn[{wanted}]'")


def test_a_library_that_does_not_go_with_this_python_is_one_line_that_says_so(start: Start, shop: Path):
    (shop / "eventlet.py").write_text("raise AttributeError('module ssl has no attribute wrap_socket')\n")
    site = start("-k", "eventlet", ready=False)
    assert site.wait() == 1
    [line] = [line for line in site.log().splitlines() if "worker_class" in line]
    assert "eventlet as it is installed does not go with Python 3." in line
