"""HUP: what is read anew, what serves on while it is tried, and how everything is as before when it fails."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config import Configuration
from greenhorn.errors import ConfigError
from greenhorn.master.arbiter import Arbiter
from greenhorn.master.generation import Generation
from unit.master.mastering import configuration
from unit.master.staff import Kernel, Seat, failing


class Master:
    """A master that serves, and the readings of its configuration."""

    def __init__(self, arbiter: Callable[..., Arbiter], folder: Path, kernel: Kernel, **settings: Any) -> None:
        self.folder = folder
        self.kernel = kernel
        self.next: Callable[[], Configuration] = lambda: configuration(folder, **settings)
        self.server = server = arbiter(self._read, **settings)
        server._start()
        server.fleet.turn()
        self.ready()
        self.first = server.generation

    def _read(self) -> Configuration:
        return self.next()

    def read(self, *warnings: str, **settings: Any) -> None:
        """Let the next reading say this, and reload."""
        self.next = lambda: configuration(self.folder, *warnings, **settings)
        self.server._obey("HUP")

    def ready(self) -> None:
        """Let all workers be ready, and the fleet take its turn."""
        for child in list(self.server.fleet.children.values()):
            if not child.ready and not child.told:
                child.worker.end.send(b"ready\n")
                self.server.fleet.heard(child)
        self.server.fleet.turn()

    def fail(self) -> None:
        """Let the worker that is tried fail to boot."""
        [child] = [each for each in self.tried() if not each.ready]
        child.worker.end.send(b"failed " + json.dumps("by the test").encode() + b"\n")
        self.kernel.ends.append((child.pid, 3 << 8))
        self.server._reap()

    def tried(self) -> list[Any]:
        """The workers of the generation that is tried."""
        fleet = self.server.fleet
        return [child for child in fleet.children.values() if child.generation is fleet.candidate]

    def log(self) -> str:
        """What was logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def is_as_before(self) -> bool:
        """Whether nothing but the first generation is there, and serves."""
        server, fleet = self.server, self.server.fleet
        serving = [child.generation for child in fleet.children.values() if not child.told]
        sockets = list(self.first.listeners)
        return (
            server.generation is fleet.current is self.first
            and fleet.candidate is None
            and server.cfg is self.first.settings
            and serving == [self.first] * server.num_workers
            and server._reload.sockets == sockets
            and all(listener.socket.fileno() >= 0 for listener in self.first.listeners)
        )


@pytest.fixture
def master(
    arbiter: Callable[..., Arbiter], kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Master]:
    """Begin masters; the arguments are settings."""
    monkeypatch.setattr("greenhorn.master.generation.find_worker_class", lambda _name: Seat)
    return lambda **settings: Master(arbiter, tmp_path, kernel, **settings)


# What goes well.


