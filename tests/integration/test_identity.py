"""user, group, umask: the master stays who it is, and the workers become whom the settings name, for good."""

import grp
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.descriptors import descriptors
from integration.launching import ask_at
from integration.running import DEADLINE, READY, Server, StartServer, servers, wait_until
from integration.staging import GET
from integration.upgrading import upgraded

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
SOURCE = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    mask = os.umask(0)
    os.umask(mask)
    groups = ",".join(map(str, sorted(os.getgroups())))
    return [f"{os.getresuid()} {os.getresgid()} [{groups}] {mask:o}".encode()]
"""


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user may enter, with the application in it, which may not be so of pytest's folders."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with tempfile.TemporaryDirectory(prefix="greenhorn-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def start(public: Path) -> Iterator[Callable[..., Server]]:
    """Start servers there, whose workers are nobody."""

    def started(*arguments: str, **options: Any) -> Server:
        identity = () if options.pop("plain", False) else ("--user", "nobody", "--group", str(NOBODY.pw_gid))
        return begin(None, *identity, *arguments, app_source=SOURCE, **options)

    begin: StartServer
    with servers(public) as begin:
        yield started


def identity(uid: int, gid: int, groups: list[int], mask: str) -> str:
    """Return what the application tells of a process that is this and cannot be another one."""
    told = ",".join(map(str, sorted(groups)))
    return f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) [{told}] {mask}"


def owner(path: Path) -> tuple[int, int]:
    """Return the user and group that a path belongs to."""
    found = path.lstat()
    return found.st_uid, found.st_gid


def own_mask() -> str:
    """Return the file mode mask of this process, in octal digits."""
    mask = os.umask(0)
    os.umask(mask)
    return f"{mask:o}"


@NEEDS_ROOT
def test_workers_become_the_user_and_group_with_no_other_groups_and_the_master_does_not(start: Callable[..., Server]):
    site = start("--umask", "0117", workers=2)
    nobody = identity(NOBODY.pw_uid, NOBODY.pw_gid, [NOBODY.pw_gid], own_mask())
    assert site.request(GET).text == nobody
    assert Path(f"/proc/{site.pid}").stat().st_uid == 0
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in site.worker_pids()} == {NOBODY.pw_uid}
    os.kill(site.worker_pids()[0], signal.SIGKILL)
    wait_until(lambda: len(READY.findall(site.log())) == 3, what="the next worker")
    site.signal(signal.SIGHUP)
    site.wait_for_log("The new generation serves")
    assert {site.request(GET).text for _ in range(4)} == {nobody}
    with upgraded(site, 2):
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        assert site.request(GET).text == nobody


def member_of_several() -> tuple[pwd.struct_passwd, list[int]] | None:
    """Return a user of this system who has more groups than one, and the groups."""
    for group in grp.getgrall():
        for name in group.gr_mem:
            try:
                user = pwd.getpwnam(name)
            except KeyError:
                continue
            groups = os.getgrouplist(name, user.pw_gid)
            if user.pw_uid and len(set(groups)) > 1:
                return user, sorted(set(groups))
    return None


@NEEDS_ROOT
@pytest.mark.skipif(member_of_several() is None, reason="this system has no user that has several groups")
def test_initgroups_gives_the_workers_all_groups_of_the_user(start: Callable[..., Server]):
    found = member_of_several()
    assert found is not None
    user, groups = found
    arguments = ("--user", user.pw_name, "--group", str(user.pw_gid))
    site = start(*arguments, "--initgroups", plain=True)
    assert site.request(GET).text == identity(user.pw_uid, user.pw_gid, groups, own_mask())
    site = start(*arguments, plain=True)
    assert site.request(GET).text == identity(user.pw_uid, user.pw_gid, [user.pw_gid], own_mask())


@NEEDS_ROOT
def test_a_user_alone_keeps_the_group_of_the_start(start: Callable[..., Server]):
    site = start("--user", "nobody", plain=True)
    assert site.request(GET).text == identity(NOBODY.pw_uid, os.getgid(), [os.getgid()], own_mask())


@NEEDS_ROOT
def test_log_files_belong_to_the_user_who_opens_them_anew_on_usr1(start: Callable[..., Server], public: Path):
    error, access = public / "error.log", public / "access.log"
    site = start("--error-logfile", str(error), "--access-logfile", str(access), ready=False)
    wait_until(lambda: error.exists() and READY.search(error.read_text()), what="the worker")
    [url] = re.findall(r"Listening at: http://127.0.0.1:(\d+)", error.read_text())
    [pid] = site.worker_pids()
    for number in range(2):
        assert owner(error) == owner(access) == (NOBODY.pw_uid, NOBODY.pw_gid)
        for path in (error, access):
            path.rename(f"{path}.{number}")
        site.signal(signal.SIGUSR1)
        wait_until(lambda: error.exists() and access.exists(), what="new log files")
        for process in (site.pid, pid):  # a file that is still open takes room although it was removed
            wait_until(
                lambda process=process, number=number: f".log.{number}" not in " ".join(descriptors(process).values()),
                what=f"{process} without the old files",
            )
        with site_connection(int(url)) as client:
            client.sendall(b"GET /later%d HTTP/1.0\r\n\r\n" % number)
            client.recv(65536)
        wait_until(lambda number=number: f"/later{number}" in access.read_text(), what="the line in the new file")
        assert f"/later{number}" not in Path(f"{access}.{number}").read_text()
    assert site.stop() == 0
    assert "Shutting down" in error.read_text()
    assert f"[{pid}] [INFO] Worker exiting" in error.read_text()


def site_connection(port: int) -> socket.socket:
    """Return a connection to a server whose log is in a file of its own."""
    return socket.create_connection(("127.0.0.1", port), DEADLINE)


MODES = {"0": 0o777, "0117": 0o660, "7": 0o770}


@NEEDS_ROOT
@pytest.mark.parametrize("umask", MODES)
def test_a_unix_socket_belongs_to_the_user_with_the_mode_that_umask_leaves(
    start: Callable[..., Server], public: Path, umask: str
):
    path = public / "a.socket"
    site = start("--umask", umask, bind=f"unix:{path}")
    assert owner(path) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert stat.S_IMODE(path.stat().st_mode) == MODES[umask]
    assert identity(NOBODY.pw_uid, NOBODY.pw_gid, [NOBODY.pw_gid], own_mask()).encode() in ask_at(path)
    assert site.stop() == 0
    assert not path.exists()


@NEEDS_ROOT
def test_temporary_files_of_bodies_can_be_made_by_the_user(start: Callable[..., Server], public: Path):
    folder = public / "uploads"
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    site = start("--tmp-upload-dir", str(folder), "--body-buffer-size", "1024")
    body = b"x" * 1_000_000
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert site.request(head + body).status == 200
    assert not list(folder.iterdir())


@NEEDS_ROOT
def test_the_pidfile_is_the_masters_and_goes_with_it(start: Callable[..., Server], public: Path):
    pidfile = public / "pid"
    site = start("--pid", str(pidfile))
    assert owner(pidfile) == (0, os.getgid())
    assert stat.S_IMODE(pidfile.stat().st_mode) == 0o644
    assert pidfile.read_text() == f"{site.pid}\n"
    assert site.stop() == 0
    assert not pidfile.exists()


UNPRIVILEGED = """
import os, sys
import greenhorn.workers.gthread
from greenhorn.cli import main

