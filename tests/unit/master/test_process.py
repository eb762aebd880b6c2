"""Identity, title, ownership, threads and daemon: in real processes, as root where root is needed."""

import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenhorn.errors import ConfigError
from greenhorn.master.process import Identity, check_identity, other_threads, own
from unit.net.waiting import DEADLINE

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
NOBODY = pwd.getpwnam("nobody")
NOBODY_ID = f"Identity({NOBODY.pw_uid}, {NOBODY.pw_gid}, False)"
NAMELESS = next(uid for uid in range(54321, 60000) if uid not in {entry.pw_uid for entry in pwd.getpwall()})

PRELUDE = "import json, os, sys\nfrom greenhorn.master.process import *\n"


def run(code: str, *, check: bool = True, **more: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", PRELUDE + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, **more)
    assert not check or not done.returncode, done
    return done


def told(code: str) -> object:
    """What a process of its own prints as JSON."""
    return json.loads(run(code).stdout)


WHO = "print(json.dumps([os.getresuid(), os.getresgid(), sorted(os.getgroups())]))"


@AS_ROOT
@ON_LINUX
@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (
            f"Identity({NOBODY.pw_uid}, {NOBODY.pw_gid}, False)",
            [[NOBODY.pw_uid] * 3, [NOBODY.pw_gid] * 3, [NOBODY.pw_gid]],
        ),
        (f"Identity({NOBODY.pw_uid}, None, False)", [[NOBODY.pw_uid] * 3, [0] * 3, [0]]),
        (f"Identity(None, {NOBODY.pw_gid}, False)", [[0] * 3, [NOBODY.pw_gid] * 3, [NOBODY.pw_gid]]),
        (f"Identity({NAMELESS}, {NAMELESS}, False)", [[NAMELESS] * 3, [NAMELESS] * 3, [NAMELESS]]),
        ("Identity(None, None, False)", [[0] * 3, [0] * 3, [1, 2, 3]]),
        ("Identity(0, 0, False)", [[0] * 3, [0] * 3, [1, 2, 3]]),
    ],
)
def test_a_process_becomes_whom_it_is_told_and_leaves_other_groups(identity: str, expected: list[list[int]]):
    code = f"os.setgroups([1, 2, 3])\nidentity = {identity}\ncheck_identity(identity)\nbecome(identity)\n{WHO}"
    assert told(code) == expected


@AS_ROOT
@ON_LINUX
def test_with_initgroups_it_has_all_groups_of_the_user():
    user = next((entry for entry in pwd.getpwall() if len(os.getgrouplist(entry.pw_name, entry.pw_gid)) > 1), NOBODY)
    groups = sorted(os.getgrouplist(user.pw_name, user.pw_gid))
    identity = f"Identity({user.pw_uid}, {user.pw_gid}, True)"
    code = f"os.setgroups([1, 2, 3])\nidentity = {identity}\ncheck_identity(identity)\nbecome(identity)\n{WHO}"
    assert told(code) == [[user.pw_uid] * 3, [user.pw_gid] * 3, groups]


@AS_ROOT
def test_becoming_what_it_is_already_is_no_deed():
    assert run(f"os.setgroups([])\nbecome({NOBODY_ID})\nbecome({NOBODY_ID})\ncheck_identity({NOBODY_ID})").stderr == ""


@AS_ROOT
def test_there_is_no_way_back():
    code = f"""
become({NOBODY_ID})
for way in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try:
        way(0)
    except PermissionError:
        continue
    sys.exit(way.__name__)
"""
    assert run(code).returncode == 0


@AS_ROOT
@ON_LINUX
def test_a_way_back_is_no_success():
    """A process that keeps its capabilities over the change of user can undo it."""
    code = f"""
import ctypes
PR_SET_SECUREBITS, NO_SETUID_FIXUP = 28, 1 << 2
assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0) == 0
try:
    become({NOBODY_ID})
except PermissionError as error:
    print(error)
"""
    assert "would not be for good" in run(code).stdout


