"""systemd's protocols: sockets that come open, and notifications over a real datagram socket."""

import math
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.master.systemd import Activated, Notifier, activated_sockets
from unit.net.waiting import DEADLINE

PID = os.getpid()

ACTIVATED = """
import os, socket, sys
from greenhorn.master.systemd import activated_sockets
names = sys.argv[1:]
for index, kind in enumerate((socket.AF_INET, socket.AF_UNIX)):
    sock = socket.socket(kind)
    os.dup2(sock.fileno(), 13 + index)
os.dup2(13, 3)
os.dup2(14, 4)
os.set_inheritable(3, True)
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"} | ({"LISTEN_FDNAMES": names[0]} if names else {})
print([(*activated, os.get_inheritable(activated.fd)) for activated in activated_sockets(environ, os.getpid())])
"""


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(DEADLINE)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address}

    def heard(self) -> list[str]:
        """The assignments of the next datagram; each call of the notifier has sent one by the time it returns."""
        return self.socket.recv(65536).decode().split("\n")

    def silent(self) -> bool:
        """Whether nothing is there that was not heard."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)
        return False


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    if request.param == "abstract":
        if sys.platform != "linux":
            pytest.skip("only Linux has abstract sockets")
        address = f"@greenhorn-{uuid.uuid4()}"
    else:
        address = str(tmp_path / "notify")
    other = Systemd(address)
    yield other
    other.socket.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Systemd]:
    other = Systemd(str(tmp_path / "notify"))
    yield other
    other.socket.close()


def activated(*names: str) -> str:
    command = [sys.executable, "-c", ACTIVATED, *names]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout.strip()


def test_sockets_come_in_order_with_their_names_and_are_not_inherited():
    assert activated("web:admin") == "[(3, 'web', False), (4, 'admin', False)]"


def test_sockets_without_names_are_unknown():
    assert activated() == "[(3, 'unknown', False), (4, 'unknown', False)]"


def test_a_name_that_is_empty_is_unknown():
    assert activated("web:") == "[(3, 'web', False), (4, 'unknown', False)]"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID)},
        {"LISTEN_PID": str(PID + 1), "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID + 1), "LISTEN_FDS": "whatever"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "0"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""},
    ],
)
def test_sockets_of_somebody_else_are_left_alone(environ: dict[str, str]):
    assert activated_sockets(environ, PID) == []


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LISTEN_PID": "me", "LISTEN_FDS": "1"}, "LISTEN_PID='me' in the environment is no number"),
        ({"LISTEN_PID": str(PID), "LISTEN_FDS": "-1"}, "LISTEN_FDS='-1' in the environment is no number"),
        ({"LISTEN_PID": str(PID), "LISTEN_FDS": ""}, "LISTEN_FDS='' in the environment is no number"),
        ({"LISTEN_PID": str(PID), "LISTEN_FDS": "9" * 5000}, "is no number"),
        (
            {"LISTEN_PID": str(PID), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"},
            "LISTEN_FDNAMES='web' has 1 names for LISTEN_FDS=2 sockets",
        ),
    ],
)
def test_malformed_variables_are_told(environ: dict[str, str], expected: str):
    with pytest.raises(ConfigError, match=re.escape(expected)):
        activated_sockets(environ, PID)


@pytest.mark.parametrize(
    ("preparation", "expected"),
    [("os.close(3)", "descriptor 3 is not open"), ("os.dup2(os.pipe()[0], 3)", "descriptor 3 is no socket")],
)
def test_a_descriptor_that_is_no_socket_is_told(preparation: str, expected: str):
    code = f"""
import contextlib, os
from greenhorn.errors import ConfigError
from greenhorn.master.systemd import activated_sockets
with contextlib.suppress(OSError):
    {preparation}
try:
    activated_sockets({{"LISTEN_PID": "7", "LISTEN_FDS": "1"}}, 7)
except ConfigError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
    assert f"LISTEN_FDS=1: {expected}" in said


def test_activated_is_a_descriptor_and_a_name():
    assert Activated(3, "web") == (3, "web")