os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))  # after the imports: the user may not be allowed to read this Python
sys.exit(main(sys.argv[3:]))
"""


@NEEDS_ROOT
def test_who_is_not_root_is_told_what_to_do(public: Path):
    (public / "written.py").write_text(SOURCE)
    nobody = [str(NOBODY.pw_uid), str(NOBODY.pw_gid)]
    arguments = ["--bind", "127.0.0.1:0", "--user", "root", "written"]
    result = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, *nobody, *arguments],
        cwd=public,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert result.returncode == 1, result.stderr
    assert "only root can; start as root" in result.stderr


WRONG = {
    "a user": (["--user", "zq81"], "no user 'zq81'"),
    "a group": (["--group", "zq81"], "no group 'zq81'"),
    "a mask": (["--umask", "zq81"], "0777"),
    "a mask that is too large": (["--umask", "1000"], "0777"),
    "initgroups of nobody known": (["--user", "54321", "--initgroups"], "has no name on this system"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_whom_the_system_does_not_know_ends_the_start(server: StartServer, arguments: list[str], message: str):
    site = server(None, *arguments, app_source=SOURCE, ready=False)
    assert site.wait() in (1, 2)
    assert message in site.log()
    assert "Booting worker" not in site.log()


def test_who_already_is_that_user_needs_no_right(server: StartServer):
    arguments = ("--user", str(os.getuid()), "--group", str(os.getgid()))
    site = server(None, *arguments, app_source=SOURCE)
    assert site.request(GET).text.startswith(f"({os.getuid()}, {os.getuid()}, {os.getuid()})")
