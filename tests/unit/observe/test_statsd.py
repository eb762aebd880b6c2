"""Metrics on their way: the bytes that gunicorn 27.0.1 sends, and a server that is not there."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.errors import ConfigError
from greenhorn.observe import statsd as module
from greenhorn.observe.statsd import StatsD
from unit.net.waiting import wait_until
from unit.observe.receiving import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@contextlib.contextmanager
def sending(address: str, prefix: str = "", tags: str = "") -> Iterator[StatsD]:
    statsd = StatsD(address, prefix, tags)
    try:
        yield statsd
    finally:
        wait_until(lambda: not statsd._looking.locked(), "the end of the search")
        statsd.close()


class Names:
    """What getaddrinfo says of the name statsd.test: nothing at first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.askers: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "statsd.test":
            return self._real(host, port, *args, **options)
        self.askers.append(threading.current_thread().name)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in self.addresses for found in self._real(address, port, *args, **options)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setattr(module, "RETRY", 0.0)
    return Names(monkeypatch)


@pytest.mark.parametrize(
    ("prefix", "tags", "begin", "end"),
    [
        ("", "", "", ""),
        ("svc", "", "svc.", ""),
        ("svc..", "a:b,c:d", "svc.", "|#a:b,c:d"),
        ("shop.web.", "", "shop.web.", ""),
        ("s", "", "s.", ""),
    ],
)
def test_an_answer_is_one_datagram_of_the_three_metrics_that_gunicorn_sends_one_by_one(
    receiver: Receiver, prefix: str, tags: str, begin: str, end: str
):
    with sending(receiver.address, prefix, tags) as statsd:
        statsd.answered(200, 0.0004791)
    assert receiver.datagram().split("\n") == [
        f"{begin}gunicorn.request.duration:0.479|ms{end}",
        f"{begin}gunicorn.requests:1|c|@1.0{end}",
        f"{begin}gunicorn.request.status.200:1|c|@1.0{end}",
    ]


def test_a_refused_request_is_counted_and_has_no_duration(receiver: Receiver):
    with sending(receiver.address) as statsd:
        statsd.refused(400)
        statsd.refused(400)
    expected = "gunicorn.requests:1|c|@1.0\ngunicorn.request.status.400:1|c|@1.0"
    assert [receiver.datagram(), receiver.datagram()] == [expected, expected]


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        ("gauge", ("app.gauge", 3), "app.gauge:3|g"),
        ("increment", ("app.count", 4), "app.count:4|c|@1.0"),
        ("increment", ("app.count", 1, 0.5), "app.count:1|c|@0.5"),
        ("decrement", ("app.count", 2), "app.count:-2|c|@1.0"),
        ("timer", ("app.timer", 1.5), "app.timer:1.5|ms"),
        ("histogram", ("app.hist", 1.5), "app.hist:1.5|h"),
    ],
)
def test_single_metrics_have_the_form_that_gunicorn_gives_them(
    receiver: Receiver, method: str, arguments: tuple[Any, ...], expected: str
):
    with sending(receiver.address, "svc", "env:test") as statsd:
        getattr(statsd, method)(*arguments)
    assert receiver.datagram() == f"svc.{expected}|#env:test"


def test_names_and_values_cannot_make_another_metric(receiver: Receiver):
    with sending(receiver.address) as statsd:
        statsd.gauge("a\nfalse.alarms:1|c", "1\r\nfalse.alarms:2|c")
    assert receiver.datagram() == "a_false.alarms_1_c:1__false.alarms_2_c|g"


def test_names_beyond_ascii_are_sent_as_utf_8_and_what_is_no_character_does_not_raise(receiver: Receiver):
    with sending(receiver.address) as statsd:
        statsd.gauge("größe", 1)
        statsd.gauge("\udcff", 1)
    assert [receiver.datagram(), receiver.datagram()] == ["größe:1|g", "?:1|g"]


def test_metrics_that_do_not_fit_into_one_packet_go_one_by_one(receiver: Receiver):
    tags = ",".join(f"tag{number}:{'x' * 40}" for number in range(12))
    with sending(receiver.address, tags=tags) as statsd:
        statsd.answered(200, 0.001)
    datagrams = [receiver.datagram() for _ in range(3)]
    assert [one.partition(":")[0] for one in datagrams] == [
        "gunicorn.request.duration",
        "gunicorn.requests",
        "gunicorn.request.status.200",
    ]
    assert all(one.endswith("|#" + tags) for one in datagrams)


def test_the_memo_of_statuses_does_not_grow_with_what_is_no_status(receiver: Receiver):
    with sending(receiver.address) as statsd:
        for status in (200, 404, 200, 1000, 100000):
            statsd.refused(status)
        assert set(statsd._answers) == {200, 404}
    assert receiver.datagram().endswith("gunicorn.request.status.200:1|c|@1.0")


def test_an_ipv6_address_stands_in_brackets():
    try:
        made = receiving(family=socket.AF_INET6)
        with made as receiver, sending(receiver.address) as statsd:
            statsd.gauge("a", 1)
            assert receiver.datagram() == "a:1|g"
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


# A server that comes, goes and comes back.


