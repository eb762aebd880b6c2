"""Who answers a request whose time is limited: its thread, or the poller's thread when its time is over; never both."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ClientGone
from greenhorn.net.connection import Connection
from greenhorn.workers.answer import Claim
from unit.net.sockets import buffers, connected
from unit.net.waiting import DEADLINE


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Connection]]:
    with connected(buffers(), small=False) as both:
        yield both


Ends = tuple[socket.socket, Connection]


def send_file(claim: Claim, path: Path) -> None:
    (path / "file").write_bytes(b"data")
    with (path / "file").open("rb") as file:
        claim.send_file(claim.measure(file))


SENDS: dict[str, Callable[[Claim, Path], None]] = {
    "send": lambda claim, _: claim.send(b"data"),
    "send_all": lambda claim, _: claim.send_all([b"da", b"ta"]),
    "send_file": send_file,
}


def received(client: socket.socket) -> bytes:
    """What has arrived so far."""
    client.setblocking(False)
    try:
        return client.recv(65536)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("name", SENDS)
def test_a_thread_that_sends_first_has_the_answer(ends: Ends, name: str, tmp_path: Path):
    client, connection = ends
    claim = Claim(connection)
    SENDS[name](claim, tmp_path)
    assert not claim.answer(), "the poller's thread comes too late"
    assert received(client) == b"data"


@pytest.mark.parametrize("name", SENDS)
def test_a_thread_that_comes_too_late_sends_nothing(ends: Ends, name: str, tmp_path: Path):
    client, connection = ends
    claim = Claim(connection)
    assert claim.answer()
    for _ in range(2):
        with pytest.raises(ClientGone):
            SENDS[name](claim, tmp_path)
    assert received(client) == b""
    assert connection.outbox is None


def test_all_of_an_answer_that_was_begun_is_sent_in_order(ends: Ends, tmp_path: Path):
    client, connection = ends
    claim = Claim(connection)
    claim.send(b"one ")
    assert claim.end(), "the poller's thread ends the request"
    assert not claim.answer()
    claim.send_all([b"two ", b"three "])
    send_file(claim, tmp_path)
    claim.send(b" end")
    assert received(client) == b"one two three data end"


def test_a_request_is_ended_by_whoever_comes_first_and_by_nobody_else(ends: Ends):
    claim = Claim(ends[1])
    assert claim.end()
    assert not claim.end()


def test_the_right_to_end_and_the_right_to_answer_are_two(ends: Ends):
    claim = Claim(ends[1])
    assert claim.answer()
    assert claim.end()
    other = Claim(ends[1])
    assert other.end()
    assert other.answer()


def test_each_request_of_a_connection_is_claimed_anew(ends: Ends):
    client, connection = ends
    first = Claim(connection)
    assert first.end()
    assert first.answer()
    second = Claim(connection)
    second.send(b"data")
    assert second.end()
    assert received(client) == b"data"


def test_what_cannot_be_sent_by_the_kernel_is_measured_as_the_connection_does(ends: Ends):
    assert Claim(ends[1]).measure(object()) is None


@pytest.mark.usefixtures("hasty_switches")
@pytest.mark.parametrize("right", [Claim.answer, Claim.end], ids=["answer", "end"])
def test_of_two_threads_that_ask_at_once_one_has_the_right(ends: Ends, right: Callable[[Claim], bool]):
    rounds = 300
    claims = [Claim(ends[1]) for _ in range(rounds)]
    winners: list[list[int]] = [[] for _ in range(rounds)]
    start = threading.Barrier(2)

    def ask(who: int) -> None:
        for number, claim in enumerate(claims):
            start.wait(DEADLINE)
            if right(claim):
                winners[number].append(who)

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert all(len(won) == 1 for won in winners)
