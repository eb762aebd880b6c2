"""What the logs of a real server hold: formats, JSON, ids, logger classes, configurations, syslog, captured output.

With every worker class, but for what the master alone does: daemons, and configurations that are wrong.
"""

import json
import logging
import os
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.kinds import AND_ASGI_ONCE, EVERY_KIND, ONE_REQUEST, PARSER, USUAL_KIND, differs
from integration.running import DEADLINE, READY, StartServer, wait_until
from integration.wire import connect

pytestmark = AND_ASGI_ONCE
SOURCE = """
import os, sys
def application(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("in the application")
    if environ["PATH_INFO"] == "/say":
        print("printed", flush=True)
        os.system("echo of a child >&2")
        environ["wsgi.errors"].write("written\\n")
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Shop", "seven")])
    return [environ.get("HTTP_X_REQUEST_ID", "none").encode()]
"""


def get(path: str = "/", *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *fields, "Connection: close", "", "")).encode("latin-1")


def lines(path: Path, count: int) -> list[str]:
    """The lines of a log once there are so many."""
    return wait_until(
        lambda: found if path.exists() and len(found := path.read_text().splitlines()) >= count else None,
        what=f"{count} lines in {path.name}",
    )


def objects(path: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(path, count)]


@differs("sync", row=ONE_REQUEST)
def test_four_workers_write_one_file_in_which_each_line_is_whole_and_none_is_missing(
    server: StartServer, tmp_path: Path
):
    access = tmp_path / "access.log"
    site = server(None, "--access-logfile", str(access), "--threads", "4", app_source=SOURCE, workers=4)
    names = [chr(ord("a") + number) for number in range(16)]

    def ask(name: str) -> None:
        for turn in range(4):
            with connect(site) as connection:
                for batch in range(10):
                    numbers = [turn * 100 + batch * 10 + each for each in range(10)]
                    for number in numbers:
                        agent = f"User-Agent: {name * (1 + number * 7 % 900)}"
                        connection.sendall(f"GET /{name}/{number} HTTP/1.1\r\nHost: x\r\n{agent}\r\n\r\n".encode())
                    reader = AnswerReader(connection)
                    assert [reader.read("GET").status for _ in numbers] == [200] * 10

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE)
    site.stop()
    form = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /([a-p])/(\d+) HTTP/1\.1" 200 4 "-" "(\1+)"')
    found = [form.fullmatch(line) for line in access.read_text().splitlines()]
    told = [(match[1], int(match[2])) for match in found if match and len(match[3]) == 1 + int(match[2]) * 7 % 900]
    assert len(found) == 6400
    assert sorted(told) == [(name, number) for name in names for number in range(400)]


