"""When the master tells its gauges, and what they say."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.master.gauges import Gauges
from greenhorn.net.listener import Listener, Manner, listen, parse_address
from greenhorn.observe.statsd import StatsD
from unit.net.waiting import wait_until
from unit.observe.receiving import Receiver, receiving


class Told:
    """Gauges that are sent to a receiver, which says what has come."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._statsd = StatsD(receiver.address)
        self._gauges = Gauges()

    def tell(self, now: float, workers: int = 2, listeners: tuple[Listener, ...] = ()) -> list[str]:
        self._gauges.tell(self._statsd, now, workers, listeners)
        self._statsd.gauge("end", 0)
        return self._receiver.until(lambda metrics: "end:0|g" in metrics)[:-1]

    def close(self) -> None:
        self._statsd.close()


@pytest.fixture
def told() -> Iterator[Told]:
    with receiving() as receiver:
        made = Told(receiver)
        yield made
        made.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = listen(parse_address("127.0.0.1:0"), Manner(16))
    yield made
    made.close()


def test_the_number_of_workers_is_told_when_it_changes_and_every_ten_seconds(told: Told):
    assert told.tell(100.0) == ["gunicorn.workers:2|g"]
    assert told.tell(101.0) == []
    assert told.tell(102.0, workers=3) == ["gunicorn.workers:3|g"]
    assert told.tell(111.9, workers=3) == []
    assert told.tell(112.0, workers=3) == ["gunicorn.workers:3|g"]
    assert told.tell(121.9, workers=3) == []


def test_no_worker_at_all_is_a_number_too(told: Told):
    assert told.tell(0.0, workers=0) == ["gunicorn.workers:0|g"]


def test_a_server_that_was_not_told_yet_is_told_at_once(told: Told):
    told.tell(100.0)
    with receiving() as receiver:
        other = StatsD(receiver.address)
        told._gauges.tell(other, 101.0, 2, ())
        assert receiver.datagram() == "gunicorn.workers:2|g"
        other.close()


def test_sockets_at_which_only_the_workers_listen_have_no_queue_here(told: Told):
    reserved = listen(parse_address("127.0.0.1:0"), Manner(16, reuse_port=True))
    told.tell(99.0)
    assert told.tell(100.0, listeners=(reserved,)) == []
    reserved.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_the_queue_is_measured_once_a_second_and_over_all_tcp_sockets(told: Told, listener: Listener):
    other = listen(parse_address("127.0.0.1:0"), Manner(16))
    told.tell(99.0)
    assert told.tell(100.0, listeners=(listener, other)) == ["gunicorn.backlog:0|h"]
    clients = [socket.create_connection(one.socket.getsockname()) for one in (listener, other, other)]
    assert told.tell(100.9, listeners=(listener, other)) == []
    now = iter(range(101, 1000))
    wait_until(lambda: told.tell(next(now) * 10.0, listeners=(listener, other))[-1] == "gunicorn.backlog:3|h")
    for client in clients:
        client.close()
    other.close()


def test_unix_sockets_have_no_queue_that_could_be_measured(told: Told, tmp_path: Path):
    unix = listen(parse_address(f"unix:{tmp_path}/s"), Manner(16))
    told.tell(99.0)
    assert told.tell(100.0, listeners=(unix,)) == []
    unix.close(unlink=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_a_unix_socket_does_not_take_from_the_queues_of_the_others(told: Told, listener: Listener, tmp_path: Path):
    unix = listen(parse_address(f"unix:{tmp_path}/s"), Manner(16))
    told.tell(99.0)
    assert told.tell(100.0, listeners=(unix, listener)) == ["gunicorn.backlog:0|h"]
    unix.close(unlink=True)
