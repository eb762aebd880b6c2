"""What all temporary files of a worker may hold together: taken, given back, and made room for."""

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.errors import StorageError
from greenhorn.net.outbox import LARGEST_FILE, Outbox
from greenhorn.net.pace import Allotment
from greenhorn.net.spool import Spool
from unit.net.sockets import SMALLEST, open_files
from unit.net.waiting import DEADLINE


def left(allotment: Allotment) -> int:
    """How many bytes nobody has."""
    return int(allotment._left)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and a server's that sends little at a time; neither blocks."""
    client, server = socket.socketpair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
    client.setblocking(False)
    server.setblocking(False)
    with client, server:
        yield client, server


def read_through(outbox: Outbox, client: socket.socket, server: socket.socket) -> int:
    """Flush and read in turns until nothing waits; how many bytes came."""
    size = 0
    while outbox.size:
        outbox.flush(server)
        try:
            while data := client.recv(1 << 20):
                size += len(data)
        except BlockingIOError:
            continue
    return size


# By itself.


def test_no_more_can_be_taken_than_there_is():
    allotment = Allotment(100)
    assert allotment.take(60)
    assert not allotment.take(41)
    assert allotment.take(40)
    assert not allotment.take(1)
    allotment.give(30)
    assert left(allotment) == 30


def test_nought_means_any_number():
    allotment = Allotment(0)
    assert allotment.take(1 << 60)
    assert allotment.take(1 << 60)


def test_room_is_made_as_often_as_it_takes():
    allotment = Allotment(100)
    assert allotment.take(100)
    made = []

    def make_room() -> bool:
        made.append(30)
        allotment.give(30)
        return True

    allotment.make_room = make_room
    assert allotment.take(70)
    assert len(made) == 3
    allotment.make_room = lambda: False
    assert left(allotment) == 20


def test_nothing_is_taken_where_no_room_can_be_made():
    allotment = Allotment(100, lambda: False)
    assert allotment.take(90)
    assert not allotment.take(11)
    assert left(allotment) == 10


def test_whoever_makes_room_may_give_it_back_from_another_thread():
    allotment = Allotment(100)
    assert allotment.take(100)

    def make_room() -> bool:
        thread = threading.Thread(target=allotment.give, args=(100,))
        thread.start()
        thread.join(DEADLINE)
        return not thread.is_alive()

    allotment.make_room = make_room
    assert allotment.take(100)


def test_threads_that_take_and_give_lose_nothing():
    allotment = Allotment(1000)
    refused = []

    def work() -> None:
        for _ in range(2000):
            if allotment.take(200):
                allotment.give(200)
            else:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert refused == []
    assert left(allotment) == 1000


# Of bodies.


def test_a_body_in_memory_takes_nothing(tmp_path: Path):
    allotment = Allotment(100)
    spool = Spool(1000, str(tmp_path), allotment)
    spool.write(b"x" * 1000)
    assert left(allotment) == 100
    spool.close()
    assert left(allotment) == 100


def test_a_body_in_a_file_takes_its_size_and_gives_it_back_once(tmp_path: Path):
    allotment = Allotment(5000)
    spool = Spool(1000, str(tmp_path), allotment)
    spool.write(b"x" * 900)
    spool.write(b"x" * 900)
    assert left(allotment) == 5000 - 1800
    spool.write(b"x" * 200)
    assert left(allotment) == 3000
    assert spool.open().read() == b"x" * 2000
    spool.close()
    spool.close()
    assert left(allotment) == 5000


def test_a_body_for_which_there_is_no_room_says_so_and_gives_back_what_it_had(tmp_path: Path):
    before = open_files()
    allotment = Allotment(3000)
    spool = Spool(1000, str(tmp_path), allotment)
    spool.write(b"x" * 2000)
    with pytest.raises(OSError, match="tmp_files_max") as raised:
        spool.write(b"x" * 1001)
    assert raised.value.errno == errno.EDQUOT
    spool.close()
    assert left(allotment) == 3000
    assert open_files() == before


def test_two_bodies_share_what_there_is(tmp_path: Path):
    allotment = Allotment(3000)
    first, second = (Spool(0, str(tmp_path), allotment) for _ in range(2))
    first.write(b"x" * 2000)
    with pytest.raises(OSError, match="tmp_files_max"):
        second.write(b"x" * 2000)
    second.close()
    first.write(b"x" * 1000)
    first.close()
    assert left(allotment) == 3000


# Of answers.


def test_an_answer_in_memory_or_held_takes_nothing(tmp_path: Path):
    allotment = Allotment(100)
    outbox = Outbox(1000, str(tmp_path), allotment)
    outbox.push(b"x" * 1000)
    outbox.hold([b"y" * 5000])
    assert left(allotment) == 100
    outbox.close()
    assert left(allotment) == 100


def test_an_answer_in_a_file_takes_its_size_and_gives_it_back_once(tmp_path: Path):
    allotment = Allotment(100_000)
    outbox = Outbox(1000, str(tmp_path), allotment)
    outbox.push(b"x" * 40_000)
    outbox.push(b"x" * 10_000)
    assert left(allotment) == 50_000
    outbox.close()
    outbox.close()
    assert left(allotment) == 100_000


def test_an_answer_that_was_read_has_given_back_what_it_had(tmp_path: Path, pair: tuple[socket.socket, socket.socket]):
    allotment = Allotment(100_000)
    outbox = Outbox(1000, str(tmp_path), allotment)
    outbox.push(b"x" * 90_000)
    assert read_through(outbox, *pair) == 90_000
    assert left(allotment) == 100_000
    outbox.push(b"x" * 90_000)
    assert left(allotment) == 10_000
    outbox.close()
    assert left(allotment) == 100_000


def test_a_large_answer_gives_back_each_file_that_was_read(tmp_path: Path, pair: tuple[socket.socket, socket.socket]):
    allotment = Allotment(3 * LARGEST_FILE)
    client, server = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    outbox = Outbox(0, str(tmp_path), allotment)
    for _ in range(8):
        outbox.push(bytes(LARGEST_FILE // 4))
    assert left(allotment) == LARGEST_FILE
    taken = 0
    while taken < LARGEST_FILE + (2 << 20):
        outbox.flush(server)
        taken += len(client.recv(1 << 20))
    assert left(allotment) == 2 * LARGEST_FILE
    outbox.close()
    assert left(allotment) == 3 * LARGEST_FILE


def test_an_answer_for_which_there_is_no_room_is_given_up_with_its_file(tmp_path: Path):
    before = open_files()
    allotment = Allotment(50_000)
    outbox = Outbox(0, str(tmp_path), allotment)
    outbox.push(b"x" * 40_000)
    with pytest.raises(StorageError, match="tmp_files_max"):
        outbox.push(b"x" * 10_001)
    assert outbox.size == 40_000
    outbox.close()
    assert left(allotment) == 50_000
    assert open_files() == before


def test_an_answer_that_gets_no_file_at_all_takes_nothing(tmp_path: Path):
    allotment = Allotment(50_000)
    outbox = Outbox(0, str(tmp_path / "missing"), allotment)
    with pytest.raises(StorageError, match="No such file"):
        outbox.push(b"x" * 100)
    outbox.close()
    assert left(allotment) == 50_000


def test_what_a_full_disk_did_not_take_is_given_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("os.pwrite", full)
    allotment = Allotment(50_000)
    outbox = Outbox(0, str(tmp_path), allotment)
    with pytest.raises(OSError, match="no space left"):
        outbox.push(b"x" * 100)
    outbox.close()
    assert left(allotment) == 50_000