def test_a_format_of_ones_own_has_fields_of_request_answer_and_environ(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    form = '%(h)s %({x-shop}o)s "%({x-a}i)s" %({REMOTE_PORT}e)s %(m)s %(U)s?%(q)s %(s)s %(B)s %(D)s %(p)s'
    site = server(None, "--access-logfile", str(access), "--access-logformat", form, app_source=SOURCE)
    with connect(site) as connection:
        port = connection.getsockname()[1]
        connection.sendall(get("/%61?b=1", 'X-A: "1" 2'))
        AnswerReader(connection).read("GET")
    [line] = lines(access, 1)
    match = re.fullmatch(
        rf'127\.0\.0\.1 seven "\\x221\\x22 2" {port} GET /a\?b=1 200 4 (\d+) <{site.worker_pid()}>', line
    )
    assert match
    assert 0 < int(match[1]) < DEADLINE * 1e6


@differs("tornado", row=PARSER)
def test_json_is_one_setting_for_both_logs(server: StartServer, tmp_path: Path):
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    site = server(
        None, "--access-logfile", str(access), "--error-logfile", str(error), "--log-format", "json",
        app_source=SOURCE, ready=False,
    )  # fmt: skip
    told = wait_until(lambda: error.exists() and READY.search(error.read_text()), what="a worker")
    listening = next(each for each in objects(error, 4) if "Listening at" in each["message"])
    port = int(re.findall(r":(\d+) ", listening["message"])[0])
    assert told
    answers = []
    for request in (get("/?%E9", 'User-Agent: "x"\\'), get("/fail"), b'GET / "\x1b HTTP/9\r\n\r\n', get("/say")):
        answers.append(ask(port, request))
        lines(access, len(answers))  # which a thread writes behind its answer
    assert [answer[9:12] for answer in answers] == [b"200", b"500", b"400", b"200"]
    found = objects(access, 4)
    assert [each["status"] for each in found] == [200, 500, 400, 200]
    assert found[0]["agent"] == '"x"\\'
    assert found[0]["total"] >= found[0]["application"] > 0
    assert found[0]["queue"] >= 0
    assert found[0]["reason"] is None
    assert found[1]["reason"] == "the application failed"
    assert found[2]["reason"]
    assert found[2]["client"] == "127.0.0.1"
    failed = wait_until(lambda: [each for each in objects(error, 5) if "traceback" in each], what="the failure")
    assert failed[0]["level"] == "error"
    assert failed[0]["traceback"].endswith("LookupError: in the application")
    assert any(each["message"] == "written" for each in objects(error, 6))
    site.stop()
    assert objects(error, 8)[-1]["message"] == "Shutting down: Master"


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall(request)
        received = bytearray()
        while data := connection.recv(65536):
            received += data
        return bytes(received)


def test_a_request_id_is_taken_from_a_trusted_peer_and_made_for_others(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    arguments = (
        "--access-logfile",
        str(access),
        "--access-logformat",
        "%(id)s %(s)s",
        "--request-id-header",
        "X-Trace",
    )
    source = SOURCE.replace("X_REQUEST_ID", "X_TRACE")
    trusting = server(None, *arguments, app_source=source)
    assert trusting.request(get("/", "X-Trace: abc-7")).text == "abc-7"
    lines(access, 1)
    made = trusting.request(get("/", "X-Trace: a b")).text
    assert re.fullmatch("[0-9a-f]{24}", made)
    assert lines(access, 2) == ["abc-7 200", f"{made} 200"]
    assert trusting.stop() == 0
    site = server(None, *arguments, "--forwarded-allow-ips", "192.0.2.1", app_source=source)
    other = site.request(get("/", "X-Trace: abc-7")).text
    assert other != "abc-7"
    assert lines(access, 3)[2] == f"{other} 200"


def test_without_need_no_request_has_an_id(server: StartServer, tmp_path: Path):
    site = server(None, "--access-logfile", str(tmp_path / "access.log"), app_source=SOURCE)
    assert site.request(get()).text == "none"
    assert site.request(get("/", "X-Request-ID: theirs")).text == "theirs"


def test_paths_can_be_left_out_but_not_their_refusals(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    config = f"accesslog = {str(access)!r}\naccess_log_exclude = ['/healthz', '/static/*', '/fail']"
    site = server(None, app_source=SOURCE, config=config, allow_traceback=True)
    for path in ("/healthz", "/static/a.css", "/fail"):
        site.request(get(path))
    lines(access, 1)
    site.request(get("/"))
    assert [line.split('"')[1] for line in lines(access, 2)] == ["GET /fail HTTP/1.1", "GET / HTTP/1.1"]


LOGGER = """
from greenhorn import glogging

class Mine(glogging.Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.info("set up by %s", type(self).__name__)

    def now(self):
        return "[now]"

    def access(self, resp, req, environ, request_time):
        if req.path != "/healthz":
            super().access(resp, req, environ, request_time)

    def atoms(self, resp, req, environ, request_time):
        return {**super().atoms(resp, req, environ, request_time), "shop": environ["SERVER_PROTOCOL"]}

logger_class = Mine
accesslog = ACCESS
access_log_format = '%(t)s "%(r)s" %(s)s %(shop)s'
"""


@differs("tornado", row=PARSER)
def test_a_logger_class_that_was_written_for_gunicorn_has_its_say(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    site = server(None, app_source=SOURCE, config=LOGGER.replace("ACCESS", repr(str(access))))
    for path in ("/", "/healthz", "/a"):
        site.request(get(path))
        lines(access, 2 if path == "/a" else 1)
    site.exchange(b"GET\r\n\r\n")
    told = lines(access, 3)
    assert told[:2] == ['[now] "GET / HTTP/1.1" 200 HTTP/1.1', '[now] "GET /a HTTP/1.1" 200 HTTP/1.1']
    assert re.fullmatch(r'\[now\] "GET - -" 400 - ".+"', told[2]), told[2]
    assert "set up by Mine" in site.log()


DICT = """
logconfig_dict = {
    "formatters": {"plain": {"format": "own %(levelname)s %(message)s"}},
    "handlers": {
        "errors": {"class": "logging.FileHandler", "filename": ERROR, "formatter": "plain"},
        "requests": {"class": "logging.FileHandler", "filename": ACCESS, "formatter": "plain"},
    },
    "loggers": {
        "gunicorn.error": {"handlers": ["errors"], "level": "WARNING", "propagate": False},
        "gunicorn.access": {"handlers": ["requests"], "level": "INFO", "propagate": False},
    },
}
access_log_format = "%(m)s %(U)s %(s)s"
"""


@EVERY_KIND  # uvicorn has words of its own for an application that fails
def test_a_logging_configuration_says_where_both_logs_go(server: StartServer, tmp_path: Path):
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    text = DICT.replace("ERROR", repr(str(error)), 1).replace("ACCESS", repr(str(access)))
    site = server(None, app_source=SOURCE, config=text, bind=f"unix:{tmp_path}/s", ready=False)
    wait_until((tmp_path / "s").exists, what="the socket")
    for number, path in enumerate((b"/a", b"/fail"), 1):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(tmp_path / "s"))
            connection.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
            assert connection.recv(99)
        lines(access, number)
    assert lines(access, 2) == ["own INFO GET /a 200", 'own INFO GET /fail 500 "the application failed"']
    assert lines(error, 1)[0] == "own ERROR Error handling request /fail"
    assert site.log() == ""


def test_both_logs_go_to_syslog(server: StartServer, tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "syslog"))
        daemon.settimeout(DEADLINE)
        arguments = ("--log-syslog", "--log-syslog-to", f"unix://{tmp_path}/syslog", "--log-syslog-prefix", "shop")
        site = server(None, *arguments, app_source=SOURCE)
        site.request(get("/a"))
        received = ""
        while " /a " not in received:
            received = daemon.recv(9999).decode()
            assert re.match(r"<\d+>greenhorn\.shop\.(error|access): \[\d+\] ", received)
        assert re.fullmatch(
            rf'<14>greenhorn\.shop\.access: \[{site.worker_pid()}\] 127\.0\.0\.1 .* "GET /a HTTP/1\.1" 200 4 "-" "-"',
            received,
        )


@EVERY_KIND  # ASGI has no wsgi.errors
def test_captured_output_goes_to_the_error_log_and_to_the_new_one_after_usr1(server: StartServer, tmp_path: Path):
    error = tmp_path / "error.log"
    site = server(
        None,
        "--error-logfile",
        str(error),
        "--capture-output",
        app_source=SOURCE,
        bind=f"unix:{tmp_path}/s",
        ready=False,
    )
    wait_until(lambda: error.exists() and "Worker ready" in error.read_text(), what="a worker")

    def say() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(tmp_path / "s"))
            connection.sendall(b"GET /say HTTP/1.0\r\n\r\n")
            assert connection.recv(99)

    say()
    assert {"printed", "of a child", "written"} <= set(error.read_text().splitlines())
    error.rename(tmp_path / "old.log")
    site.signal(signal.SIGUSR1)
    wait_until(error.exists, what="a new file")

    def goes_to_the_new_one() -> bool:
        say()
        return {"printed", "of a child", "written"} <= set(error.read_text().splitlines())

    wait_until(goes_to_the_new_one, what="lines in the new file")
    assert (site.log(), site.stdout()) == ("", "")


@USUAL_KIND
@pytest.mark.parametrize("inherits", [True, False])
def test_a_daemon_can_keep_its_standard_output(server: StartServer, tmp_path: Path, inherits: bool):
    pidfile, error = tmp_path / "pid", tmp_path / "error.log"
    arguments = ["--daemon", "--pid", str(pidfile), "--error-logfile", str(error), *(["-R"] if inherits else [])]
    site = server(None, *arguments, app_source=SOURCE, bind=f"unix:{tmp_path}/s", ready=False)
    assert site.wait() == 0
    master = int(pidfile.read_text())
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(tmp_path / "s"))
            connection.sendall(b"GET /say HTTP/1.0\r\n\r\n")
            assert connection.recv(99)
        assert site.stdout() == ("printed\n" if inherits else "")
    finally:
        os.kill(master, signal.SIGTERM)
        wait_until(lambda: not pidfile.exists(), what="the end of the daemon")


