"""Records to syslog: what arrives there, and that a daemon that is away costs nothing."""

import contextlib
import logging
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.observe.logger_class import make_logger
from greenhorn.observe.syslog import SyslogHandler, parse_syslog_address
from unit.net.waiting import DEADLINE, wait_until

ERROR, INFO = 8 + 3, 8 + 6
"""Facility user, and the severity."""


@contextlib.contextmanager
def daemon(family: int, kind: int, address: object) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        sock.bind(address)  # type: ignore[arg-type]
        sock.settimeout(DEADLINE)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://127.0.0.1:1514", (socket.AF_INET, (socket.SOCK_DGRAM,), ("127.0.0.1", 1514))),
        ("udp://127.0.0.1", (socket.AF_INET, (socket.SOCK_DGRAM,), ("127.0.0.1", 514))),
        ("tcp://127.0.0.1:601", (socket.AF_INET, (socket.SOCK_STREAM,), ("127.0.0.1", 601))),
        ("tcp://[::1]:601", (socket.AF_INET6, (socket.SOCK_STREAM,), ("::1", 601, 0, 0))),
        ("unix:///dev/log", (socket.AF_UNIX, (socket.SOCK_DGRAM, socket.SOCK_STREAM), "/dev/log")),
        ("unix:///dev/log#stream", (socket.AF_UNIX, (socket.SOCK_STREAM,), "/dev/log")),
        ("unix:///dev/log#dgram", (socket.AF_UNIX, (socket.SOCK_DGRAM,), "/dev/log")),
    ],
)
def test_addresses_are_gunicorns(text: str, expected: tuple[object, ...]):
    assert tuple(parse_syslog_address(text)) == expected


@pytest.mark.parametrize(
    "text", ["/dev/log", "unix://", "unix:///dev/log#x", "http://a:1", "udp://no.such.host.invalid:1", "udp://a:b"]
)
def test_what_is_no_address_is_an_error_of_the_configuration(text: str):
    with pytest.raises(ConfigError, match=r"^syslog_addr: "):
        parse_syslog_address(text)


def settings(folder: Path, address: str, **others: object) -> Settings:
    known = {"errorlog": str(folder / "error.log"), "syslog": True, "syslog_addr": address, "syslog_prefix": "shop"}
    return Settings(**{**known, **others})  # type: ignore[arg-type]


def test_error_and_access_log_have_names_of_their_own(tmp_path: Path):
    with daemon(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)) as sock:
        log = make_logger(settings(tmp_path, f"udp://127.0.0.1:{sock.getsockname()[1]}", syslog_facility="local3"))
        log.error("one\ntwo")
        log.access_log.info("%(h)s", {"h": "an access line"})
        pid = os.getpid()
        assert sock.recv(9999).decode() == f"<{19 * 8 + 3}>greenhorn.shop.error: [{pid}] one\ntwo"
        assert sock.recv(9999).decode() == f"<{19 * 8 + 6}>greenhorn.shop.access: [{pid}] an access line"
        assert log.routes_access
    assert "one\ntwo" in (tmp_path / "error.log").read_text()


def test_access_lines_can_stay_out_of_syslog(tmp_path: Path):
    log = make_logger(settings(tmp_path, "udp://127.0.0.1:9", disable_redirect_access_to_syslog=True))
    assert log.access_log.handlers == []
    assert not log.access_log_enabled
    assert not log.routes_access


def test_the_name_of_the_processes_stands_in_for_the_prefix(tmp_path: Path):
    with daemon(socket.AF_UNIX, socket.SOCK_DGRAM, str(tmp_path / "s")) as sock:
        log = make_logger(settings(tmp_path, f"unix://{tmp_path}/s", syslog_prefix=None, proc_name="a:100%"))
        log.error("one")
        assert sock.recv(9999).decode().startswith(f"<{ERROR}>greenhorn.a.100%.error: [")


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.syslog")
    made.propagate = False
    made.setLevel(logging.INFO)
    made.handlers.clear()
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()
    made.propagate = True


