"""The access log: gunicorn's default line, which no request can forge, and where it goes."""

import base64
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import ConfigError, HTTPError
from greenhorn.http.head import Limits, RequestHead, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.observe.access import AccessLog, escape
from unit.net.waiting import DEADLINE

PEER = ("198.51.100.7", "4242")
TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[AccessLog, Callable[[], str]]]:
    """An access log, and a function that gives its lines with the time, once found well-formed, as [time]."""
    path = tmp_path / "access.log"
    made = AccessLog(str(path))

    def lines() -> str:
        text, times = re.subn(TIME, "[time]", path.read_text(encoding="ascii"))
        assert times == text.count("\n")
        return text

    yield made, lines
    os.close(made._fd)


def head(*lines: str, request_line: str = "GET /a?b=c HTTP/1.1") -> RequestHead:
    return parse_head("\r\n".join((request_line, "Host: a", *lines)).encode("latin-1"), FieldNames(), Limits())


def basic(credentials: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(credentials).decode()}"


def test_a_line_has_the_fields_of_gunicorns_default_format(log: tuple[AccessLog, Callable[[], str]]):
    access, lines = log
    access.answered(PEER, head("Referer: http://r/", "User-Agent: curl/8", basic(b"joe:secret")), 200, 1234)
    assert lines() == '198.51.100.7 - joe [time] "GET /a?b=c HTTP/1.1" 200 1234 "http://r/" "curl/8"\n'


def test_what_is_not_known_is_a_dash(log: tuple[AccessLog, Callable[[], str]]):
    access, lines = log
    access.answered(None, head(), None, 0)
    assert lines() == '- - - [time] "GET /a?b=c HTTP/1.1" - 0 "-" "-"\n'


def test_a_refused_request_has_its_reason_behind_it(log: tuple[AccessLog, Callable[[], str]]):
    access, lines = log
    access.refused(PEER, "GET / HTTP/9.9", HTTPError(505, 'no "such" version'), 99)
    access.refused(None, "", HTTPError(408, "too late"), 0)
    assert lines() == (
        '198.51.100.7 - - [time] "GET / HTTP/9.9" 505 99 "-" "-" "no \\x22such\\x22 version"\n'
        '- - - [time] "-" 408 0 "-" "-" "too late"\n'
    )


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("plain text;", "plain text;"),
        ('a"b', "a\\x22b"),
        ("a\\b", "a\\x5cb"),
        ("a\tb", "a\\x09b"),
        ("\xe4\xff", "\\xe4\\xff"),
        ("a\r\nb\0\x7f", "a\\x0d\\x0ab\\x00\\x7f"),
    ],
)
def test_what_could_forge_a_line_is_escaped(value: str, escaped: str):
    assert escape(value) == escaped


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(max_size=40))
def test_an_escaped_value_is_printable_ascii_without_quotes(value: str):
    escaped = escape(value)
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2,})*", escaped)


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(max_codepoint=255), max_size=30), st.text(st.characters(max_codepoint=255), max_size=30))
def test_two_values_that_a_client_can_send_never_look_the_same(first: str, second: str):
    assert (escape(first) == escape(second)) == (first == second)


def test_quotes_and_backslashes_in_fields_cannot_end_them(log: tuple[AccessLog, Callable[[], str]]):
    access, lines = log
    access.answered(PEER, head('Referer: a" 200 5 "x', "User-Agent: b\\", request_line='GET /"\\ HTTP/1.1'), 200, 1)
    assert lines() == ('198.51.100.7 - - [time] "GET /\\x22\\x5c HTTP/1.1" 200 1 "a\\x22 200 5 \\x22x" "b\\x5c"\n')


@pytest.mark.parametrize(
    ("line", "user"),
    [
        (basic(b"joe:secret"), "joe"),
        (basic(b"joe"), "joe"),
        (basic(b":secret"), "-"),
        (basic(b""), "-"),
        (basic(b"joe doe:x"), "joe\\x20doe"),
        (basic(b'a"b\\c:x'), "a\\x22b\\x5cc"),
        (basic(b"a\nb\r\tc:x"), "a\\x0ab\\x0d\\x09c"),
        (basic("jürgen:x".encode()), "j\\xfcrgen"),
        (basic(b"\0:x"), "\\x00"),
        ("Authorization: Basic !!!", "-"),
        ("Authorization: Basic am9lO", "-"),
        ("Authorization: Basic", "-"),
        ("Authorization: Bearer am9lOng=", "-"),
        ("Authorization: basic   am9lOng=", "joe"),
        ("Authorization: Basic \xe4\xf6", "-"),
        ("Authorization:", "-"),
    ],
)
def test_the_user_is_that_of_basic_credentials_and_cannot_forge_a_line(
    log: tuple[AccessLog, Callable[[], str]], line: str, user: str
):
    access, lines = log
    access.answered(PEER, head(line), 200, 1)
    assert lines() == f'198.51.100.7 - {user} [time] "GET /a?b=c HTTP/1.1" 200 1 "-" "-"\n'
    assert lines().count("\n") == 1


