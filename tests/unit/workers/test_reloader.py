"""What the reloader tells of, with both engines, on real files."""

import importlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.observe.logger import Logger
from greenhorn.workers.reloader import Reloader, check_engine
from unit.net.waiting import wait_until

LONG_AGO = 1_000_000_000
HASTY = {"INTERVAL": 0.05, "EASE": 0}
ONLY_EVENTS = {"INTERVAL": 0.2, "LONGEST_INTERVAL": 3600.0}
"""With inotify, only an event, an import or another file to watch makes the thread look again once it has begun."""


class Watching:
    """A reloader on one folder, and what it told of it."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder = folder
        self.engine = engine
        self.told: list[str] = []
        self.log_file = folder.parent / f"{folder.name}.log"
        self.since = time.time()
        self.reloader: Reloader

    def start(self, *extra: str, tell: Callable[[str], None] | None = None) -> "Watching":
        """Watch, and return when what is there now is known and the kernel is asked."""
        log = Logger(Settings(errorlog=str(self.log_file), loglevel="info"))
        self.reloader = Reloader(
            tell or self.note,
            engine=self.engine,
            extra=[str(self.folder / path) for path in extra],
            since=self.since,
            log=log,
        )
        self.reloader.start()
        self.let_look()
        return self

    def note(self, path: str) -> None:
        """Keep what was told of the folder: others edit the sources of the tests, which are loaded modules."""
        if Path(path).is_relative_to(self.folder):
            self.told.append(path)

    def let_look(self) -> None:
        """Wait for the second look from now: the first may have begun before."""
        if self.engine == "inotify":
            wait_until(lambda: self.reloader.looks >= 2, "the kernel")
        else:
            enough = self.reloader.looks + 2
            wait_until(lambda: self.reloader.looks >= enough, "two looks")

    def let_watch(self, path: Path) -> None:
        """Wait until a file that was met later is known, and the kernel was asked anew because of it."""
        wait_until(lambda: str(path) in self.reloader._files._known, "the file to be met")
        looks = self.reloader.looks
        wait_until(lambda: self.reloader.looks > looks, "a look after that")

    def expect(self, *paths: Path) -> None:
        """Wait for the next batch, which names one of `paths`."""
        wait_until(lambda: self.told, f"a change of {[path.name for path in paths]}", timeout=20)
        assert self.told.pop(0) in map(str, paths)

    def log(self) -> str:
        return self.log_file.read_text()


@pytest.fixture(params=["poll", "inotify"])
def watching(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    """A reloader of each engine that is started by the test: `watching.start("*.html")`."""
    for name, value in (HASTY if request.param == "poll" else ONLY_EVENTS).items():
        monkeypatch.setattr(f"greenhorn.workers.reloader.{name}", value)
    folder = tmp_path / "project"
    folder.mkdir()
    one = Watching(folder, request.param)
    yield one
    one.reloader.stop()
    wait_until(lambda: not reloaders(), "the end of the thread")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Write a module of the project and import it: `load("shop")` returns its file."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_and_import(name: str, folder: str = "project") -> Path:
        path = old(tmp_path / folder / f"{name}.py")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [str(path.parent), *sys.path])
            importlib.invalidate_caches()
            importlib.import_module(name)
        return path

    yield write_and_import
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def old(path: Path, text: str = "x = 1\n") -> Path:
    """Write a file that was modified long ago, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def edit(path: Path) -> None:
    """Make a change that no granularity of times can hide: another size."""
    with path.open("a") as file:
        file.write("# edited\n")


def reloaders() -> Sequence[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "greenhorn reloader"]


def test_each_edit_of_a_loaded_module_is_told(watching: Watching, load: Callable[[str], Path]):
    path = load("zshop_edited")
    watching.start()
    for _ in range(3):
        edit(path)
        watching.expect(path)


def test_a_deleted_module_is_told_and_that_it_is_back(watching: Watching, load: Callable[[str], Path]):
    path = load("zshop_deleted")
    watching.start()
    path.unlink()
    watching.expect(path)
    old(path)
    watching.expect(path)


