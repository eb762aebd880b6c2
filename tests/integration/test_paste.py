"""A Pyramid application that an ini file describes, served by the command and by pserve."""

import json
import signal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from greenhorn.app import pasterapp
from integration.embedding import APPLICATIONS, start_program
from integration.running import Server, StartServer, wait_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
INI = """
[DEFAULT]
depth = 1

[app:main]
use = call:shelf:main
shelf.size = 3

[app:admin]
use = main
shelf.size = 4

[server:main]
use = egg:{server}#main
host = 127.0.0.1
port = 0
workers = {workers}
"""
LOGGING = """
[loggers]
keys = root, shelf

[handlers]
keys = file

[formatters]
keys = generic

[logger_root]
level = WARNING
handlers = file

[logger_shelf]
level = INFO
handlers =
qualname = shelf

[handler_file]
class = FileHandler
args = ('%(here)s/shelf.log',)
formatter = generic

[formatter_generic]
format = %(name)s said %(message)s
"""


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """An ini file for greenhorn."""
    path = tmp_path / "shop.ini"
    path.write_text(INI.format(server="greenhorn", workers=2))
    return path


def answer(running: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.request(GET).body)
    return found


def paste(server: StartServer, uri: str | Path, *arguments: str, **options: Any) -> Server:
    settings: dict[str, Any] = {"pythonpath": (APPLICATIONS,), "bind": (), "workers": None, **options}
    return server(None, "--paste", str(uri), *arguments, **settings)


@pytest.mark.parametrize("name", ["greenhorn", "gunicorn"])
def test_the_command_serves_the_application_with_the_server_s_section(server: StartServer, ini: Path, name: str):
    ini.write_text(INI.format(server=name, workers=2))
    running = paste(server, ini)
    wait_until(lambda: len(running.worker_pids()) == 2)
    assert answer(running)["size"] == "3"
    assert answer(running)["depth"] == "1"


def test_a_section_and_variables_are_named(server: StartServer, ini: Path):
    ini.write_text(INI.format(server="greenhorn", workers=1).replace("depth = 1", ""))
    running = paste(server, f"{ini}#admin", "--paste-global", "depth=7")
    assert (answer(running)["size"], answer(running)["depth"]) == ("4", "7")


def test_the_command_line_comes_before_the_file(server: StartServer, ini: Path):
    ini.write_text(INI.format(server="greenhorn", workers=2).replace("port = 0", "port = 1"))
    running = paste(server, ini, bind="127.0.0.1:0", workers=1)
    assert answer(running)["pid"] == running.worker_pid()


def test_hup_reads_the_file_again(server: StartServer, ini: Path):
    running = paste(server, ini)
    before = {*running.worker_pids()}
    ini.write_text(INI.format(server="greenhorn", workers=3).replace("size = 3", "size = 5"))
    running.signal(signal.SIGHUP)
    running.wait_for_log("The new generation serves")
    wait_until(lambda: len({*running.worker_pids()} - before) == 3)
    wait_until(lambda: not before & {*running.worker_pids()})
    assert answer(running)["size"] == "5"


def test_with_preload_the_master_loads_it(server: StartServer, ini: Path):
    running = paste(server, ini, "--preload")
    assert answer(running)["size"] == "3"


def test_a_check_loads_the_application(server: StartServer, ini: Path):
    good = paste(server, ini, "--check-config", ready=False)
    bad = paste(server, f"{ini}#elsewhere", "--check-config", ready=False)
    assert (good.wait(), good.log()) == (0, "")
    assert bad.wait() == 1
    assert len(bad.log().splitlines()) == 1
    assert "No section 'elsewhere'" in bad.log()


def test_a_section_that_there_is_not_ends_the_start(server: StartServer, ini: Path):
    running = paste(server, f"{ini}#elsewhere", ready=False)
    assert running.wait() == 4
    assert f"cannot boot: {ini}#elsewhere: LookupError: No section 'elsewhere'" in running.log()


def test_a_missing_library_ends_the_start_with_what_to_install(server: StartServer, ini: Path):
    code = "import sys; sys.modules['paste.deploy'] = None; import greenhorn.cli; sys.exit(greenhorn.cli.main())"
    running = start_program(server, "-c", code, "--paste", str(ini), ready=False)
    assert running.wait() == 1
    [line] = running.log().splitlines()
    assert line.startswith("greenhorn: error: command line: paste: the package PasteDeploy is needed")
    assert line.endswith("pip install greenhorn[paste]")


def test_the_file_s_logging_is_configured(server: StartServer, ini: Path):
    ini.write_text(INI.format(server="greenhorn", workers=1) + LOGGING)
    running = paste(server, ini)
    assert answer(running)["size"] == "3"
    assert "shelf said asked for /" in (ini.parent / "shelf.log").read_text()


# pserve.


def pserve(server: StartServer, ini: Path, **options: Any) -> Server:
    code = "import sys; from pyramid.scripts.pserve import main; sys.exit(main())"
    return start_program(server, "-c", code, str(ini), **options)


def test_pserve_serves_with_the_section(server: StartServer, ini: Path):
    running = pserve(server, ini, workers=2)
    assert answer(running)["size"] == "3"
    assert len(running.worker_pids()) == 2
    running.signal(signal.SIGHUP)
    running.wait_for_log("The new generation serves")
    assert answer(running)["size"] == "3"


def test_under_pserve_the_section_comes_before_the_configuration_file(server: StartServer, ini: Path):
    conf = ini.with_name("conf.py")
    conf.write_text("workers = 5\nproc_name = 'shelf'\ndef on_starting(server):\n    server.log.info('from conf.py')\n")
    ini.write_text(INI.format(server="greenhorn", workers=1) + f"config = {conf}\n")
    running = pserve(server, ini, env={"GREENHORN_CMD_ARGS": "--workers 4"})
    assert len(running.worker_pids()) == 1
    assert "from conf.py" in running.log()


def test_a_wrong_key_ends_pserve_with_one_line(server: StartServer, ini: Path):
    ini.write_text(INI.format(server="greenhorn", workers="many"))
    running = pserve(server, ini, ready=False)
    running.wait()
    assert f"{ini}, section of the server: workers = 'many': must be a whole number" in running.log()


def test_the_entry_point_leads_to_the_server():
    [found] = entry_points(group="paste.server_runner", name="main").select(module="greenhorn.app.pasterapp")
    assert found.load() is pasterapp.serve
