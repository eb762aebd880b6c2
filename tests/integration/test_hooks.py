"""Server hooks: which one is called when, in which process and with what. The order is that of gunicorn 27.0.1."""

import os
import re
import signal
from pathlib import Path

import pytest

from integration.answers import AnswerReader
from integration.hooking import BIRTH, DEATH, LEAVING, REQUEST, START, Recorder, start_recorded
from integration.kinds import AND_ASGI_ONCE, USUAL_KIND
from integration.running import StartServer, wait_until
from integration.staging import GET, ask
from integration.upgrading import is_alive, second_master, stop, upgraded
from integration.wire import connect

pytestmark = AND_ASGI_ONCE

SOURCE = """
def application(environ, start_response):
    if environ["PATH_INFO"] == "/fails":
        raise RuntimeError("zq81 of the application")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"hi"]
"""


@pytest.fixture
def recorded(server: StartServer, tmp_path: Path) -> Recorder:
    """A server of one worker whose hooks are noted, as it has just started."""
    return start_recorded(server, tmp_path, app_source=SOURCE)


def ask_and_close(recorder: Recorder, path: str = "/") -> int:
    """Ask on a connection that is closed by the server, so that all that there is to a request is over."""
    with connect(recorder.site) as connection:
        connection.sendall(ask(path, fields="Connection: close\r\n"))
        reader = AnswerReader(connection)
        status = reader.read().status
        assert reader.rest() == b""
    return status


def test_hooks_are_called_in_gunicorns_order_and_processes_from_start_to_end(recorded: Recorder):
    site = recorded.site
    recorded.expect(*START)
    assert ask_and_close(recorded) == 200
    recorded.expect(*REQUEST)
    os.kill(site.worker_pid(), signal.SIGINT)
    recorded.expect(("worker_int", "child"), *LEAVING, *BIRTH)
    os.kill(site.worker_pid(), signal.SIGKILL)
    recorded.expect(*DEATH, *BIRTH)
    site.signal(signal.SIGTTIN)
    recorded.expect(("nworkers_changed", "master"), *BIRTH)
    site.signal(signal.SIGTTOU)
    recorded.expect(("nworkers_changed", "master"), *LEAVING)
    site.signal(signal.SIGHUP)
    recorded.expect(("nworkers_changed", "master"), ("on_reload", "master"), *BIRTH, *LEAVING)
    os.kill(site.worker_pid(), signal.SIGTERM)
    # The next one does not wait until the old one has left.
    assert sorted(note.call for note in recorded.next(5)) == sorted((*LEAVING, *BIRTH))
    assert site.stop() == 0
    recorded.expect(*LEAVING, ("on_exit", "master"))


def test_an_aborted_worker_has_its_hooks_called_in_gunicorns_order(recorded: Recorder):
    recorded.expect(*START)
    os.kill(recorded.site.worker_pid(), signal.SIGABRT)
    abort, last, *_ = recorded.expect(("worker_abort", "child"), *LEAVING, *BIRTH)
    assert abort.facts["worker"]["alive"] is False
    assert last.pid == abort.pid


def test_an_exchange_by_max_requests_calls_the_hooks_of_the_replacement_first(server: StartServer, tmp_path: Path):
    recorded = start_recorded(server, tmp_path, "--max-requests", "3", app_source=SOURCE)
    recorded.expect(*START)
    for _ in range(2):
        ask_and_close(recorded)
        recorded.expect(*REQUEST)
    worker = recorded.site.worker_pid()
    ask_and_close(recorded)
    notes = recorded.next(len(REQUEST) + len(BIRTH) + len(LEAVING))
    own = [note for note in notes if note.pid == worker]  # it goes on while the replacement starts
    assert [note.call for note in own] == [*REQUEST, LEAVING[0]]
    assert [note.facts["worker"]["nr"] for note in own] == [2, 3, 3]
    others = [note.call for note in notes if note.call not in REQUEST]
    assert others == [*BIRTH, *LEAVING], "gunicorn: LEAVING, and then BIRTH"
    assert notes[-1].facts["worker"]["age"] == 1


@USUAL_KIND
def test_an_upgrade_calls_pre_exec_in_a_fork_of_the_master_and_then_starts_anew(recorded: Recorder):
    site = recorded.site
    recorded.expect(*START)
    with upgraded(site) as successor:
        [pre_exec, changed, *_] = recorded.expect(("pre_exec", "child"), *START)
        assert pre_exec.pid == changed.pid == successor
        assert pre_exec.facts["server"]["pid"] == site.pid
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        [*_, ended] = recorded.expect(*LEAVING, ("on_exit", "master"))
        assert ended.pid == site.pid
        stop(successor)
        [*_, ended] = recorded.expect(*LEAVING, ("on_exit", "master"))
        assert ended.pid == successor


