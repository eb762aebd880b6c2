"""Starting, and how it ends: exit codes, and what is said about a start that fails."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from integration.answers import AnswerReader
from integration.running import COMMAND, DEADLINE, READY, StartServer, wait_until
from integration.wire import connect

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
QUICK = 5.0
"""Seconds in which a quick end is over, on a busy machine too."""
SOURCE = """
value = 5
none = None
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"app"]
def make(greeting, *, mark="."):
    if greeting == "fail":
        raise RuntimeError("the factory failed")
    def made(environ, start_response):
        start_response("200 OK", [])
        return [(greeting + mark).encode()]
    return made
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
@pytest.mark.parametrize("workers", [1, 3])
def test_each_stopping_signal_ends_with_code_0(server: StartServer, number: signal.Signals, workers: int):
    site = server(app_source=SOURCE, app="written:app", workers=workers)
    with connect(site) as idle:
        idle.sendall(GET)
        reader = AnswerReader(idle)
        assert reader.read().body == b"app"
        began = time.monotonic()
        site.signal(number)
        assert site.wait() == 0
        assert time.monotonic() - began < QUICK
        assert reader.rest() == b""
    assert "ERROR" not in site.log()


LOADED = {
    "written": b"application",
    "written:app": b"app",
    "written:make('hello')": b"hello.",
    'written:make("hello", mark="!")': b"hello!",
}


@pytest.mark.parametrize(("app", "body"), LOADED.items())
def test_an_application_is_found_by_its_name(server: StartServer, app: str, body: bytes):
    site = server(app, app_source=SOURCE + "application = make('application', mark='')")
    assert site.request(GET).body == body


FAILING: dict[str, tuple[str, int, str, str]] = {
    "no such module": ("written_not", 3, "no module named written_not", SOURCE),
    "no such package": ("written_not.sub:app", 3, "no module named written_not", SOURCE),
    "a file's name": ("written.py", 3, "did you mean written:", SOURCE),
    "a path": ("./written.py", 3, "is a path", SOURCE),
    "a syntax error": ("written", 3, "SyntaxError", "def ("),
    "an import that fails": ("written", 3, "No module named 'zq81'", "import zq81"),
    "an error at import": ("written", 3, "RuntimeError: zq81", "raise RuntimeError('zq81')"),
    "an exit at import": ("written", 3, "SystemExit: 81", "raise SystemExit(81)"),
    "a factory that fails": ("written:make('fail')", 3, "RuntimeError: the factory failed", SOURCE),
    "no such name": ("written:ap", 4, "did you mean written:app?", SOURCE),
    "no usual name": ("written", 4, "has no 'application'", SOURCE),
    "something that cannot be called": ("written:value", 4, "cannot be called", SOURCE),
    "None": ("written:none", 4, "none is None", SOURCE),
    "a call that does not fit": ("written:make()", 4, "does not fit", SOURCE),
    "a call with names": ("written:make(greeting)", 4, "must be literals", SOURCE),
    "an expression": ("written:app or app", 4, "neither a name nor a call", SOURCE),
    "a factory of no application": ("written:app(1, 2)", 3, "'int' object is not callable", SOURCE),
}


@pytest.mark.parametrize(("app", "code", "message", "source"), FAILING.values(), ids=FAILING)
def test_an_application_that_cannot_be_had_ends_the_start_with_one_message(
    server: StartServer, app: str, code: int, message: str, source: str
):
    site = server(app, app_source=source, ready=False, allow_traceback=True)
    assert site.wait() == code
    log = site.log()
    assert log.count(message) == 1
    assert "greenhorn/" not in log, "a traceback of greenhorn's own"
    assert len(re.findall(r"^\[.*\[ERROR\] ", log, re.MULTILINE)) <= 2
    assert not re.search(r"Worker ready", log)


def test_no_application_ends_the_start_with_code_1(server: StartServer):
    site = server(ready=False)
    assert site.wait() == 1
    assert "no application is named" in site.log()