def test_a_file_that_is_replaced_by_another_of_the_same_age_and_size_is_told(watching: Watching):
    path, other = old(watching.folder / "a.cfg"), old(watching.folder / "b.other")
    watching.start("*.cfg")
    other.rename(path)
    watching.expect(path)


def test_a_module_imported_later_is_watched(watching: Watching, load: Callable[..., Path]):
    watching.start()
    path = load("zshop_later", "elsewhere")
    watching.folder = path.parent
    watching.let_watch(path)
    assert watching.told == []
    edit(path)
    watching.expect(path)


@pytest.mark.parametrize("name", ["new.py", "new.html", "new_package/__init__.py"])
def test_a_new_module_package_or_template_beside_a_module_is_told(
    watching: Watching, load: Callable[[str], Path], name: str
):
    load("zshop_beside")
    watching.start()
    watching.expect(old(watching.folder / name))


def test_new_files_of_a_glob_are_told_also_in_new_directories(watching: Watching):
    old(watching.folder / "templates" / "index.html")
    watching.start("templates/**/*.html")
    watching.expect(old(watching.folder / "templates" / "about.html"))
    watching.expect(old(watching.folder / "templates" / "mail" / "order" / "bill.html"))
    path = watching.folder / "templates" / "mail" / "order" / "bill.html"
    edit(path)
    watching.expect(path)
    path.unlink()
    watching.expect(path)


def test_a_glob_may_begin_with_a_directory_that_is_not_there_yet(watching: Watching):
    watching.start("themes/*/dark/*.css")
    watching.expect(old(watching.folder / "themes" / "plain" / "dark" / "site.css"))


def test_a_directory_that_is_deleted_and_made_anew_is_watched_as_before(watching: Watching):
    path = old(watching.folder / "templates" / "index.html")
    watching.start("templates/*.html")
    for _ in range(2):
        path.unlink()
        path.parent.rmdir()
        watching.expect(path)
        old(path)
        watching.expect(path)
    edit(path)
    watching.expect(path)


def test_a_directory_that_is_replaced_by_another_is_watched_as_before(watching: Watching):
    path = old(watching.folder / "templates" / "index.html")
    other = old(watching.folder / "others" / "index.html")
    watching.start("templates/*.html")
    path.parent.rename(watching.folder / "before")
    other.parent.rename(path.parent)
    watching.expect(path)
    edit(path)
    watching.expect(path)


def test_a_directory_stands_for_the_files_in_it(watching: Watching):
    (watching.folder / "locale [old]").mkdir()
    watching.start("locale [old]")
    watching.expect(old(watching.folder / "locale [old]" / "de.po"))


def test_a_link_that_points_elsewhere_or_whose_target_changes_is_told(watching: Watching):
    first, second = (old(watching.folder / "versions" / name / "settings") for name in ("1", "2"))
    link = watching.folder / "settings"
    link.symlink_to(first)
    watching.start("settings")
    edit(first)
    watching.expect(link)
    os.utime(first, (LONG_AGO, LONG_AGO))
    watching.expect(link)
    other = watching.folder / "other"
    other.symlink_to(second)
    other.replace(link)
    watching.expect(link)
    edit(second)
    watching.expect(link)


def test_a_directory_that_is_a_link_and_points_elsewhere_is_told(watching: Watching):
    for name in ("1", "2"):
        old(watching.folder / "releases" / name / "site.css")
    current, following = watching.folder / "current", watching.folder / "following"
    current.symlink_to("releases/1")
    watching.start("current/*.css")
    following.symlink_to("releases/2")
    following.replace(current)
    watching.expect(current / "site.css")


def test_a_broken_file_is_watched_when_the_reloader_is_told_of_it_and_after_each_attempt(watching: Watching):
    path = old(watching.folder / "elsewhere" / "zshop_broken.py", "def (\n")
    watching.start()
    watching.reloader.watch(["<string>", str(path)])
    watching.let_watch(path)
    for _ in range(2):
        edit(path)
        watching.expect(path)


