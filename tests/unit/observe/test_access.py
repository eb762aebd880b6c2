"""The access log: whole lines in a file or on the standard output, and which requests have one."""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.observe.access import AccessFile, DirectLog, Excluded, Refusal, Unread
from greenhorn.observe.formats import COMBINED, Format
from unit.net.waiting import DEADLINE
from unit.observe.exchanges import TIME, Answer, Times, basic, environ_of, head


class Log:
    """A log of one file, and what it holds."""

    def __init__(self, target: str, form: str = COMBINED, **options: object) -> None:
        self.file = AccessFile(target)
        self.log = DirectLog(self.file, Format.of(form), **options)  # type: ignore[arg-type]

    def answered(
        self, *fields: str, host: str = "198.51.100.7", status: int = 200, sent: int = 5, path: str = "/a?b=c"
    ):
        asked = head(*fields, request_line=f"GET {path} HTTP/1.1")
        self.log.answered(Times(), environ_of(asked, REMOTE_ADDR=host), asked, Answer(f"{status} So", sent))

    def lines(self) -> list[str]:
        return Path(self.file.path).read_text(encoding="ascii").splitlines()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(str(tmp_path / "access.log"))
    yield made
    made.file.close()


def test_a_line_is_written_at_once(log: Log):
    log.answered("Referer: http://r/", "User-Agent: curl/8", basic(b"joe:secret"), sent=1234)
    assert len(log.lines()) == 1
    assert re.fullmatch(
        rf'198.51.100.7 - joe {TIME} "GET /a\?b=c HTTP/1.1" 200 1234 "http://r/" "curl/8"', log.lines()[0]
    )


def test_a_refused_request_has_its_reason_behind_it(log: Log):
    log.log.refused(Times(), {"REMOTE_ADDR": "::1"}, Unread("GET / HTTP/9.9"), Refusal("505", 99, 'no "such" version'))
    log.log.refused(Times(), {}, Unread("-"), Refusal("408", 0, "too late"))
    told = [re.sub(TIME, "[time]", line) for line in log.lines()]
    assert told == [
        '::1 - - [time] "GET / HTTP/9.9" 505 99 "-" "-" "no \\x22such\\x22 version"',
        '- - - [time] "-" 408 0 "-" "-" "too late"',
    ]


def test_a_request_that_was_read_and_refused_has_all_its_fields(log: Log):
    asked = head("Referer: http://r/", basic(b"joe:x"))
    log.log.refused(Times(), environ_of(asked), asked, Refusal("413", 9, "too large"))
    assert log.lines()[0].startswith("198.51.100.7 - joe [")
    assert log.lines()[0].endswith('"GET /a?b=c HTTP/1.1" 413 9 "http://r/" "-" "too large"')


# Lines that wait for each other.


def test_lines_wait_while_more_is_worked_off_at_once_and_are_written_with_the_last_one(tmp_path: Path):
    waiting = ["another"]
    made = Log(str(tmp_path / "access.log"), waiting=waiting)
    made.answered(sent=1)
    made.answered(sent=2)
    assert made.lines() == []
    waiting.clear()
    made.answered(sent=3)
    assert [line.split()[9] for line in made.lines()] == ["1", "2", "3"]
    made.file.close()


def test_not_more_lines_wait_than_a_batch(tmp_path: Path):
    made = Log(str(tmp_path / "access.log"), waiting=["another"])
    for _ in range(100):
        made.answered()
    assert len(made.lines()) == 64
    made.log.flush()
    assert len(made.lines()) == 100
    made.file.close()


def test_a_refusal_does_not_wait(tmp_path: Path):
    made = Log(str(tmp_path / "access.log"), waiting=["another"])
    made.answered()
    made.log.refused(Times(), {}, Unread("-"), Refusal("408", 0, "too late"))
    assert len(made.lines()) == 2
    made.file.close()


def test_a_batch_is_written_in_one_piece(tmp_path: Path):
    written: list[bytes] = []

    class Watched(AccessFile):
        def write(self, lines: bytes) -> None:
            written.append(lines)

    file = Watched(str(tmp_path / "access.log"))
    waiting = ["another"]
    log = DirectLog(file, Format.of("%(B)s"), waiting=waiting)
    for number in range(5):
        log.answered(Times(), {}, head(), Answer(sent=number))
    waiting.clear()
    log.answered(Times(), {}, head(), Answer(sent=5))
    assert written == [b"0\n1\n2\n3\n4\n5\n"]
    file.close()


