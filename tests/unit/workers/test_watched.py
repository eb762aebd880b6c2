"""Which files are watched, and what makes one of them a change."""

import os
import py_compile
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from greenhorn.workers import watched
from greenhorn.workers.watched import WatchedFiles

LONG_AGO = 1_000_000_000


class Files:
    """Watched files of one folder, which is the working directory and all of sys.path."""

    def __init__(self, folder: Path, *extra: str, since: float | None = None) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        paths = [str(folder / path) for path in extra]
        self.files = WatchedFiles(paths, time.time() if since is None else since, self.warnings.append)

    def changed(self) -> set[str]:
        """Look, and return what has changed in the folder, relative to it."""
        seen = self.files.look()
        found = self.files.changes(seen)
        self.files.accept(seen)
        return {os.path.relpath(path, self.folder) for path in found if Path(path).is_relative_to(self.folder)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of a project: the working directory, and the only place of modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [""])
    return tmp_path


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have a module loaded from a file."""

    def load(path: Path) -> None:
        module = ModuleType(f"zshop_{path.stem}")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return load


def old(path: Path, text: str = "x = 1\n") -> Path:
    """Write a file that was modified long ago, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_without_a_change_nothing_is_told(project: Path):
    old(project / "shop.py")
    files = Files(project, "*.cfg")
    assert files.changed() == set()
    assert files.changed() == set()


def test_several_changes_are_all_seen_and_only_once(project: Path):
    old(project / "shop.py")
    gone = old(project / "a.cfg")
    files = Files(project, "*.cfg")
    files.changed()
    old(project / "shop.py", "x = 11\n")
    old(project / "b.cfg")
    gone.unlink()
    assert files.changed() == {"shop.py", "a.cfg", "b.cfg"}
    assert files.changed() == set()


def test_mode_and_owner_are_no_change(project: Path):
    path = old(project / "shop.py")
    files = Files(project)
    files.changed()
    path.chmod(0o600)
    os.link(path, project / "link.txt")
    assert files.changed() == set()


def test_what_editors_and_python_leave_in_a_directory_is_no_change(project: Path):
    old(project / "shop.py")
    files = Files(project, "sources/**")
    (project / "sources").mkdir()
    files.changed()
    for name in (".shop.py.swp", "shop.py~", "4913", "flycheck_shop.py", "shop.sqlite-journal", "__pycache__/x.pyc"):
        old(project / name)
    (project / ".#shop.py").symlink_to("me@here.1234")
    old(project / "sources" / "__pycache__" / "shop.cpython-311.pyc")
    (project / "uploads").mkdir()
    assert files.changed() == set()


@pytest.mark.parametrize(("seconds", "counts"), [(-5.0, False), (5.0, True), (10_000.0, False)])
def test_a_file_that_is_met_first_counts_if_modified_after_the_birth_of_the_worker_and_not_in_the_future(
    project: Path, seconds: float, counts: bool
):
    since = time.time() - 100
    path = old(project / "shop.py")
    os.utime(path, (since + seconds,) * 2)
    assert Files(project, since=since).changed() == ({"shop.py"} if counts else set())


def test_a_link_made_after_the_birth_of_the_worker_counts_although_its_target_is_old(project: Path):
    target = old(project / "versions" / "1")
    files = Files(project, "current", since=time.time() - 100)
    (project / "current").symlink_to(target)
    assert files.changed() == {"current"}


def test_a_file_that_is_added_later_counts_if_modified_after_the_birth_of_the_worker(project: Path):
    since = time.time() - 100
    files = Files(project, since=since)
    files.changed()
    for name, seconds in (("before", -5), ("after", 5)):
        path = old(project / "elsewhere" / name)
        os.utime(path, (since + seconds,) * 2)
        files.files.added.put(str(path))
    assert files.changed() == {"elsewhere/after"}