@USUAL_KIND
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("access_log_format = '%(h'", "access_log_format: "),
        ("logconfig = 'none.ini'", "logconfig: there is no file"),
        ("logconfig_dict = {'handlers': {'x': {'class': 'no.Such'}}}", "logconfig_dict: "),
        ("logger_class = 'no_such.Logger'", "logger_class: cannot import 'no_such'"),
        ("errorlog = '/no/such/folder/log'", "errorlog: cannot open"),
    ],
)
def test_a_reload_with_a_wrong_log_changes_nothing(server: StartServer, tmp_path: Path, wrong: str, told: str):
    access = tmp_path / "access.log"
    site = server(None, app_source=SOURCE, config=f"accesslog = {str(access)!r}")
    site.request(get("/before"))
    lines(access, 1)
    (site.folder / "config.py").write_text(wrong)
    site.signal(signal.SIGHUP)
    site.wait_for_log(f"The reload is given up.*{re.escape(told)}")
    worker = site.worker_pid()
    site.request(get("/after"))
    assert [line.split()[6] for line in lines(access, 2)] == ["/before", "/after"]
    assert site.worker_pid() == worker
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(READY.findall(site.log())) == 2, what="another worker")
    site.request(get("/another"))
    assert lines(access, 3)[2].split()[6] == "/another"


