"""Servers whose workers are greenlets: the application `waiting`, and clients of which many wait at once."""

import importlib.util
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.answers import AnswerReader
from integration.running import Server, StartServer, wait_until
from integration.staging import ask

LIBRARIES = ("gevent", "eventlet")
"""The worker classes on greenlets, which have the names of their libraries."""
EACH_LIBRARY = pytest.mark.parametrize(
    "library",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is missing")
        )
        for name in LIBRARIES
    ],
)
"""Runs a test with both; the argument is `library: str`."""
APPLICATIONS = Path(__file__).with_name("applications")
GET = ask("/")
LAST = "Connection: close\r\n"


def start_waiting(server: StartServer, library: str, *arguments: str, **options: Any) -> Server:
    """Start the application `waiting` with one worker of this class, unless the options say how many."""
    return server("waiting", "-k", library, *arguments, pythonpath=(APPLICATIONS,), **options)


def ask_all(site: Server, count: int, path: str) -> list[socket.socket]:
    """Ask for `path` on so many connections, without waiting for an answer."""
    connections = [site.connect() for _ in range(count)]
    for connection in connections:
        connection.sendall(ask(path))
    return connections


def read_all(connections: Sequence[socket.socket]) -> set[str]:
    """Return what the answers say, each of which is a 200."""
    answers = [AnswerReader(connection).read() for connection in connections]
    assert {answer.status for answer in answers} == {200}
    return {answer.text for answer in answers}


def text(site: Server, path: str, fields: str = "") -> str:
    """Return what is answered with 200 to a request on a connection of its own."""
    answer = site.request(ask(path, fields=fields))
    assert answer.status == 200, answer
    return answer.text


def wait_for_polls(site: Server, count: int) -> None:
    """Return when so many requests wait for /release."""
    wait_until(lambda: text(site, "/polled") == str(count), what=f"{count} long polls")
