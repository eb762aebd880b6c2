"""A configuration that is read again is read anew: the file, its module, the modules of hooks, the environment."""

import sys
from pathlib import Path

import pytest

from greenhorn.config import load_configuration
from greenhorn.errors import ConfigError
from unit.config.loading import refusal, settings, write

pytestmark = pytest.mark.usefixtures("start_directory")


def test_reading_again_reads_everything_anew(tmp_path: Path):
    path = write(tmp_path, "threads = 5")
    assert settings().threads == 5
    path.write_text("threads = 55")
    assert settings().threads == 55
    path.unlink()
    assert settings().threads == 4


def test_reading_again_gives_the_functions_that_stand_in_the_file_now(tmp_path: Path):
    hooks = write(tmp_path, "def forked(server, worker): return 'old'\n", "deploy_hooks.py")
    path = write(tmp_path, "post_fork = 'deploy_hooks.forked'\ndef on_exit(server): return 'old'\n")
    old = settings()
    hooks.write_text("def forked(server, worker): return 'brand new'\n")
    path.write_text("post_fork = 'deploy_hooks.forked'\ndef on_exit(server): return 'brand new'\n")
    new = settings()
    assert (new.post_fork(None, None), new.on_exit(None)) == ("brand new", "brand new")
    assert (old.post_fork(None, None), old.on_exit(None)) == ("old", "old")


@pytest.mark.parametrize("config", ["greenhorn.conf.py", "python:deploy_again"])
def test_an_error_after_reading_again_shows_the_line_that_stands_in_the_file_now(tmp_path: Path, config: str):
    name = config.partition(":")[2] + ".py" if ":" in config else config
    path = write(tmp_path, "threads = 1 / 0\n", name)
    assert "threads = 1 / 0" in refusal("-c", config)
    path.write_text("backlog = 3\nthreads = 2 / 0\n")
    assert refusal("-c", config).endswith(f"{path}, line 2: ZeroDivisionError: division by zero\n    threads = 2 / 0")


@pytest.mark.parametrize("config", ["greenhorn.conf.py", "python:deploy_broken_again"])
def test_a_file_that_fails_when_read_again_leaves_the_module_of_before(tmp_path: Path, config: str):
    name = config.partition(":")[2] or "__config__"
    path = write(tmp_path, "threads = 5\n", config.partition(":")[2] + ".py" if ":" in config else config)
    settings("-c", config)
    before = sys.modules[name]
    path.write_text("raise RuntimeError('no')\n")
    assert "RuntimeError: no" in refusal("-c", config)
    assert sys.modules[name] is before


def test_reading_again_counts_what_the_environment_is_now():
    assert settings(WEB_CONCURRENCY="2").workers == 2
    assert settings(WEB_CONCURRENCY="3").workers == 3
    assert settings().workers == 1


def test_a_fault_of_the_command_line_does_not_exit_when_it_is_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--chdir", "release", "app:app"]
    (tmp_path / "release").mkdir()
    assert load_configuration(arguments, {}, again=True).settings.chdir == str(tmp_path / "release")
    (tmp_path / "release").rmdir()
    with pytest.raises(
        ConfigError, match=r"^command line: argument --chdir: 'release': must be a directory that exists"
    ):
        load_configuration(arguments, {}, again=True)
    assert capsys.readouterr() == ("", "")


def test_reading_again_in_the_start_directory_finds_relative_paths_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "app").mkdir()
    write(tmp_path, "chdir = 'app'\nreload_extra_files = 'app/*.html'\n")
    first = settings()
    monkeypatch.chdir(first.chdir)
    monkeypatch.chdir(tmp_path)
    assert settings() == first
    assert first.reload_extra_files == (str(tmp_path / "app/*.html"),)
