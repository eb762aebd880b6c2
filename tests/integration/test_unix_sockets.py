"""Unix sockets: their paths and permissions through reloads and the end, and what an application sees of them."""

import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

from integration.launching import ask_at
from integration.reloading import FRESH, hang_up
from integration.running import StartServer, wait_until
from integration.wire import is_readable

SOURCE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST")
    return ["|".join(environ.get(name, "none") for name in names).encode()]
"""
ASK = b"GET / HTTP/1.1\r\nHost: shop.test:81\r\nConnection: close\r\n\r\n"


def mode(path: Path) -> int:
    """Return the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), 0o777), (("--umask", "0117"), 0o660), (("-m", "0o77"), 0o700)]
)
def test_permissions_are_what_umask_leaves_and_only_those_of_the_socket(
    server: StartServer, tmp_path: Path, arguments: tuple[str, ...], expected: int
):
    path = tmp_path / "a.socket"
    source = "import os\nmask = os.umask(0)\nos.umask(mask)\ndef application(environ, start_response):\n"
    source += "    start_response('200 OK', [])\n    return [b'mask %o' % mask]\n"
    mask = os.umask(0)
    os.umask(mask)
    server(None, *arguments, app_source=source, bind=f"unix:{path}")
    assert mode(path) == expected
    assert ask_at(path).endswith(b"mask %o" % mask)


def test_what_an_application_and_the_access_log_see_of_it(server: StartServer, tmp_path: Path):
    path = tmp_path / "a.socket"
    site = server(None, "--access-logfile", "-", app_source=SOURCE, bind=f"unix:{path}")
    assert ask_at(path, ASK).endswith(b"\r\n\r\nshop.test|81||none|shop.test:81")
    assert ask_at(path, b"GET / HTTP/1.0\r\n\r\n").endswith(f"\r\n\r\n{path}|||none|none".encode())
    wait_until(lambda: re.search(r'^- - - \[.*\] "GET / HTTP/1.1" 200', site.stdout(), re.MULTILINE), what="the line")


def test_a_reload_keeps_the_socket_and_another_path_replaces_it(server: StartServer, tmp_path: Path):
    first, second = tmp_path / "first.socket", tmp_path / "second.socket"
    site = server(app_source=SOURCE, config=f"bind = 'unix:{first}'\numask = 0o077", bind=(), env=FRESH)
    inode = first.stat().st_ino
    hang_up(site)
    assert first.stat().st_ino == inode
    (site.folder / "config.py").write_text(f"bind = ['unix:{first}', 'unix:{second}']\numask = 0o007")
    hang_up(site)
    assert first.stat().st_ino == inode
    assert (mode(first), mode(second)) == (0o700, 0o770)
    (site.folder / "config.py").write_text(f"bind = 'unix:{second}'")
    hang_up(site)
    wait_until(lambda: not first.exists(), what="the end of the first path")
    assert b" 200 OK" in ask_at(second, ASK)
    (site.folder / "config.py").write_text(f"bind = 'unix:{tmp_path}/no/such/folder/socket'")
    site.signal(signal.SIGHUP)
    site.wait_for_log("The reload is given up.*cannot listen at unix:.*No such file")
    assert b" 200 OK" in ask_at(second, ASK)
    assert site.stop() == 0
    assert not second.exists()


def test_clients_that_wait_in_the_queue_of_a_path_that_is_given_up_are_served(server: StartServer, tmp_path: Path):
    first, second = tmp_path / "first.socket", tmp_path / "second.socket"
    site = server(app_source=SOURCE, config=f"bind = 'unix:{first}'", bind=(), env=FRESH)
    worker = site.worker_pid()
    site.pause(worker)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    try:
        for client in clients:
            client.settimeout(15)
            client.connect(str(first))
            client.sendall(ASK)
        (site.folder / "config.py").write_text(f"bind = 'unix:{second}'")
        site.signal(signal.SIGHUP)
        site.wait_for_log(rf"Worker \(pid:{worker}\) is exchanged")
        assert not is_readable(clients[0], 0)
        os.kill(worker, signal.SIGCONT)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
    finally:
        for client in clients:
            client.close()


WRONG = {
    "a path that is too long": ("unix:/tmp/" + "x" * 120, "too long"),
    "a folder that is not there": ("unix:/no/such/folder/socket", "No such file or directory"),
    "no path": ("unix:", "names no path"),
}


@pytest.mark.parametrize(("bind", "message"), WRONG.values(), ids=WRONG)
def test_a_path_that_cannot_be_ends_the_start_with_a_message(server: StartServer, bind: str, message: str):
    site = server(app_source=SOURCE, bind=bind, ready=False)
    assert site.wait() == 1
    assert message in site.log()
    assert site.log().count("error") == 1


def test_a_relative_path_is_there_where_the_server_works(server: StartServer, tmp_path: Path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "found.py").write_text(SOURCE)
    site = server("found:application", "--chdir", str(folder), bind="unix:a.socket")
    assert b" 200 OK" in ask_at(folder / "a.socket", ASK)
    hang_up(site)
    assert b" 200 OK" in ask_at(folder / "a.socket", ASK)
    assert site.stop() == 0
    assert not (folder / "a.socket").exists()


def test_a_symbolic_link_to_a_socket_is_served_and_left_in_place(server: StartServer, tmp_path: Path):
    path, link = tmp_path / "a.socket", tmp_path / "link"
    link.symlink_to(path)
    server(app_source=SOURCE, bind=f"unix:{path}")
    assert b" 200 OK" in ask_at(link, ASK)