@USUAL_KIND
def test_the_server_has_the_attributes_that_hooks_rely_on(recorded: Recorder):
    site = recorded.site
    changed, starting, ready, before, after, _ = recorded.expect(*START)
    assert (changed.facts["old"], changed.facts["new"]) == (None, 1)
    url, worker = site.url, site.worker_pid()
    whole = {"pid": site.pid, "num_workers": 1, "cfg": 1, "logs": True, "proc_name": "written:application"}
    whole |= {"timeout": 30, "workers": {}, "listeners": [url]}
    assert starting.facts["server"] == whole | {"listeners": []}
    assert ready.facts["server"] == before.facts["server"] == after.facts["server"] == whole
    site.signal(signal.SIGTTIN)
    changed, before, *_ = recorded.expect(("nworkers_changed", "master"), *BIRTH)
    assert (changed.facts["old"], changed.facts["new"]) == (1, 2)
    assert before.facts["server"] == whole | {"num_workers": 2, "workers": {str(worker): 1}}
    assert site.stop() == 0
    [*_, end] = recorded.notes()
    assert end.facts["server"] == whole | {"num_workers": 2, "listeners": end.facts["server"]["listeners"]}


def test_a_worker_has_the_attributes_that_hooks_rely_on(recorded: Recorder):
    site = recorded.site
    *_, before, after, started = recorded.expect(*START)
    pid = site.worker_pid()
    whole = {"pid": pid, "age": 1, "nr": 0, "cfg": 30, "logs": True, "alive": True, "booted": False}
    whole |= {"ppid": site.pid, "sockets": 1}
    assert before.facts["worker"] == whole | {"pid": "[booting]"}
    assert after.facts["worker"] == started.facts["worker"] == whole
    ask_and_close(recorded)
    before, after = recorded.expect(*REQUEST)
    assert before.facts["worker"] == whole | {"booted": True}
    assert after.facts["worker"] == whole | {"booted": True, "nr": 1}
    os.kill(pid, signal.SIGTERM)
    calls = {note.call: note for note in recorded.next(5)}
    left, gone, before = (calls[name] for name in (*LEAVING, BIRTH[0]))
    assert left.facts["worker"] == whole | {"booted": True, "alive": False, "nr": 1}
    assert (gone.facts["worker"]["pid"], gone.facts["worker"]["age"]) == (pid, 1)
    assert before.facts["worker"]["age"] == 2


def test_a_request_and_its_answer_have_the_attributes_that_hooks_rely_on(recorded: Recorder):
    recorded.expect(*START)
    assert ask_and_close(recorded, "/x%20y?q=%31&r") == 200
    before, after = recorded.expect(*REQUEST)
    assert before.facts["req"] == {
        "method": "GET",
        "path": "/x%20y",
        "uri": "/x%20y?q=%31&r",
        "query": "q=%31&r",
        "headers": [["HOST", "x"], ["CONNECTION", "close"]],
        "version": [1, 1],
    }
    assert (after.facts["path"], after.facts["environ"]) == ("/x%20y", "/x y")
    assert after.facts["resp"] == {
        "status": "200 OK",
        "status_code": 200,
        "headers": [["Content-Type", "text/plain"], ["Content-Length", "2"]],
        "sent": 2,
    }


def test_requests_that_fail_in_the_application_are_told_to_post_request_and_malformed_ones_are_not(
    server: StartServer, tmp_path: Path
):
    recorded = start_recorded(server, tmp_path, app_source=SOURCE, allow_traceback=True)
    recorded.expect(*START)
    assert ask_and_close(recorded, "/fails") == 500
    recorded.expect(*REQUEST)
    assert recorded.site.request(b"malformed\r\n\r\n").status == 400
    assert ask_and_close(recorded) == 200
    recorded.expect(*REQUEST)


ARITIES = {
    "two": ("worker, req", "req.path"),
    "three": ("worker, req, environ", "req.path + environ['PATH_INFO']"),
    "four": ("worker, req, environ, resp", "req.path + environ['PATH_INFO'] + resp.status"),
    "a default": ("worker, req, environ=None", "req.path + str(type(environ).__name__)"),
    "any number": ("*arguments", "str(len(arguments))"),
}
NOTED = {"two": "/x", "three": "/x/x", "four": "/x/x200 OK", "a default": "/xdict", "any number": "4"}


@pytest.mark.parametrize("name", ARITIES)
def test_post_request_takes_two_three_or_four_arguments(server: StartServer, name: str):
    parameters, value = ARITIES[name]
    worker = "arguments[0]" if name == "any number" else "worker"
    site = server(
        app_source=SOURCE, config=f"def post_request({parameters}):\n    {worker}.log.info('noted: %s', {value})\n"
    )
    site.request(ask("/x"))
    assert site.wait_for_log(r"noted: (.*)$")[1] == NOTED[name]


