"""The error log as JSON, captured output, and request ids."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Settings
from greenhorn.observe.logger import Logger
from greenhorn.observe.request_id import RequestIds


@pytest.fixture
def log(tmp_path: Path) -> Logger:
    return Logger(Settings(errorlog=str(tmp_path / "error.log"), log_format="json"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "error.log").read_text().splitlines()]


def test_a_record_is_one_object_of_json(log: Logger, tmp_path: Path):
    log.warning('%s "two"\nthree ü', "one")
    (found,) = records(tmp_path)
    told = dt.datetime.strptime(found.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((dt.datetime.now(dt.UTC) - told).total_seconds()) < 60
    assert found == {
        "level": "warning",
        "pid": os.getpid(),
        "logger": "greenhorn.error",
        "message": 'one "two"\nthree ü',
    }


def test_a_traceback_is_a_member_of_the_object(log: Logger, tmp_path: Path):
    try:
        {}["so"]
    except KeyError:
        log.exception("failed")
    (found,) = records(tmp_path)
    assert found["message"] == "failed"
    assert found["traceback"].startswith("Traceback")
    assert found["traceback"].endswith("KeyError: 'so'")


def test_each_line_that_an_application_writes_is_an_object_too(log: Logger, tmp_path: Path):
    stream = log.stream
    assert stream.write('a "whole" line\nhalf') == 19
    assert [found["message"] for found in records(tmp_path)] == ['a "whole" line']
    stream.write(" a line\n")
    stream.write("no end")
    stream.flush()
    stream.flush()
    assert [found["message"] for found in records(tmp_path)][1:] == ["half a line", "no end"]
    with pytest.raises(TypeError, match=r"wsgi\.errors takes str, not bytes"):
        stream.write(b"bytes")  # type: ignore[arg-type]


CAPTURED = """
import os, sys
from pathlib import Path
from greenhorn.config import Settings
from greenhorn.observe.logger import Logger
log = Logger(Settings(errorlog="error.log", capture_output=True))
print("printed", flush=True)
os.system("echo of a child; echo wrong >&2")
Path("error.log").rename("old.log")
log.reopen_files()
print("printed anew")
log = Logger(Settings(errorlog="other.log", capture_output=True))
print("printed elsewhere", flush=True)
log = Logger(Settings(errorlog="last.log"))
print("free again", flush=True)
print("free error", file=sys.stderr)
"""


def test_captured_output_goes_to_the_error_log_until_it_is_not_captured_any_more(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", CAPTURED], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("free again\n", "free error\n")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {
        "old.log": "printed\nof a child\nwrong\n",
        "error.log": "printed anew\n",
        "other.log": "printed elsewhere\n",
        "last.log": "",
    }


# Request ids.


def test_an_id_is_made_and_the_application_sees_it():
    ids = RequestIds("X-Request-ID")
    environs: list[dict[str, Any]] = [{}, {}]
    for environ in environs:
        ids.identify(environ, {}, trusted=True)
    made = [environ["greenhorn.request_id"] for environ in environs]
    assert len(set(made)) == 2
    assert [environ["HTTP_X_REQUEST_ID"] for environ in environs] == made
    assert all(len(each) == 24 and each.isalnum() for each in made)
    other: dict[str, Any] = {}
    RequestIds("X-Request-ID").identify(other, {}, trusted=True)
    assert other["greenhorn.request_id"][:16] != made[0][:16]


@pytest.mark.parametrize(
    ("told", "trusted", "taken"),
    [
        ("abc-123_~.:/+=@", True, True),
        ("a" * 128, True, True),
        ("a" * 129, True, False),
        ("abc", False, False),
        ("", True, False),
        ("a b", True, False),
        ('a"b', True, False),
        ("a,b", True, False),
        ("\xe9", True, False),
    ],
)
def test_an_id_is_taken_from_a_trusted_peer_if_it_is_harmless(told: str, trusted: bool, taken: bool):
    environ = {"HTTP_X_TRACE": told}
    RequestIds("X-Trace").identify(environ, dict(environ), trusted=trusted)
    assert (environ["greenhorn.request_id"] == told) is taken
    assert environ["HTTP_X_TRACE"] == environ["greenhorn.request_id"]