def test_a_unix_socket_is_found_again_after_its_server_has_begun_anew(tmp_path: Path):
    path = tmp_path / "statsd.sock"
    with sending(f"unix://{path}") as statsd:
        statsd.gauge("too.early", 1)
        with receiving(path) as receiver:
            statsd.gauge("a", 1)
            assert receiver.datagram() == "a:1|g"
        path.unlink()
        statsd.gauge("lost", 1)
        with receiving(path) as receiver:
            statsd.gauge("b", 2)
            assert receiver.datagram() == "b:2|g"


def test_a_relative_path_counts_from_the_folder_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with receiving(tmp_path / "s") as receiver, sending("unix://s") as statsd:
        monkeypatch.chdir("/")
        statsd.gauge("a", 1)
        assert receiver.datagram() == "a:1|g"


def test_a_path_that_is_too_long_for_a_socket_is_told_at_the_start():
    with pytest.raises(ConfigError, match=r"statsd_host: '/x+' is too long for a unix socket; choose a shorter path"):
        StatsD("unix:///" + "x" * 200)


def test_a_full_server_costs_metrics_and_no_time(tmp_path: Path):
    with receiving(tmp_path / "s") as receiver, sending(receiver.address) as statsd:
        for number in range(5000):  # more than any kernel keeps for a unix datagram socket
            statsd.gauge("a", number)
        assert not receiver.is_silent()
        assert receiver.datagram() == "a:0|g"


def test_a_server_that_refuses_does_not_matter_and_is_served_once_it_is_there(receiver: Receiver):
    with sending(receiver.address) as statsd:
        receiver.socket.close()
        for _ in range(5):
            statsd.gauge("lost", 1)
        again = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with again:
            again.bind(("127.0.0.1", receiver.port))
            again.settimeout(0.05)

            def arrives() -> bool:
                statsd.gauge("a", 1)
                with contextlib.suppress(TimeoutError):
                    return again.recv(100) == b"a:1|g"
                return False

            wait_until(arrives, "a metric")


def test_nothing_is_sent_and_nothing_raised_after_the_end(receiver: Receiver):
    statsd = StatsD(receiver.address)
    statsd.close()
    statsd.gauge("a", 1)
    statsd.answered(200, 0.1)
    assert receiver.is_silent()


# Names.


def test_the_constructor_and_the_master_ask_for_no_name(names: Names, receiver: Receiver):
    names.addresses = ["127.0.0.1"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.gauge("a", 1)
        statsd.answered(200, 0.1)
    assert not names.askers
    assert receiver.is_silent()


def test_a_name_is_looked_up_by_a_thread_of_its_own(names: Names, receiver: Receiver):
    names.addresses = ["127.0.0.1"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.look_up(print)
        wait_until(lambda: not statsd._looking.locked(), "an address")
        statsd.gauge("a", 1)
        assert receiver.datagram() == "a:1|g"
    assert names.askers == ["statsd"]


def test_ipv4_comes_first_as_servers_on_this_machine_listen_there(names: Names, receiver: Receiver):
    names.addresses = ["::1", "127.0.0.1"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.look_up(print)
        wait_until(lambda: not statsd._looking.locked(), "an address")
        statsd.gauge("a", 1)
        assert receiver.datagram() == "a:1|g"


def test_a_name_that_is_not_known_is_told_once_and_asked_for_again(names: Names, receiver: Receiver):
    told: list[str] = []

    def tell(message: str, *arguments: object) -> None:
        told.append(message % arguments)

    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.look_up(tell)
        wait_until(lambda: not statsd._looking.locked(), "an answer")

        def was_asked_twice() -> bool:
            statsd.gauge("lost", 1)
            return len(names.askers) > 1

        wait_until(was_asked_twice, "another question")
        names.addresses = ["127.0.0.1"]

        def arrives() -> bool:
            statsd.gauge("a", 1)
            return not receiver.is_silent()

        wait_until(arrives, "a metric")
    assert len(told) == 1
    assert told[0] == (
        "statsd_host: 'statsd.test': Name or service not known; there are no metrics until it is found, which is "
        "tried again every 0 s"
    )


def test_a_server_that_has_moved_is_found_after_the_old_one_refuses(names: Names, receiver: Receiver):
    names.addresses = ["127.0.0.2"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.look_up(print)
        wait_until(lambda: not statsd._looking.locked(), "an address")
        names.addresses = ["127.0.0.1"]

        def arrives() -> bool:
            statsd.gauge("a", 1)
            return not receiver.is_silent()

        wait_until(arrives, "a metric at the new address")


def test_a_child_that_finds_the_name_does_so_for_its_parent(names: Names, receiver: Receiver):
    names.addresses = ["127.0.0.1"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        pid = os.fork()
        if not pid:
            try:
                statsd.look_up(print)
                while statsd._looking.locked():
                    os.sched_yield()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        statsd.gauge("a", 1)
        assert receiver.datagram() == "a:1|g"
    assert not names.askers


def test_a_kernel_without_ipv6_is_enough_for_ipv4(names: Names, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    real: Callable[..., socket.socket] = socket.socket

    def without(family: int = -1, *rest: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("Address family not supported by protocol")
        return real(family, *rest, **options)

    monkeypatch.setattr(socket, "socket", without)
    names.addresses = ["::1", "127.0.0.1"]
    with sending(f"statsd.test:{receiver.port}") as statsd:
        statsd.look_up(print)
        wait_until(lambda: not statsd._looking.locked(), "an address")
        statsd.gauge("a", 1)
        assert receiver.datagram() == "a:1|g"