def test_pre_request_may_change_what_the_application_sees(server: StartServer):
    source = "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    source += "    return [environ.get('HTTP_X_ADDED', '-').encode(), environ.get('HTTP_X_TAKEN', '-').encode()]\n"
    config = "def pre_request(worker, req):\n    req.headers.append(('X-ADDED', 'added'))\n"
    config += "    req.headers = [(name, value) for name, value in req.headers if name != 'X-TAKEN']\n"
    site = server(app_source=source, config=config)
    assert site.request(ask("/", fields="X-Taken: taken\r\n")).body == b"added-"


CALLBACKS = """
class Deep:
    @staticmethod
    def ready(server):
        server.log.info("{version}: ready")

def forked(server, worker):
    server.log.info("{version}: forked")
"""


@USUAL_KIND
def test_hooks_are_found_by_their_names_and_read_anew_on_hup(server: StartServer, tmp_path: Path):
    callbacks = tmp_path / "callbacks.py"
    callbacks.write_text(CALLBACKS.format(version="first"))
    env = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    config = "post_fork = 'callbacks.forked'\nwhen_ready = 'callbacks:Deep.ready'\n"
    site = server(app_source=SOURCE, config=config, env=env)
    site.wait_for_log("first: ready[^~]*first: forked")
    callbacks.write_text(CALLBACKS.format(version="second"))
    site.signal(signal.SIGHUP)
    site.wait_for_log("second: forked")
    assert site.request(GET).body == b"hi"


WRONG = {
    "too few parameters": (
        "def post_fork(server): pass",
        r"post_fork .*must take \(server, worker\), but takes \(server\)",
    ),
    "too many parameters": ("def on_exit(server, worker): pass", r"on_exit .*must take \(server\)"),
    "post_request of one": ("def post_request(worker): pass", r"post_request .*must take \(worker, req\)"),
    "no function": ("pre_fork = 81", "pre_fork .*81"),
    "no such module": ("pre_fork = 'zq81.hook'", "pre_fork .*zq81"),
    "no such name": ("pre_fork = 'os.zq81'", "pre_fork .*no zq81 in module os"),
    "a coroutine": ("async def when_ready(server): pass", "when_ready .*coroutine"),
    "a misspelling": ("def post_worker_inti(worker): pass", "did you mean post_worker_init"),
}


@USUAL_KIND
@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG)
def test_a_hook_that_cannot_be_called_ends_the_start_with_one_message(server: StartServer, config: str, message: str):
    site = server(app_source=SOURCE, config=config, ready=False)
    assert site.wait() == 1
    assert re.search(message, site.log())
    assert site.log().count("error") == 1


RAISING = "    raise RuntimeError('zq81')\n"
IN_THE_MASTER = {
    "nworkers_changed": ("server, new_value, old_value", {1}),
    "on_starting": ("server", {1}),
    "when_ready": ("server", {1}),
    "pre_fork": ("server, worker", {1, 3}),
}
IN_A_WORKER = {
    "post_fork": "server, worker",
    "post_worker_init": "worker",
}
FAILURES = pytest.mark.parametrize("wrong", ["RuntimeError", "KeyboardInterrupt"])


@USUAL_KIND
@FAILURES
@pytest.mark.parametrize(
    ("hook", "parameters", "codes"), [(hook, *rest) for hook, rest in IN_THE_MASTER.items()], ids=IN_THE_MASTER
)
def test_a_hook_of_the_master_that_fails_at_the_start_ends_it_with_one_traceback(
    server: StartServer, tmp_path: Path, hook: str, parameters: str, codes: set[int], wrong: str
):
    assert start_in_vain(server, tmp_path, hook, parameters, wrong) in codes


@FAILURES
@pytest.mark.parametrize(("hook", "parameters"), IN_A_WORKER.items(), ids=IN_A_WORKER)
def test_a_hook_of_a_worker_that_fails_at_the_start_ends_it_with_one_traceback(
    server: StartServer, tmp_path: Path, hook: str, parameters: str, wrong: str
):
    assert start_in_vain(server, tmp_path, hook, parameters, wrong) in {1, 3}


def start_in_vain(server: StartServer, folder: Path, hook: str, parameters: str, wrong: str) -> int:
    """Return the exit code of a server whose hook raises `wrong` at the start, and check that it is told once."""
    config = (
        f"def {hook}({parameters}):\n    raise {wrong}('zq81')\ndef on_exit(server):\n    server.log.info('on_exit')\n"
    )
    pidfile = folder / "pid"
    site = server(
        None, "--pid", str(pidfile), app_source=SOURCE, config=config, ready=False, workers=2, allow_traceback=True
    )
    code = site.wait()
    log = site.log()
    assert log.count("Traceback (most recent call last)") == log.count(f"{wrong}: zq81") == 1
    assert hook in log
    assert "Worker ready" not in log
    assert not pidfile.exists()
    return code