def test_a_reload_lets_both_logs_go_elsewhere_in_another_form(server: StartServer, tmp_path: Path):
    first, second, error = (tmp_path / name for name in ("first.log", "second.log", "error.log"))
    site = server(None, app_source=SOURCE, config=f"accesslog = {str(first)!r}")
    site.request(get("/before"))
    (site.folder / "config.py").write_text(f"accesslog, errorlog, log_format = {str(second)!r}, {str(error)!r}, 'json'")
    site.signal(signal.SIGHUP)
    wait_until(lambda: error.exists() and "The new generation serves" in error.read_text(), what="the reload")
    wait_until(lambda: len(site.worker_pids()) == 1, what="the end of the old worker")
    site.request(get("/after"))
    assert objects(second, 1)[0]["target"] == "/after"
    assert len(lines(first, 1)) == 1
    assert all(each["level"] in logging.getLevelNamesMapping() or each["level"].islower() for each in objects(error, 2))


FLASK_LIKE = """
import logging
theirs = logging.getLogger("shop")
theirs.handlers = logging.getLogger("gunicorn.error").handlers
theirs.setLevel(logging.getLogger("gunicorn.error").level)
logging.getLogger("gunicorn.access").addFilter(lambda record: "secret" not in record.getMessage())
def application(environ, start_response):
    theirs.warning("the shop says so")
    start_response("200 OK", [])
    return [b""]
"""


def test_an_application_may_use_gunicorns_loggers_by_their_names(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    site = server(None, "--access-logfile", str(access), app_source=FLASK_LIKE)
    for path in ("/secret", "/open"):
        site.request(get(path))
    assert re.search(r"\] \[WARNING\] the shop says so$", site.log(), re.MULTILINE)
    assert [line.split()[6] for line in lines(access, 1)] == ["/open"]


def test_the_line_of_an_answer_that_its_client_does_not_wait_for_is_written(server: StartServer, tmp_path: Path):
    access = tmp_path / "access.log"
    source = """
def application(environ, start_response):
    start_response("200 OK", [])
    for _ in range(10000):
        yield b"x" * 65536
"""
    site = server(None, "--access-logfile", str(access), app_source=source)
    with connect(site) as connection:
        connection.sendall(get("/large"))
        assert connection.recv(9)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    [line] = lines(access, 1)
    assert '"GET /large HTTP/1.1" 200 ' in line
