"""Standard streams and logs that cannot be written to: whoever read them is gone, or the disk is full."""

import os
import signal
from pathlib import Path

import pytest

from integration import running
from integration.launching import ask_at, start_by
from integration.reloading import FRESH, source
from integration.running import StartServer, wait_until

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")

LOGGING = """
def application(environ, start_response):
    environ["wsgi.errors"].write("told\\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [])
    return [b"served"]
"""


@pytest.mark.parametrize(("stream", "number"), [("stdout", 1), ("stderr", 2)])
def test_workers_are_started_although_a_standard_stream_cannot_be_written_to(
    server: StartServer, tmp_path: Path, stream: str, number: int
):
    log, path = tmp_path / "log", tmp_path / "a socket"
    command = ["/bin/sh", "-c", f'exec "$@" {number}>{FULL}', "sh", *running.COMMAND]
    config = f"import sys\nsys.{stream} and print('zq81', end='', file=sys.{stream})\n"
    site = start_by(
        server,
        command,
        None,
        *("--log-file", str(log)),
        app_source=source("one"),
        config=config,
        bind=f"unix:{path}",
        env={**FRESH, "PYTHONUNBUFFERED": ""},
        ready=False,
    )
    wait_until(lambda: log.exists() and "Worker ready" in log.read_text(), what="the worker")
    os.kill(site.worker_pid(), signal.SIGKILL)
    wait_until(lambda: log.read_text().count("Worker ready") == 2, what="the next worker")
    site.signal(signal.SIGHUP)
    wait_until(lambda: "The new generation serves" in log.read_text(), what="the reload")
    assert b"one " in ask_at(path)
    site.signal(signal.SIGTERM)
    assert site.wait() in {0, 120}, "120 is Python's word for a stream that it cannot flush"


def test_an_application_may_log_although_the_log_cannot_be_written_to(server: StartServer, tmp_path: Path):
    path = tmp_path / "a socket"
    site = server(
        None, "--log-file", str(FULL), app_source=LOGGING, bind=f"unix:{path}", ready=False, allow_traceback=True
    )
    wait_until(lambda: path.is_socket() and site.worker_pids(), what="the worker")
    assert ask_at(path).endswith(b"served")