def test_bytes_that_are_no_utf8_in_a_user_do_not_fail(log: tuple[AccessLog, Callable[[], str]]):
    access, lines = log
    access.answered(PEER, head(basic(b"\xff\xfe:x")), 200, 1)
    assert " - \\x" in lines()
    assert lines().count("\n") == 1


def test_a_dash_is_the_standard_output(capfd: pytest.CaptureFixture[str]):
    access = AccessLog("-")
    access.answered(PEER, head(), 200, 5)
    assert '"GET /a?b=c HTTP/1.1" 200 5' in capfd.readouterr().out


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    for _ in range(2):
        access = AccessLog(str(path))
        access.answered(PEER, head(), 200, 5)
        os.close(access._fd)
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_was_moved_away_gets_the_lines_until_it_is_opened_again(tmp_path: Path):
    path = tmp_path / "access.log"
    access = AccessLog(str(path))
    path.rename(tmp_path / "old.log")
    access.answered(PEER, head(), 200, 5)
    os.close(access._fd)
    assert not path.exists()
    assert (tmp_path / "old.log").read_text().count("\n") == 1


@pytest.mark.parametrize("target", ["/no/such/folder/access.log", "/"])
def test_a_file_that_cannot_be_opened_is_an_error_of_the_configuration(target: str):
    with pytest.raises(ConfigError, match="accesslog") as caught:
        AccessLog(target)
    assert repr(target) in str(caught.value)


def test_a_log_that_cannot_be_written_costs_no_answer(tmp_path: Path):
    access = AccessLog(str(tmp_path / "access.log"))
    os.close(access._fd)
    access._fd = os.open(os.devnull, os.O_RDONLY)
    access.answered(PEER, head(), 200, 5)
    os.close(access._fd)


def test_lines_of_several_threads_do_not_mix(tmp_path: Path):
    path = tmp_path / "access.log"
    access = AccessLog(str(path))

    def write(name: str) -> None:
        for _ in range(300):
            access.answered((name, "1"), head(f"Referer: {name * 20}"), 200, 5)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(access._fd)
    lines = path.read_text().splitlines()
    assert len(lines) == 1200
    for line in lines:
        assert re.fullmatch(rf'([abcd]) - - {TIME} "GET /a\?b=c HTTP/1.1" 200 5 "\1{{20}}" "-"', line)


# Opening anew.


def test_a_log_goes_on_in_the_file_that_has_the_name_now(tmp_path: Path):
    path = tmp_path / "access.log"
    access = AccessLog(str(path))
    descriptor = access._fd
    path.rename(tmp_path / "old.log")
    access.answered(PEER, head(), 200, 5)
    access.reopen()
    access.answered(PEER, head(), 404, 5)
    assert access._fd == descriptor
    assert not os.get_inheritable(descriptor)
    access.close()
    assert " 200 5 " in (tmp_path / "old.log").read_text()
    assert " 404 5 " in path.read_text()
    assert path.read_text().count("\n") == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    access = AccessLog(str(folder / "access.log"))
    folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        access.reopen()
    access.answered(PEER, head(), 200, 5)
    access.close()
    assert (tmp_path / "old" / "access.log").read_text().count("\n") == 1


def test_the_standard_output_is_neither_opened_anew_nor_closed(capfd: pytest.CaptureFixture[str]):
    access = AccessLog("-")
    access.reopen()
    access.close()
    access.answered(PEER, head(), 200, 5)
    assert access.path == ""
    assert '"GET /a?b=c HTTP/1.1" 200 5' in capfd.readouterr().out


@pytest.mark.usefixtures("hasty_switches")
def test_no_line_is_lost_while_threads_write_and_the_file_is_exchanged(tmp_path: Path):
    path = tmp_path / "access.log"
    access = AccessLog(str(path))
    writing = threading.Barrier(5)

    def write(name: str) -> None:
        writing.wait(DEADLINE)
        for number in range(500):
            access.answered((name, "1"), head(), 200, number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    writing.wait(DEADLINE)
    turns = 0
    while any(thread.is_alive() for thread in threads):
        path.rename(tmp_path / f"{turns}.old")
        access.reopen()
        turns += 1
    for thread in threads:
        thread.join(DEADLINE)
    access.close()
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert turns > 1
    assert len(lines) == 2000
    found = {(line[0], line.split('" 200 ')[1].split()[0]) for line in lines}
    assert found == {(name, str(number)) for name in "abcd" for number in range(500)}
