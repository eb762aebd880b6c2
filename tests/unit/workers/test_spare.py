"""The spare thread: it takes what waits too long for the threads of a pool, in order, and nothing else."""

import collections
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenhorn.net.connection import Connection
from greenhorn.workers.pool import Pool
from greenhorn.workers.spare import PATIENCE, SHORT_PATIENCE, Spare
from unit.net.sockets import buffers, connected
from unit.net.waiting import DEADLINE, wait_until

TIMEOUT = 0.2
"""Seconds that a whole request may wait in most tests."""


class Deed:
    """What was done with a connection, and when."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.at = time.monotonic()
        self.thread = threading.current_thread().name


class Scene:
    """A pool of one thread, which a connection holds until `let_go`, and the spare thread beside it."""

    def __init__(self, queue_timeout: float) -> None:
        self._stack = ExitStack()
        self.gate = threading.Event()
        self._holds = self.make()
        self.worked: list[Deed] = []
        self.prepared: list[Deed] = []
        self.given_up: list[Deed] = []
        self.spare = Spare(self._prepare, self._give_up, queue_timeout)
        self.pool: Pool[Connection] = Pool(1, self._work, self.spare.call)

    def make(self) -> Connection:
        """A connection that is ready now."""
        _, connection = self._stack.enter_context(connected(buffers()))
        connection.queued_at = time.monotonic()
        return connection

    def start(self) -> None:
        """Hold the pool's thread, and start the spare one."""
        self.pool.start()
        self.pool.put(self._holds)
        wait_until(lambda: self.worked, "the pool's thread")
        self.spare.start(self.pool)

    def let_go(self) -> None:
        """Let the pool's thread go on."""
        self.gate.set()

    def _work(self, connection: Connection) -> None:
        self.worked.append(Deed(connection))
        if connection is self._holds:
            self.gate.wait(DEADLINE)

    def _prepare(self, connection: Connection) -> None:
        self.prepared.append(Deed(connection))

    def _give_up(self, connection: Connection) -> None:
        self.given_up.append(Deed(connection))

    def finish(self) -> None:
        self.let_go()
        self.spare.stop()
        if self.worked:
            assert self.pool.stop(DEADLINE)
        self._stack.close()


@pytest.fixture
def make_scene() -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(queue_timeout: float = TIMEOUT, *, start: bool = True) -> Scene:
        made.append(Scene(queue_timeout))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for scene in made:
        scene.finish()


MakeScene = Callable[..., Scene]


def connections(deeds: list[Deed]) -> list[Connection]:
    return [deed.connection for deed in deeds]


def wait_for(deeds: list[Deed], count: int) -> list[Connection]:
    """Return what was done when it is so much."""
    wait_until(lambda: len(deeds) >= count, f"{count} deeds")
    return connections(deeds)


PUTS: dict[str, Callable[[Pool[Connection], Connection], None]] = {
    "ready": lambda pool, connection: pool.put(connection),
    "found by the poller": lambda pool, connection: pool.put_all([connection]),
    "new": lambda pool, connection: pool.put_all([], [connection]),
    "behind": lambda pool, connection: pool.put_behind(connection),
}
"""The ways in which a connection comes to wait for a thread that reads."""


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_what_no_thread_takes_is_prepared_by_the_spare_one_but_not_at_once(
    make_scene: MakeScene, put: Callable[[Pool[Connection], Connection], None]
):
    scene = make_scene()
    connection = scene.make()
    put(scene.pool, connection)
    assert wait_for(scene.prepared, 1) == [connection]
    [deed] = scene.prepared
    assert deed.at - connection.queued_at >= PATIENCE
    assert deed.thread == "greenhorn-spare"
    assert connections(scene.worked) != [connection]


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_connections_are_prepared_in_their_order(
    make_scene: MakeScene, put: Callable[[Pool[Connection], Connection], None]
):
    scene = make_scene()
    waiting = [scene.make() for _ in range(20)]
    for connection in waiting:
        put(scene.pool, connection)
    assert wait_for(scene.prepared, 20) == waiting


def test_while_it_is_needed_the_spare_thread_waits_less(make_scene: MakeScene):
    scene = make_scene()
    waits = []
    for number in range(6):
        connection = scene.make()
        scene.pool.put(connection)
        wait_for(scene.prepared, number + 1)
        waits.append(scene.prepared[-1].at - connection.queued_at)
    assert waits[0] >= PATIENCE
    assert min(waits) >= SHORT_PATIENCE
    assert min(waits[1:]) < PATIENCE / 2, f"seconds until each was prepared: {waits}"


def test_what_a_thread_of_the_pool_takes_is_left_to_it(make_scene: MakeScene):
    scene = make_scene()
    scene.let_go()
    waiting = [scene.make() for _ in range(50)]
    for connection in waiting:
        scene.pool.put(connection)
    assert wait_for(scene.worked, 51)[1:] == waiting
    assert not scene.prepared


# Whole requests.


def test_whole_requests_are_given_up_in_their_order_when_they_have_waited_too_long(make_scene: MakeScene):
    scene = make_scene()
    for new in (False, True):
        scene.given_up.clear()
        waiting = [scene.make() for _ in range(5)]
        for connection in waiting:
            scene.pool.put_whole(connection, new=new)
        assert wait_for(scene.given_up, 5) == waiting
        for deed in scene.given_up:
            assert deed.at - deed.connection.queued_at >= TIMEOUT
            assert deed.thread == "greenhorn-spare"
    assert not scene.prepared