def test_modules_loaded_later_from_a_new_directory_are_no_change_nor_is_what_else_is_there(
    project: Path, pretend: Callable[[Path], None]
):
    files = Files(project, since=LONG_AGO - 10)
    files.changed()
    old(project / "plugins" / "other.py")
    pretend(old(project / "plugins" / "loaded.py"))
    assert files.changed() == set()
    old(project / "plugins" / "other.py", "x = 11\n")
    old(project / "plugins" / "new.py")
    assert files.changed() == {"plugins/other.py", "plugins/new.py"}


def test_a_file_that_appears_at_a_path_which_was_empty_counts_whatever_its_age(project: Path):
    files = Files(project, "literal")
    files.files.added.put(str(project / "elsewhere" / "added"))
    files.changed()
    old(project / "literal")
    old(project / "elsewhere" / "added")
    assert files.changed() == {"literal", "elsewhere/added"}


def test_a_dangling_link_counts_when_its_target_appears(project: Path):
    (project / "link").symlink_to("target")
    files = Files(project, "link", since=time.time() + 100)
    assert files.changed() == set()
    old(project / "target")
    assert files.changed() == {"link"}


def test_bytecode_stands_for_its_source(project: Path, pretend: Callable[[Path], None]):
    source = old(project / "package" / "a.py")
    compiled = py_compile.compile(str(source), doraise=True)
    assert compiled
    pretend(Path(compiled))
    beside = old(project / "package" / "b.py")
    pretend(Path(py_compile.compile(str(beside), cfile=str(beside) + "c", doraise=True) or ""))
    alone = Path(py_compile.compile(str(beside), cfile=str(project / "package" / "c.pyc"), doraise=True) or "")
    pretend(alone)
    files = Files(project, since=time.time() + 100)
    files.changed()
    old(source, "x = 11\n")
    old(beside, "x = 11\n")
    alone.unlink()
    Path(compiled).unlink()
    assert files.changed() == {"package/a.py", "package/b.py", "package/c.pyc"}


@pytest.mark.parametrize("inner", ["site-packages", "dist-packages"])
def test_beside_installed_modules_nothing_is_looked_for_but_they_are_watched(
    project: Path, pretend: Callable[[Path], None], inner: str
):
    path = old(project / "lib" / inner / "installed.py")
    pretend(path)
    files = Files(project)
    files.changed()
    old(path.with_name("other.py"))
    assert files.changed() == set()
    old(path, "x = 11\n")
    assert files.changed() == {f"lib/{inner}/installed.py"}


def test_the_standard_library_is_watched_where_it_is_loaded_but_greenhorn_is_not(project: Path):
    files = Files(project)
    files.changed()
    known = files.files._known
    assert sysconfig.__file__ in known
    assert not any(Path(path).is_relative_to(Path(watched.__file__).parent) for path in known)


def test_what_cannot_be_asked_for_is_told_once_and_is_no_change(project: Path):
    (project / "round").symlink_to("round")
    files = Files(project, "round/a.cfg", since=0)
    assert files.changed() == set()
    assert files.changed() == set()
    assert {warning for warning in files.warnings if "round" in warning} == {
        f"Not watched until it can be read: {project}/round (Too many levels of symbolic links)"
    }


def test_a_working_directory_that_was_deleted_is_no_failure(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "gone").mkdir()
    monkeypatch.chdir(project / "gone")
    (project / "gone").rmdir()
    assert Files(project, "a.cfg").changed() == set()


def test_the_directories_of_globs_links_and_missing_files_all_exist(project: Path):
    for name in ("a/b", "real", "globbed/x/y", "globbed/x/z"):
        (project / name).mkdir(parents=True)
    old(project / "real" / "file")
    (project / "link").symlink_to("real")
    (project / "a" / "file").symlink_to("../real/file")
    files = Files(project, "a/b/c/d/missing", "link/file", "a/file", "globbed/*/y/*.txt", "globbed/x/**")
    files.changed()
    found = {os.path.relpath(path, project) for path in files.files.folders() if Path(path).is_relative_to(project)}
    assert found == {".", "a", "a/b", "real", "link", "globbed", "globbed/x", "globbed/x/y", "globbed/x/z"}
