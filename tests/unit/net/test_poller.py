"""Both pollers, the second with each selector of the standard library, against the same expectations."""

import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from greenhorn.net.poller import EpollPoller, Poller, SelectorPoller, best_poller
from unit.net.waiting import DEADLINE

KINDS: dict[str, Callable[[], Poller]] = {
    name: (lambda name=name: SelectorPoller(getattr(selectors, name)()))  # type: ignore[misc]
    for name in ("EpollSelector", "KqueueSelector", "PollSelector", "SelectSelector")
    if hasattr(selectors, name)
}
if hasattr(select, "epoll"):
    KINDS["epoll"] = EpollPoller

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=KINDS)
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    made = KINDS[request.param]()
    yield made
    made.close()


@pytest.fixture
def make_pair() -> Iterator[Callable[[], Pair]]:
    """Make pairs of a client's and a server's socket; all are closed at the end."""
    made: list[socket.socket] = []

    def make() -> Pair:
        client, server = socket.socketpair()
        server.setblocking(False)
        made.extend((client, server))
        return client, server

    yield make
    for one in made:
        one.close()


def reported(poller: Poller, timeout: float = DEADLINE) -> list[int]:
    """The descriptors that are ready, without the poller's own; asks again while there are none."""
    expires = time.monotonic() + timeout
    own = {getattr(poller, "_wake_fd", -1)}
    while True:
        found = sorted({fd for fd, _ in poller.wait(max(0.0, expires - time.monotonic()))} - own)
        if found or time.monotonic() >= expires:
            return found


def nothing(poller: Poller) -> bool:
    """Whether nothing is ready now."""
    return reported(poller, 0) == [] and reported(poller, 0.01) == []


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    try:
        while True:
            sock.send(b"#" * 65536)
    except BlockingIOError:
        return


def read_all(sock: socket.socket) -> bytes:
    """Read until nothing is left, without waiting."""
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except BlockingIOError:
        pass
    return data


def test_a_silent_descriptor_is_not_reported(poller: Poller, make_pair: Callable[[], Pair]):
    poller.add(make_pair()[1].fileno())
    assert nothing(poller)