def test_a_hook_that_fails_later_is_logged_and_harms_nothing(server: StartServer, tmp_path: Path):
    hooks = {
        "post_request": "worker, req",
        "worker_int": "worker",
        "worker_exit": "server, worker",
        "child_exit": "server, worker",
        "on_exit": "server",
    }
    config = "".join(
        f"def {hook}({parameters}):\n    raise RuntimeError('zq81 {hook}')\n" for hook, parameters in hooks.items()
    )
    pidfile = tmp_path / "pid"
    site = server(None, "--pid", str(pidfile), app_source=SOURCE, config=config, allow_traceback=True)
    for _ in range(2):
        assert site.request(GET).status == 200
    wait_until(lambda: site.log().count("RuntimeError: zq81 post_request") == 2, what="the end of both requests")
    first = site.worker_pid()
    os.kill(first, signal.SIGINT)
    wait_until(lambda: site.log().count("Worker ready") == 2, what="the next worker")
    assert site.request(GET).status == 200
    assert site.stop() == 0
    log = site.log()
    assert not pidfile.exists()
    counts = {hook: log.count(f"RuntimeError: zq81 {hook}") for hook in hooks}
    assert counts == {"post_request": 3, "worker_int": 1, "worker_exit": 2, "child_exit": 2, "on_exit": 1}
    assert log.count("Traceback") == sum(counts.values())


@USUAL_KIND
def test_a_hook_that_is_interrupted_in_a_running_master_is_logged_and_harms_nothing(
    server: StartServer, tmp_path: Path
):
    flag, pidfile = tmp_path / "flag", tmp_path / "pid"
    config = "import os\n"
    for hook, parameters in {
        "nworkers_changed": "server, new, old",
        "pre_fork": "server, worker",
        "child_exit": "server, worker",
        "on_exit": "server",
    }.items():
        config += f"def {hook}({parameters}):\n    if os.path.exists({str(flag)!r}):\n"
        config += f"        raise KeyboardInterrupt('zq81 {hook}')\n"
    site = server(None, "--pid", str(pidfile), app_source=SOURCE, config=config, workers=2, allow_traceback=True)
    flag.touch()
    site.signal(signal.SIGTTIN)
    site.wait_for_log("KeyboardInterrupt: zq81 nworkers_changed")
    os.kill(site.worker_pids()[0], signal.SIGKILL)
    site.wait_for_log("KeyboardInterrupt: zq81 child_exit[^~]*KeyboardInterrupt: zq81 pre_fork")
    assert site.request(GET).status == 200
    assert site.stop() == 0
    assert "KeyboardInterrupt: zq81 on_exit" in site.log()
    assert not pidfile.exists()


def test_a_failing_worker_abort_is_logged_and_the_worker_is_replaced(server: StartServer):
    config = f"def worker_abort(worker):\n{RAISING}"
    site = server(app_source=SOURCE, config=config, allow_traceback=True)
    os.kill(site.worker_pid(), signal.SIGABRT)
    wait_until(lambda: site.log().count("Worker ready") == 2, what="the next worker")
    assert site.log().count("RuntimeError: zq81") == 1
    assert site.request(GET).body == b"hi"


@pytest.mark.parametrize("wrong", ["RuntimeError", "SystemExit", "KeyboardInterrupt"])
def test_a_failing_pre_request_is_answered_500_and_logged(server: StartServer, wrong: str):
    config = f"def pre_request(worker, req):\n    if req.path == '/refused':\n        raise {wrong}('zq81')\n"
    config += "def post_request(worker, req, environ, resp):\n    worker.log.info('after %s', req.path)\n"
    site = server(app_source=SOURCE, config=config, allow_traceback=True)
    refused = site.request(ask("/refused"))
    assert refused.status == 500
    assert b"zq81" not in refused.body
    assert site.request(GET).status == 200
    site.wait_for_log("after /$")
    assert site.log().count(f"{wrong}: zq81") == 1


@USUAL_KIND
def test_a_failing_pre_exec_leaves_the_first_master_serving_and_usr2_working(server: StartServer, tmp_path: Path):
    flag = tmp_path / "flag"
    flag.touch()
    config = (
        f"import os\ndef pre_exec(server):\n    if os.path.exists({str(flag)!r}):\n        raise RuntimeError('zq81')\n"
    )
    site = server(app_source=SOURCE, config=config, allow_traceback=True)
    failed = second_master(site)
    site.wait_for_log(rf"second master \(pid:{failed}\) has ended")
    assert site.log().count("RuntimeError: zq81") == 1
    assert site.request(GET).status == 200
    flag.unlink()
    with upgraded(site) as successor:
        assert site.request(GET).status == 200
    assert not is_alive(successor)
    site.wait_for_log(rf"second master \(pid:{successor}\) has ended")
