"""Variables of a configuration file that say nothing, that count, and that have the names of flags."""

from pathlib import Path

import pytest

from greenhorn.config.tables import ROWS
from unit.config.loading import load, refusal, settings, write

pytestmark = pytest.mark.usefixtures("start_directory")


@pytest.mark.parametrize("name", [name for name in ROWS if name != "config"])
def test_none_leaves_a_setting_as_it_is_wherever_it_is_no_value(tmp_path: Path, name: str):
    write(tmp_path, "")
    default = getattr(settings(), name)
    write(tmp_path, f"import os\n{name} = os.environ.get('ZQ81')")
    assert getattr(settings(), name) in (default, None, ()), "for networks it is nobody, as in gunicorn"


@pytest.mark.parametrize("name", ["errorlog", "chdir", "raw_env"])
def test_so_does_the_empty_text_where_gunicorn_takes_it(tmp_path: Path, name: str):
    write(tmp_path, "")
    default = getattr(settings(), name)
    write(tmp_path, f"{name} = ''")
    assert getattr(settings(), name) == default


@pytest.mark.parametrize(("written", "meant"), [("access_logfile", "accesslog"), ("error_logfile", "errorlog")])
def test_the_name_of_a_flag_is_no_setting(tmp_path: Path, written: str, meant: str):
    write(tmp_path, f"{written} = '-'")
    assert f"{written} is not a setting: did you mean {meant}?" in refusal()


@pytest.mark.parametrize(("written", "meant"), [("preload = True", "preload_app"), ("pid = 'a.pid'", "pidfile")])
def test_one_word_that_is_a_flag_may_be_the_files_own(tmp_path: Path, written: str, meant: str):
    write(tmp_path, written)
    (warning,) = load().warnings
    assert f"did you mean {meant}?" in warning
    write(tmp_path, f"{written}\nprint({written.partition(' ')[0]})")
    assert load().warnings == ()


def test_what_a_loop_counts_with_is_the_files_own(tmp_path: Path):
    write(tmp_path, "bind = []\nfor worker, threat in [(1, 2)]:\n    bind.append('127.0.0.1:0')")
    assert settings().bind == ("127.0.0.1:0",)
