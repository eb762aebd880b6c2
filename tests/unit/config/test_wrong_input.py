"""Wrong input of every kind: one line names source, setting and remedy, and nothing is started."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from greenhorn import cli

pytestmark = pytest.mark.usefixtures("start_directory")

HELLO = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"


class Wrong(NamedTuple):
    """What is wrong, and what has to be told of it: {here} is the start directory."""

    told: str
    remedy: str
    file: str = ""
    arguments: tuple[str, ...] = ("hello:app",)
    environ: tuple[str, str] = ("", "")
    code: int = 1


def in_file(line: str, remedy: str, told: str = "") -> Wrong:
    """A line of the configuration file; what is told of it begins like the line unless it is said otherwise."""
    return Wrong("{here}/gunicorn.conf.py: " + (told or line + ": "), remedy, file=line)


def in_variable(name: str, value: str, told: str, remedy: str) -> Wrong:
    return Wrong(told, remedy, environ=(name, value))


def typed(told: str, remedy: str, *arguments: str, code: int = 2) -> Wrong:
    return Wrong(told, remedy, arguments=arguments, code=code)


FILES = [
    # Numbers, times, sizes, switches.
    in_file("workers = -1", "0 or more, or auto"),
    in_file("workers = 'many'", "0 or more, or auto"),
    in_file("workers = 2.5", "must be a whole number"),
    in_file("threads = 0", "1 or more"),
    in_file("worker_connections = 0", "1 or more"),
    in_file("backlog = '2k'", "must be a whole number"),
    in_file("timeout = 1.5", "such as 90, 90s, 15m or 1h30m"),
    in_file("timeout = '5x'", "such as 90, 90s, 15m or 1h30m"),
    in_file("keepalive = -1", "such as 90, 90s, 15m or 1h30m"),
    in_file("graceful_timeout = [30]", "such as 90, 90s, 15m or 1h30m"),
    in_file("max_requests = True", "must be a whole number"),
    in_file("limit_request_line = 'x'", "such as 65536, 64K, 512M or 1.5G"),
    in_file("limit_request_body = '5MB'", "such as 65536, 64K, 512M or 1.5G"),
    in_file("preload_app = 'maybe'", "must be true or false"),
    in_file("umask = '0999'", "such as 0022, 0o22 or 18"),
    in_file("control_socket_mode = 0o1777", "such as 0660 or 0o660", told="control_socket_mode = 1023: "),
    # Addresses.
    in_file("bind = 8000", "such as 127.0.0.1:8000 or unix:/run/app.sock"),
    in_file("bind = []", "such as 127.0.0.1:8000 or unix:/run/app.sock"),
    in_file("bind = ''", "must not be empty: name an address"),
    in_file("bind = ['127.0.0.1:0', '']", "0.0.0.0:8000 to let everybody in"),
    in_file("bind = '127.0.0.1:http'", "a number from 0 to 65535 is", told="bind: 'http' in '127.0.0.1:http' "),
    in_file("bind = '127.0.0.1:70000'", "a number from 0 to 65535 is", told="bind: '70000' in "),
    in_file("bind = '::1'", "write HOST:PORT, [IPv6]:PORT", told="bind: '::1' is no address"),
    in_file("bind = 'ftp://0.0.0.0'", "tcp://, unix: and fd:// are known", told="bind: 'ftp://0.0.0.0' has an "),
    in_file("bind = 'unix:'", "write unix:/path/to/socket", told="bind: 'unix:' names no path"),
    in_file("bind = ['fd://a b']", "write fd://3 or fd://web", told="bind: 'fd://a b' has neither"),
    # Workers and classes.
    in_file("worker_class = 'gevnt'", "did you mean gevent?): use gthread"),
    in_file("worker_class = 3", "must be the name of a worker class: gthread"),
    in_file("worker_class = 'nope.workers:Own'", "nope.workers cannot be imported: No module", told="worker_class = "),
    in_file("worker_class = 'hello:Own'", "there is no Own in hello", told="worker_class = "),
    in_file("worker_class = 'hello:app'", "is no subclass of greenhorn.workers.base.Worker", told="worker_class = "),
    in_file("class Own: pass\nworker_class = Own", "is no subclass of greenhorn.workers.base.Worker", told="work"),
    in_file("logger_class = 7", "must be a class, or its name as MODULE.NAME"),
    # Files and directories.
    in_file("chdir = '/no-such'", "must be a directory that exists"),
    in_file("tmp_upload_dir = '/no-such'", "must be a directory that exists"),
    in_file("worker_tmp_dir = '/no-such'", "must be a directory that exists"),
    in_file("reload_extra_files = ['nope.txt']", "files that exist, or patterns such as templates/*.html"),
    in_file("paste = 'nope.ini'", "must be an ini file that exists"),
    in_file("accesslog = True", "must be a path"),
    in_file("errorlog = 3", "must be a path"),
    in_file("pidfile = 3", "must be a path"),
    # Logs and metrics.
    in_file("loglevel = 'verbose'", "must be one of debug, info, warning, error, critical"),
    in_file("access_log_format = ''", "must be a text that is not empty"),
    in_file("log_format = 'xml'", "must be one of text, json"),
    in_file("request_id_header = 'X Request'", "such as X-Request-ID"),
    in_file("logconfig_dict = 'x'", "must be a dict for logging.config.dictConfig"),
    in_file("logconfig_json = {}", "a dict goes into logconfig_dict"),
    in_file("syslog_addr = 'localhost:514'", "such as udp://localhost:514 or unix:/dev/log"),
    in_file("syslog_addr = 'unix:/dev/log#tcp'", "may end in #dgram or #stream"),
    in_file("syslog_facility = 'local9'", "local0, local1"),
    in_file("statsd_host = 'localhost:http'", "such as localhost:8125"),
    in_file("dogstatsd_tags = 'a|b'", "such as env:prod,shop"),
    # Environment, users, proxies.
    in_file("raw_env = ['A']", "must be KEY=VALUE"),
    in_file("raw_env = {'A': 'b'}", "must be KEY=VALUE"),
    in_file("raw_paste_global_conf = ['x']", "must be KEY=VALUE"),
    in_file("pythonpath = 3", "directories separated by commas"),
    in_file("user = 'nobody-here'", "`getent passwd` lists them"),
    in_file("group = 'nobody-here'", "`getent group` lists them"),
    in_file("forwarded_allow_ips = '10.0.0.1/8'", "write 10.0.0.0/8 or 10.0.0.1"),
    in_file("forwarded_allow_ips = 'proxy.local'", "networks such as 10.0.0.0/8, or *"),
    in_file("forwarded_hops = '-1'", "0 or more"),
    in_file("forwarded_header = 'x-real-ip'", "must be one of x-forwarded, forwarded"),
    in_file("secure_scheme_headers = 'X-FORWARDED-PROTO'", "such as {'X-FORWARDED-PROTO': 'https'}"),
    in_file("header_map = 'allow'", "must be one of drop, refuse, dangerous"),
    in_file("proxy_protocol = 'v3'", "must be one of off, v1, v2, auto"),
    # What is not there yet.
    in_file("protocol = 'uwsgi'", "have it use HTTP too"),
    in_file("protocol = 'fastcgi'", "must be one of http, uwsgi"),
    in_file("http_protocols = 'h3'", "must be h1, h2, or both"),
    in_file("http2_cleartext = 'yes'", "must be one of off, prior-knowledge, upgrade, both"),
    in_file("http2_max_frame_size = 100", "from 16384 to 16777215"),
    in_file("asgi_loop = 'trio'", "must be one of auto, asyncio, uvloop"),
    # Names that are none, and hooks.
    in_file("keep_alive = 5", "did you mean keepalive?", told="keep_alive is not a setting"),
    in_file("timeuot = 5", "did you mean timeout?", told="timeuot is not a setting"),
    in_file("def post_frok(server, worker): pass", "did you mean post_fork?", told="post_frok is not a setting"),
    in_file("def pre_fork(server): pass", "must take (server, worker), but takes (server)", told="pre_fork = pre_fork"),
    in_file("on_exit = 'nope.nope'", "looked in {here} and the rest of sys.path"),
    in_file("on_exit = 3", "must be a function that takes (server), or its name as MODULE.NAME"),
    in_file("async def when_ready(server): pass", "must be a plain function", told="when_ready = when_ready: "),
    # What several lines or sources amount to.
    in_file("initgroups = True; user = 4294967290", "name a user of `getent passwd`", told="initgroups: user id "),
    Wrong("command line: worker_class = 'tornadoes': ", "did you mean tornado?", "", ("-k", "tornadoes", "hello:app")),
]

TLS = [
    in_file("certfile = 'x.pem'", "No such file", told="certfile: cannot read x.pem: "),
    in_file("keyfile = 'x.pem'", "name one in certfile", told="keyfile: x.pem needs a certificate"),
    in_file("bind = 'https://0.0.0.0'", "name one in certfile", told="bind: https needs a certificate"),
    in_file("cert_reqs = 2", "set certfile", told="cert_reqs: clients cannot show a certificate without TLS"),
    in_file("cert_reqs = 3", "must be 0 (none), 1 (optional) or 2 (required)"),
    Wrong("{here}/gunicorn.conf.py: certfile: ", "No such file", file="certfile = 'x'", environ=("PORT", "0")),
    typed("command line: certfile: cannot read c.pem: ", "No such file", "--certfile", "c.pem", "hello:app", code=1),
    typed("command line: cert_reqs: ", "set certfile", "--cert-reqs", "required", "hello:app", code=1),
]

FILES_THAT_FAIL = [
    Wrong("{here}/gunicorn.conf.py, line 1: ZeroDivisionError", "division by zero", file="workers = 1 / 0"),
    Wrong("{here}/gunicorn.conf.py, line 2: SyntaxError", "invalid syntax", file="threads = 2\nworkers = = 2"),
    Wrong("{here}/gunicorn.conf.py, line 1: ModuleNotFoundError", "named 'nope'", file="import nope"),
    Wrong("{here}/gunicorn.conf.py, line 1: SystemExit", "3", file="raise SystemExit(3)"),
]

VARIABLES = [
    in_variable("WEB_CONCURRENCY", "many", "environment variable WEB_CONCURRENCY: workers = 'many': ", "or auto"),
    in_variable("WEB_CONCURRENCY", "-1", "environment variable WEB_CONCURRENCY: workers = '-1': ", "0 or more"),
    in_variable("PORT", "http", "environment variable PORT: bind: 'http' in '0.0.0.0:http'", "0 to 65535"),
    in_variable("PORT", "99999", "environment variable PORT: bind: '99999' in ", "0 to 65535"),
    in_variable("FORWARDED_ALLOW_IPS", "proxy", "environment variable FORWARDED_ALLOW_IPS: forw", "such as 10.0.0.0/8"),
    in_variable("SENDFILE", "maybe", "environment variable SENDFILE: sendfile = 'maybe': ", "must be true or false"),
    in_variable("GUNICORN_CMD_ARGS", "-w x", "GUNICORN_CMD_ARGS: argument -w/--workers: 'x': ", "0 or more, or auto"),
    in_variable("GUNICORN_CMD_ARGS", "-b ''", "GUNICORN_CMD_ARGS: argument -b/--bind: '': ", "must not be empty"),
    in_variable("GUNICORN_CMD_ARGS", "--wrokers 3", "GUNICORN_CMD_ARGS: unknown option --wrokers", "mean --workers?"),
    in_variable("GREENHORN_CMD_ARGS", '"--bind', "GREENHORN_CMD_ARGS: '\"--bind' cannot be split", "closing quotation"),
    in_variable("GUNICORN_CMD_ARGS", "-c nope.py", "GUNICORN_CMD_ARGS: config = 'nope.py': ", "name a file of Python"),
    in_variable("GREENHORN_CMD_ARGS", "-k gevnt", "GREENHORN_CMD_ARGS: worker_class = 'gevnt'", "use gthread"),
]

TYPED = [
    typed("argument -w/--workers: 'x': ", "0 or more, or auto", "-w", "x", "hello:app"),
    typed("argument -w/--workers: expected one argument", "as in --workers NUMBER", "hello:app", "-w"),
    typed("argument -b/--bind: '': ", "name an address, such as 127.0.0.1:8000", "-b", "", "hello:app"),
    typed("argument -b/--bind: ' ': ", "0.0.0.0:8000 to let everybody in", "--bind= ", "hello:app"),
    typed("argument -t/--timeout: '1.5': ", "such as 90, 90s", "-t", "1.5", "hello:app"),
    typed("argument --log-level: 'verbose': ", "must be one of debug", "--log-level", "verbose", "hello:app"),
    typed("argument -u/--user: 'nobody-here': ", "`getent passwd` lists them", "-u", "nobody-here", "hello:app"),
    typed("argument --chdir: '/no-such': ", "must be a directory that exists", "--chdir", "/no-such", "hello:app"),
    typed("argument -e/--env: 'A': ", "must be KEY=VALUE", "-e", "A", "hello:app"),
    typed("argument --paste/--paster: 'nope.ini': ", "an ini file that exists", "--paste", "nope.ini"),
    typed("argument --http2-max-frame-size: '1': ", "from 16384", "--http2-max-frame-size", "1", "hello:app"),
    typed("argument --proxy-protocol: 'hello:app': ", "must be one of off, v1", "--proxy-protocol", "hello:app"),
    typed("unknown option --worker ", "did you mean --workers?", "--worker", "3", "hello:app"),
    typed("unknown option --keepalive=3 ", "did you mean --keep-alive?", "--keepalive=3", "hello:app"),
    typed("unknown option -Z", "greenhorn --help lists all", "-Z", "hello:app"),
    typed("more than one APP_MODULE: hello:app other:app", "name one", "hello:app", "other:app"),
    typed("command line: config = 'nope.py': {here}/nope.py ", "name a file", "-c", "nope.py", code=1),
    typed("command line: config = '.': {here} cannot be read", "name a file", "-c", ".", code=1),
    typed("command line: config = 'python:nope': ", "looked in {here}", "-c", "python:nope", code=1),
    typed("command line: config = 'python:': ", "write python:MODULE", "-c", "python:", code=1),
    typed("command line: worker_class = 'nope': ", "use gthread", "-k", "nope", "hello:app", code=1),
    typed("command line: bind: 'x' in '127.0.0.1:x' ", "a number from 0", "-b", "127.0.0.1:x", "hello:app", code=1),
    typed("no application is named: ", "as in `greenhorn hello:app`", code=1),
]

WRONG = [*FILES, *TLS, *FILES_THAT_FAIL, *VARIABLES, *TYPED]


def name(wrong: Wrong) -> str:
    if wrong.environ[0]:
        return "=".join(wrong.environ)
    return wrong.file.partition("\n")[0] or " ".join(wrong.arguments) or "nothing"


@pytest.fixture
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever would be a server fail the test."""

    def refuse(*_: object) -> None:
        pytest.fail("a server was about to be started")

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.mark.parametrize("wrong", WRONG, ids=map(name, WRONG))
@pytest.mark.usefixtures("nothing_is_started")
def test_wrong_input_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], wrong: Wrong):
    (tmp_path / "hello.py").write_text(HELLO)
    if wrong.file:
        (tmp_path / "gunicorn.conf.py").write_text(wrong.file)
    with mock.patch.dict(os.environ, dict([wrong.environ] if wrong.environ[0] else []), clear=True):
        try:
            code: object = cli.main(list(wrong.arguments))
        except SystemExit as end:
            code = end.code
    told = capfd.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("greenhorn: error: ")]
    assert (code, told.out, len(lines)) == (wrong.code, "", 1), told.err
    assert lines[0].startswith("greenhorn: error: " + wrong.told.replace("{here}", str(tmp_path)))
    assert wrong.remedy.replace("{here}", str(tmp_path)) in lines[0]
    assert "Traceback" not in told.err
    assert len(told.err.splitlines()) <= 2