def test_a_whole_life_is_told(systemd: Systemd):
    notifier = Notifier(systemd.environ, PID)
    assert notifier.active
    notifier.ready("2 workers serve", main_pid=77)
    assert systemd.heard() == ["READY=1", "STATUS=2 workers serve", "MAINPID=77"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    reloading, monotonic = systemd.heard()
    assert reloading == "RELOADING=1"
    name, _, when = monotonic.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(when) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready("2 workers serve")
    assert systemd.heard() == ["READY=1", "STATUS=2 workers serve"]
    notifier.hand_over(78)
    assert systemd.heard() == ["MAINPID=78"]
    notifier.stopping(30.5)
    assert systemd.heard() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30500000"]
    assert systemd.silent()


@pytest.mark.parametrize("patience", [0.0, math.inf])
def test_a_stop_without_a_term_asks_for_no_longer_one(plain: Systemd, patience: float):
    Notifier(plain.environ, PID).stopping(patience)
    assert plain.heard() == ["STOPPING=1"]


def test_a_status_is_told_when_it_differs(plain: Systemd):
    notifier = Notifier(plain.environ, PID)
    notifier.ready("starting")
    assert plain.heard() == ["READY=1", "STATUS=starting"]
    notifier.status("starting")
    assert plain.silent()
    notifier.status("2 workers, 3 requests")
    assert plain.heard() == ["STATUS=2 workers, 3 requests"]
    notifier.status("2 workers, 3 requests")
    assert plain.silent()


def test_a_status_cannot_be_taken_for_something_else(plain: Systemd):
    notifier = Notifier(plain.environ, PID)
    notifier.status("fine\nSTOPPING=1\r\n")
    assert plain.heard() == ["STATUS=fine STOPPING=1"]
    notifier.status("\udcff" + "é" * 5000)
    (line,) = plain.heard()
    assert line.startswith("STATUS=?é")
    assert len(line.encode()) < 4096


@pytest.mark.parametrize("target", ["", "/", "@", "vsock:2:1234", "relative"])
def test_without_a_socket_nothing_is_done(target: str):
    notifier = Notifier({"NOTIFY_SOCKET": target, "WATCHDOG_USEC": "1000000"} if target else {}, PID)
    assert not notifier.active
    assert notifier.watchdog == math.inf
    call_all(notifier)


@pytest.mark.parametrize("target", ["/nowhere/notify", "@greenhorn-nobody-listens", "/" + "x" * 200])
def test_a_socket_that_is_not_there_is_no_reason_to_fall_over(target: str):
    notifier = Notifier({"NOTIFY_SOCKET": target, "WATCHDOG_USEC": "1000000"}, PID)
    assert notifier.active
    call_all(notifier)


def call_all(notifier: Notifier) -> None:
    notifier.ready("serving", main_pid=PID)
    notifier.reloading()
    notifier.status("well")
    notifier.hand_over(PID)
    notifier.beat(1.0)
    notifier.stopping(1.0)


def test_a_socket_that_goes_and_comes_hears_what_is_told_after(plain: Systemd):
    notifier = Notifier(plain.environ, PID)
    plain.socket.close()
    notifier.ready("serving")
    Path(plain.address).unlink()
    again = Systemd(plain.address)
    notifier.status("well")
    assert again.heard() == ["STATUS=well"]
    again.socket.close()


def test_what_a_full_queue_does_not_take_is_told_later_and_in_order(plain: Systemd):
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    fillings = 0
    try:
        while True:
            filler.sendto(b"filling", plain.address)
            fillings += 1
    except BlockingIOError:
        filler.close()
    notifier = Notifier(plain.environ, PID)
    notifier.ready("serving")
    notifier.status("well")
    for _ in range(fillings):
        assert plain.heard() == ["filling"]
    assert plain.silent()
    notifier.beat(1.0)
    assert plain.heard() == ["READY=1", "STATUS=serving"]
    assert plain.heard() == ["STATUS=well"]
    assert plain.silent()


def test_a_beat_is_told_when_it_is_due(plain: Systemd):
    notifier = Notifier(plain.environ | {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(PID)}, PID)
    assert notifier.watchdog == 2.0
    heard = []
    for tenth in range(100, 131):
        notifier.beat(tenth / 10)
        if not plain.silent():
            heard.append(tenth / 10)
    assert heard == [10.0, 11.0, 12.0, 13.0]


def test_beats_of_a_caller_that_comes_as_seldom_as_it_may_are_in_time(plain: Systemd):
    notifier = Notifier(plain.environ | {"WATCHDOG_USEC": "2000000"}, PID)
    heard = []
    for call in range(50):
        now = 100 + call * notifier.watchdog * 0.999
        notifier.beat(now)
        if not plain.silent():
            heard.append(now)
    gaps = [after - before for before, after in pairwise(heard)]
    assert max(gaps) < 1.5


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(PID + 1)},
    ],
)
def test_a_watchdog_that_is_off_or_anothers_is_not_beaten(plain: Systemd, environ: dict[str, str]):
    notifier = Notifier(plain.environ | environ, PID)
    assert notifier.watchdog == math.inf
    notifier.beat(1.0)
    assert plain.silent()


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "30s"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "me"}])
def test_a_malformed_watchdog_is_told(plain: Systemd, environ: dict[str, str]):
    with pytest.raises(ConfigError, match=r"WATCHDOG_(USEC|PID)='(30s|me)' in the environment is no number"):
        Notifier(plain.environ | environ, PID)
