"""Many connections at once: how much each may keep, and who leaves first when there is no room for all."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenhorn.net.connection import Connection
from greenhorn.net.pace import Pace
from greenhorn.net.state import State
from greenhorn.workers.crowd import LEAST_MEMORY, MANY, MEMORY, Crowd, dispensable, slow_readers
from greenhorn.workers.service import HEAD_READ
from unit.net.sockets import buffers, connected
from unit.workers.inprocess import TestWorker

NOW = 1000.0
PATIENCE = 30.0
PACES = {state: Pace(PATIENCE) for state in State}
ENDLESS = {state: Pace(float("inf")) for state in State}
MakeWorker = Callable[..., TestWorker]


class Room:
    """A crowd, its connections, and who had to leave it, in order."""

    def __init__(self, make_worker: MakeWorker, most: int, response_memory: int) -> None:
        self.service = make_worker().worker.service
        self.buffers = buffers(memory=response_memory)
        self.connections: dict[int, Connection] = {}
        self.parked: dict[Connection, bool] = {}
        self.left: list[Connection] = []
        self._stack = ExitStack()
        self.crowd = Crowd(
            connections=self.connections,
            parked=self.parked,
            most=most,
            paces=PACES,
            service=self.service,
            buffers=self.buffers,
            close=self._close,
        )

    def _close(self, connection: Connection) -> None:
        del self.connections[connection.fd]
        self.left.append(connection)

    def add(self, state: State, since: float, now: float | None = None) -> Connection:
        """A connection that has been in `state` for `since` seconds; those that wait for their client are parked."""
        _, connection = self._stack.enter_context(connected(self.buffers))
        connection.state = state
        connection.deadline = (time.monotonic() if now is None else now) + PATIENCE - since
        self.connections[connection.fd] = connection
        if state not in (State.ACTIVE, State.QUEUED, State.WHOLE):
            self.parked[connection] = True
        return connection

    def has_room(self) -> bool:
        """As the acceptor asks when somebody waits."""
        return not self.crowd.is_full() or self.crowd.make_room()

    def close(self) -> None:
        self._stack.close()


def linger_of(connection: Connection) -> int:
    """Whether the kernel resets the connection when it is closed."""
    told = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    return int.from_bytes(told[:4], "little")


@pytest.fixture
def make_room(make_worker: MakeWorker) -> Iterator[Callable[..., Room]]:
    made: list[Room] = []

    def make(most: int = 4, response_memory: int = 65536) -> Room:
        made.append(Room(make_worker, most, response_memory))
        return made[-1]

    yield make
    for room in made:
        room.close()


MakeRoom = Callable[..., Room]


# The order in which connections can be done without.


def test_the_idle_can_be_done_without_first_and_the_slow_next_each_the_longest_first(make_room: MakeRoom):
    room = make_room()
    resting = room.add(State.IDLE, 0.5, NOW)
    slow = room.add(State.HEAD, 3.0, NOW)
    silent = room.add(State.NEW, 5.0, NOW)
    slower = room.add(State.BODY, 20.0, NOW)
    idle = room.add(State.IDLE, 9.0, NOW)
    lingering = room.add(State.LINGER, 1.5, NOW)
    unread = room.add(State.FLUSH, 4.0, NOW)
    strange = room.add(State.HANDSHAKE, 2.5, NOW)
    order = list(dispensable(room.parked, PACES, NOW))
    assert order == [idle, silent, lingering, slower, unread, slow, strange, resting]


def test_connections_that_linger_have_a_second(make_room: MakeRoom):
    room = make_room()
    room.add(State.LINGER, 0.99, NOW)
    assert list(dispensable(room.parked, PACES, NOW)) == []
    assert list(dispensable(room.parked, PACES, NOW + 0.02)) == list(room.parked)


@pytest.mark.parametrize("state", [State.HANDSHAKE, State.HEAD, State.BODY, State.FLUSH])
def test_connections_at_work_have_two_seconds(make_room: MakeRoom, state: State):
    room = make_room()
    room.add(state, 1.99, NOW).requests = 1
    assert list(dispensable(room.parked, PACES, NOW)) == []
    assert list(dispensable(room.parked, PACES, NOW + 0.02)) == list(room.parked)


def test_a_connection_between_two_requests_is_the_last_that_has_to_go(make_room: MakeRoom):
    room = make_room()
    first, second = room.add(State.IDLE, 0.1, NOW), room.add(State.IDLE, 0.2, NOW)
    silent, half = room.add(State.NEW, 0.15, NOW), room.add(State.HEAD, 0.3, NOW)
    assert list(dispensable(room.parked, PACES, NOW)) == [half, silent, second, first]


@pytest.mark.parametrize("state", [State.NEW, State.HANDSHAKE, State.HEAD])
def test_one_that_is_quite_new_stays_and_so_do_those_between_two_requests_until_it_is_older(
    make_room: MakeRoom, state: State
):
    room = make_room()
    resting, new, idle = room.add(State.IDLE, 0.1, NOW), room.add(state, 0.05, NOW), room.add(State.IDLE, 2.0, NOW)
    assert list(dispensable(room.parked, PACES, NOW)) == [idle]
    assert list(dispensable(room.parked, PACES, NOW + 0.06)) == [idle, new, resting]


def test_without_a_limit_on_waits_those_without_a_request_can_go_the_first_parked_first(make_room: MakeRoom):
    room = make_room()
    parked = [room.add(state, 0.0, NOW) for state in (State.NEW, State.IDLE, State.LINGER)]
    room.add(State.HEAD, 0.0, NOW).requests = 1
    for connection in parked:
        connection.deadline = float("inf")
    assert list(dispensable(room.parked, ENDLESS, NOW)) == parked


def test_a_connection_that_a_thread_took_while_they_were_counted_is_no_candidate(make_room: MakeRoom):
    room = make_room()
    taken = room.add(State.IDLE, 9.0, NOW)
    taken.state = State.ACTIVE  # it is still in the copy that is looked at
    assert list(dispensable([taken], PACES, NOW)) == []


# Room for one more.


def test_nobody_leaves_while_there_is_room(make_room: MakeRoom):
    room = make_room(most=3)
    for _ in range(2):
        room.add(State.IDLE, 20.0)
    assert room.has_room()
    assert not room.left


def test_the_longest_idle_leaves_for_a_new_one_and_is_counted(make_room: MakeRoom):
    room = make_room(most=3)
    _, oldest, _ = (room.add(State.IDLE, since) for since in (5.0, 20.0, 7.0))
    assert room.has_room()
    assert room.left == [oldest]
    assert oldest not in room.parked
    assert room.service.counters.totals() == {"connections closed to make room for others": 1}


def test_a_large_crowd_makes_room_for_several_at_once(make_room: MakeRoom):
    room = make_room(most=130)
    for _ in range(130):
        room.add(State.IDLE, 20.0)
    assert room.has_room()
    assert len(room.left) == 130 // 64


def test_there_is_no_room_when_all_are_at_work(make_room: MakeRoom):
    room = make_room(most=4)
    for state in (State.ACTIVE, State.WHOLE, State.QUEUED):
        room.add(state, 29.0)
    room.add(State.HEAD, 0.5).requests = 1
    assert not room.has_room()
    assert not room.left


def test_a_worker_that_leaves_takes_whoever_waited_for_it(make_room: MakeRoom):
    room = make_room(most=1)
    room.add(State.IDLE, 20.0)
    room.service.draining = True
    assert room.has_room()
    assert not room.left


class Snatched(dict[Connection, bool]):
    """Parked connections of which another thread takes one just before it can be taken out here."""

    def pop(self, connection: Connection, *default: Any) -> Any:
        taken = super().pop(connection, *default)
        if not self.snatched:
            self.snatched = True
            return default[0]
        return taken

    snatched = False


def test_a_connection_that_is_taken_at_the_last_moment_stays_and_another_leaves(make_room: MakeRoom):
    room = make_room(most=2)
    room.crowd._parked = room.parked = Snatched()
    taken, other = room.add(State.IDLE, 20.0), room.add(State.IDLE, 10.0)
    assert room.has_room()
    assert room.left == [other]
    assert taken.fd in room.connections


# What each may keep.


def fill(room: Room, count: int) -> None:
    """Let there be so many connections, of which only the number is looked at."""
    connection = room.add(State.IDLE, 0.0)
    room.connections.clear()
    room.connections.update({-number: connection for number in range(count)})


@pytest.mark.parametrize("count", [0, 1, MANY])
def test_few_connections_keep_as_much_as_the_settings_say(make_room: MakeRoom, count: int):
    room = make_room(response_memory=10_000_000)
    before = room.service.body_memory
    fill(room, count)
    room.crowd.share_memory()
    assert (room.service.head_read, room.service.body_memory) == (HEAD_READ, before)
    assert room.buffers.memory == 10_000_000


def test_many_connections_share_what_there_is_and_get_more_again_when_they_are_few(make_room: MakeRoom):
    room = make_room(response_memory=10_000_000)
    before = room.service.body_memory
    for count in (MANY + 1, 1000):
        fill(room, count)
        room.crowd.share_memory()
        assert room.buffers.memory == MEMORY // count
        assert room.service.body_memory == min(before, MEMORY // count)
        assert room.service.head_read == min(HEAD_READ, MEMORY // count)
    fill(room, MANY)
    room.crowd.share_memory()
    assert (room.service.head_read, room.service.body_memory) == (HEAD_READ, before)
    assert room.buffers.memory == 10_000_000


def test_a_share_is_never_too_small_to_read_a_head(make_room: MakeRoom):
    room = make_room()
    fill(room, 1_000_000)
    room.crowd.share_memory()
    assert room.service.head_read == room.service.body_memory == room.buffers.memory == LEAST_MEMORY


def test_settings_below_a_share_stay_as_they_are(make_room: MakeRoom):
    room = make_room(response_memory=100)
    fill(room, 1_000_000)
    room.crowd.share_memory()
    assert room.buffers.memory == 100


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the kernel has no such limit")
def test_the_kernel_keeps_less_for_those_who_come_when_there_are_many(make_room: MakeRoom):
    room = make_room()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for count, limited in ((MANY, False), (MANY + 1, True)):
            fill(room, count)
            with socket.create_connection(listener.getsockname()):
                server, _ = listener.accept()
            connection = Connection(server, None, lambda _connection, _service: State.CLOSED, room.buffers)
            room.crowd.take_in(connection)
            kept = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            connection.close()
            assert (0 < kept <= 131072) == limited
    assert room.buffers.memory == min(65536, MEMORY // (MANY + 1))


# Room in temporary files.


def test_the_answer_that_is_read_slowest_is_given_up_and_counted(make_room: MakeRoom):
    room = make_room()
    room.add(State.IDLE, 29.0)
    room.add(State.BODY, 29.0)
    room.add(State.FLUSH, 5.0)
    slowest = room.add(State.FLUSH, 9.0)
    assert room.crowd.drop_least_read()
    assert room.left == [slowest]
    assert slowest not in room.parked
    [(name, count)] = room.service.counters.totals().items()
    assert (name.partition(" since")[0], count) == ("answers given up", 1)


def test_answers_that_are_read_fast_enough_are_not_given_up(make_room: MakeRoom):
    room = make_room()
    room.add(State.FLUSH, 1.9)
    room.add(State.IDLE, 29.0)
    assert not room.crowd.drop_least_read()
    assert not room.left


def test_without_connections_there_is_nothing_to_give_up(make_room: MakeRoom):
    assert not make_room().crowd.drop_least_read()
    assert not slow_readers([], PACES, NOW)


def test_an_answer_that_is_taken_at_the_last_moment_is_not_given_up(make_room: MakeRoom):
    room = make_room()
    room.crowd._parked = room.parked = Snatched()
    room.add(State.FLUSH, 9.0)
    assert not room.crowd.drop_least_read()
    assert not room.left


def test_who_has_not_all_of_an_answer_is_reset_since_an_orderly_end_would_pass_for_its_end(
    make_room: Callable[..., Room],
):
    room = make_room(2)
    idle, slow = room.add(State.IDLE, 20), room.add(State.FLUSH, 20)
    slow.send_all([b"x" * (64 << 20)])
    assert slow.outbox is not None
    assert room.crowd.make_room()
    while slow not in room.left:
        room.parked.pop(idle, None)
        assert room.crowd.make_room()
    assert linger_of(slow) == 1
    assert linger_of(idle) == 0
