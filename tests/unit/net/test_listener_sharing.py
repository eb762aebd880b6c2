"""Listening sockets that several have: passed on, reserved for workers, kept over a reload, and given away."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.net.listener import Address, Listener, Manner, adopt, listen, listen_all, parse_address
from unit.net.sockets import has_ipv6
from unit.net.waiting import wait_until


@pytest.fixture
def opened() -> Iterator[Callable[[Listener], Listener]]:
    """Note a listener that is closed at the end."""
    made: list[Listener] = []

    def note(listener: Listener) -> Listener:
        made.append(listener)
        return listener

    yield note
    for one in made:
        one.close(unlink=True)


Opened = Callable[[Listener], Listener]


def accepts(listener: Listener) -> bool:
    with socket.socket(listener.socket.family) as client:
        client.settimeout(5)
        client.connect(listener.socket.getsockname())
        sock, _ = wait_until(listener.accept, "the connection")
        sock.close()
    return True


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))]

# gunicorn's names.


def test_hooks_find_a_socket_by_gunicorns_names(opened: Opened, tmp_path: Path):
    tcp = opened(listen(Address("127.0.0.1", 0), Manner()))
    unix = opened(listen(Address(path=str(tmp_path / "s")), Manner()))
    assert (tcp.cfg_addr, unix.cfg_addr) == (("127.0.0.1", 0), str(tmp_path / "s"))
    for listener in (tcp, unix):
        assert listener.getsockname() == listener.sock.getsockname()
        assert listener.fileno() == listener.sock.fileno() == listener.fd


# Passed on.


@pytest.mark.parametrize("name", ["web", "-1", "x" * 255])
def test_a_name_that_nobody_passed_on_is_an_error_that_says_where_names_come_from(name: str):
    with pytest.raises(ConfigError, match="LISTEN_FDNAMES") as caught:
        listen(parse_address(f"fd://{name}"), Manner())
    assert f"fd://{name}" in str(caught.value)


def test_the_path_of_a_socket_that_was_lent_stays(opened: Opened, tmp_path: Path):
    outer = opened(listen(Address(path=str(tmp_path / "s")), Manner()))
    lent = adopt(os.dup(outer.fd), outer.address)
    assert lent.lent
    lent.close(unlink=True)
    assert accepts(outer)


def test_the_path_of_a_socket_that_was_inherited_is_removed_in_the_end(opened: Opened, tmp_path: Path):
    outer = opened(listen(Address(path=str(tmp_path / "s")), Manner()))
    inherited = adopt(os.dup(outer.fd), outer.address, lent=False)
    outer.close()
    assert accepts(inherited)
    inherited.close(unlink=True)
    assert not (tmp_path / "s").exists()


def test_an_inherited_socket_whose_path_is_gone_is_served_all_the_same(opened: Opened, tmp_path: Path):
    outer = opened(listen(Address(path=str(tmp_path / "s")), Manner()))
    (tmp_path / "s").unlink()
    inherited = opened(adopt(os.dup(outer.fd), outer.address, lent=False))
    assert inherited.name == outer.name


def test_adopted_sockets_do_not_block_whoever_opened_them(opened: Opened):
    outer = opened(listen(Address("127.0.0.1", 0), Manner()))
    outer.socket.setblocking(True)
    assert opened(adopt(os.dup(outer.fd), outer.address)).accept() is None


def test_a_socket_that_is_only_bound_is_taken_as_a_reserved_address_and_from_a_stranger_not_at_all(opened: Opened):
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    with bound:
        reserved = opened(adopt(os.dup(bound.fileno()), Address("127.0.0.1", 0), lent=False))
        assert reserved.reserved
        with pytest.raises(ConfigError, match="no listening socket"):
            adopt(bound.fileno(), Address("127.0.0.1", 0))
        bound.getsockname()


# reuse_port.


@pytest.mark.parametrize("host", HOSTS)
def test_each_worker_has_a_socket_of_its_own_at_a_reserved_address(opened: Opened, host: str):
    reserved = opened(listen(Address(host, 0), Manner(reuse_port=True)))
    assert reserved.reserved
    with socket.socket(reserved.socket.family) as client:
        assert client.connect_ex(reserved.socket.getsockname())  # nobody listens yet
    copies = [Listener(socket.socket(fileno=os.dup(reserved.fd)), reserved.address, reserved=True) for _ in range(3)]
    owned = [opened(copy.own(128)) for copy in copies]
    assert len({own.fd for own in owned}) == 3
    assert {own.name for own in owned} == {reserved.name}
    assert {own.address for own in owned} == {reserved.address}
    assert not any(own.reserved for own in owned)
    assert all(copy.socket.fileno() == -1 for copy in copies)
    assert all(own.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for own in owned)
    clients = [socket.create_connection(owned[0].socket.getsockname()[:2], 5) for _ in range(60)]
    counts = [0, 0, 0]
    for _ in clients:
        number, (sock, _peer) = wait_until(
            lambda: next(((i, found) for i, own in enumerate(owned) if (found := own.accept())), None), "a connection"
        )
        counts[number] += 1
        sock.close()
    for client in clients:
        client.close()
    assert all(counts), f"the kernel shares connections out: {counts}"


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("only_ipv6", [True, False])
def test_a_workers_own_socket_takes_the_same_addresses_as_the_reserved_one(opened: Opened, only_ipv6: bool):
    reserved = listen(Address("::", 0), Manner(reuse_port=True), only_ipv6=only_ipv6)
    own = opened(reserved.own(16))
    assert bool(own.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) is only_ipv6


def test_what_is_not_reserved_is_a_workers_own_as_it_is(opened: Opened, tmp_path: Path):
    for address in (Address("127.0.0.1", 0), Address(path=str(tmp_path / "s"))):
        listener = opened(listen(address, Manner(reuse_port=bool(address.path))))
        assert listener.own(16) is listener


# Over a reload.


def test_sockets_that_are_there_are_taken_as_they_are_and_only_new_ones_opened(opened: Opened, tmp_path: Path):
    kept = opened(listen(Address("127.0.0.1", 0), Manner()))
    path = Address(path=str(tmp_path / "s"))
    listeners = listen_all([path, kept.address], Manner(), [kept])
    opened(listeners[0])
    assert listeners[1] is kept
    assert listeners[0].address == path
    assert all(accepts(listener) for listener in listeners)


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_reserved_address_is_taken_as_it_is_while_it_is_meant_to_be_one(opened: Opened, reuse_port: bool):
    manner = Manner(reuse_port=reuse_port)
    kept = opened(listen(Address("127.0.0.1", 0), manner))
    assert listen_all([kept.address], manner, [kept]) == [kept]


def test_a_unix_socket_is_taken_as_it_is_also_with_reuse_port(opened: Opened, tmp_path: Path):
    kept = opened(listen(Address(path=str(tmp_path / "s")), Manner()))
    assert listen_all([kept.address], Manner(reuse_port=True), [kept]) == [kept]


def test_if_one_cannot_be_listened_at_those_that_were_there_stay_and_new_ones_go(opened: Opened, tmp_path: Path):
    kept = opened(listen(Address(path=str(tmp_path / "kept")), Manner()))
    wanted = [kept.address, Address(path=str(tmp_path / "new")), Address(path="/no/such/folder/s")]
    with pytest.raises(ConfigError, match="/no/such/folder/s"):
        listen_all(wanted, Manner(), [kept])
    assert accepts(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the queue's length is read from /proc")
def test_a_socket_that_is_there_gets_the_new_backlog(opened: Opened, tmp_path: Path):
    kept = opened(listen(Address(path=str(tmp_path / "s")), Manner(backlog=0)))
    clients = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            if client.connect_ex(str(tmp_path / "s")):
                break
            assert len(clients) < 100
        listen_all([kept.address], Manner(backlog=200), [kept])
        for _ in range(20):
            more = socket.socket(socket.AF_UNIX)
            clients.append(more)
            more.setblocking(False)
            assert more.connect_ex(str(tmp_path / "s")) == 0
    finally:
        for client in clients:
            client.close()


# Permissions of unix sockets.


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o777), (0o022, 0o755), (0o117, 0o660), (0o777, 0)])
def test_the_umask_says_what_is_taken_away_from_a_unix_socket(opened: Opened, tmp_path: Path, umask: int, mode: int):
    before = os.umask(0o027)
    try:
        opened(listen(Address(path=str(tmp_path / "s")), Manner(umask=umask)))
        assert os.umask(0o027) == 0o027  # it is the process's own again
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode


def test_a_umask_is_the_processs_own_again_also_when_the_socket_cannot_be(tmp_path: Path):
    before = os.umask(0o027)
    try:
        with pytest.raises(ConfigError):
            listen(Address(path=str(tmp_path / "missing" / "s")), Manner(umask=0o777))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives sockets away")
@pytest.mark.parametrize(("uid", "gid"), [(1234, 1235), (1234, -1), (-1, 1235), (-1, -1)])
def test_a_unix_socket_belongs_to_whom_it_is_given(opened: Opened, tmp_path: Path, uid: int, gid: int):
    opened(listen(Address(path=str(tmp_path / "s")), Manner(uid=uid, gid=gid)))
    found = (tmp_path / "s").stat()
    own = (os.geteuid(), tmp_path.stat().st_gid)
    assert found.st_uid == (own[0] if uid < 0 else uid)
    assert found.st_gid == (own[1] if gid < 0 else gid)


def test_a_unix_socket_that_cannot_be_given_away_leaves_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def chown(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(ConfigError, match="not permitted"):
        listen(Address(path=str(tmp_path / "s")), Manner(uid=1234))
    assert list(tmp_path.iterdir()) == []
