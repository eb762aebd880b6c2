"""The table of a connection's states: complete, consistent, and followed by what real traffic makes happen."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenhorn.net.connection import Connection
from greenhorn.net.state import ARMED, TRANSITIONS, State
from unit.net.waiting import wait_until
from unit.workers.inprocess import TestWorker, hello, is_closed, read_answer, receive, receive_all, wait_for_state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LARGE = 3_000_000


def test_every_state_is_in_the_table():
    assert set(TRANSITIONS) == set(State)


def test_moves_lead_only_to_states_and_never_to_where_they_began():
    for state, following in TRANSITIONS.items():
        assert following <= set(State)
        assert state not in following


def test_terminal_states_lead_nowhere_and_all_others_can_end():
    for state, following in TRANSITIONS.items():
        if state is State.CLOSED:
            assert not following
        else:
            assert State.CLOSED in following


def test_every_state_can_be_reached_from_a_new_connection():
    reached: set[State] = set()
    ahead = {State.NEW}
    while ahead:
        state = ahead.pop()
        reached.add(state)
        ahead |= TRANSITIONS[state] - reached
    assert reached == set(State)


def test_only_a_queued_connection_becomes_active_and_only_an_active_one_waits_anew():
    ready = {State.QUEUED, State.WHOLE}
    assert {state for state, following in TRANSITIONS.items() if State.ACTIVE in following} == ready
    for state in (State.NEW, State.HANDSHAKE, State.HEAD, State.BODY, State.IDLE, State.WHOLE):
        assert {before for before, following in TRANSITIONS.items() if state in following} == {State.ACTIVE}


# What real traffic does.


class Moves:
    """The moves that were made, and those of them that are not in the table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.made: set[tuple[State, State]] = set()
        self.wrong: list[tuple[State, State]] = []

    def note(self, before: State, after: State) -> None:
        with self._lock:
            self.made.add((before, after))
            if after not in TRANSITIONS[before]:
                self.wrong.append((before, after))

    def reached(self) -> set[State]:
        return {after for _, after in self.made}


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moves]:
    """Note each move of each connection that a worker accepts; a move beyond the table fails the test."""
    moves = Moves()

    class WatchedConnection(Connection):
        __slots__ = ("_state",)

        @property
        def state(self) -> State:
            return self._state

        @state.setter
        def state(self, after: State) -> None:
            before: State | None = getattr(self, "_state", None)
            self._state = after
            if before is not None:
                moves.note(before, after)

    monkeypatch.setattr("greenhorn.workers.reception.Connection", WatchedConnection)
    yield moves
    assert not moves.wrong, f"moves that are not in TRANSITIONS: {moves.wrong}"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"x" * LARGE] if environ["PATH_INFO"] == "/large" else [environ["wsgi.input"].read() or b"Hello"]


def expire(served: TestWorker, *states: State) -> None:
    """Let the time of all connections that the poller owns be up, as if the clock had moved on."""
    for connection in list(served.worker.connections.values()):
        assert connection.state in states
        connection.deadline = time.monotonic() - 1


