"""Addresses as they are written, listening at each kind of them, and why it cannot be."""

import gc
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.net.listener import Address, Listener, Manner, listen, listen_all, parse_address, port_holder
from unit.net.sockets import has_ipv6
from unit.net.waiting import wait_until


@pytest.fixture
def listening() -> Iterator[Callable[..., Listener]]:
    """Listen at an address that is written as for `bind`; closed at the end."""
    made: list[Listener] = []

    def make(text: str, backlog: int = 16) -> Listener:
        made.append(listen(parse_address(text), Manner(backlog)))
        return made[-1]

    yield make
    for one in made:
        one.close(unlink=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        listen(parse_address(text), Manner(16)).close()
    return str(caught.value)


def greet(listener: Listener) -> tuple[str, str] | None:
    """Connect, send a byte, and return the peer as the listener sees it."""
    own = listener.socket
    with socket.socket(own.family, socket.SOCK_STREAM) as client:
        client.connect(own.getsockname())
        client.sendall(b"!")
        sock, peer = wait_until(listener.accept, "the connection")
        with sock:
            assert sock.getblocking() is False
            assert wait_until(lambda: sock.recv(1) if is_readable(sock) else None) == b"!"
    return peer


def is_readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def bindv6only() -> bool:
    setting = Path("/proc/sys/net/ipv6/bindv6only")
    return setting.exists() and setting.read_text().strip() == "1"


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="the machine has no IPv6")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("Example.COM", Address("example.com", 8000)),
        ("Example.com:0", Address("example.com", 0)),
        (":8000", Address("0.0.0.0", 8000)),
        ("", Address("0.0.0.0", 8000)),
        ("8000", Address("8000", 8000)),
        ("[::1]", Address("::1", 8000)),
        ("[::1]:90", Address("::1", 90)),
        ("[FE80::1]:65535", Address("fe80::1", 65535)),
        ("tcp://h:1", Address("h", 1)),
        ("tcp://[::1]:1", Address("::1", 1)),
        ("unix:/x", Address(path="/x")),
        ("unix:///x/y", Address(path="/x/y")),
        ("unix:relative.sock", Address(path="relative.sock")),
        ("unix:@abs", Address(path="@abs")),
        ("fd://5", Address(fd=5)),
        ("fd://0", Address(fd=0)),
        ("fd://web", Address(name="web")),
        ("fd://-1", Address(name="-1")),
        ("fd://my-app.socket", Address(name="my-app.socket")),
        ("fd://" + "x" * 255, Address(name="x" * 255)),
    ],
)
def test_addresses_are_read_as_gunicorn_reads_them(text: str, address: Address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host:", "is no port"),
        (":", "is no port"),
        ("host:port", "is no port"),
        ("host:-1", "is no port"),
        ("host:65536", "0 to 65535"),
        ("host:80 ", "is no port"),
        ("host:٣", "is no port"),
        ("::1", "is no address"),
        ("[::1", "is no address"),
        ("a:1:2", "is no address"),
        ("[::1]x:80", "is no address"),
        ("http://host:80", "unknown scheme"),
        ("unix:", "names no path"),
        ("unix://", "names no path"),
        ("fd://", "descriptor's number"),
        ("fd://a b", "descriptor's number nor a name"),
        ("fd://a/b", "descriptor's number nor a name"),
        ("fd://wéb", "descriptor's number nor a name"),
        ("fd://" + "x" * 256, "descriptor's number nor a name"),
    ],
)
def test_what_is_no_address_says_why(text: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse_address(text)
    assert "bind" in str(caught.value)


@pytest.mark.parametrize("text", ["host:80", "[::1]:80", "unix:/x", "unix:/x y", "fd://5", "fd://web"])
def test_an_address_is_shown_as_it_is_written(text: str):
    assert str(parse_address(text)) == text


# TCP.


def test_an_ipv4_address_is_listened_at(listening: Callable[..., Listener]):
    listener = listening("127.0.0.1:0")
    host, port = listener.name
    assert host == "127.0.0.1"
    assert str(listener) == f"http://127.0.0.1:{port}"
    peer = greet(listener)
    assert peer is not None
    assert peer[0] == "127.0.0.1"
    assert peer[1].isdigit()
    assert listener.accept() is None


@needs_ipv6
def test_an_ipv6_address_is_listened_at(listening: Callable[..., Listener]):
    listener = listening("[::1]:0")
    assert listener.name[0] == "::1"
    assert str(listener) == f"http://[::1]:{listener.name[1]}"
    peer = greet(listener)
    assert peer is not None
    assert peer[0] == "::1"


def test_a_name_is_looked_up(listening: Callable[..., Listener]):
    assert listening("localhost:0").name[0] in ("127.0.0.1", "::1")


@needs_ipv6
@pytest.mark.parametrize("texts", [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0")], ids=["IPv4 first", "IPv6 first"])
def test_every_ipv4_and_every_ipv6_address_can_be_listened_at_with_one_port(texts: tuple[str, str]):
    port = free_port()
    listeners = listen_all([parse_address(f"{text}:{port}") for text in texts], Manner(16))
    for listener in listeners:
        assert listener.name[1] == str(port)
        listener.close()


def test_listening_at_all_of_several_addresses_or_at_none(tmp_path: Path):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        texts = [f"127.0.0.1:{port}", f"unix:{tmp_path}/socket", f"127.0.0.1:{busy.getsockname()[1]}"]
        with pytest.raises(ConfigError, match="in use"):
            listen_all([parse_address(text) for text in texts], Manner(16))
    assert list(tmp_path.iterdir()) == []
    socket.create_server(("127.0.0.1", port)).close()


@needs_ipv6
@pytest.mark.skipif(bindv6only(), reason="the system keeps IPv4 away from IPv6 sockets")
def test_every_ipv6_address_alone_takes_ipv4_clients_as_well(listening: Callable[..., Listener]):
    listener = listening("[::]:0")
    with socket.create_connection(("127.0.0.1", int(listener.name[1])), 5):
        sock, _ = wait_until(listener.accept, "the connection")
        sock.close()


def test_answers_leave_without_waiting_for_acknowledgements(listening: Callable[..., Listener]):
    listener = listening("127.0.0.1:0")
    with socket.create_connection(listener.socket.getsockname()):
        sock, _ = wait_until(listener.accept, "the connection")
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_whose_connections_are_not_all_gone_can_be_listened_at_again(listening: Callable[..., Listener]):
    first = listening("127.0.0.1:0")
    port = first.name[1]
    with socket.create_connection(first.socket.getsockname()) as client:
        sock, _ = wait_until(first.accept, "the connection")
        sock.close()  # the server closes first, and so keeps the connection in TIME_WAIT
        assert client.recv(1) == b""
    first.close()
    assert listening(f"127.0.0.1:{port}").name[1] == port


def test_a_busy_port_names_the_process_that_holds_it(listening: Callable[..., Listener]):
    port = listening("127.0.0.1:0").name[1]
    message = refusal(f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in message
    assert "in use" in message
    if Path("/proc/net/tcp").exists():
        # Whatever this process is called by now: a title may have been set.
        title = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        assert f"process {os.getpid()} ({title[:80].strip()}" in message


def test_nobody_holds_a_port_that_is_free(listening: Callable[..., Listener]):
    listener = listening("127.0.0.1:0")
    listener.close()
    assert port_holder(int(listener.name[1])) is None


def test_a_name_that_does_not_exist_says_so():
    message = refusal("no-such-host.invalid:0")
    assert "no-such-host.invalid" in message
    assert "has no address" in message


def test_an_address_of_another_machine_says_so():
    assert "does not have the address" in refusal("192.0.2.1:0")


@pytest.mark.parametrize("host", ["a" * 64, "a..b", ".a"])
def test_a_name_that_no_host_can_have_is_an_error_of_the_configuration(host: str):
    assert "cannot listen at" in refusal(f"{host}:0")


# Unix sockets.


def test_a_unix_socket_is_listened_at_and_its_path_is_removed_at_the_end(
    listening: Callable[..., Listener], tmp_path: Path
):
    path = tmp_path / "s"
    listener = listening(f"unix:{path}")
    assert listener.name == (str(path), "")
    assert str(listener) == f"unix:{path}"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert greet(listener) is None
    listener.close()
    assert path.exists()
    listener.close(unlink=True)
    assert not path.exists()
    listener.close(unlink=True)


def test_a_socket_that_was_left_behind_is_replaced(listening: Callable[..., Listener], tmp_path: Path):
    path = tmp_path / "s"
    listening(f"unix:{path}").close()
    assert path.exists()
    assert greet(listening(f"unix:{path}")) is None


def test_a_socket_that_somebody_listens_at_is_left_alone(listening: Callable[..., Listener], tmp_path: Path):
    path = tmp_path / "s"
    first = listening(f"unix:{path}")
    assert "another process listens there" in refusal(f"unix:{path}")
    looked, _ = wait_until(first.accept, "the look whether somebody answers")
    looked.close()
    assert greet(first) is None


def test_a_socket_whose_queue_is_full_is_left_alone(listening: Callable[..., Listener], tmp_path: Path):
    path = tmp_path / "s"
    listening(f"unix:{path}", backlog=0)
    waiting = []
    try:
        for _ in range(8):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            if client.connect_ex(str(path)):
                break
        assert "another process listens there" in refusal(f"unix:{path}")
    finally:
        for client in waiting:
            client.close()


def test_a_file_in_the_way_is_not_touched(tmp_path: Path):
    path = tmp_path / "s"
    path.write_text("precious")
    assert "no socket" in refusal(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_path_that_is_somebody_elses_by_now_is_not_removed(listening: Callable[..., Listener], tmp_path: Path):
    path = tmp_path / "s"
    first = listening(f"unix:{path}")
    path.rename(tmp_path / "old")
    second = listening(f"unix:{path}")
    first.close(unlink=True)
    assert greet(second) is None


@pytest.mark.parametrize("path", ["/no/such/folder/s", "/" + "x" * 200])
def test_a_path_that_cannot_be_is_an_error_of_the_configuration(path: str):
    assert f"unix:{path}" in refusal(f"unix:{path}")


# Descriptors.


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_listening_descriptor_is_adopted(listening: Callable[..., Listener], tmp_path: Path, family: str):
    outer = listening("127.0.0.1:0" if family == "tcp" else f"unix:{tmp_path}/s")
    listener = listening(f"fd://{os.dup(outer.fd)}")
    assert listener.name == outer.name
    assert str(listener) == str(outer)
    greet(listener)
    listener.close(unlink=True)
    assert family == "tcp" or (tmp_path / "s").exists()


def test_a_descriptor_that_does_not_listen_is_refused_and_left_open(tmp_path: Path):
    with socket.socket() as idle, (tmp_path / "f").open("wb") as file:
        assert "no listening socket" in refusal(f"fd://{idle.fileno()}")
        gc.collect()
        idle.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        assert f"fd://{file.fileno()}" in refusal(f"fd://{file.fileno()}")
        os.fstat(file.fileno())


@pytest.mark.parametrize("number", ["987", "99999999999999999999"])
def test_a_descriptor_that_is_not_open_is_refused(number: str):
    assert f"fd://{number}" in refusal(f"fd://{number}")
