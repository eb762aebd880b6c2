"""Logging configurations: which of three counts, what they are laid over, and what is wrong with one."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.observe.logger_class import make_logger

INI = """
[loggers]
keys=root, error
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
handlers=
[logger_error]
level=WARNING
qualname=gunicorn.error
handlers=file
propagate=0
[handler_file]
class=FileHandler
formatter=plain
args=("%(here)s/ini.log",)
[formatter_plain]
format=ini: %(message)s
"""


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Leave the handlers of the root logger as they are."""
    before, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def to_file(path: Path, *names: str, word: str = "dict", **others: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "formatters": {"own": {"format": f"{word}: %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(path), "formatter": "own"}},
        "loggers": {name: {"handlers": ["file"], "level": "INFO", "propagate": False} for name in names},
        "root": {"handlers": []},
        **others,
    }


@pytest.mark.parametrize("name", ["gunicorn.error", "greenhorn.error"])
def test_a_dict_may_use_gunicorns_names_and_ours(tmp_path: Path, name: str):
    log = make_logger(Settings(logconfig_dict=to_file(tmp_path / "dict.log", name)))
    log.info("told")
    log.stream.write("written\n")
    assert (tmp_path / "dict.log").read_text() == "dict: told\nwritten\n"
    assert set(log.paths) - {os.devnull} == {str(tmp_path / "dict.log")}


def test_loggers_stay_on_when_a_configuration_turns_others_off(tmp_path: Path):
    given = to_file(tmp_path / "dict.log", "gunicorn.error", disable_existing_loggers=True)
    make_logger(Settings(logconfig_dict=given)).info("told")
    assert (tmp_path / "dict.log").read_text() == "dict: told\n"


def test_access_lines_go_where_the_configuration_says(tmp_path: Path):
    given = to_file(tmp_path / "dict.log", "gunicorn.access")
    log = make_logger(Settings(errorlog=str(tmp_path / "error.log"), logconfig_dict=given))
    assert log.routes_access
    log.access_log.info("%(h)s", {"h": "line"})
    log.error("elsewhere")
    assert (tmp_path / "dict.log").read_text() == "dict: line\n"


def test_a_configuration_is_laid_over_gunicorns_defaults(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    log = make_logger(
        Settings(
            errorlog=str(tmp_path / "error.log"),
            logconfig_dict={"formatters": {"generic": {"format": "own: %(message)s"}}},
        )
    )
    log.info("told")
    log.access_log.info("line")
    assert capfd.readouterr() == ("own: line\n", "own: told\n")
    assert (tmp_path / "error.log").read_text() == ""


def test_defaults_whose_handlers_were_replaced_go_as_well(tmp_path: Path):
    given = to_file(tmp_path / "dict.log", "gunicorn.error")
    del given["root"]
    make_logger(Settings(logconfig_dict=given)).info("told")
    assert (tmp_path / "dict.log").read_text() == "dict: told\n"
    del given["loggers"]
    log = make_logger(Settings(errorlog=str(tmp_path / "error.log"), logconfig_dict=given))
    log.error("here")
    assert "here" in (tmp_path / "error.log").read_text()


def test_a_dict_comes_before_json_and_that_before_a_file(tmp_path: Path):
    (tmp_path / "log.ini").write_text(INI)
    (tmp_path / "log.json").write_text(json.dumps(to_file(tmp_path / "json.log", "gunicorn.error", word="json")))
    given = {"logconfig": str(tmp_path / "log.ini"), "logconfig_json": str(tmp_path / "log.json")}
    make_logger(Settings(**given, logconfig_dict=to_file(tmp_path / "dict.log", "gunicorn.error"))).warning("told")
    make_logger(Settings(**given)).warning("told")
    make_logger(Settings(logconfig=given["logconfig"])).warning("told")
    for word in ("dict", "json", "ini"):
        assert (tmp_path / f"{word}.log").read_text() == f"{word}: told\n"


def test_what_a_configuration_has_brought_goes_with_it(tmp_path: Path):
    make_logger(Settings(logconfig_dict=to_file(tmp_path / "dict.log", "gunicorn.error", "gunicorn.access")))
    log = make_logger(Settings(errorlog=str(tmp_path / "error.log")))
    log.error("told")
    assert (tmp_path / "dict.log").read_text() == ""
    assert "told" in (tmp_path / "error.log").read_text()
    assert log.access_log.handlers == []


def test_a_configuration_can_be_applied_again(tmp_path: Path):
    class Custom(logging.FileHandler):
        pass

    given = to_file(tmp_path / "dict.log", "gunicorn.error")
    given["handlers"]["file"]["()"] = Custom
    del given["handlers"]["file"]["class"]
    settings = Settings(logconfig_dict=given)
    for number in range(2):
        make_logger(settings).info("turn %d", number)
    assert (tmp_path / "dict.log").read_text() == "dict: turn 0\ndict: turn 1\n"


def test_files_of_a_configuration_are_opened_anew_as_well(tmp_path: Path):
    log = make_logger(Settings(logconfig_dict=to_file(tmp_path / "dict.log", "gunicorn.error")))
    (tmp_path / "dict.log").rename(tmp_path / "old.log")
    log.reopen_files()
    log.info("told")
    assert (tmp_path / "dict.log").read_text() == "dict: told\n"


@pytest.mark.parametrize(
    ("files", "given", "told"),
    [
        ({}, {"logconfig_dict": {"version": 2}}, ["logconfig_dict: ", "version"]),
        (
            {},
            {"logconfig_dict": {"handlers": {"file": {"class": "no.Such"}}}},
            ["logconfig_dict: ", "'file'", "No module named 'no'"],
        ),
        (
            {},
            {"logconfig_dict": {"loggers": {"gunicorn.error": {"handlers": ["none"]}}}},
            ["logconfig_dict: ", "'gunicorn.error'", "'none'"],
        ),
        ({}, {"logconfig_json": "x.json"}, ["logconfig_json: ", "x.json", "No such file"]),
        ({"x.json": "{'a'"}, {"logconfig_json": "x.json"}, ["logconfig_json: ", "x.json is no JSON", "line 1"]),
        ({"x.json": "[]"}, {"logconfig_json": "x.json"}, ["logconfig_json: ", "x.json must be an object"]),
        ({"x.json": '{"version": 7}'}, {"logconfig_json": "x.json"}, ["logconfig_json: ", "x.json: ", "version"]),
        ({}, {"logconfig": "x.ini"}, ["logconfig: there is no file", "x.ini"]),
        ({"x.ini": "[loggers]\nkeys=root\n"}, {"logconfig": "x.ini"}, ["logconfig: ", "x.ini", "formatters"]),
        ({"x.ini": "loggers"}, {"logconfig": "x.ini"}, ["logconfig: ", "x.ini"]),
        ({"x.ini": ""}, {"logconfig": "x.ini"}, ["logconfig: ", "x.ini"]),
        (
            {"x.ini": INI.replace("FileHandler", "no.Such")},
            {"logconfig": "x.ini"},
            ["logconfig: ", "x.ini", "no"],
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    given: dict[str, Any],
    told: list[str],
):
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        make_logger(Settings(**given))
    message = str(caught.value)
    assert message.count("\n") == 0
    for part in told:
        assert part in message
