"""Where a server listens: several addresses, IPv6, unix sockets, descriptors, and ports that are taken."""

import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.answers import Answer, AnswerReader
from integration.running import DEADLINE, StartServer
from unit.net.sockets import has_ipv6

GET = b"GET /environ HTTP/1.1\r\nHost: name.example:81\r\n\r\n"


def ask(family: socket.AddressFamily, address: object) -> Answer:
    """Send a request to an address and return the answer."""
    with socket.socket(family) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(address)  # type: ignore[arg-type]
        connection.sendall(GET)
        return AnswerReader(connection).read()


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A listening socket of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_several_addresses_are_served_at_once(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    site = server("wsgi_app", bind=["127.0.0.1:0", "127.0.0.1:0", f"unix:{path}"])
    urls = [address for address in site.addresses if address.startswith("http://127.0.0.1:")]
    assert len(set(urls)) == 2
    for url in urls:
        port = int(url.rpartition(":")[2])
        answer = ask(socket.AF_INET, ("127.0.0.1", port))
        assert answer.status == 200
        assert f"SERVER_PORT='{port}'" in answer.text
    assert ask(socket.AF_UNIX, str(path)).status == 200


def test_a_configuration_file_may_name_several_addresses(server: StartServer):
    site = server("wsgi_app", config="bind = ['127.0.0.1:0', '127.0.0.1:0']", bind=())
    assert len(site.addresses) == 2


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_ipv6_is_served(server: StartServer):
    site = server("wsgi_app", bind="[::1]:0")
    assert re.fullmatch(r"http://\[::1\]:\d+", site.url)
    answer = ask(socket.AF_INET6, ("::1", site.port))
    assert answer.status == 200
    for line in ("REMOTE_ADDR='::1'", "SERVER_NAME='::1'", f"SERVER_PORT='{site.port}'"):
        assert line in answer.text.splitlines()


def test_a_unix_socket_is_served_and_removed_at_the_end(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    site = server("wsgi_app", bind=f"unix:{path}")
    assert site.addresses == [f"unix:{path}"]
    lines = ask(socket.AF_UNIX, str(path)).text.splitlines()
    assert {"REMOTE_ADDR=''", "SERVER_NAME='name.example'", "SERVER_PORT='81'"} <= set(lines)
    assert not any(line.startswith("REMOTE_PORT=") for line in lines)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    site = server("wsgi_app", bind=f"unix:{path}")
    assert ask(socket.AF_UNIX, str(path)).status == 200
    assert site.stop() == 0


def test_a_unix_socket_that_somebody_serves_is_not_taken_away(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    server("wsgi_app", bind=f"unix:{path}")
    second = server("wsgi_app", bind=f"unix:{path}", ready=False)
    assert second.wait() == 1
    assert str(path) in second.log()
    assert ask(socket.AF_UNIX, str(path)).status == 200


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(server: StartServer, tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("precious")
    site = server("wsgi_app", bind=f"unix:{path}", ready=False)
    assert site.wait() == 1
    assert str(path) in site.log()
    assert path.read_text() == "precious"


def test_a_unix_socket_that_another_server_has_made_since_is_left_alone(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    first = server("wsgi_app", bind=f"unix:{path}")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        assert stat.S_ISSOCK(path.stat().st_mode)
    path.unlink()


def test_an_inherited_descriptor_is_served(server: StartServer, taken: socket.socket):
    port = taken.getsockname()[1]
    site = server("wsgi_app", bind=f"fd://{taken.fileno()}", pass_fds=(taken.fileno(),))
    assert site.port == port
    assert ask(socket.AF_INET, ("127.0.0.1", port)).status == 200
    assert site.stop() == 0


def test_a_unix_socket_that_was_inherited_is_not_removed(server: StartServer, tmp_path: Path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        site = server("wsgi_app", bind=f"fd://{listener.fileno()}", pass_fds=(listener.fileno(),))
        assert ask(socket.AF_UNIX, str(path)).status == 200
        assert site.stop() == 0
        assert path.exists()
    path.unlink()


def test_a_descriptor_that_does_not_listen_is_refused(server: StartServer):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        site = server("wsgi_app", bind=f"fd://{silent.fileno()}", pass_fds=(silent.fileno(),), ready=False)
        assert site.wait() == 1
        assert f"fd://{silent.fileno()}" in site.log()


def test_a_busy_port_ends_the_start_fast_and_names_who_has_it(server: StartServer, taken: socket.socket):
    port = taken.getsockname()[1]
    began = time.monotonic()
    site = server("wsgi_app", bind=f"127.0.0.1:{port}", ready=False)
    assert site.wait() == 1
    assert time.monotonic() - began < 3.0
    [line] = [line for line in site.log().splitlines() if f"127.0.0.1:{port}" in line]
    assert "in use" in line
    if Path("/proc/net/tcp").exists():
        assert re.search(rf"\b{os.getpid()}\b", line)
    assert "Traceback" not in site.log()


def test_one_busy_port_of_several_leaves_nothing_behind(server: StartServer, taken: socket.socket, tmp_path: Path):
    path = tmp_path / "socket"
    busy = f"127.0.0.1:{taken.getsockname()[1]}"
    site = server("wsgi_app", bind=[f"unix:{path}", "127.0.0.1:0", busy], ready=False)
    assert site.wait() == 1
    assert not path.exists()


def test_a_port_can_be_taken_again_at_once(server: StartServer):
    first = server("wsgi_app")
    assert ask(socket.AF_INET, ("127.0.0.1", first.port)).status == 200
    port = first.port
    assert first.stop() == 0
    second = server("wsgi_app", bind=f"127.0.0.1:{port}")
    assert ask(socket.AF_INET, ("127.0.0.1", port)).status == 200
    assert second.port == port