def test_a_whole_request_waits_no_longer_because_others_must_be_prepared(make_scene: MakeScene):
    scene = make_scene()
    whole = scene.make()
    scene.pool.put_whole(whole, new=False)
    reading = [scene.make() for _ in range(10)]
    for connection in reading:
        scene.pool.put(connection)
    assert wait_for(scene.prepared, 10) == reading
    assert wait_for(scene.given_up, 1) == [whole]
    assert scene.given_up[0].at - whole.queued_at < TIMEOUT + PATIENCE + 1.0


def test_without_a_limit_whole_requests_wait_for_ever_and_do_not_keep_the_spare_thread_awake(make_scene: MakeScene):
    scene = make_scene(0)
    whole = scene.make()
    whole.queued_at -= 1_000_000
    scene.pool.put_whole(whole, new=False)
    scene.pool.put_whole(scene.make(), new=True)
    reading = scene.make()
    scene.pool.put(reading)
    assert wait_for(scene.prepared, 1) == [reading]
    wait_until(lambda: scene.spare._asleep, "the spare thread's sleep")
    assert not scene.given_up
    scene.let_go()
    assert wait_for(scene.worked, 3)[1] is whole


def test_a_request_that_a_thread_comes_to_in_time_is_not_given_up(make_scene: MakeScene):
    scene = make_scene(DEADLINE)
    whole = scene.make()
    scene.pool.put_whole(whole, new=False)
    scene.let_go()
    assert wait_for(scene.worked, 2)[1] is whole
    assert not scene.given_up


# Interleavings that are rare, brought about on purpose.


class Rivalled(collections.deque[Any]):
    """A queue whose first is taken by another thread just before the spare thread takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[Any] = []

    def popleft(self) -> Any:
        if not self.lost and len(self) and threading.current_thread().name == "greenhorn-spare":
            self.lost.append(super().popleft())
        return super().popleft()


@pytest.mark.parametrize("name", ["ready", "new", "behind", "whole", "new_whole"])
def test_what_comes_after_a_connection_that_a_thread_was_quicker_with_keeps_its_time_and_its_place(
    make_scene: MakeScene, name: str
):
    scene = make_scene(start=False)
    queue = Rivalled()
    setattr(scene.pool, name, queue)
    first, second, third = (scene.make() for _ in range(3))
    late = time.monotonic() + 0.5
    for connection in (second, third):
        connection.queued_at = late
    queue.extend([first, second, third])
    scene.spare.start(scene.pool)
    deeds = scene.given_up if "whole" in name else scene.prepared
    assert wait_for(deeds, 2) == [second, third]
    assert queue.lost == [first]
    assert deeds[0].at >= late
    scene.spare.stop()


@pytest.mark.parametrize("name", ["ready", "new", "behind", "whole", "new_whole"])
def test_a_queue_that_a_rival_empties_at_the_last_moment_harms_nobody(make_scene: MakeScene, name: str):
    scene = make_scene(start=False)
    queue = Rivalled()
    setattr(scene.pool, name, queue)
    first, second = scene.make(), scene.make()
    queue.append(first)
    scene.spare.start(scene.pool)
    wait_until(lambda: queue.lost == [first], "the rival")
    wait_until(lambda: scene.spare._asleep, "the spare thread's sleep")
    queue.append(second)
    scene.spare.call()
    deeds = scene.given_up if "whole" in name else scene.prepared
    assert wait_for(deeds, 1) == [second]
    scene.spare.stop()


class Late(collections.deque[Any]):
    """A queue in which `race` happens, once, just after the spare thread found it empty."""

    race: Callable[[], None] | None = None

    def __getitem__(self, at: Any) -> Any:
        try:
            return super().__getitem__(at)
        except IndexError:
            race, self.race = self.race, None
            if race is not None:
                race()
            raise


@pytest.mark.parametrize("name", ["ready", "new", "behind", "whole", "new_whole"])
def test_what_is_put_while_the_spare_thread_falls_asleep_is_seen(make_scene: MakeScene, name: str):
    scene = make_scene(start=False)
    queue = Late()
    setattr(scene.pool, name, queue)
    connection = scene.make()

    def put() -> None:
        queue.append(connection)
        scene.spare.call()  # which finds it awake

    queue.race = put
    scene.spare.start(scene.pool)
    deeds = scene.given_up if "whole" in name else scene.prepared
    assert wait_for(deeds, 1) == [connection]
    scene.spare.stop()


# The end.


def test_the_end_does_not_wait_for_what_waits(make_scene: MakeScene):
    scene = make_scene(DEADLINE)
    scene.pool.put_whole(scene.make(), new=False)
    began = time.monotonic()
    scene.spare.stop()
    assert time.monotonic() - began < 1.0
    assert not scene.spare._thread.is_alive()
    assert not scene.given_up


def test_a_spare_thread_that_sleeps_or_never_ran_can_be_ended_and_called(make_scene: MakeScene):
    asleep, never_ran = make_scene(), make_scene(start=False)
    wait_until(lambda: asleep.spare._asleep, "the spare thread's sleep")
    for scene in (asleep, never_ran):
        scene.spare.stop()
        scene.spare.call()
        scene.spare.stop()
        assert not scene.spare._thread.is_alive()


def test_calls_from_many_threads_at_once_harm_nobody(make_scene: MakeScene):
    scene = make_scene()
    start = threading.Barrier(4)

    def call() -> None:
        start.wait(DEADLINE)
        for _ in range(2000):
            scene.spare.call()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    connection = scene.make()
    scene.pool.put(connection)
    assert wait_for(scene.prepared, 1) == [connection]
