"""What the kernel tells of a connection."""

import socket
import sys

import pytest

from greenhorn.net.kernel import confirmed
from integration.running import wait_until


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_the_other_side_has_confirmed_is_all_that_it_has_and_nothing_that_waits():
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            before = confirmed(server)
            assert before is not None
            server.sendall(b"x" * 1000)
            wait_until(lambda: confirmed(server) == before + 1000, what="the confirmation")
            server.setblocking(False)
            sent = server.send(bytes(1_000_000))
            wait_until(lambda: (confirmed(server) or 0) > before + 1000, what="a part of it")
            assert (confirmed(server) or 0) < before + 1000 + sent


def test_of_a_unix_socket_and_of_one_that_is_closed_nothing_is_known():
    one, other = socket.socketpair()
    with one, other:
        assert confirmed(one) is None
    closed = socket.socket()
    closed.close()
    assert confirmed(closed) is None
