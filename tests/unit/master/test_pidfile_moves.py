"""The pidfile after it was taken: renamed, rewritten, and left alone by children."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.master.pidfile import Pidfile
from unit.master.holding import DEAD, Start, ask


def test_a_renamed_file_stays_locked_and_goes_at_the_end(path: Path, start: Start):
    pidfile = Pidfile(f"{path}.2")
    pidfile.acquire()
    pidfile.rename(str(path))
    assert pidfile.path == str(path)
    assert not Path(f"{path}.2").exists()
    assert "is held by" in ask(start, path)
    pidfile.rename(str(path))
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()
    assert not path.exists()


def test_a_file_that_a_killed_master_left_gives_way_to_a_renamed_one(path: Path):
    path.write_text(f"{DEAD}\n", "ascii")
    pidfile = Pidfile(f"{path}.2")
    pidfile.acquire()
    pidfile.rename(str(path))
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()


def test_a_file_that_another_master_holds_is_not_replaced_by_renaming(
    path: Path, holder: Callable[[Path], subprocess.Popen[str]]
):
    other = holder(path)
    pidfile = Pidfile(f"{path}.2")
    pidfile.acquire()
    with pytest.raises(ConfigError, match=f"held by process {other.pid}"):
        pidfile.rename(str(path))
    assert path.read_text("ascii") == f"{other.pid}\n"
    assert pidfile.path == f"{path}.2"
    pidfile.release()
    assert not Path(f"{path}.2").exists()


def test_a_file_that_was_removed_is_written_at_its_new_place_by_renaming(path: Path, start: Start):
    pidfile = Pidfile(f"{path}.2")
    pidfile.acquire()
    Path(f"{path}.2").unlink()
    pidfile.rename(str(path))
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    assert "is held by" in ask(start, path)
    pidfile.release()
    assert not path.exists()


def test_renaming_into_a_missing_folder_changes_nothing(path: Path, tmp_path: Path):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    with pytest.raises(ConfigError, match="cannot become"):
        pidfile.rename(str(tmp_path / "nowhere" / "x.pid"))
    assert pidfile.path == str(path)
    pidfile.release()
    assert not path.exists()


def test_a_file_in_order_is_left_as_it_is_by_rewriting(path: Path):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    before = path.stat()
    pidfile.rewrite()
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    pidfile.release()


@pytest.mark.parametrize("replacement", [None, f"{DEAD}\n"])
def test_a_file_that_is_gone_or_another_one_is_written_and_locked_again(
    path: Path, start: Start, replacement: str | None
):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    path.unlink()
    if replacement is not None:
        path.write_text(replacement, "ascii")
    pidfile.rewrite()
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    assert "is held by" in ask(start, path)
    pidfile.release()
    assert not path.exists()


def test_a_changed_file_is_put_right(path: Path):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    path.write_text("1234567\n", "ascii")
    pidfile.rewrite()
    assert path.read_text("ascii") == f"{os.getpid()}\n"
    pidfile.release()


def test_rewriting_does_not_take_what_another_holds(path: Path, holder: Callable[[Path], subprocess.Popen[str]]):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    path.unlink()
    other = holder(path)
    with pytest.raises(ConfigError, match=f"held by process {other.pid}"):
        pidfile.rewrite()
    pidfile.release()
    assert path.read_text("ascii") == f"{other.pid}\n"


def test_a_child_that_forgets_leaves_file_and_lock_to_the_master(path: Path, start: Start):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    child = os.fork()
    if not child:
        pidfile.forget()
        pidfile.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert path.exists()
    assert "is held by" in ask(start, path)
    pidfile.release()


def test_a_child_that_forgot_to_forget_does_not_remove_the_file(path: Path):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    child = os.fork()
    if not child:
        pidfile.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert path.exists()
    pidfile.release()


def test_no_program_inherits_the_lock(path: Path, start: Start):
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    other = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, close_fds=False)
    pidfile.forget()
    try:
        assert ask(start, path) == "held\n"
    finally:
        other.communicate()
