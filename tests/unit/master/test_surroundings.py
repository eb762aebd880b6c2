"""The directory, the sys.path and the environment: what the settings make of them, and how that is undone."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from greenhorn import __version__
from greenhorn.config import Settings
from greenhorn.errors import ConfigError
from greenhorn.master.surroundings import Surroundings

VARIABLES = ("SHOP_NEW", "SHOP_OLD", "SHOP_TWICE")


def entered(folder: Path, **settings: Any) -> Surroundings:
    made = Surroundings()
    made.enter(Settings(**{"chdir": str(folder), **settings}))
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Another folder than that of the start."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_the_application_finds_itself_in_its_directory_and_can_import_from_it(start_directory: Path, target: Path):
    before = list(sys.path)
    surroundings = entered(target)
    assert Path.cwd() == target
    assert sys.path == [str(target), *before]
    surroundings.leave()
    assert Path.cwd() == start_directory
    assert sys.path == before


def test_pythonpath_goes_first_in_its_order_and_counts_from_the_new_directory(start_directory: Path, target: Path):
    surroundings = entered(target, pythonpath=("lib", "/srv/shared", "lib"))
    assert sys.path[:3] == [str(target / "lib"), "/srv/shared", str(target)]
    surroundings.leave()
    assert str(target) not in sys.path
    assert Path.cwd() == start_directory


def test_a_folder_that_is_in_the_path_already_moves_to_its_front_and_back(start_directory: Path, target: Path):
    del start_directory
    sys.path.append(str(target))
    before = list(sys.path)
    surroundings = entered(target)
    assert sys.path == [str(target), *before[:-1]]
    surroundings.leave()
    assert sys.path == before


def test_raw_env_is_set_and_undone(start_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_OLD", "before")
    assignments = ("SHOP_NEW=a=b c", "SHOP_OLD=", "SHOP_TWICE=1", "SHOP_TWICE=2")
    surroundings = entered(start_directory, raw_env=assignments)
    assert [os.environ.get(name) for name in VARIABLES] == ["a=b c", "", "2"]
    surroundings.leave()
    assert [os.environ.get(name) for name in VARIABLES] == [None, "before", None]


def test_a_variable_that_the_next_reading_does_not_have_is_gone(start_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_OLD", "before")
    surroundings = entered(start_directory, raw_env=("SHOP_NEW=1", "SHOP_OLD=1"))
    for _ in range(2):
        surroundings.leave()
        surroundings.enter(Settings(chdir=str(start_directory), raw_env=("SHOP_TWICE=2",)))
        assert [os.environ.get(name) for name in VARIABLES] == [None, "before", "2"]
    surroundings.leave()
    assert [os.environ.get(name) for name in VARIABLES] == [None, "before", None]


def test_a_variable_that_the_application_has_removed_is_undone_as_well(
    start_directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_OLD", "before")
    surroundings = entered(start_directory, raw_env=("SHOP_NEW=1", "SHOP_OLD=1"))
    del os.environ["SHOP_NEW"]
    del os.environ["SHOP_OLD"]
    surroundings.leave()
    assert [os.environ.get(name) for name in VARIABLES] == [None, "before", None]


def test_the_environment_of_the_start_stays_known(start_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_OLD", "before")
    surroundings = entered(start_directory, raw_env=("SHOP_NEW=1", "SHOP_OLD=1"))
    assert surroundings.environ["SHOP_OLD"] == "before"
    assert "SHOP_NEW" not in surroundings.environ


def test_the_application_is_told_what_serves_it(start_directory: Path):
    entered(start_directory)
    assert os.environ["SERVER_SOFTWARE"] == f"greenhorn/{__version__}"


def test_leaving_what_was_not_entered_changes_nothing_but_the_directory(start_directory: Path, target: Path):
    surroundings = Surroundings()
    before, environ = list(sys.path), dict(os.environ)
    os.chdir(target)
    surroundings.leave()
    assert Path.cwd() == start_directory
    assert (sys.path, dict(os.environ)) == (before, environ)


def test_the_directory_of_the_start_is_the_one_that_its_link_leads_to_by_now(
    start_directory: Path, target: Path, monkeypatch: pytest.MonkeyPatch
):
    link = start_directory.parent / "current"
    link.symlink_to(start_directory)
    monkeypatch.setenv("PWD", str(link))
    os.chdir(link)
    surroundings = Surroundings()
    assert surroundings.directory == str(link)
    link.unlink()
    link.symlink_to(target)
    surroundings.leave()
    assert Path.cwd() == target


def test_a_pwd_of_somewhere_else_is_not_believed(start_directory: Path, target: Path, monkeypatch: pytest.MonkeyPatch):
    for wrong in (str(target), "", "start", "/no/such/folder"):
        monkeypatch.setenv("PWD", wrong)
        assert Surroundings().directory == str(start_directory)


@pytest.mark.parametrize("wrong", ["missing", "file"])
def test_a_directory_that_cannot_be_entered_is_an_error_and_nothing_has_changed(start_directory: Path, wrong: str):
    (start_directory / "file").write_text("")
    before, environ = list(sys.path), dict(os.environ)
    with pytest.raises(ConfigError, match="chdir") as caught:
        entered(start_directory / wrong, raw_env=("SHOP_NEW=1",))
    assert str(start_directory / wrong) in str(caught.value)
    assert Path.cwd() == start_directory
    assert (sys.path, dict(os.environ)) == (before, environ)


def test_a_start_directory_that_is_gone_is_an_error_that_names_it(start_directory: Path, target: Path):
    surroundings = entered(target, raw_env=("SHOP_NEW=1",))
    start_directory.rmdir()
    with pytest.raises(ConfigError, match="start directory") as caught:
        surroundings.leave()
    assert str(start_directory) in str(caught.value)
    assert "SHOP_NEW" not in os.environ
