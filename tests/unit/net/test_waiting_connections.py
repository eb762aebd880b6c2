"""How many connections wait to be accepted, as the kernel tells it."""

import socket
import sys
from pathlib import Path

import pytest

from greenhorn.net.kernel import waiting_connections
from unit.net.waiting import wait_until


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_connections_that_wait_are_counted_until_they_are_accepted():
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        assert waiting_connections(listening) == 0
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        wait_until(lambda: waiting_connections(listening) == 3, "three connections that wait")
        accepted, _ = listening.accept()
        assert waiting_connections(listening) == 2
        for one in (accepted, *clients):
            one.close()


def test_nothing_is_known_of_a_unix_socket(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert waiting_connections(listening) is None


def test_nothing_is_known_of_a_closed_socket():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pass
    assert waiting_connections(listening) is None
