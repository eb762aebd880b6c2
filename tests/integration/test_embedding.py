"""Programs that start the server themselves: gunicorn's custom applications with only the import changed."""

import json
import re
import signal
from pathlib import Path
from typing import Any

from integration.embedding import APPLICATIONS, start_program
from integration.running import Server, StartServer, wait_until
from integration.upgrading import upgraded

SCRIPT = str(APPLICATIONS / "embedded.py")
LOADS = re.compile(r"^load in (\d+)$", re.MULTILINE)
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def embedded(server: StartServer, settings: dict[str, Any] | None = None, **options: Any) -> Server:
    env = {"OPTIONS": json.dumps(settings or {}), **options.pop("env", {})}
    return start_program(server, SCRIPT, env=env, **options)


def loads(running: Server) -> list[int]:
    return sorted(map(int, LOADS.findall(running.log())))


def test_a_custom_application_serves_with_its_options(server: StartServer):
    running = embedded(server, {"workers": 2, "threads": 3}, workers=2)
    assert running.request(GET).body == b"embedded"
    assert running.request(GET.replace(b"/", b"/threads", 1)).body == b"3"
    assert len(running.worker_pids()) == 2


def test_each_worker_loads_the_application_after_the_fork(server: StartServer):
    running = embedded(server, {"workers": 2}, workers=2)
    assert loads(running) == running.worker_pids()


def test_with_preload_the_master_loads_it_once_and_a_reload_keeps_it(server: StartServer):
    running = embedded(server, {"workers": 2, "preload_app": True}, workers=2)
    assert loads(running) == [running.pid]
    running.signal(signal.SIGHUP)
    running.wait_for_log("The new generation serves")
    assert running.request(GET).body == b"embedded"
    assert loads(running) == [running.pid]


def test_hooks_that_load_config_sets_are_called(server: StartServer):
    running = embedded(server)
    assert f"on_starting in {running.pid}" in running.log()


def test_hup_runs_load_config_again(server: StartServer, tmp_path: Path):
    file = tmp_path / "options.json"
    file.write_text('{"workers": 1, "threads": 2}')
    running = embedded(server, env={"OPTIONS_FILE": str(file)})
    before = running.worker_pids()
    file.write_text('{"workers": 2, "threads": 5}')
    running.signal(signal.SIGHUP)
    running.wait_for_log("The new generation serves")
    wait_until(lambda: len(running.worker_pids()) == 2 and not {*before} & {*running.worker_pids()})
    assert running.request(GET.replace(b"/", b"/threads", 1)).body == b"5"


def test_a_reload_with_a_wrong_setting_is_given_up(server: StartServer, tmp_path: Path):
    file = tmp_path / "options.json"
    file.write_text('{"threads": 2}')
    running = embedded(server, env={"OPTIONS_FILE": str(file)})
    before = running.worker_pids()
    file.write_text('{"threads": "many"}')
    running.signal(signal.SIGHUP)
    running.wait_for_log("reload is given up.*StandaloneApplication: threads = 'many'")
    assert running.worker_pids() == before
    assert running.request(GET.replace(b"/", b"/threads", 1)).body == b"2"


def test_usr2_starts_the_program_again_on_the_same_socket(server: StartServer):
    running = embedded(server)
    with upgraded(running) as second:
        assert f"on_starting in {second}" in running.log()
        assert len(running.addresses) == 1
        assert running.stop() == 0
        assert running.request(GET).body == b"embedded"


def test_an_application_that_cannot_be_loaded_ends_the_start(server: StartServer):
    running = embedded(server, env={"FAULT": "no shelf"}, ready=False, allow_traceback=True)
    assert running.wait() == 3
    assert "cannot boot: StandaloneApplication.load() failed:\nTraceback" in running.log()
    assert "RuntimeError: no shelf" in running.log()
    assert "greenhorn/app" not in running.log()


def test_a_wrong_option_ends_the_start_with_one_line(server: StartServer):
    running = embedded(server, {"timeout": "soon"}, ready=False)
    assert running.wait() == 1
    assert running.log().startswith("greenhorn: error: StandaloneApplication: timeout = 'soon': ")
    assert len(running.log().splitlines()) == 1


NAMED = """
from greenhorn.app.wsgiapp import WSGIApplication

class StandaloneApplication(WSGIApplication):
    def __init__(self, app_uri, options=None):
        self.options = options or {}
        self.app_uri = app_uri
        super().__init__()

    def load_config(self):
        for key, value in self.options.items():
            if key in self.cfg.settings and value is not None:
                self.cfg.set(key.lower(), value)

StandaloneApplication("embedded:handler_app", {"bind": "127.0.0.1:0", "workers": 2}).run()
"""


def test_an_application_may_be_named_instead(server: StartServer, tmp_path: Path):
    (tmp_path / "named.py").write_text(NAMED)
    running = start_program(server, str(tmp_path / "named.py"), workers=2)
    assert running.request(GET).body == b"embedded"


def test_wsgiapp_is_the_command(server: StartServer):
    arguments = ["-m", "greenhorn.app.wsgiapp", "--bind", "127.0.0.1:0", "embedded:handler_app"]
    running = start_program(server, *arguments)
    assert running.request(GET).body == b"embedded"


def test_a_class_of_the_command_takes_flags_and_files(server: StartServer, tmp_path: Path):
    (tmp_path / "conf.py").write_text("bind = '127.0.0.1:0'\nworkers = 2\n")
    code = "from greenhorn.app.wsgiapp import WSGIApplication; WSGIApplication().run()"
    running = start_program(server, "-c", code, "-c", str(tmp_path / "conf.py"), "embedded:handler_app", workers=2)
    assert running.request(GET).body == b"embedded"
    running.signal(signal.SIGHUP)
    running.wait_for_log("The new generation serves")