def test_a_silent_client_is_closed_when_its_time_is_up(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app()
    client = served.connect()
    wait_for_state(served, [State.NEW])
    expire(served, State.NEW)
    wait_until(lambda: is_closed(client), "the silent client's end")
    assert moves.made == {(State.NEW, State.CLOSED)}


def test_a_client_that_leaves_without_a_word_is_closed(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app()
    client = served.connect()
    wait_for_state(served, [State.NEW])
    client.close()
    wait_for_state(served, [])
    assert (State.ACTIVE, State.CLOSED) in moves.made


def test_a_half_head_that_expires_is_answered_with_408_and_lingers(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app()
    client = served.connect()
    client.sendall(GET[:10])
    wait_for_state(served, [State.HEAD])
    expire(served, State.HEAD)
    assert receive_all(client).startswith(b"HTTP/1.1 408 ")
    wait_for_state(served, [State.LINGER])
    client.close()
    wait_for_state(served, [])
    assert {(State.ACTIVE, State.HEAD), (State.HEAD, State.LINGER)} <= moves.made
    assert {(State.LINGER, State.QUEUED), (State.ACTIVE, State.CLOSED)} <= moves.made


def test_a_half_body_that_expires_is_answered_with_408_and_lingers_until_its_time_is_up(
    serve_app: Callable[..., TestWorker], moves: Moves
):
    served = serve_app()
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    wait_for_state(served, [State.BODY])
    expire(served, State.BODY)
    assert receive_all(client).startswith(b"HTTP/1.1 408 ")
    wait_for_state(served, [State.LINGER])
    expire(served, State.LINGER)
    wait_for_state(served, [])
    assert {(State.ACTIVE, State.BODY), (State.BODY, State.LINGER), (State.LINGER, State.CLOSED)} <= moves.made


def test_heads_and_bodies_in_pieces_are_answered(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app(application)
    client = served.connect()
    pieces = [b"POST / HTT", b"P/1.1\r\nHost: a\r\nContent-Le", b"ngth: 10\r\n\r\n", b"hello", b"world"]
    awaited = [State.HEAD, State.HEAD, State.BODY, State.BODY]
    for piece, state in zip(pieces, [*awaited, None], strict=True):
        client.sendall(piece)
        if state is not None:
            wait_for_state(served, [state])
    assert read_answer(client)[1] == b"helloworld"
    wait_for_state(served, [State.IDLE])
    assert State.CLOSED not in moves.reached()


def test_a_slow_reader_of_a_large_answer_holds_no_thread_and_gets_all_of_it(
    serve_app: Callable[..., TestWorker], moves: Moves
):
    served = serve_app(application, threads=1)
    client = served.connect(receive_buffer=4096)
    client.sendall(GET.replace(b"/", b"/large", 1))
    wait_for_state(served, [State.FLUSH])
    other = served.connect()
    other.sendall(GET)
    assert read_answer(other)[1] == b"Hello"
    assert read_answer(client)[1] == b"x" * LARGE
    wait_for_state(served, [State.IDLE, State.IDLE])
    assert {(State.ACTIVE, State.FLUSH), (State.FLUSH, State.QUEUED), (State.ACTIVE, State.IDLE)} <= moves.made


def test_a_client_that_stops_reading_is_closed_when_its_time_is_up(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app(application)
    client = served.connect(receive_buffer=4096)
    client.sendall(GET.replace(b"/", b"/large", 1))
    wait_for_state(served, [State.FLUSH])
    expire(served, State.FLUSH)
    wait_for_state(served, [])
    assert (State.FLUSH, State.CLOSED) in moves.made


def test_a_last_answer_that_had_to_wait_lingers(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app(application)
    client = served.connect(receive_buffer=4096)
    client.sendall(CLOSE.replace(b"/", b"/large", 1))
    wait_for_state(served, [State.FLUSH])
    assert len(receive_all(client)) > LARGE
    client.close()
    wait_for_state(served, [])
    assert (State.ACTIVE, State.LINGER) in moves.made


def test_pipelined_requests_go_through_the_queue_again(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app()
    client = served.connect()
    client.sendall(GET * 20 + GET[:5])
    for _ in range(20):
        assert read_answer(client)[1] == b"Hello, world!"
    wait_for_state(served, [State.HEAD])
    client.sendall(GET[5:])
    assert read_answer(client)[1] == b"Hello, world!"
    assert {(State.ACTIVE, State.QUEUED), (State.QUEUED, State.ACTIVE)} <= moves.made


def test_pipelined_requests_behind_a_slow_answer_are_answered_in_their_order(
    serve_app: Callable[..., TestWorker], moves: Moves
):
    served = serve_app(application)
    client = served.connect(receive_buffer=4096)
    client.sendall(GET.replace(b"/", b"/large", 1) + GET)
    wait_for_state(served, [State.FLUSH])
    assert len(read_answer(client)[1]) == LARGE
    assert read_answer(client)[1] == b"Hello"
    assert {(State.ACTIVE, State.FLUSH), (State.ACTIVE, State.QUEUED)} <= moves.made


def test_a_refused_request_lingers_until_the_client_closes_although_it_has_sent_too_much(
    serve_app: Callable[..., TestWorker], moves: Moves
):
    served = serve_app()
    client = served.connect()
    client.sendall(b"GET / HTTP/9.9\r\n\r\n")
    assert receive_all(client).startswith(b"HTTP/1.1 505 ")
    wait_for_state(served, [State.LINGER])
    client.sendall(b"x" * 120_000)
    [connection] = served.worker.connections.values()
    wait_until(lambda: connection.deaf, "the server to stop reading")
    wait_for_state(served, [State.LINGER])
    client.close()
    wait_for_state(served, [])
    assert {(State.ACTIVE, State.LINGER), (State.LINGER, State.QUEUED), (State.ACTIVE, State.CLOSED)} <= moves.made


def test_an_idle_connection_is_closed_when_its_time_is_up(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app()
    client = served.connect()
    client.sendall(GET)
    read_answer(client)
    wait_for_state(served, [State.IDLE])
    expire(served, State.IDLE)
    wait_until(lambda: is_closed(client), "the idle client's end")
    assert (State.IDLE, State.CLOSED) in moves.made


@pytest.mark.parametrize("state", [State.HEAD, State.BODY])
def test_a_408_for_which_the_socket_has_no_room_waits_for_the_client(
    make_worker: Callable[..., TestWorker], moves: Moves, state: State
):
    made = make_worker(hello)
    client, ours = socket.socketpair()
    connection = made.adopt(ours)
    begin = GET[:10] if state is State.HEAD else b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
    with client:
        client.sendall(begin)
        made.take(connection)
        made.worker.work(connection)
        assert connection.state is state
        filled = fill(ours)
        connection.deadline = 0.0
        made.worker._sweep(time.monotonic())
        assert connection.state is State.FLUSH
        client.settimeout(10)
        receive(client, filled)
        made.take(connection)
        made.worker.work(connection)
        assert receive_all(client).startswith(b"HTTP/1.1 408 ")
    assert {(state, State.FLUSH), (State.ACTIVE, State.LINGER)} <= moves.made


def fill(sock: socket.socket) -> int:
    """Send until the socket takes no more; returns how many bytes it took."""
    total = 0
    try:
        while True:
            total += sock.send(b"#" * 4096)
    except BlockingIOError:
        return total


def test_all_states_that_a_poller_owns_were_seen(serve_app: Callable[..., TestWorker], moves: Moves):
    served = serve_app(application)
    client = served.connect(receive_buffer=4096)
    for piece, state in ((b"G", State.HEAD), (b"ET /large HTTP/1.1\r\nHost: a\r\n\r\n", State.FLUSH)):
        client.sendall(piece)
        wait_for_state(served, [state])
    read_answer(client)
    wait_for_state(served, [State.IDLE])
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    wait_for_state(served, [State.BODY])
    client.sendall(b"this is no chunk\r\n")
    receive_all(client)
    client.close()
    wait_for_state(served, [])
    assert moves.reached() >= (ARMED - {State.NEW, State.HANDSHAKE}) | {State.QUEUED, State.ACTIVE, State.CLOSED}
