"""The pidfile: who may have it, what is stale, and what is left behind."""

import errno
import fcntl
import os
import pwd
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.master.pidfile import Pidfile, is_server
from unit.master.holding import DEAD, HOLD, Start, posing, waiting, without_locks
from unit.net.waiting import DEADLINE

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="nobody tells the commands of others")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and only its owner may write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_the_file_holds_the_pid_for_everybody_to_read_and_goes_at_the_end(path: Path):
    pidfile = Pidfile(str(path))
    mask = os.umask(0o077)
    try:
        assert pidfile.acquire() is None
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"%d\n" % os.getpid()
    assert path.stat().st_mode & 0o7777 == 0o644
    pidfile.release()
    assert not path.exists()
    pidfile.release()


def test_a_relative_path_stays_where_it_was_when_the_folder_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pidfile = Pidfile("sub/../x.pid")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pidfile.acquire()
    assert (tmp_path / "x.pid").exists()
    pidfile.release()
    assert not (tmp_path / "x.pid").exists()


def test_a_file_that_another_process_holds_is_refused_with_its_pid_and_command(
    path: Path, holder: Callable[[Path], subprocess.Popen[str]]
):
    other = holder(path)
    with pytest.raises(ConfigError, match=rf"x\.pid is held by process {other.pid} \(.*python.* -c .*kill {other.pid}"):
        Pidfile(str(path)).acquire()
    assert path.read_text("ascii") == f"{other.pid}\n"


def test_a_file_whose_holder_was_killed_is_taken_over(path: Path, holder: Callable[[Path], subprocess.Popen[str]]):
    other = holder(path)
    other.kill()
    other.wait()
    pidfile = Pidfile(str(path))
    assert pidfile.acquire() == f"replaced the stale pidfile {path}: process {other.pid} is gone"
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()


def test_a_file_that_its_holder_removed_is_no_hindrance(path: Path, holder: Callable[[Path], subprocess.Popen[str]]):
    other = holder(path)
    other.communicate()
    assert other.returncode == 0
    assert not path.exists()
    pidfile = Pidfile(str(path))
    assert pidfile.acquire() is None
    pidfile.release()


def test_the_pid_of_another_living_program_is_stale(path: Path, start: Start):
    other = posing(start, "nginx: master\tprocess")
    path.write_text(f"{other.pid}\n", "ascii")
    pidfile = Pidfile(str(path))
    stale = pidfile.acquire()
    assert stale == (
        f"replaced the stale pidfile {path}: process {other.pid} is another program (nginx: master?process)"
    )
    pidfile.release()


@pytest.mark.parametrize("pid", [os.getpid(), os.getppid()], ids=["its own", "its parent's"])
def test_the_number_of_this_process_or_its_parent_is_stale(path: Path, pid: int):
    path.write_text(f"{pid}\n", "ascii")
    pidfile = Pidfile(str(path))
    assert pidfile.acquire() == (
        f"replaced the stale pidfile {path}: process {pid} of now is not the one that wrote it"
    )
    pidfile.release()


@pytest.mark.parametrize("content", [f"{DEAD}\n", "0\n", f" {DEAD} ", f"{DEAD}\0\0"])
def test_a_pid_of_nobody_is_stale(path: Path, content: str):
    path.write_text(content, "ascii")
    pidfile = Pidfile(str(path))
    assert str(pidfile.acquire()).endswith("is gone")
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 8])
def test_an_empty_file_is_taken_without_a_word(path: Path, content: bytes):
    path.write_bytes(content)
    pidfile = Pidfile(str(path))
    assert pidfile.acquire() is None
    pidfile.release()


@pytest.mark.parametrize(
    "command",
    [
        ["gunicorn: master [shop]"],
        ["greenhorn: master [/srv/shop]"],
        ["/usr/bin/gunicorn3", "shop:app"],
        ["/usr/bin/python3.11", "-u", "/usr/bin/gunicorn", "shop:app"],
        ["python3", "-X", "dev", "-m", "gunicorn"],
        ["pypy3", "/usr/lib/python3/greenhorn/__main__.py"],
    ],
)
def test_a_server_is_known_by_its_command_line(command: list[str]):
    assert is_server(command)


@pytest.mark.parametrize(
    "command",
    [
        [],
        [""],
        ["vi", "gunicorn.conf.py"],
        ["sh", "-c", "gunicorn shop:app"],
        ["tini", "--", "greenhorn", "shop:app"],
        ["/opt/gunicorn/bin/python", "manage.py", "gunicorn"],
        ["python3", "-m", "pip", "install", "gunicorn"],
        ["python3", "-c", "pass", "gunicorn"],
        ["python3", "-m"],
        ["python3"],
        ["python3", "-W", "gunicorn", "shop.py"],
    ],
)
def test_whoever_only_speaks_of_a_server_is_none(command: list[str]):
    assert not is_server(command)


