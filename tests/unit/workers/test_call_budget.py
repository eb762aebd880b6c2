"""What a keep-alive GET may cost: Python calls and system calls, counted, not timed."""

import collections
import gc
import select
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from greenhorn.net.state import State
from unit.workers.inprocess import TestWorker, hello, read_answer

MOST_PYTHON_CALLS = 16
MOST_SYSTEM_CALLS = 3

BARE = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
BROWSER = (
    b"GET /shop/42?ref=a&page=7 HTTP/1.1\r\n"
    b"Host: shop.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n"
    b"Cookie: session=8f2c1d7a; theme=dark\r\n"
    b"\r\n"
)


class Calls:
    """Counts calls while it profiles: functions in Python, and methods of sockets and pollers."""

    def __init__(self) -> None:
        self.python: list[str] = []
        self.system: list[str] = []

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            self.python.append(f"{code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})")
        elif event == "c_call" and isinstance(getattr(argument, "__self__", None), (socket.socket, select.epoll)):
            self.system.append(argument.__qualname__)

    def during(self, function: Callable[[Any], None], argument: Any) -> None:
        gc.collect()
        gc.disable()  # what a collection calls is not the request's
        sys.setprofile(self.note)
        try:
            function(argument)
        finally:
            sys.setprofile(None)
            gc.enable()
        self.system = [name for name in self.system if not name.endswith(".setprofile")]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the budget is that of the epoll poller")
@pytest.mark.parametrize("request_bytes", [BARE, BROWSER], ids=["bare", "browser"])
@pytest.mark.parametrize("pair", ["tcp", "unix"])
def test_a_keep_alive_get_stays_within_the_budget_of_calls(
    make_worker: Callable[..., TestWorker], request_bytes: bytes, pair: str
):
    assert request_bytes.count(b"\r\n") - 2 in (1, 12)  # without the request line and the end: the fields
    worker = make_worker(hello)
    client, ours = socket.socketpair() if pair == "unix" else tcp_pair()
    connection = worker.adopt(ours)
    with client:
        for _ in range(3):  # fills the memos of names and hosts
            exchange(worker, connection, client, request_bytes, worker.worker.work)
        calls = Calls()
        exchange(
            worker, connection, client, request_bytes, lambda connection: calls.during(worker.worker.work, connection)
        )
    listing = "\n".join(f"{count} x {name}" for name, count in collections.Counter(calls.python).items())
    assert 5 < len(calls.python) <= MOST_PYTHON_CALLS, f"{len(calls.python)} Python calls:\n{listing}"
    assert "ThreadWorker.work" in calls.python[0], listing
    assert not any("hooked.py" in name for name in calls.python), f"nobody asked for hooks:\n{listing}"
    assert any("hello" in name for name in calls.python), listing
    assert 2 <= len(calls.system) <= MOST_SYSTEM_CALLS, f"{len(calls.system)} system calls: {calls.system}"


def exchange(
    worker: TestWorker, connection: Any, client: socket.socket, request_bytes: bytes, work: Callable[[Any], None]
) -> None:
    """One request, from the poller's report to the answer, on a connection that is armed before and after."""
    client.settimeout(10)
    client.sendall(request_bytes)
    worker.take(connection)
    work(connection)
    assert connection.state is State.IDLE
    assert read_answer(client)[1] == b"Hello, world!"


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server