def to(log: logging.Logger, address: str) -> None:
    log.addHandler(SyslogHandler(parse_syslog_address(address), "user"))


def test_a_stream_has_one_message_per_line(log: logging.Logger):
    with daemon(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)) as sock:
        to(log, f"tcp://127.0.0.1:{sock.getsockname()[1]}")
        log.error("one\ntwo\0")
        log.info("three")
        client, _ = sock.accept()
        with client, client.makefile() as stream:
            assert [stream.readline() for _ in range(2)] == [f"<{ERROR}>one#012two#000\n", f"<{INFO}>three\n"]


def test_at_a_path_both_kinds_of_sockets_are_tried_and_a_stream_has_nuls(log: logging.Logger, tmp_path: Path):
    with daemon(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "s")) as sock:
        to(log, f"unix://{tmp_path}/s")
        log.error("one")
        client, _ = sock.accept()
        with client:
            assert client.recv(99).decode() == f"<{ERROR}>one\0"


def test_a_daemon_that_is_away_costs_neither_time_nor_errors(
    log: logging.Logger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for address in (f"tcp://127.0.0.1:{unused.getsockname()[1]}", f"unix://{tmp_path}/none"):
            to(log, address)
        began = time.monotonic()
        for _ in range(1000):
            log.error("one")
        assert time.monotonic() - began < DEADLINE / 2
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full datagram socket loses what is sent")
def test_a_daemon_that_does_not_read_costs_no_time(log: logging.Logger, tmp_path: Path):
    with (
        daemon(socket.AF_UNIX, socket.SOCK_DGRAM, str(tmp_path / "d")),
        daemon(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "s")),
    ):
        to(log, f"unix://{tmp_path}/d#dgram")
        to(log, f"unix://{tmp_path}/s#stream")
        for _ in range(1000):
            log.error("x" * 2000)
        _, stream = (handler for handler in log.handlers if isinstance(handler, SyslogHandler))
        assert 0 < len(stream._unsent) <= 65536


def test_a_daemon_that_was_started_anew_gets_the_next_record(log: logging.Logger, tmp_path: Path):
    path = tmp_path / "s"
    to(log, f"unix://{path}#dgram")
    for turn in range(3):
        with daemon(socket.AF_UNIX, socket.SOCK_DGRAM, str(path)) as sock:
            log.error("turn %d", turn)
            assert sock.recv(99).decode() == f"<{ERROR}>turn {turn}"
        path.unlink()


def test_a_stream_that_was_lost_is_opened_anew(log: logging.Logger):
    with daemon(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)) as sock:
        to(log, f"tcp://127.0.0.1:{sock.getsockname()[1]}")
        log.error("first")
        client, _ = sock.accept()
        client.recv(99)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

        def comes_again() -> bool:
            log.error("again")
            return bool(select.select([sock], [], [], 0)[0])

        wait_until(comes_again, "a second connection")


def test_a_record_that_is_too_large_for_a_datagram_is_cut(log: logging.Logger):
    with daemon(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)) as sock:
        to(log, f"udp://127.0.0.1:{sock.getsockname()[1]}")
        log.error("x" * 100_000)
        assert len(sock.recv(99_999)) == 2048


def test_a_child_has_a_connection_of_its_own(log: logging.Logger):
    with daemon(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)) as sock:
        to(log, f"tcp://127.0.0.1:{sock.getsockname()[1]}")
        log.error("parent")
        first, _ = sock.accept()
        pid = os.fork()
        if not pid:
            log.error("child")
            os._exit(0)
        second, _ = sock.accept()
        os.waitpid(pid, 0)
        log.error("parent again")
        with first, second, first.makefile() as one, second.makefile() as other:
            assert [one.readline(), one.readline()] == [f"<{ERROR}>parent\n", f"<{ERROR}>parent again\n"]
            assert other.readline() == f"<{ERROR}>child\n"