def test_the_new_reading_counts_at_once_for_the_master_and_then_for_all_workers(
    master: Callable[..., Master], tmp_path: Path
):
    one = master(workers=2, bind=(f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"), timeout=17)
    kept = one.first.listeners[0]
    one.read("a warning", workers=2, bind=(f"unix:{tmp_path}/a", f"unix:{tmp_path}/c"), timeout=18)
    server = one.server
    assert server.timeout == 18
    assert server.fleet.current is one.first
    assert [(tmp_path / name).exists() for name in "abc"] == [True, True, True]
    assert len(one.tried()) == 1
    one.ready()
    one.ready()
    assert server.fleet.current is server.generation is not one.first
    assert server.LISTENERS[0] is kept
    assert [(tmp_path / name).exists() for name in "abc"] == [True, False, True]
    assert set(server._reload.sockets) == set(server.LISTENERS)
    assert one.first.listeners[1].socket.fileno() == -1
    assert "[WARNING] a warning" in one.log()


def test_workers_are_counted_anew_only_if_the_settings_say_something_else(master: Callable[..., Master]):
    one = master(workers=2)
    one.server._obey("TTIN")
    one.server.fleet.turn()
    one.ready()
    one.read(workers=2)
    assert one.server.num_workers == 3
    one.ready()
    one.read(workers=5)
    assert one.server.num_workers == 5


def test_the_application_finds_the_new_environment_and_directory(master: Callable[..., Master], tmp_path: Path):
    target = tmp_path / "target"
    target.mkdir()
    one = master(raw_env=("SHOP_OLD=1",))
    one.read(raw_env=("SHOP_NEW=2",), chdir=str(target))
    assert (os.environ.get("SHOP_OLD"), os.environ.get("SHOP_NEW")) == (None, "2")
    assert Path.cwd() == target
    assert sys.path[0] == str(target)


def test_the_reading_happens_in_the_directory_and_environment_of_the_start(
    master: Callable[..., Master], start_directory: Path
):
    seen: list[object] = []
    one = master(raw_env=("SHOP_OLD=1",))

    def read() -> Configuration:
        seen.append((Path.cwd(), os.environ.get("SHOP_OLD")))
        return configuration(one.folder)

    one.next = read
    one.server._obey("HUP")
    assert seen == [(start_directory, None)]


def test_logs_are_those_of_the_new_reading_and_the_old_ones_are_closed(master: Callable[..., Master], tmp_path: Path):
    one = master(accesslog=str(tmp_path / "access.log"))
    old = one.first.access
    assert old is not None
    one.read(accesslog=str(tmp_path / "other-access.log"), errorlog=str(tmp_path / "other.log"))
    one.server.log.info("said after it")
    os.fstat(old._fd)
    one.ready()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(old._fd)
    one.first.access = None
    assert "said after it" in (tmp_path / "other.log").read_text()


def test_on_reload_is_called_with_the_new_settings(master: Callable[..., Master]):
    seen: list[object] = []
    one = master(timeout=17)
    one.read(timeout=18, on_reload=lambda server: seen.append((server, server.cfg.timeout)))
    assert seen == [(one.server, 18)]


# What fails.


@pytest.mark.parametrize(
    "settings",
    [
        {"wsgi_app": None},
        {"bind": ("unix:/no/such/folder/s",)},
        {"accesslog": "/no/such/folder/log"},
        {"errorlog": "/no/such/folder/log"},
        {"chdir": "/no/such/folder"},
        {"preload_app": True, "wsgi_app": "no_such_module:app"},
        {"on_reload": failing},
        {"nworkers_changed": failing},
        {"pre_fork": failing},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_reading_that_cannot_be_followed_changes_nothing(
    master: Callable[..., Master], tmp_path: Path, settings: dict[str, Any]
):
    given = {"workers": 2, "bind": (f"unix:{tmp_path}/a",), "raw_env": ("SHOP_OLD=1",)}
    one = master(**given)
    changed = {"workers": 3, "bind": (f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"), "raw_env": ("SHOP_NEW=1",)}
    one.read(**{**changed, **settings})
    one.server.fleet.turn()
    assert one.is_as_before()
    assert one.server.num_workers == 2
    assert Path.cwd() == one.folder
    assert (os.environ.get("SHOP_OLD"), os.environ.get("SHOP_NEW")) == ("1", None)
    assert not (tmp_path / "b").exists()
    assert one.log().count("The reload is given up, and the old workers go on") == 1
    one.read(**given)
    one.ready()
    assert one.server.fleet.current is not one.first


@pytest.mark.parametrize("error", [ConfigError("a bad file"), ValueError("a bad day")], ids=["known", "unknown"])
def test_a_file_that_cannot_be_read_changes_nothing(master: Callable[..., Master], error: Exception):
    one = master(raw_env=("SHOP_OLD=1",))

    def read() -> Configuration:
        raise error

    one.next = read
    one.server._obey("HUP")
    assert one.is_as_before()
    assert os.environ["SHOP_OLD"] == "1"
    assert str(error) in one.log()
    assert ("Traceback" in one.log()) is isinstance(error, ValueError)


def test_workers_that_cannot_boot_change_nothing(master: Callable[..., Master], tmp_path: Path):
    one = master(workers=2, bind=(f"unix:{tmp_path}/a",), accesslog=str(tmp_path / "access.log"))
    one.read(workers=4, bind=(f"unix:{tmp_path}/b",), raw_env=("SHOP_NEW=1",), accesslog=str(tmp_path / "b.log"))
    assert (tmp_path / "b").exists()
    tried = one.server.generation
    one.fail()
    one.server.fleet.turn()
    assert one.is_as_before()
    assert one.server.num_workers == 2
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "a").exists()
    assert "SHOP_NEW" not in os.environ
    assert tried.access is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tried.access._fd)
    assert one.log().count("cannot boot: by the test") == 1


def test_what_ttin_did_meanwhile_stays_when_a_generation_is_given_up(master: Callable[..., Master]):
    one = master(workers=2)
    one.read(workers=4)
    one.server._obey("TTIN")
    one.fail()
    assert one.server.num_workers == 3  # of the two before, and what TTIN added


def log_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("new-*")}


@pytest.mark.parametrize(
    "wrong", [{"bind": ("unix:/no/such/folder/s",)}, {"on_reload": failing}, {"errorlog": "/no/such/e"}]
)
def test_a_reload_that_is_given_up_leaves_no_empty_log_files_behind(
    master: Callable[..., Master], tmp_path: Path, wrong: dict[str, Any]
):
    one = master(bind=(f"unix:{tmp_path}/a",))
    (tmp_path / "new-kept.log").touch()
    new = {"accesslog": str(tmp_path / "new-access.log"), "errorlog": str(tmp_path / "new-error.log")}
    one.read(**new | wrong)
    assert one.is_as_before()
    assert log_files(tmp_path) == {"new-kept.log"}
    one.read(**new | wrong | {"accesslog": str(tmp_path / "new-kept.log")})
    assert log_files(tmp_path) == {"new-kept.log"}


def test_workers_that_cannot_boot_leave_only_log_files_that_say_something(
    master: Callable[..., Master], tmp_path: Path
):
    one = master()
    one.read(accesslog=str(tmp_path / "new-access.log"), errorlog=str(tmp_path / "new-error.log"), loglevel="info")
    one.server.log.info("said meanwhile")
    assert log_files(tmp_path) == {"new-access.log", "new-error.log"}
    one.fail()
    assert one.is_as_before()
    assert log_files(tmp_path) == {"new-error.log"}
    assert "said meanwhile" in (tmp_path / "new-error.log").read_text()


def test_log_files_of_what_was_superseded_go_and_those_of_what_serves_stay(
    master: Callable[..., Master], tmp_path: Path
):
    one = master()
    one.read(accesslog=str(tmp_path / "new-a.log"))
    one.read(accesslog=str(tmp_path / "new-b.log"))
    one.ready()
    assert log_files(tmp_path) == {"new-b.log"}
    one.read(accesslog=str(tmp_path / "new-b.log"), on_reload=failing)
    assert log_files(tmp_path) == {"new-b.log"}


def test_a_log_file_that_what_serves_needs_stays_although_a_reload_has_made_it(
    master: Callable[..., Master], tmp_path: Path
):
    one = master(accesslog=str(tmp_path / "new-a.log"))
    (tmp_path / "new-a.log").unlink()  # as if it had been renamed
    one.read(accesslog=str(tmp_path / "new-a.log"), on_reload=failing)
    assert one.is_as_before()
    assert log_files(tmp_path) == {"new-a.log"}


def test_a_start_directory_that_is_gone_changes_nothing(master: Callable[..., Master], start_directory: Path):
    one = master()
    start_directory.rmdir()
    one.read()
    assert one.is_as_before()
    assert "start directory" in one.log()
    assert Path.cwd() == one.folder


# One after another.


def test_a_hup_during_a_reload_begins_again(master: Callable[..., Master], tmp_path: Path):
    one = master(bind=(f"unix:{tmp_path}/a",))
    one.read(bind=(f"unix:{tmp_path}/b",), timeout=18)
    [second] = one.tried()
    one.read(bind=(f"unix:{tmp_path}/c",), timeout=19)
    assert second.told
    assert one.server.timeout == 19
    assert len(one.tried()) == 1
    one.ready()
    assert [(tmp_path / name).exists() for name in "abc"] == [False, False, True]
    assert one.server.fleet.current is one.server.generation


def test_a_bad_hup_during_a_reload_goes_back_to_what_serves(master: Callable[..., Master], tmp_path: Path):
    one = master(bind=(f"unix:{tmp_path}/a",), workers=2)
    one.read(bind=(f"unix:{tmp_path}/b",), workers=3)
    one.read(bind=("unix:/no/such/folder/s",), workers=4)
    assert one.is_as_before()
    assert one.server.num_workers == 2
    assert [(tmp_path / name).exists() for name in "ab"] == [True, False]


def test_the_socket_of_a_generation_that_was_superseded_is_used_again(master: Callable[..., Master], tmp_path: Path):
    one = master(bind=(f"unix:{tmp_path}/a",))
    one.read(bind=(f"unix:{tmp_path}/b",))
    new = one.server.LISTENERS[0]
    one.read(bind=(f"unix:{tmp_path}/b",))
    [again] = one.server.LISTENERS
    assert again is new
    one.ready()
    assert new.socket.fileno() >= 0
    assert (tmp_path / "b").exists()


def test_the_log_of_a_generation_that_was_superseded_is_closed(master: Callable[..., Master], tmp_path: Path):
    one = master(accesslog=str(tmp_path / "a.log"))
    one.read(accesslog=str(tmp_path / "b.log"))
    superseded = one.server.generation.access
    assert superseded is not None
    one.read(accesslog=str(tmp_path / "c.log"))
    one.ready()
    with contextlib.suppress(OSError):  # the number may be another file's by now
        assert os.fstat(superseded._fd).st_ino != (tmp_path / "b.log").stat().st_ino
    one.first.access = None


def test_withdrawn_workers_come_back_as_many_as_they_were(master: Callable[..., Master]):
    one = master(workers=2, daemon=True)
    one.server._obey("TTIN")
    one.server._obey("WINCH")
    assert one.server.num_workers == 0
    one.read(workers=2, daemon=True)
    assert one.server.num_workers == 3


# Files that have changed.


def change(one: Master, child: Any, path: str) -> None:
    child.worker.end.send(b"changed " + json.dumps(path).encode() + b"\n")
    one.server.fleet.heard(child)
    one.server._reload.begin_with_changed_files()


def test_a_file_that_has_changed_lets_the_application_be_loaded_again(master: Callable[..., Master]):
    one = master(workers=2)
    first = next(iter(one.server.fleet.children.values()))
    change(one, first, "/srv/shop.py")
    assert "/srv/shop.py has changed" in one.log()
    [tried] = one.tried()
    assert isinstance(tried.generation, Generation)
    assert tried.generation.settings is one.first.settings
    assert tried.generation.listeners == one.first.listeners
    one.server._reload.begin_with_changed_files()
    assert one.tried() == [tried]
    one.ready()
    one.ready()
    assert one.log().count("has changed") == 1
    assert all(listener.socket.fileno() >= 0 for listener in one.server.LISTENERS)


def test_a_file_that_changed_before_the_generation_that_is_tried_counts_no_more(master: Callable[..., Master]):
    one = master(workers=2)
    first, second = one.server.fleet.children.values()
    change(one, first, "/srv/shop.py")
    [tried] = one.tried()
    change(one, second, "/srv/shop.py")
    assert one.tried() == [tried]
    change(one, tried, "/srv/other.py")
    assert tried.told
    assert len([each for each in one.tried() if not each.told]) == 1


def test_the_access_log_stays_open_when_files_have_changed(master: Callable[..., Master], tmp_path: Path):
    one = master(accesslog=str(tmp_path / "access.log"))
    first = next(iter(one.server.fleet.children.values()))
    change(one, first, "/srv/shop.py")
    one.ready()
    access = one.server.fleet.current.access
    assert access is not None
    os.fstat(access._fd)


def test_after_a_change_of_files_the_master_goes_by_what_serves(master: Callable[..., Master]):
    one = master()
    first = next(iter(one.server.fleet.children.values()))
    change(one, first, "/srv/shop.py")
    one.ready()
    assert one.server.generation is one.server.fleet.current


def test_the_number_of_workers_stays_when_files_change_after_a_reload(master: Callable[..., Master]):
    one = master(workers=2)
    one.read(workers=4)
    one.ready()
    one.ready()
    for end in (one.ready, one.fail):
        serving = [child for child in one.server.fleet.children.values() if child.serving]
        change(one, serving[-1], "/srv/shop.py")
        end()
        one.server.fleet.turn()
        if end == one.ready:
            one.ready()
    assert one.server.num_workers == 4


def test_a_change_whose_workers_cannot_boot_changes_nothing(master: Callable[..., Master]):
    one = master(workers=2)
    one.server._obey("TTIN")
    one.server.fleet.turn()
    one.ready()
    first = next(iter(one.server.fleet.children.values()))
    change(one, first, "/srv/shop.py")
    one.fail()
    assert one.is_as_before()
    assert one.server.num_workers == 3