@NEEDS_PROC
@pytest.mark.parametrize("name", ["gunicorn", "greenhorn/__main__.py"])
def test_a_living_server_that_takes_no_lock_is_refused(path: Path, tmp_path: Path, start: Start, name: str):
    other = waiting(start, tmp_path / name)
    path.write_text(f"{other.pid}\n", "ascii")
    with pytest.raises(ConfigError, match=rf"held by process {other.pid} \(.*python"):
        Pidfile(str(path)).acquire()
    assert path.read_text("ascii") == f"{other.pid}\n"


@NEEDS_PROC
def test_a_server_that_began_after_the_file_was_written_did_not_write_it(path: Path, tmp_path: Path, start: Start):
    other = waiting(start, tmp_path / "gunicorn")
    path.write_text(f"{other.pid}\n", "ascii")
    before = time.time() - 60
    os.utime(path, (before, before))
    pidfile = Pidfile(str(path))
    assert f"process {other.pid} is another program" in str(pidfile.acquire())
    pidfile.release()


def test_without_locks_any_living_process_counts(path: Path, start: Start, monkeypatch: pytest.MonkeyPatch):
    other = posing(start, "nginx: master")
    path.write_text(f"{other.pid}\n", "ascii")
    without_locks(monkeypatch)
    with pytest.raises(ConfigError, match=f"held by process {other.pid}"):
        Pidfile(str(path)).acquire()


def test_without_locks_the_pid_of_a_dead_process_is_stale(path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_text(f"{DEAD}\n", "ascii")
    without_locks(monkeypatch)
    pidfile = Pidfile(str(path))
    assert str(pidfile.acquire()).endswith("is gone")
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()


def test_a_lock_that_fails_otherwise_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    without_locks(monkeypatch, errno.EIO)
    with pytest.raises(ConfigError, match="cannot be locked: Input/output error"):
        Pidfile(str(path)).acquire()


def test_of_many_that_start_at_once_one_gets_the_file(path: Path, start: Start):
    contenders = [start(sys.executable, "-c", HOLD, str(path)) for _ in range(6)]
    said = [process.stdout.readline() for process in contenders if process.stdout]
    assert len(said) == 6
    assert said.count("held\n") == 1
    assert all("is held by" in line for line in said if line != "held\n")
    winner = contenders[said.index("held\n")]
    assert path.read_text("ascii") == f"{winner.pid}\n"


def test_a_file_that_is_removed_between_opening_and_locking_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch):
    lock = fcntl.flock
    removals = iter([True, True])

    def remove_then_lock(fd: int, operation: int) -> None:
        if next(removals, False):
            path.unlink()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", remove_then_lock)
    pidfile = Pidfile(str(path))
    assert pidfile.acquire() is None
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()
    assert not path.exists()


def test_a_file_that_never_stays_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.unlink())
    with pytest.raises(ConfigError, match="is removed as fast as it is made"):
        Pidfile(str(path)).acquire()


def test_a_missing_folder_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"the folder .*/nowhere does not exist; create it"):
        Pidfile(str(tmp_path / "nowhere" / "x.pid")).acquire()


def test_a_folder_in_its_place_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"is a folder; name a file in it, such as .*/greenhorn\.pid"):
        Pidfile(str(tmp_path)).acquire()


def test_a_file_for_a_folder_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be opened: Not a directory"):
        Pidfile(str(tmp_path / "file" / "x.pid")).acquire()


def test_a_path_that_is_none_is_told():
    with pytest.raises(ConfigError, match="is no path"):
        Pidfile("x\0y").acquire()


def test_a_link_is_not_followed(tmp_path: Path, path: Path):
    precious = tmp_path / "precious"
    path.symlink_to(precious)
    with pytest.raises(ConfigError, match="is a symbolic link"):
        Pidfile(str(path)).acquire()
    assert not precious.exists()


@pytest.mark.parametrize("content", [b"import os\n", b"12 13\n", b"-1\n", b"9" * 70])
def test_a_file_with_something_else_is_kept(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is something else than a pidfile"):
        Pidfile(str(path)).acquire()
    assert path.read_bytes() == content


def test_a_named_pipe_is_no_pidfile(path: Path):
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is something else than a pidfile"):
        Pidfile(str(path)).acquire()


@AS_ROOT
@pytest.mark.parametrize(
    ("existing", "expected"),
    [(False, r"user nobody may not write in .*; allow it"), (True, r"belongs to user root, user nobody may not write")],
)
def test_a_want_of_permission_is_told(open_folder: Path, existing: bool, expected: str):
    path = open_folder / "x.pid"
    if existing:
        path.touch()
    code = f"import os, greenhorn.master.pidfile; os.setuid({pwd.getpwnam('nobody').pw_uid})\n{HOLD}"
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], input="", capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert re.search(expected, said.stdout), said


def test_a_full_disk_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        Pidfile(str(path)).acquire()
    assert not path.exists()