def test_a_save_of_several_files_is_one_batch(watching: Watching, monkeypatch: pytest.MonkeyPatch):
    paths = [old(watching.folder / f"{number}.txt") for number in range(5)]
    watching.start("*.txt")
    monkeypatch.setattr("greenhorn.workers.reloader.SETTLED", 1.0)
    for path in paths:
        edit(path)
    watching.expect(*paths)
    last = old(watching.folder / "last.txt")
    watching.expect(last)


def test_what_is_taken_back_at_once_is_no_change(watching: Watching, monkeypatch: pytest.MonkeyPatch):
    kept = old(watching.folder / "kept.txt")
    watching.start("*")
    monkeypatch.setattr("greenhorn.workers.reloader.SETTLED", 1.0)
    old(watching.folder / "temporary").unlink()
    edit(kept)
    old(kept)
    kept.chmod(0o600)
    watching.expect(old(watching.folder / "new"))


def test_an_edit_between_the_birth_of_the_worker_and_the_first_look_is_told(
    watching: Watching, load: Callable[[str], Path]
):
    path = load("zshop_early")
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    watching.since = now / 1e9 - 0.001
    watching.start()
    watching.expect(path)
    watching.let_look()
    assert watching.told == []


def test_what_fails_in_the_thread_is_logged_and_the_thread_goes_on(watching: Watching):
    path = old(watching.folder / "a.txt")
    failures = itertools.count()

    def tell(told: str) -> None:
        watching.note(told)
        if told == str(path) and next(failures) == 0:
            raise RuntimeError("zq17")

    watching.start("*.txt", tell=tell)
    edit(path)
    watching.expect(path)
    wait_until(lambda: "RuntimeError: zq17" in watching.log(), "the log")
    path.unlink()
    watching.expect(path)


def test_the_thread_is_a_daemon_and_ends_soon_after_stop(watching: Watching):
    watching.start()
    (thread,) = reloaders()
    assert thread.daemon
    watching.reloader.stop()
    watching.reloader.stop()
    wait_until(lambda: not thread.is_alive(), "the end")


def test_where_the_kernel_does_not_watch_the_files_are_polled(
    watching: Watching, monkeypatch: pytest.MonkeyPatch, load: Callable[[str], Path]
):
    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise OSError(28, "inotify watch limit reached")
        yield

    for name, value in HASTY.items():
        monkeypatch.setattr(f"greenhorn.workers.reloader.{name}", value)
    monkeypatch.setattr("watchfiles.watch", refuse)
    path = load("zshop_polled")
    watching.start()
    edit(path)
    watching.expect(path)
    assert ("polled instead" in watching.log()) == (watching.engine == "inotify")


@pytest.fixture
def no_watchfiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)  # type: ignore[arg-type] - how Python marks a failed import


@pytest.mark.usefixtures("no_watchfiles")
def test_without_watchfiles_inotify_cannot_be_asked_for():
    with pytest.raises(ConfigError, match=r"reload_engine: .*pip install 'greenhorn\[reload\]'"):
        check_engine("inotify")
    check_engine("auto")
    check_engine("poll")


@pytest.mark.usefixtures("no_watchfiles")
def test_without_watchfiles_auto_polls(watching: Watching):
    watching.engine = "auto"
    watching.start("a.txt")
    watching.expect(old(watching.folder / "a.txt"))


def test_with_watchfiles_every_engine_can_be_asked_for():
    for engine in ("auto", "poll", "inotify"):
        check_engine(engine)


def test_modules_that_load_themselves_at_need_are_left_alone(watching: Watching, monkeypatch: pytest.MonkeyPatch):
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "zshop_lazy", Lazy("zshop_lazy"))
    monkeypatch.setitem(sys.modules, "zshop_none", None)  # type: ignore[arg-type] - Python does so, too
    monkeypatch.setitem(sys.modules, "zshop_odd", 5)  # type: ignore[arg-type] - and this some libraries
    watching.start("a.txt")
    watching.expect(old(watching.folder / "a.txt"))
    assert "Lazy" not in watching.log()