def test_a_readable_descriptor_is_reported_once_until_it_is_armed_again(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    client.send(b"a")
    assert reported(poller) == [server.fileno()]
    assert nothing(poller)
    poller.arm(server.fileno(), poller.READ)
    assert reported(poller) == [server.fileno()]
    assert nothing(poller)


def test_what_comes_later_is_reported_to_one_that_keeps_watching_or_armed_again(
    poller: Poller, make_pair: Callable[[], Pair]
):
    client, server = make_pair()
    poller.add(server.fileno())
    for _ in range(3):
        client.send(b"a")
        assert reported(poller) == [server.fileno()]
        assert read_all(server) == b"a"
        assert nothing(poller)
        if not poller.keeps_watching:
            poller.arm(server.fileno(), poller.READ)
            assert nothing(poller)


def test_a_poller_that_keeps_watching_tells_news_of_what_was_not_read(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    client.send(b"a")
    reported(poller)
    client.send(b"b")
    assert reported(poller, DEADLINE if poller.keeps_watching else 0.01) == (
        [server.fileno()] if poller.keeps_watching else []
    )


def test_bytes_that_came_before_the_descriptor_was_added_are_reported(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    client.send(b"a")
    poller.add(server.fileno())
    assert reported(poller) == [server.fileno()]


def test_only_what_is_ready_is_reported_of_many(poller: Poller, make_pair: Callable[[], Pair]):
    pairs = [make_pair() for _ in range(40)]
    for _, server in pairs:
        poller.add(server.fileno())
    for client, _ in pairs[::3]:
        client.send(b"a")
    found: set[int] = set()
    while more := reported(poller, 0):
        found |= set(more)
    assert found == {server.fileno() for _, server in pairs[::3]}


def test_the_end_of_a_stream_is_reported(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    client.shutdown(socket.SHUT_WR)
    [(fd, events)] = [event for event in poller.wait(DEADLINE) if event[0] == server.fileno()]
    assert fd == server.fileno()
    assert not poller.ENDING or events & poller.ENDING


def test_the_end_behind_bytes_says_more_than_that_there_are_bytes(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    client.send(b"a")
    assert not dict(poller.wait(DEADLINE))[server.fileno()] & poller.ENDING
    client.close()
    if poller.keeps_watching:
        assert dict(poller.wait(DEADLINE))[server.fileno()] & poller.ENDING
    else:
        poller.arm(server.fileno(), poller.READ)
        assert reported(poller) == [server.fileno()]


def test_arming_from_another_thread_reaches_a_poller_that_waits(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    client.send(b"a")
    assert reported(poller) == [server.fileno()]
    waits = threading.Event()

    def arm() -> None:
        waits.wait(DEADLINE)
        poller.arm(server.fileno(), poller.READ)

    thread = threading.Thread(target=arm)
    thread.start()
    began = time.monotonic()
    waits.set()
    found = reported(poller)
    thread.join(DEADLINE)
    assert found == [server.fileno()]
    assert time.monotonic() - began < DEADLINE / 2


def test_many_threads_arm_at_once_and_nothing_is_lost(poller: Poller, make_pair: Callable[[], Pair]):
    pairs = [make_pair() for _ in range(12)]
    for client, server in pairs:
        poller.add(server.fileno())
        client.send(b"a")
    rounds = dict.fromkeys((server.fileno() for _, server in pairs), 0)

    def again(fds: list[int]) -> None:
        for fd in fds:
            poller.arm(fd, poller.READ)

    expires = time.monotonic() + DEADLINE
    while min(rounds.values()) < 30:
        assert time.monotonic() < expires, rounds
        found = reported(poller, 1)
        for fd in found:
            rounds[fd] += 1
        threads = [threading.Thread(target=again, args=(found[half::2],)) for half in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)


def test_a_descriptor_armed_for_writing_is_reported_when_there_is_room(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    fill(server)
    poller.arm(server.fileno(), poller.WRITE)
    assert nothing(poller)
    client.setblocking(False)
    read_all(client)
    assert reported(poller) == [server.fileno()]
    assert nothing(poller)


def test_bytes_are_not_reported_to_one_that_is_armed_for_writing(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    fill(server)
    poller.arm(server.fileno(), poller.WRITE)
    client.send(b"a")
    assert nothing(poller)
    poller.arm(server.fileno(), poller.READ)
    assert reported(poller) == [server.fileno()]


def test_a_client_that_is_gone_is_reported_to_one_that_is_armed_for_writing(
    poller: Poller, make_pair: Callable[[], Pair]
):
    client, server = make_pair()
    poller.add(server.fileno())
    fill(server)
    poller.arm(server.fileno(), poller.WRITE)
    assert nothing(poller)
    client.close()
    assert reported(poller) == [server.fileno()]


def test_a_forgotten_descriptor_is_not_reported(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.add(server.fileno())
    poller.forget(server.fileno())
    client.send(b"a")
    assert nothing(poller)


def test_a_descriptor_that_nobody_added_can_be_forgotten(poller: Poller, make_pair: Callable[[], Pair]):
    poller.forget(make_pair()[1].fileno())
    assert nothing(poller)


def test_the_number_of_a_forgotten_and_closed_descriptor_can_come_back(poller: Poller, make_pair: Callable[[], Pair]):
    for armed in (True, False):
        client, server = make_pair()
        number = server.fileno()
        poller.add(number)
        if not armed:
            client.send(b"a")
            assert reported(poller) == [number]
        poller.forget(number)
        new_client, new_server = replace(server, make_pair)
        try:
            poller.add(number)
            assert nothing(poller)
            new_client.send(b"b")
            assert reported(poller, 1) == [number]
        finally:
            poller.forget(number)
            new_server.close()
        assert nothing(poller)


def test_a_number_that_a_thread_forgot_while_the_poller_accepted_is_watched(
    poller: Poller, make_pair: Callable[[], Pair]
):
    client, server = make_pair()
    number = server.fileno()
    poller.add(number)
    client.send(b"a")
    assert reported(poller) == [number]

    thread = threading.Thread(target=poller.forget, args=(number,))
    thread.start()
    thread.join(DEADLINE)
    new_client, new_server = replace(server, make_pair)
    try:
        poller.add(number)
        new_client.send(b"b")
        assert reported(poller, 1) == [number]
    finally:
        poller.forget(number)
        new_server.close()


def replace(server: socket.socket, make_pair: Callable[[], Pair]) -> Pair:
    """Close `server`; a new pair whose server's end has got its number."""
    client, other = make_pair()
    number = server.detach()
    os.dup2(other.fileno(), number, inheritable=False)
    return client, socket.socket(fileno=number)


def test_a_watched_descriptor_is_reported_as_long_as_it_is_readable(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    poller.watch(server.fileno())
    assert nothing(poller)
    client.send(b"ab")
    for _ in range(3):
        assert reported(poller) == [server.fileno()]
    server.recv(1)
    assert reported(poller) == [server.fileno()]
    server.recv(1)
    assert nothing(poller)
    client.send(b"c")
    assert reported(poller) == [server.fileno()]
    poller.forget(server.fileno())
    assert nothing(poller)


def test_a_watched_descriptor_can_be_forgotten_and_watched_again(poller: Poller, make_pair: Callable[[], Pair]):
    client, server = make_pair()
    client.send(b"a")
    for _ in range(3):
        poller.watch(server.fileno(), exclusive=True)
        assert reported(poller) == [server.fileno()]
        assert reported(poller) == [server.fileno()]
        poller.forget(server.fileno())
        assert nothing(poller)


def test_waking_ends_a_wait_and_only_one(poller: Poller):
    for _ in range(3):
        thread = threading.Thread(target=poller.wake)
        thread.start()
        began = time.monotonic()
        poller.wait(DEADLINE)
        assert time.monotonic() - began < DEADLINE / 2
        thread.join(DEADLINE)
        began = time.monotonic()
        poller.wait(0.05)
        assert time.monotonic() - began > 0.04


def test_waking_before_the_wait_counts_and_waking_often_does_no_harm(poller: Poller):
    for _ in range(100_000):
        poller.wake()
    began = time.monotonic()
    poller.wait(DEADLINE)
    assert time.monotonic() - began < DEADLINE / 2
    expires = time.monotonic() + DEADLINE
    while time.monotonic() < expires:  # a poller may need several looks to take note of all of them
        began = time.monotonic()
        poller.wait(0.05)
        if time.monotonic() - began > 0.04:
            break
    else:
        pytest.fail("the poller does not sleep any more")


@pytest.mark.parametrize("timeout", [0.0, 0.0004, 0.03])
def test_a_wait_lasts_as_long_as_it_should(poller: Poller, timeout: float):
    began = time.monotonic()
    assert poller.wait(timeout) == []
    assert timeout * 0.9 <= time.monotonic() - began < DEADLINE / 2


def test_the_best_poller_of_linux_is_epoll():
    made = best_poller()
    made.close()
    assert isinstance(made, EpollPoller if hasattr(select, "epoll") else SelectorPoller)


def test_a_closed_poller_leaves_no_descriptor_behind():
    before = os.listdir("/dev/fd")  # noqa: PTH208 - a folder whose entries come and go
    for make in KINDS.values():
        made = make()
        made.wake()
        made.close()
    assert len(os.listdir("/dev/fd")) == len(before)  # noqa: PTH208 - as above