WRONG_SETTINGS = {
    "a number": (2, ["--workers", "many"], "many"),
    "a directory": (2, ["--chdir", "/no/such/folder"], "/no/such/folder"),
    "a network": (2, ["--forwarded-allow-ips", "zq81"], "zq81"),
    "a flag": (2, ["--zq81"], "--zq81"),
    "a port": (1, ["--bind", "127.0.0.1:port"], "port"),
    "a port out of range": (1, ["--bind", "127.0.0.1:65536"], "65536"),
    "an address": (1, ["--bind", "127.0.0.1:0:0"], "127.0.0.1:0:0"),
    "a host": (1, ["--bind", "no-such-host.invalid:0"], "no-such-host.invalid"),
    "an address of another machine": (1, ["--bind", "192.0.2.1:0"], "192.0.2.1"),
    "a descriptor": (1, ["--bind", "fd://81"], "fd://81"),
    "a worker class": (1, ["--worker-class", "zq81"], "zq81"),
    "a log": (1, ["--error-logfile", "/no/such/folder/log"], "/no/such/folder/log"),
    "an access log": (1, ["--access-logfile", "/no/such/folder/log"], "/no/such/folder/log"),
    "a configuration file": (1, ["--config", "/no/such/file.py"], "/no/such/file.py"),
}
"""Code 2 is that of every command whose line cannot be read, code 1 that of a start that fails."""


@pytest.mark.parametrize(("code", "arguments", "message"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_wrong_setting_ends_the_start_with_one_message(
    server: StartServer, code: int, arguments: list[str], message: str
):
    site = server("wsgi_app", *arguments, ready=False, workers=None)
    assert site.wait() == code
    assert message in site.log()
    lines = site.log().splitlines()
    assert len([line for line in lines if "error" in line.lower().replace("--error-", "")]) == 1
    assert "Booting worker" not in site.log()


@pytest.mark.parametrize("text", ["worker = 3", "timeout = 'soon'", "raise RuntimeError('zq81')", "def ("])
def test_a_wrong_configuration_file_ends_the_start_and_is_named(server: StartServer, text: str):
    site = server("wsgi_app", config=text, ready=False, workers=None, allow_traceback=True)
    assert site.wait() == 1
    assert "config.py" in site.log()


def test_check_config_says_by_its_exit_code_whether_all_is_well(server: StartServer):
    assert server("wsgi_app", "--check-config", ready=False).wait() == 0
    assert server("wsgi_app:not_there", "--check-config", ready=False).wait() == 1
    bad = server("wsgi_app", "--check-config", config="workers = 'many'", workers=None, ready=False)
    assert bad.wait() == 1
    assert "config.py" in bad.log()


def test_print_config_shows_every_value_and_its_origin(server: StartServer):
    site = server("wsgi_app", "--print-config", config="threads = 7", env={"WEB_CONCURRENCY": "9"}, ready=False)
    assert site.wait() == 0
    lines = {line.split(" =")[0].strip(): line for line in site.stdout().splitlines()}
    assert re.search(r"= 1 .*# command line", lines["workers"])
    assert re.search(r"= 7 .*# .*config\.py", lines["threads"])
    assert re.search(r"= 30 .*# .*default", lines["timeout"])
    assert lines["bind"].split("=", 1)[1].strip().startswith("('127.0.0.1:0',)")


@pytest.mark.skipif("GREENHORN_TEST_COMMAND" in os.environ, reason="this is about greenhorn's own command")
def test_the_command_is_there_as_a_script_and_as_a_module():
    script = Path(sys.executable).with_name("greenhorn")
    outputs = [
        subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
        for command in ([str(script)], [sys.executable, "-m", "greenhorn"], COMMAND)
    ]
    assert re.search(r"\d+\.\d+", outputs[0])
    assert len({output.split()[-1] for output in outputs}) == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["output", "error", "all three"])
def test_closed_standard_streams_harm_nothing(tmp_path: Path, closed: tuple[int, ...]):
    log = tmp_path / "error.log"
    (tmp_path / "written.py").write_text(SOURCE)
    shell = f"exec {' '.join(COMMAND)} -b 127.0.0.1:0 --error-logfile {log} --access-logfile - written:app"
    shell += "".join(f" {number}>&-" for number in closed)
    process = subprocess.Popen(["sh", "-c", shell], cwd=tmp_path)
    try:
        wait_until(lambda: log.exists() and READY.search(log.read_text()), what="the worker's line")
        [url] = re.findall(r"Listening at: (http://\S+)", log.read_text())
        assert httpx.get(url).text == "app"
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0