# Paths that are left out.


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("/healthz", True),
        ("/health%7a", True),
        ("/healthz?full=1", True),
        ("/healthz/", False),
        ("/static/a.css", True),
        ("/static/", True),
        ("/static", False),
        ("/stat*", False),
        ("/", False),
    ],
)
def test_paths_can_be_left_out(tmp_path: Path, path: str, left_out: bool):
    made = Log(str(tmp_path / "access.log"), excluded=Excluded(("/healthz", "/static/*")))
    made.answered(path=path)
    assert (made.lines() == []) is left_out
    made.file.close()


def test_a_refusal_of_a_path_that_is_left_out_is_told(tmp_path: Path):
    made = Log(str(tmp_path / "access.log"), excluded=Excluded(("*",)))
    made.answered()
    assert made.lines() == []
    made.log.refused(Times(), {}, head(), Refusal("503", 0, "no thread"))
    assert len(made.lines()) == 1
    made.file.close()


# The file.


def test_a_dash_is_the_standard_output(capfd: pytest.CaptureFixture[str]):
    Log("-").answered()
    assert '"GET /a?b=c HTTP/1.1" 200 5' in capfd.readouterr().out


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    for _ in range(2):
        access = Log(str(path))
        access.answered()
        access.file.close()
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_was_moved_away_gets_the_lines_until_it_is_opened_again(tmp_path: Path):
    path = tmp_path / "access.log"
    access = Log(str(path))
    path.rename(tmp_path / "old.log")
    access.answered()
    access.file.close()
    assert not path.exists()
    assert (tmp_path / "old.log").read_text().count("\n") == 1


@pytest.mark.parametrize("target", ["/no/such/folder/access.log", "/"])
def test_a_file_that_cannot_be_opened_is_an_error_of_the_configuration(target: str):
    with pytest.raises(ConfigError, match="accesslog") as caught:
        Log(target)
    assert repr(target) in str(caught.value)


def test_a_log_that_cannot_be_written_costs_no_answer(tmp_path: Path):
    access = Log(str(tmp_path / "access.log"))
    access.file.close()
    access.file._fd = os.open(os.devnull, os.O_RDONLY)
    access.answered()
    access.file.close()


def test_lines_of_several_threads_do_not_mix(tmp_path: Path):
    path = tmp_path / "access.log"
    access = Log(str(path))

    def write(name: str) -> None:
        for _ in range(300):
            access.answered(f"Referer: {name * 20}", host=name)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    access.file.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 1200
    for line in lines:
        assert re.fullmatch(rf'([abcd]) - - {TIME} "GET /a\?b=c HTTP/1.1" 200 5 "\1{{20}}" "-"', line)


# Opening anew.


def test_a_log_goes_on_in_the_file_that_has_the_name_now(tmp_path: Path):
    path = tmp_path / "access.log"
    access = Log(str(path))
    descriptor = access.file._fd
    path.rename(tmp_path / "old.log")
    access.answered()
    access.file.reopen()
    access.answered(status=404)
    assert access.file._fd == descriptor
    assert not os.get_inheritable(descriptor)
    access.file.close()
    assert " 200 5 " in (tmp_path / "old.log").read_text()
    assert " 404 5 " in path.read_text()
    assert path.read_text().count("\n") == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    access = Log(str(folder / "access.log"))
    folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        access.file.reopen()
    access.answered()
    access.file.close()
    assert (tmp_path / "old" / "access.log").read_text().count("\n") == 1


def test_the_standard_output_is_neither_opened_anew_nor_closed(capfd: pytest.CaptureFixture[str]):
    access = Log("-")
    access.file.reopen()
    access.file.close()
    access.answered()
    assert access.file.path == ""
    assert '"GET /a?b=c HTTP/1.1" 200 5' in capfd.readouterr().out


@pytest.mark.usefixtures("hasty_switches")
def test_no_line_is_lost_while_threads_write_and_the_file_is_exchanged(tmp_path: Path):
    path = tmp_path / "access.log"
    access = Log(str(path))
    writing = threading.Barrier(5)

    def write(name: str) -> None:
        writing.wait(DEADLINE)
        for number in range(500):
            access.answered(host=name, sent=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    writing.wait(DEADLINE)
    turns = 0
    while any(thread.is_alive() for thread in threads):
        path.rename(tmp_path / f"{turns}.old")
        access.file.reopen()
        turns += 1
    for thread in threads:
        thread.join(DEADLINE)
    access.file.close()
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert turns > 1
    assert len(lines) == 2000
    found = {(line[0], line.split('" 200 ')[1].split()[0]) for line in lines}
    assert found == {(name, str(number)) for name in "abcd" for number in range(500)}
