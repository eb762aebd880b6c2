"""An upgrade: what the second master is given, what it makes of that, and how it is started."""

import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.handover import ADDRESSES, DESCRIPTORS, OLD_MASTER, Handover
from greenhorn.master.surroundings import Surroundings
from greenhorn.net.listener import Address, Listener, Manner, adopt, listen, parse_address
from greenhorn.observe.logger import Logger
from unit.net.sockets import has_ipv6

REPORT = """
import json, os, signal, sys
with open(sys.argv[1], "w") as file:
    json.dump({
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "open": [fd for fd in map(int, os.environ["GREENHORN_FD"].split(",")) if os.fstat(fd)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }, file)
"""


@pytest.fixture
def listening() -> Iterator[Callable[..., Listener]]:
    """Listen at an address that is written as for `bind`; closed at the end."""
    made: list[Listener] = []

    def make(text: str, **manner: bool) -> Listener:
        made.append(listen(parse_address(text), Manner(**manner)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close(unlink=True)


@pytest.fixture
def second(start_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Handover]:
    """Make the handover of a master that was started with these variables."""
    del start_directory

    def make(**environ: str) -> Handover:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return Handover(Surroundings())

    return make


def passed(handover: Handover, *listeners: Listener) -> dict[str, str]:
    """The environment of the second master, with descriptors that are its own."""
    environ = handover._environ(listeners, 77)
    numbers = [str(os.dup(int(fd))) for fd in environ[DESCRIPTORS].split(",") if fd]
    return {ADDRESSES: environ[ADDRESSES], DESCRIPTORS: ",".join(numbers), OLD_MASTER: environ[OLD_MASTER]}


# What is told.


def test_a_first_master_is_told_nothing(second: Callable[..., Handover]):
    handover = second()
    assert (handover.predecessor, handover.successor, handover.shared) == (0, 0, False)
    assert handover.inherited() == []
    assert handover.promoted() is False


def test_the_second_master_is_told_descriptors_addresses_and_who_started_it(
    second: Callable[..., Handover], listening: Callable[..., Listener], tmp_path: Path
):
    one, two = listening("127.0.0.1:0"), listening(f"unix:{tmp_path}/a socket's")
    environ = second()._environ([one, two], 77)
    assert environ[DESCRIPTORS] == f"{one.fd},{two.fd}"
    assert shlex.split(environ[ADDRESSES]) == ["127.0.0.1:0", f"unix:{tmp_path}/a socket's"]
    assert environ[OLD_MASTER] == "77"


def test_the_second_master_has_the_environment_of_the_start(
    second: Callable[..., Handover], monkeypatch: pytest.MonkeyPatch
):
    handover = second(SHOP="before", LISTEN_FDS="2", LISTEN_PID="1", LISTEN_FDNAMES="a:b", WATCHDOG_PID="1")
    monkeypatch.setenv("SHOP", "after")
    monkeypatch.setenv("SHOP_NEW", "raw_env")
    environ = handover._environ([], 77)
    assert environ["SHOP"] == "before"
    assert "SHOP_NEW" not in environ
    assert not [name for name in environ if name.startswith("LISTEN_")]
    assert environ["WATCHDOG_PID"] == str(os.getpid())
    assert handover._surroundings.environ["LISTEN_FDS"] == "2"


def test_sockets_of_a_service_manager_are_passed_on_as_it_passed_them(
    second: Callable[..., Handover], listening: Callable[..., Listener]
):
    own, outer = listening("127.0.0.1:0"), listening("127.0.0.1:0")
    fd = os.dup(outer.fd)
    lent = adopt(fd, Address(fd=fd, name="web"))
    environ = second(LISTEN_FDS="1", LISTEN_PID="1", LISTEN_FDNAMES="web")._environ([lent, own], 77)
    lent.close()
    assert (environ["LISTEN_FDS"], environ["LISTEN_FDNAMES"]) == ("1", "web")
    assert environ["LISTEN_PID"] == str(os.getpid())
    assert environ[DESCRIPTORS] == str(own.fd)
    assert environ[ADDRESSES] == "127.0.0.1:0"


# What the second master makes of it.


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:0",
        pytest.param("[::1]:0", marks=pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")),
        "localhost:0",
        "unix:{folder}/s",
        "unix:{folder}/a space, a comma, 'quotes\"",
    ],
    ids=["IPv4", "IPv6", "name", "path", "odd path"],
)
def test_an_inherited_socket_is_found_by_its_address_and_accepts(
    second: Callable[..., Handover], listening: Callable[..., Listener], tmp_path: Path, text: str
):
    text = text.format(folder=tmp_path)
    outer = listening(text)
    [listener] = second(**passed(second(), outer)).inherited()
    assert listener.address == parse_address(text)
    assert listener.name == outer.name
    assert not listener.lent
    with socket.socket(outer.socket.family) as client:
        client.connect(outer.getsockname())
    accepted = listener.accept()
    assert accepted is not None
    accepted[0].close()
    listener.close(unlink=True)
    assert [path for path in tmp_path.iterdir() if path.is_socket()] == []


def test_a_descriptor_that_was_named_by_its_number_stays_somebody_elses(
    second: Callable[..., Handover], listening: Callable[..., Listener], tmp_path: Path
):
    outer = listening(f"unix:{tmp_path}/s")
    fd = os.dup(outer.fd)
    [listener] = second(**{DESCRIPTORS: str(fd), ADDRESSES: f"fd://{fd}"}).inherited()
    assert listener.lent
    listener.close(unlink=True)
    assert (tmp_path / "s").is_socket()


def test_a_reserved_address_is_reserved_again(second: Callable[..., Handover], listening: Callable[..., Listener]):
    outer = listening("127.0.0.1:0", reuse_port=True)
    [listener] = second(**passed(second(), outer)).inherited()
    assert listener.reserved
    listener.close()


def test_several_are_kept_apart(second: Callable[..., Handover], listening: Callable[..., Listener], tmp_path: Path):
    texts = [f"unix:{tmp_path}/a b", f"unix:{tmp_path}/a", "127.0.0.1:0"]
    outer = [listening(text) for text in texts]
    found = second(**passed(second(), *outer)).inherited()
    assert [str(listener.address) for listener in found] == texts
    assert [listener.name for listener in found] == [each.name for each in outer]
    for listener in found:
        listener.close()


def test_neither_the_application_nor_what_it_starts_is_a_second_master(second: Callable[..., Handover]):
    handover = second(**{OLD_MASTER: "77", DESCRIPTORS: "", ADDRESSES: ""})
    assert handover.predecessor == 77
    assert not {OLD_MASTER, DESCRIPTORS, ADDRESSES} & set(os.environ)
    assert not {OLD_MASTER, DESCRIPTORS, ADDRESSES} & set(handover._surroundings.environ)


@pytest.mark.parametrize(
    ("descriptors", "addresses", "word"),
    [
        ("5", "", "does not fit"),
        ("", "127.0.0.1:80", "does not fit"),
        ("5,6", "127.0.0.1:80", "does not fit"),
        ("5", "127.0.0.1:80 127.0.0.1:81", "does not fit"),
        ("5", "'127.0.0.1:80", "No closing quotation"),
        ("5", "http://127.0.0.1:80", "unknown scheme"),
        ("5", "127.0.0.1:port", "is no port"),
        ("987654", "127.0.0.1:80", "127.0.0.1:80"),
        ("99999999999999999999", "127.0.0.1:80", "no such descriptor"),
        ("{file}", "127.0.0.1:80", "127.0.0.1:80"),
        ("{idle}", "unix:/run/s", "no listening socket"),
        ("{idle}", "fd://5", "no listening socket"),
    ],
)
def test_nonsense_is_an_error_of_the_configuration(
    second: Callable[..., Handover], tmp_path: Path, descriptors: str, addresses: str, word: str
):
    with (tmp_path / "file").open("wb") as file, socket.socket() as idle:
        text = descriptors.format(file=file.fileno(), idle=idle.fileno())
        with pytest.raises(ConfigError, match=word):
            second(**{DESCRIPTORS: text, ADDRESSES: addresses}).inherited()
        os.fstat(file.fileno())
        os.fstat(idle.fileno())


@pytest.mark.parametrize("text", ["x", "-1", "3.5", "0x3", " 3", "٣"])
def test_a_descriptor_that_is_no_number_is_an_error_that_names_the_variable(second: Callable[..., Handover], text: str):
    with pytest.raises(ConfigError, match=DESCRIPTORS):
        second(**{DESCRIPTORS: text, ADDRESSES: "127.0.0.1:80"}).inherited()


@pytest.mark.parametrize("text", ["", "x", "-5", "1.5"])
def test_a_predecessor_that_is_no_pid_is_none(second: Callable[..., Handover], text: str):
    handover = second(**{OLD_MASTER: text})
    assert handover.predecessor == 0
    assert not handover.shared


def test_the_second_master_takes_the_place_of_the_first_once_that_is_gone(second: Callable[..., Handover]):
    handover = second(**{OLD_MASTER: str(os.getppid())})
    assert handover.shared
    assert not handover.promoted()
    gone = second(**{OLD_MASTER: str(2**22 + 1)})
    assert gone.shared
    assert gone.promoted()
    assert not gone.shared
    assert not gone.promoted()


# How it is started.


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a second master is started as here: it writes down what it was given, at this path."""
    script = tmp_path / "report.py"
    script.write_text(REPORT)
    path = tmp_path / "report.json"
    monkeypatch.setattr(sys, "orig_argv", ["as it was typed", "-I", str(script), str(path)])
    return path


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_is_started_where_and_as_the_first_was_with_the_listeners_open(
    second: Callable[..., Handover],
    listening: Callable[..., Listener],
    start_directory: Path,
    program: Path,
    forget_log: None,
):
    del forget_log
    handover = second(SHOP="before")
    listeners = [listening("127.0.0.1:0"), listening(f"unix:{start_directory}/s")]
    (start_directory / "target").mkdir()
    os.chdir(start_directory / "target")
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        handover.start(listeners, lambda: None, Logger(Settings(errorlog="-", loglevel="info")))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    assert handover.shared
    assert ended(handover.successor) == 0
    told = json.loads(program.read_text())
    assert told["pid"] == handover.successor
    assert told["cwd"] == str(start_directory)
    assert told["open"] == [listener.fd for listener in listeners]
    assert told["blocked"] == []
    assert told["environ"]["SHOP"] == "before"
    assert told["environ"][OLD_MASTER] == str(os.getpid())
    assert not any(os.get_inheritable(listener.fd) for listener in listeners)


def test_pre_exec_is_called_in_the_new_process_and_sees_its_environment(
    second: Callable[..., Handover], listening: Callable[..., Listener], program: Path, tmp_path: Path, forget_log: None
):
    del forget_log
    handover = second()

    def pre_exec() -> None:
        (tmp_path / "seen").write_text(str(os.getpid()))

    handover.start([listening("127.0.0.1:0")], pre_exec, Logger(Settings(errorlog="-", loglevel="info")))
    assert ended(handover.successor) == 0
    assert (tmp_path / "seen").read_text() == str(handover.successor)
    assert program.exists()


@pytest.mark.parametrize("fault", ["hook", "exit", "directory", "program"])
def test_what_cannot_be_started_is_logged_and_ends(
    second: Callable[..., Handover],
    start_directory: Path,
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_log: None,
    fault: str,
):
    del forget_log
    handover = second()

    def pre_exec() -> None:
        if fault == "hook":
            raise LookupError("it fails")
        if fault == "exit":
            raise SystemExit(0)

    if fault == "directory":
        os.chdir(tmp_path)
        start_directory.rmdir()
    if fault == "program":
        monkeypatch.setattr(sys, "executable", "/no/such/python")
    handover.start([], pre_exec, Logger(Settings(errorlog=str(tmp_path / "error.log"), loglevel="info")))
    assert ended(handover.successor) == 1
    assert not program.exists()
    assert "The second master cannot be started" in (tmp_path / "error.log").read_text()


def test_a_system_that_cannot_fork_is_an_error_and_there_is_no_successor(
    second: Callable[..., Handover], monkeypatch: pytest.MonkeyPatch, forget_log: None
):
    del forget_log
    handover = second()

    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(BlockingIOError):
        handover.start([], lambda: None, Logger(Settings(errorlog="-", loglevel="info")))
    assert not handover.shared
