"""The error log and the stream that applications write to."""

import io
import logging
import logging.handlers
import os
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.observe.logger import LEVELS, Logger
from unit.net.waiting import DEADLINE

LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[([A-Z]+)\] (.*)")


def test_a_line_has_time_process_level_and_message(tmp_path: Path):
    path = tmp_path / "error.log"
    Logger(Settings(errorlog=str(path), loglevel="debug")).warning("%s of %d", "one", 2)
    match = LINE.fullmatch(path.read_text().rstrip("\n"))
    assert match is not None
    assert match.groups() == ("WARNING", "one of 2")


@pytest.mark.parametrize("level", LEVELS)
def test_messages_below_the_level_are_left_out(tmp_path: Path, level: str):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel=level))
    for name in LEVELS:
        getattr(log, name)(name)
    told = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    names = list(LEVELS)
    assert [match[2] for match in told if match] == names[: names.index(level) + 1]


def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


def test_an_exception_has_its_traceback(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    try:
        divide(1, 0)
    except ZeroDivisionError:
        log.exception("while dividing")
    text = path.read_text()
    assert "[ERROR] while dividing\nTraceback" in text
    assert "ZeroDivisionError: " in text


def test_a_dash_is_the_standard_error_stream(capsys: pytest.CaptureFixture[str]):
    log = Logger(Settings(errorlog="-", loglevel="info"))
    log.info("told")
    log.stream.write("written\n")
    error = capsys.readouterr().err
    assert "[INFO] told\nwritten\n" in error


def test_messages_go_to_no_other_logger(tmp_path: Path):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.root.addHandler(handler)
    try:
        Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info")).error("alone")
    finally:
        logging.root.removeHandler(handler)
    assert stream.getvalue() == ""


def test_a_second_logger_takes_the_place_of_the_first(tmp_path: Path):
    first, second = tmp_path / "1", tmp_path / "2"
    Logger(Settings(errorlog=str(first), loglevel="info"))
    Logger(Settings(errorlog=str(second), loglevel="info")).error("here")
    assert first.read_text() == ""
    assert "here" in second.read_text()


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path):
    path = tmp_path / "error.log"
    path.write_text("before\n")
    Logger(Settings(errorlog=str(path), loglevel="info")).error("after")
    assert path.read_text().startswith("before\n[")


@pytest.mark.parametrize("target", ["/no/such/folder/error.log", "/"])
def test_a_file_that_cannot_be_opened_is_an_error_of_the_configuration(target: str):
    with pytest.raises(ConfigError, match="errorlog") as caught:
        Logger(Settings(errorlog=target, loglevel="info"))
    assert repr(target) in str(caught.value)


def test_characters_that_have_no_encoding_are_escaped(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    log.error("ü \udcff")
    log.stream.write("ü \udcff\n")
    assert path.read_text(encoding="utf-8").count("ü \\udcff\n") == 2


# wsgi.errors.


def test_an_application_writes_into_the_error_log_as_it_is_and_at_once(tmp_path: Path):
    path = tmp_path / "error.log"
    stream = Logger(Settings(errorlog=str(path), loglevel="info")).stream
    assert stream.write("one\n") == 4
    assert path.read_text() == "one\n"
    stream.writelines(["two\n", "three"])
    stream.flush()
    print(" four", file=stream)
    assert path.read_text() == "one\ntwo\nthree four\n"


def test_bytes_are_no_text(tmp_path: Path):
    stream = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info")).stream
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # type: ignore[arg-type]
    assert stream.write("still\n") == 6


def test_lines_of_several_threads_do_not_mix(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))

    def write(name: str) -> None:
        for _ in range(300):
            log.stream.write(name * 60 + "\n")
            log.error(name * 60)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 2400
    assert {re.sub(r"^\[.*\] ", "", line) for line in lines} == {name * 60 for name in "abcd"}


# Opening anew.