STARTS = [
    in_file(
        "bind = 'unix:/no-such/app.sock'", "No such file or directory", told="bind: cannot listen at unix:/no-such"
    ),
    in_file("bind = '192.0.2.1:0'", "this machine does not have the address", told="bind: cannot listen at 192.0.2.1"),
    in_file("bind = 'no-such-host.invalid:0'", "has no address here", told="bind: cannot listen at no-such-host"),
    in_file("pidfile = '/no-such/pid'", "create it, or name another", told="pidfile: "),
    in_file("errorlog = '/no-such/error.log'", "No such file or directory", told="errorlog: "),
    in_file("logconfig = '/no-such.ini'", "as logging.config.fileConfig takes it", told="logconfig: there is no file"),
    in_file("logconfig_json = '/no-such.json'", "name a JSON file", told="logconfig_json: cannot read"),
    in_file("logconfig_dict = {'version': 2}", "see logging.config.dictConfig", told="logconfig_dict: "),
    in_file("logger_class = 'no_such.Logger'", "name a class as MODULE.CLASS", told="logger_class: cannot import"),
    in_file("logger_class = 'logging.Handlr'", "name a class as MODULE.CLASS", told="logger_class: 'logging' has no"),
    in_file("accesslog = '/no-such/access.log'", "No such file or directory", told="accesslog: "),
    in_file("access_log_format = '{\"us\": %(D)05d}'", "write it in double", told="access_log_format: what '%(D)05d'"),
]


@pytest.mark.parametrize("wrong", STARTS, ids=map(name, STARTS))
def test_a_start_that_fails_names_the_file_and_the_setting(tmp_path: Path, wrong: Wrong):
    (tmp_path / "hello.py").write_text(HELLO)
    (tmp_path / "gunicorn.conf.py").write_text("bind = '127.0.0.1:0'\n" + wrong.file)
    finished = subprocess.run(
        [sys.executable, "-m", "greenhorn", "hello:app"], capture_output=True, text=True, timeout=30, check=False
    )
    lines = [line for line in finished.stderr.splitlines() if line.startswith("greenhorn: error: ")]
    assert (finished.returncode, len(lines)) == (1, 1), finished.stderr
    assert lines[0].startswith("greenhorn: error: " + wrong.told.replace("{here}", str(tmp_path)))
    assert wrong.remedy in lines[0]
    assert "Listening at" not in finished.stderr
    assert "Traceback" not in finished.stderr