@AS_ROOT
@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (
            "Identity(0, 0, False)",
            r"user and group: this process \(user 65534, group 65534\) cannot become user 0 and group 0",
        ),
        (
            "Identity(0, None, False)",
            r"^user: this process .* cannot become user 0: only root can; start as root, or as that user",
        ),
        ("Identity(None, 0, False)", r"^group: this process .* cannot become group 0: only root can"),
    ],
)
def test_another_user_than_root_cannot_become_anybody(identity: str, expected: str):
    code = f"""
from greenhorn.errors import ConfigError
become({NOBODY_ID})
try:
    check_identity({identity})
except ConfigError as error:
    print(error)
try:
    become({identity})
except PermissionError:
    print("refused")
"""
    complaint, refused = run(code).stdout.splitlines()
    assert re.search(expected.replace("65534", str(NOBODY.pw_uid)), complaint), complaint
    assert refused == "refused"


def test_a_user_without_a_name_has_no_groups_to_take():
    with pytest.raises(ConfigError, match=f"initgroups: user id {NAMELESS} has no name on this system"):
        check_identity(Identity(NAMELESS, None, initgroups=True))


def test_whoever_stays_what_he_is_needs_no_right():
    check_identity(Identity(os.getuid(), os.getgid(), initgroups=False))
    check_identity(Identity(None, None, initgroups=False))


@ON_LINUX
def test_the_title_tells_role_and_name_if_there_is_setproctitle(tmp_path: Path):
    """A module of that name that does as the real one: no test depends on a package that may be missing."""
    (tmp_path / "setproctitle.py").write_text("def setproctitle(title): print(title)", "ascii")
    code = f"sys.path.insert(0, {str(tmp_path)!r})\nset_title('master', 'shop:app')"
    assert run(code).stdout == "greenhorn: master [shop:app]\n"
    assert run(f"sys.platform = 'darwin'\n{code}").stdout == ""


def test_without_setproctitle_there_is_no_title():
    assert run("sys.modules['setproctitle'] = None\nset_title('master', 'shop:app')\nprint('on')").stdout == "on\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@AS_ROOT
def test_files_and_sockets_are_given_to_the_workers_and_nothing_else(tmp_path: Path):
    log, path, precious, link = tmp_path / "log", tmp_path / "socket", tmp_path / "precious", tmp_path / "link"
    log.touch()
    precious.touch()
    link.symlink_to(precious)
    code = f"import socket\nsocket.socket(socket.AF_UNIX).bind({str(path)!r})"
    run(code)
    folder = tmp_path / "folder"
    folder.mkdir()
    everything = [str(one) for one in (log, path, link, folder, tmp_path / "missing", Path(os.devnull))]
    own(everything, Identity(NOBODY.pw_uid, NOBODY.pw_gid, initgroups=False))
    for mine in (log, path):
        assert (mine.stat().st_uid, mine.stat().st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    for left in (precious, folder, Path(os.devnull)):
        assert (left.stat().st_uid, left.stat().st_gid) == (0, 0)
    assert link.lstat().st_uid == 0


@AS_ROOT
def test_only_what_is_named_of_user_and_group_changes(tmp_path: Path):
    log = tmp_path / "log"
    log.touch()
    own([str(log)], Identity(None, None, initgroups=False))
    assert (log.stat().st_uid, log.stat().st_gid) == (0, 0)
    own([str(log)], Identity(None, NOBODY.pw_gid, initgroups=False))
    assert (log.stat().st_uid, log.stat().st_gid) == (0, NOBODY.pw_gid)


@AS_ROOT
def test_a_file_that_cannot_be_given_away_is_told(open_folder: Path):
    log = open_folder / "log"
    log.touch()
    code = f"""
from greenhorn.errors import ConfigError
become({NOBODY_ID})
try:
    own([{str(log)!r}], {NOBODY_ID})
except ConfigError as error:
    print(error)
"""
    said = run(code).stdout
    assert f"{log} cannot be given to user {NOBODY.pw_uid}, group {NOBODY.pw_gid}: Operation not permitted" in said


def test_one_thread_has_no_others():
    assert told("print(json.dumps(other_threads()))") == []


def test_other_threads_are_named():
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="the other")
    thread.start()
    try:
        assert "the other" in other_threads()
        assert threading.current_thread().name not in other_threads()
    finally:
        gate.set()
        thread.join()


@ON_LINUX
def test_threads_of_c_libraries_are_named_too():
    code = """
import ctypes
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
libc.pthread_setname_np(thread, b"from C")
print(json.dumps(other_threads()), flush=True)
os._exit(0)
"""
    assert told(code) == ["from C"]