def test_a_log_goes_on_in_the_file_that_has_the_name_now(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    log.info("before")
    descriptor = log.fileno()
    path.rename(tmp_path / "old.log")
    log.info("between")
    log.reopen_files()
    log.info("after")
    log.stream.write("written\n")
    assert log.fileno() == descriptor
    old = (tmp_path / "old.log").read_text()
    assert "before" in old
    assert "between" in old
    assert re.sub(r".*\] ", "", path.read_text()) == "after\nwritten\n"


def test_a_log_that_stands_where_it_stood_is_added_to(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    for number in range(3):
        log.info("line %d", number)
        log.reopen_files()
    assert path.read_text().count("\n") == 3


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = Logger(Settings(errorlog=str(folder / "error.log"), loglevel="info"))
    folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        log.reopen_files()
    log.info("still here")
    assert "still here" in (tmp_path / "old" / "error.log").read_text()


def test_the_standard_error_stream_is_not_opened_anew(capsys: pytest.CaptureFixture[str]):
    log = Logger(Settings(errorlog="-", loglevel="info"))
    assert set(log.paths) <= {os.devnull}  # which pytest writes to
    log.reopen_files()
    log.info("told")
    assert "told" in capsys.readouterr().err


def test_a_log_that_the_application_has_closed_opens_at_need(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    log.error_log.handlers[0].close()
    path.unlink()
    log.reopen_files()
    log.info("one")
    log.stream.write("two\n")
    assert path.read_text().endswith("one\ntwo\n")


@pytest.mark.usefixtures("hasty_switches")
def test_no_line_is_lost_while_threads_write_and_the_file_is_exchanged(tmp_path: Path):
    path = tmp_path / "error.log"
    log = Logger(Settings(errorlog=str(path), loglevel="info"))
    log.reopen_files()
    writing = threading.Barrier(5)

    def write(name: str) -> None:
        writing.wait(DEADLINE)
        for number in range(300):
            log.info("%s %d", name * 20, number)
            log.stream.write(f"[own] {name * 20} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    writing.wait(DEADLINE)
    turns = 0
    while any(thread.is_alive() for thread in threads):
        path.rename(tmp_path / f"{turns}.old")
        log.reopen_files()
        turns += 1
    for thread in threads:
        thread.join(DEADLINE)
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert turns > 1
    assert len(lines) == 2400
    wanted = {f"{name * 20} {number}" for name in "abcd" for number in range(300)}
    assert {re.sub(r"^\[.*\] ", "", line) for line in lines} == wanted


def file_handler(path: Path) -> logging.FileHandler:
    """What an application writes to a file with."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def is_opened_anew(log: Logger, path: Path, tell: Callable[[str], object]) -> bool:
    """Whether what is told goes on in the file that has the name, after the one that had it was renamed."""
    tell("one")
    path.rename(path.with_suffix(".1"))
    log.reopen_files()
    tell("two")
    return (path.with_suffix(".1").read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_file_of_the_root_logger_is_one_of_those_that_are_written_to_and_opened_anew(tmp_path: Path):
    log = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info"))
    logging.root.addHandler(file_handler(tmp_path / "app.log"))
    assert set(log.paths) - {os.devnull} == {str(tmp_path / "error.log"), str(tmp_path / "app.log")}
    assert is_opened_anew(log, tmp_path / "app.log", logging.root.warning)


def test_the_file_behind_a_handler_that_collects_is_opened_anew(tmp_path: Path):
    log = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info"))
    target = file_handler(tmp_path / "app.log")
    logging.root.addHandler(logging.handlers.MemoryHandler(1, target=target))
    assert str(tmp_path / "app.log") in log.paths
    try:
        assert is_opened_anew(log, tmp_path / "app.log", logging.root.error)
    finally:
        target.close()


def test_the_file_behind_a_handler_that_has_a_listener_is_opened_anew(tmp_path: Path):
    log = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info"))
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    target = file_handler(tmp_path / "app.log")
    handler = logging.handlers.QueueHandler(records)
    # Python 3.12 has it as an attribute of its own, which dictConfig sets.
    handler.listener = logging.handlers.QueueListener(records, logging.handlers.MemoryHandler(1, target=target))
    logging.root.addHandler(handler)
    try:
        assert is_opened_anew(
            log,
            tmp_path / "app.log",
            lambda text: (logging.root.error(text), handler.listener.handle(records.get(timeout=DEADLINE))),
        )
    finally:
        target.close()


def test_handlers_that_lead_to_each_other_are_looked_at_once(tmp_path: Path):
    log = Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info"))
    one, other = (logging.handlers.MemoryHandler(9) for _ in range(2))
    one.setTarget(other)
    other.setTarget(one)
    log.error_log.addHandler(one)
    assert set(log.paths) - {os.devnull} == {str(tmp_path / "error.log")}
    other.setTarget(None)


def test_a_stream_that_somebody_has_closed_keeps_no_other_log_from_being_opened_anew(tmp_path: Path):
    path, other = tmp_path / "error.log", tmp_path / "other.log"
    log = Logger(Settings(errorlog=str(path)))
    handler = logging.FileHandler(other)
    handler.stream.close()
    third = logging.getLogger("unit.closed")
    third.addHandler(handler)
    try:
        path.rename(tmp_path / "error.log.1")
        with pytest.raises(ValueError, match="closed file"):
            log.reopen_files()
        log.warning("after")
        assert "after" in path.read_text()
    finally:
        third.removeHandler(handler)
        handler.stream = None
        handler.close()
