"""What becomes of clients that let the server wait: all of them wait at once, and each ends as it should."""

import re
import select
import selectors
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integration.kinds import AND_ASGI, ONE_REQUEST, PARSER, UVICORN, WHOLE_HEADS, differs
from integration.running import DEADLINE, Server, StartServer, wait_until
from integration.wire import connect, refusals

pytestmark = AND_ASGI

TIMEOUT = 1
"""Seconds that each kind of wait may take; the server looks once a second."""
LATEST = 4.0
"""Seconds after which it is over for certain, on a busy machine too."""
HALF_HEAD = b"GET /zq81 HTTP/1.1\r\nHost: x\r\nX-A: "
HALF_BODY = b"POST /zq81 HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nab"
HALF_CHUNK = b"POST /zq81 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Wait:
    """A client that sends `sent`, then the bytes of `trickle` one by one, and then nothing any more."""

    connection: socket.socket
    sent: bytes
    trickle: bytes
    received: bytearray = field(default_factory=bytearray)
    seconds: float = 0.0
    """From its first byte to the end of the stream."""


CLIENTS: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "half a line": (b"GET /zq", b""),
    "half a head": (HALF_HEAD, b""),
    "a head that trickles": (HALF_HEAD, b"x" * 60),
    "an empty line": (b"\r\n", b""),
    "a head without a body": (HALF_BODY[:-2], b""),
    "half a body": (HALF_BODY, b""),
    "half a chunk": (HALF_CHUNK, b""),
    "no last chunk": (HALF_CHUNK + b"cdefgh\r\n", b""),
    "half a trailer": (HALF_CHUNK + b"cdefgh\r\n0\r\nX-", b""),
    "a body that trickles and then stops": (HALF_BODY, b"x" * 10),
    "a slow but steady body": (HALF_BODY.replace(b"40", b"27"), b"x" * 25),
    "idle after an answer": (WHOLE, b""),
    "half a head after an answer": (WHOLE + HALF_HEAD, b""),
    "half a body after an answer": (WHOLE + HALF_BODY, b""),
}
ANSWERED = ("a slow but steady body", "idle after an answer")
TRICKLING_BODIES = ("a body that trickles and then stops", "a slow but steady body")
STEP = 0.1
"""Seconds between two bytes that trickle."""


@pytest.fixture(scope="module")
def site(module_server: StartServer, applications: Path) -> Server:
    names = ("--first-byte-timeout", "--header-timeout", "--body-timeout", "--keep-alive")
    flags = [text for name in names for text in (name, str(TIMEOUT))] + ["--body-min-rate", "5"]
    return module_server("mirror", *flags, "--access-logfile", "-", pythonpath=(applications,))


@pytest.fixture(scope="module")
def waits(site: Server) -> dict[str, Wait]:
    """Run all the clients at once, each until the server ends its connection."""
    began = time.monotonic()
    running = {name: Wait(connect(site), *client) for name, client in CLIENTS.items()}
    selector = selectors.DefaultSelector()
    for wait in running.values():
        wait.connection.sendall(wait.sent)
        selector.register(wait.connection, selectors.EVENT_READ, wait)
    step = 0
    while selector.get_map():
        assert time.monotonic() < began + DEADLINE, "some connections stay open"
        for key, _ in selector.select(max(0.0, began + step * STEP - time.monotonic())):
            wait = key.data
            if data := wait.connection.recv(65536):
                wait.received += data
            else:
                wait.seconds = time.monotonic() - began
                selector.unregister(wait.connection)
        if time.monotonic() >= began + step * STEP:
            for key in list(selector.get_map().values()):
                key.data.connection.sendall(key.data.trickle[step : step + 1])
            step += 1
    return running


def test_a_silent_connection_is_closed_without_a_word(waits: dict[str, Wait]):
    assert waits["silent"].received == b""
    assert TIMEOUT <= waits["silent"].seconds < LATEST


@differs("sync", row=ONE_REQUEST, only=("after an answer",))
@differs("tornado", row=PARSER, only=("half a trailer",))
@differs("tornado", "asgi", "asgi-h11", row=WHOLE_HEADS, only=("half a head after an answer",))
@differs("asgi-h11", row=UVICORN, only=("an empty line",))
@pytest.mark.parametrize("name", [name for name in CLIENTS if name not in ("silent", *ANSWERED)])
def test_a_request_that_does_not_come_in_time_is_answered_408(waits: dict[str, Wait], name: str):
    answers = bytes(waits[name].received).split(b"HTTP/1.1 ")[1:]
    if CLIENTS[name][0].startswith(WHOLE):
        assert answers.pop(0).startswith(b"200 OK\r\n")
    [answer] = answers
    assert answer.startswith(b"408 Request Timeout\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"zq81" not in answer
    assert waits[name].seconds >= TIMEOUT


@pytest.mark.parametrize("name", [name for name in CLIENTS if name not in TRICKLING_BODIES])
def test_no_wait_takes_much_longer_than_its_time(waits: dict[str, Wait], name: str):
    assert waits[name].seconds < LATEST


def test_bytes_that_come_in_time_renew_the_time_of_a_body(waits: dict[str, Wait]):
    assert TIMEOUT + 9 * STEP <= waits["a body that trickles and then stops"].seconds < LATEST + 10 * STEP


@pytest.mark.parametrize("name", ANSWERED)
def test_an_idle_connection_is_closed_without_a_word(waits: dict[str, Wait], name: str):
    received = bytes(waits[name].received)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


def timed_out(site: Server) -> list[re.Match[str]]:
    """Return the lines of requests that were answered 408."""
    return [line for line in refusals(site) if line[3] == "408"]


@differs("sync", row=ONE_REQUEST)
@differs("tornado", "asgi", "asgi-h11", row=WHOLE_HEADS)
def test_each_408_has_its_line_in_the_access_log(site: Server, waits: dict[str, Wait]):
    expected = sum(bytes(wait.received).count(b"HTTP/1.1 408 ") for wait in waits.values())
    assert expected == len(CLIENTS) - 3
    wait_until(lambda: len(timed_out(site)) >= expected, what="all lines")
    lines = timed_out(site)
    assert len(lines) == expected
    assert {line[5] for line in lines} == {"the head did not come in time", "the body did not come in time"}


def test_clients_that_are_busy_whenever_the_server_looks_gain_no_time(site: Server):
    waiting = {connect(site) for _ in range(30)}
    began = time.monotonic()
    for connection in waiting:
        connection.sendall(HALF_HEAD)
    while waiting and time.monotonic() < began + LATEST:
        for connection in waiting:
            connection.sendall(b"x")
        waiting -= set(select.select(waiting, [], [], 0)[0])
    late = len(waiting)
    assert late == 0, f"{late} heads of {TIMEOUT} s are still awaited after {LATEST:g} s"
